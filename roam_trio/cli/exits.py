"""Exit codes, and errors as one line for the user."""

from __future__ import annotations

import enum

import trio

from ..errors import (
    CodecError,
    Disconnected,
    EncodeError,
    HandlerFailed,
    RoamTrioError,
    UserError,
)
from ..legible import legible, legible_str
from .json_text import json_text

__all__ = ["Exit", "Failure", "OutputClosed", "UsageError", "failure_of"]


class Exit(enum.IntEnum):
    """The exit codes of the verbs."""

    DONE = 0
    FAILED = 1
    """The method has raised an error of its own, or there is a difference."""
    USAGE = 2
    """The command line, or what it names, is wrong."""
    UNREACHED = 3
    """The transport, a deadline or a refusal has prevented the call."""


class Failure(Exception):
    """A reason to end with an error; the text is one legible line for the user.

    Attributes:
        code: the exit code.
    """

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(legible(text, 4000))
        self.code = code


class UsageError(Failure):
    """A mistake in the command line, or in the input."""

    def __init__(self, text: str) -> None:
        super().__init__(Exit.USAGE, text)


class OutputClosed(Exception):
    """Standard output has no reader any more, so there is nothing left to do."""


def failure_of(error: BaseException) -> Failure | None:
    """Return an error as the user is told of it; None for a bug of this program."""
    match error:
        case Failure():
            return error
        case BaseExceptionGroup():
            found = [failure_of(each) for each in error.exceptions]
            return found[0] if all(found) else None
        case trio.TooSlowError():
            return Failure(Exit.UNREACHED, "the time is over (--timeout)")
        case UserError():
            return Failure(
                Exit.FAILED, f"the method has failed: {json_text(error.error)}"
            )
        case HandlerFailed():
            return Failure(Exit.FAILED, f"the handler has failed: {error}")
        case EncodeError():
            return UsageError(wrong_value(error))
        case CodecError() | RoamTrioError() | Disconnected() | OSError():
            return Failure(Exit.UNREACHED, legible_str(error, 2000))
        case _:
            return None


def wrong_value(error: CodecError) -> str:
    """Return the text of an error for a wrong value: where, expected, and found."""
    return f"{error.path}: {without_classes(error.problem)}"


def without_classes(problem: str) -> str:
    """Return the text of an error without the names of classes in Python."""
    return problem.rpartition("was not unstructured: ValueError: ")[2]
