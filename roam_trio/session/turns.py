"""Turns of a session's reader: how much of one read it dispatches before it yields.

One read may return thousands of small messages. Trio runs one task at a time, so the
reader lets other tasks run after some of them. A turn is bounded by time, because some
messages cost more than a hundred times as much as others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from time import perf_counter
from typing import Any, Final, TypeVar

from ..wire.runs import ItemRun

__all__ = ["MOST_AT_ONCE", "TURN_SECONDS", "in_looks", "is_long", "next_turn"]

T = TypeVar("T")

MOST_AT_ONCE: Final = 4
"""Number of messages, or of runs of items, that are dispatched without a look at the
clock."""

_LARGE: Final = 4096
"""Length of a payload, in bytes, after which there is a look at the clock."""

TURN_SECONDS: Final = 0.0005
"""Number of seconds after which a turn ends. Another session's call waits for two or
three turns of each session that is as busy as it can be. A turn costs a step of the
task and a write, so much shorter ones would slow the busy session down."""


def is_long(received: Sequence[Any]) -> bool:
    """Return True if what a read has returned may take more than one turn."""
    count = len(received)
    return count > MOST_AT_ONCE or (count > 1 and _is_large(received[0]))


def _is_large(received: object) -> bool:
    """Return True for a large payload, and for a run of items."""
    if type(received) is bytes or type(received) is memoryview:
        return len(received) >= _LARGE
    return type(received) is ItemRun


def in_looks(received: Sequence[T]) -> list[Sequence[T]]:
    """Divide what a read has returned into parts, each of what is dispatched without a
    look at the clock."""
    if _are_small(received):  # most often
        starts = range(0, len(received), MOST_AT_ONCE)
        return [received[start : start + MOST_AT_ONCE] for start in starts]
    parts: list[Sequence[T]] = []
    start = 0
    for end, each in enumerate(received, 1):
        if end - start == MOST_AT_ONCE or _is_large(each):
            parts.append(received[start:end])
            start = end
    if start < len(received):
        parts.append(received[start:])
    return parts


def _are_small(received: Sequence[Any]) -> bool:
    """Return True if all are small payloads. Takes no step of Python for each."""
    kinds = set(map(type, received))
    return kinds == _PAYLOADS_ALONE and max(map(len, received)) < _LARGE


_PAYLOADS_ALONE: Final = {bytes}


def next_turn(
    rest: Iterator[Sequence[T]],
    seconds: float = TURN_SECONDS,
    now: Callable[[], float] = perf_counter,
) -> Iterator[T]:
    """Take parts from `rest` until the turn is over, and one at least. Return what is
    in them.

    Args:
        rest: the parts of a read that are left, an iterator over a list of `in_looks`.
        seconds: duration of a turn.
        now: returns the time, in seconds.
    """
    return chain.from_iterable(_until(rest, now() + seconds, now))


def _until(parts: Iterator[T], end: float, now: Callable[[], float]) -> Iterator[T]:
    for part in parts:
        yield part
        if now() >= end:
            return
