"""The run of a verb: its exit code, and one line for each error of the user's."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NoReturn

import typer

from .exits import Exit, OutputClosed, failure_of
from .until_signal import run_until_signal

__all__ = ["perform", "say"]


def perform(verb: str, main: Callable[[], Awaitable[int]]) -> NoReturn:
    """Run a verb until it is done or a signal stops it, and end with its exit code.

    Args:
        verb: the name of the verb, for errors.
        main: does it, and returns the exit code. A `Failure`, or an error that
            `failure_of` knows, is told in one line.
    """
    raise typer.Exit(run_until_signal(partial(_guarded, verb, main)))


async def _guarded(verb: str, main: Callable[[], Awaitable[int]]) -> int:
    try:
        return await main()
    except BaseException as error:
        if _is_closed_output(error):
            return Exit.DONE  # as of `head`, which has what it wanted
        failure = failure_of(error)
        if failure is None:
            raise
        say(f"roam-trio {verb}: {failure}")
        return failure.code


def _is_closed_output(error: BaseException) -> bool:
    exceptions: Sequence[BaseException] = getattr(error, "exceptions", ())
    if exceptions:
        return all(map(_is_closed_output, exceptions))
    return isinstance(error, OutputClosed)


def say(text: str) -> None:
    """Write a line for people, to standard error."""
    print(text, file=sys.stderr, flush=True)
