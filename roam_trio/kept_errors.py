"""Tracebacks of stored errors, removed so that they keep no objects alive."""

from __future__ import annotations

from typing import TypeVar, cast

__all__ = ["copy_of", "strip_tracebacks"]

E = TypeVar("E", bound=Exception)


def strip_tracebacks(error: BaseException) -> None:
    """Remove the tracebacks of an error, and with them the references to its frames.

    The frames may hold the last reference to a channel, or refer to the object that
    stores the error. They are not cleared, because an error that was also raised
    elsewhere has frames of tasks that still run. Nothing else of the error changes. No
    method of its class is called, because a frozen class would refuse the change.
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
