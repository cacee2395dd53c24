"""Classification of exceptions from user code: failures, and control exceptions.

Sessions run user code: handlers, acceptors of connections, hooks of wire types,
handlers of the log. An exception of such code ends at most its own session, except for
the control exceptions `KeyboardInterrupt`, `SystemExit` and `trio.Cancelled`, which
propagate. Every other exception is a failure, including a `BaseException` that is not
an `Exception`: extensions written in Rust, for example, raise one when they panic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

import trio

__all__ = [
    "alone",
    "ends_programs",
    "is_cancellation",
    "is_failure",
    "split_failure",
    "text_of",
]

_ENDS_PROGRAMS: Final = (KeyboardInterrupt, SystemExit)
_GO_THROUGH: Final = (*_ENDS_PROGRAMS, trio.Cancelled)


def is_failure(error: BaseException) -> bool:
    """Return True if `error` contains no control exception.

    A `GeneratorExit` is a failure, unless it comes from closing a coroutine whose run
    of trio is over.
    """
    if isinstance(error, GeneratorExit):
        return _is_in_trio()
    return isinstance(error, Exception) or not any(map(_goes_through, _leaves(error)))


def is_cancellation(error: BaseException) -> bool:
    """Return True for a `trio.Cancelled`, and for a group of nothing else, which comes
    out of a nursery that is cancelled."""
    return all(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error))


def ends_programs(error: BaseException) -> bool:
    """Return True if `error` is or contains a `KeyboardInterrupt` or a `SystemExit`."""
    return any(isinstance(leaf, _ENDS_PROGRAMS) for leaf in _leaves(error))


def split_failure(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Return the failure part of `error`, and the part that must propagate."""
    if is_failure(error):
        return error, None
    # Avoid split() of the group, which calls code of its class.
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


def alone(error: BaseException) -> BaseException:
    """Return the only error in a group, as a nursery makes it, or `error` itself."""
    one = error
    while isinstance(one, BaseExceptionGroup):
        first, *more = cast("BaseExceptionGroup[BaseException]", one).exceptions
        if more:
            return cast("BaseException", one)
        one = first
    return one


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, or the name of its class if that is empty or raises."""
    try:
        return str(error) or type(error).__name__
    except BaseException as failure:
        if not is_failure(failure):
            raise
        return f"{type(error).__name__}, whose __str__ raises"


def _goes_through(error: BaseException) -> bool:
    return isinstance(error, _GO_THROUGH)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the leaf errors of a group, or the error itself if it is not a group."""
    left = [error]  # no recursion, because groups may be nested to any depth
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
