"""Exceptions of users' code: which are failures, and which are meant to end more.

Sessions run code that they did not write: handlers, acceptors of connections, hooks of
wire types, handlers of the log. Whatever such code raises ends at most its own session.
Only what is meant to end more goes through: `KeyboardInterrupt`, `SystemExit` and
`trio.Cancelled`. All else is a failure, a `BaseException` that is no `Exception`
included: extensions written in Rust, for example, raise such when they panic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

import trio

__all__ = ["is_failure", "split_failure", "text_of"]

_GO_THROUGH: Final = (KeyboardInterrupt, SystemExit, trio.Cancelled)


def is_failure(error: BaseException) -> bool:
    """Return True if no part of `error` is meant to end more than what has raised it.

    A `GeneratorExit` is a failure, unless it comes from closing a coroutine whose run
    of trio is over.
    """
    if isinstance(error, GeneratorExit):
        return _is_in_trio()
    return isinstance(error, Exception) or not any(map(_goes_through, _leaves(error)))


def split_failure(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Return the part of `error` that is a failure, and the part that goes through."""
    if is_failure(error):
        return error, None
    # Not by the group's split(), which calls code of its class.
    through: list[BaseException] = []
    failures: list[BaseException] = []
    for each in _leaves(error):
        (through if not is_failure(each) else failures).append(each)
    if not failures:
        return None, error
    return (
        BaseExceptionGroup("failures beside what ends more", failures),
        BaseExceptionGroup("what ends more", through),
    )


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, or the name of its class if it has no text or raises."""
    try:
        return str(error) or type(error).__name__
    except BaseException as failure:
        if not is_failure(failure):
            raise
        return f"{type(error).__name__}, whose __str__ raises"


def _goes_through(error: BaseException) -> bool:
    return isinstance(error, _GO_THROUGH)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group and in the groups in it, or an error that is none."""
    left = [error]  # and no recursion: a group may be nested as deep as it likes
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", one)
            left += reversed(group.exceptions)
        else:
            yield one


def _is_in_trio() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
