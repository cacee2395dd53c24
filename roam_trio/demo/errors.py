"""Errors of the demo, each with the exit code it leads to."""

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
    """The demo cannot go on; the text is one line for whoever started it."""

    exit_code: ClassVar[int] = 1


class InputError(DemoError):
    """A file cannot be read, or is no text."""

    exit_code = 2


class ServerFailed(DemoError):
    """The server's process did not start, or is lost."""


class OutputFailed(DemoError):
    """Nobody takes what the demo has to show."""


class WrongAnswer(DemoError):
    """The server answered something else than what is true."""

    def __init__(self, what: str, expected: object, got: object) -> None:
        super().__init__(f"{what}: expected {expected}, got {got}")


def root_cause(error: Exception) -> DemoError | None:
    """Return the one thing to tell, of all that went wrong at the same time.

    A server that is lost fails every task that was speaking with it.

    Returns:
        None if `error` is, or holds, a mistake of this program's.
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
