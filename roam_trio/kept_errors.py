"""Errors that are kept, without what their tracebacks would keep."""

from __future__ import annotations

from typing import TypeVar, cast

__all__ = ["copy_of", "strip_tracebacks"]

E = TypeVar("E", bound=Exception)


def strip_tracebacks(error: BaseException) -> None:
    """Let go of the frames that an error went through, and of what they hold.

    They may hold channels that nobody else does, or the object that keeps the error.

    They are not cleared: an error that was raised somewhere else before has frames of
    tasks that still run. Nothing else of the error changes, and no method of its class
    is asked: that of a frozen class would refuse.
    """
    found: dict[int, BaseException] = {}
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in found:
            continue
        found[id(one)] = one
        BaseException.with_traceback(one, None)
        left += (one.__cause__, one.__context__)
        if isinstance(one, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", one).exceptions


def copy_of(error: E) -> E:
    """Return a copy of an error without its traceback, so that one of the two can be
    kept while the other is raised."""
    copy = type(error).__new__(type(error))
    copy.args = error.args
    vars(copy).update(vars(error))
    copy.__cause__ = error.__cause__
    return copy
