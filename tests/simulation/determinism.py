"""Runs of trio that are the same each time, for one seed.

Trio leaves this to chance: the order of the tasks of one round, which it shuffles; and
the order of scopes with one deadline, and of the tasks and inner scopes of a cancelled
scope, which follow addresses in memory. Garbage that is part of a cycle is collected at
any time, and channels that are dropped with it end then. And a session looks at the
clock of the machine to know for how long it has dispatched.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from heapq import heappush
from random import Random
from typing import Any, TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

from roam_trio.session import session_run
from roam_trio.session.turns import TURN_SECONDS, next_turn

__all__ = ["replaced", "run_in_order"]

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


class _Looks:
    """A clock on which a different time passes between any two looks."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(f"looks of {seed}")
        self._now = 0.0

    def __call__(self) -> float:
        self._now += TURN_SECONDS * self._chance.random()
        return self._now


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
            replaced(_run, "_r", Random(seed)),
            replaced(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            replaced(_run, "CancelStatus", _CancelStatus),
            replaced(_run.Deadlines, "add", add),
            replaced(session_run, "next_turn", partial(next_turn, now=_Looks(seed))),
        ):
            yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """Return a context in which an attribute has another value."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
