"""Runs of trio that are the same each time, for one seed.

Trio leaves this to chance: the order of the tasks of one round, which it shuffles; and
the order of scopes with one deadline, and of the tasks and inner scopes of a cancelled
scope, which follow addresses in memory. Garbage that is part of a cycle is collected at
any time, and channels that are dropped with it end then.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from heapq import heappush
from random import Random
from typing import Any, TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

__all__ = ["run_in_order"]

T = TypeVar("T")


def run_in_order(seed: int, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run ``await function(*args)``; its time passes only while every task waits."""
    with _in_order(seed):
        return trio.run(function, *args, clock=MockClock(autojump_threshold=0.0))


class _Ordered(dict[Any, None]):
    """A set with the order of insertion."""

    def add(self, member: Any) -> None:
        self[member] = None

    def remove(self, member: Any) -> None:
        del self[member]


class _CancelStatus(_run.CancelStatus):
    def __attrs_post_init__(self) -> None:
        self._children: Any = _Ordered()
        self._tasks: Any = _Ordered()
        super().__attrs_post_init__()


@contextmanager
def _in_order(seed: int) -> Iterator[None]:
    numbers = itertools.count()

    def add(self: Any, deadline: float, cancel_scope: trio.CancelScope) -> None:
        heappush(self._heap, (deadline, next(numbers), cancel_scope))
        self._active += 1

    collects = gc.isenabled()
    gc.disable()
    try:
        with (
            _replaced(_run, "_r", Random(seed)),
            _replaced(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            _replaced(_run, "CancelStatus", _CancelStatus),
            _replaced(_run.Deadlines, "add", add),
        ):
            yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
