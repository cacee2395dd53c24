"""Errors of the demo, each with its exit code."""

from __future__ import annotations

from typing import ClassVar, cast

from ..errors import RoamTrioError

__all__ = [
    "DemoError",
    "InputError",
    "OutputFailed",
    "ServerFailed",
    "WrongAnswer",
    "root_cause",
]


class DemoError(Exception):
    """The demo cannot continue; the text is one line for the user."""

    exit_code: ClassVar[int] = 1


class InputError(DemoError):
    """A file cannot be read, or is not a text."""

    exit_code = 2


class ServerFailed(DemoError):
    """The server process did not start, or is lost."""


class OutputFailed(DemoError):
    """The output of the demo cannot be written."""


class WrongAnswer(DemoError):
    """The server gave a wrong answer."""

    def __init__(self, what: str, expected: object, got: object) -> None:
        super().__init__(f"{what}: expected {expected}, got {got}")


def root_cause(error: Exception) -> DemoError | None:
    """Return the single error to report, of all that occurred at the same time.

    A lost server fails every task that uses it.

    Returns:
        None if `error` is, or contains, a bug in this program.
    """
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, DemoError):
            return leaf
    if all(isinstance(leaf, RoamTrioError | OSError) for leaf in leaves):
        return ServerFailed(f"lost the server: {leaves[0]}")
    return None


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    group = cast("ExceptionGroup[Exception]", error)
    return [leaf for inner in group.exceptions for leaf in _leaves(inner)]
