"""What is done and measured: the works, each a number of equal steps for a client."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Awaitable, Callable

import attrs

from .adapters.base import IN_FLIGHT, Client, WrongAnswer, receipt_for

__all__ = ["ECHO_SIZE", "WORKS", "Work", "find_work"]

ECHO_SIZE = 1024 * 1024
"""How long an echoed byte string is, in bytes."""


@attrs.frozen
class Work:
    """One kind of work.

    Attributes:
        name: for command lines and tables.
        unit: what one step is, in the plural.
        about: what is done, with all that matters for the speed.
        target: the least throughput of roam_trio, as a ratio to the floor's; None if
            there is none.
        first: how many steps to try when nothing is known of the speed yet.
        measure: does a number of steps, checks what came out, and returns the seconds
            that the steps took.
    """

    name: str
    unit: str
    about: str
    target: float | None
    first: int
    measure: Callable[[Client, int], Awaitable[float]]


async def _calls(client: Client, count: int, *, can_wait: bool) -> float:
    return await _timed(client.calls(count, can_wait=can_wait))


async def _calls_in_flight(client: Client, count: int, *, can_wait: bool) -> float:
    return await _timed(client.calls_in_flight(count, can_wait=can_wait))


async def _items(client: Client, count: int, *, credit: int) -> float:
    expected = receipt_for(count)
    start = time.perf_counter()
    receipt = await client.items(count, credit)
    seconds = time.perf_counter() - start
    if receipt != expected:
        raise WrongAnswer(f"items: expected {expected}, got {receipt}")
    return seconds


async def _echoes(client: Client, count: int) -> float:
    return await _timed(client.echoes(_blocks(), count))


async def _timed(work: Awaitable[None]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


@functools.cache
def _blocks() -> tuple[bytes, ...]:
    """Several, so that an answer to another question shows."""
    numbers = random.Random(7)
    return tuple(numbers.randbytes(ECHO_SIZE) for _ in range(4))


WORKS = (
    Work(
        "call",
        "calls",
        "add two u32, one call at a time; the handler has no await in it",
        0.5,
        100,
        functools.partial(_calls, can_wait=False),
    ),
    Work(
        "call-task",
        "calls",
        "the same; the handler has an await, and so a task of its own",
        0.5,
        100,
        functools.partial(_calls, can_wait=True),
    ),
    Work(
        "in-flight",
        "calls",
        f"as call, with {IN_FLIGHT} in flight; the floor answers and asks again in "
        "batches, one write for all of one read",
        0.06,
        1000,
        functools.partial(_calls_in_flight, can_wait=False),
    ),
    Work(
        "in-flight-task",
        "calls",
        f"as call-task, with {IN_FLIGHT} in flight",
        0.06,
        1000,
        functools.partial(_calls_in_flight, can_wait=True),
    ),
    Work(
        "items",
        "items",
        "u64 items 0, 1, 2 … one way, at channel credit 256; the floor writes 64 at a "
        "time, without credit",
        0.08,
        1000,
        functools.partial(_items, credit=256),
    ),
    Work(
        "items-16",
        "items",
        "the same at the default channel credit, 16",
        None,
        1000,
        functools.partial(_items, credit=16),
    ),
    Work(
        "echo",
        "echoes",
        "a byte string of 1 MiB there and back, one at a time",
        0.5,
        10,
        _echoes,
    ),
)
"""All works, in the order of the tables."""


def find_work(name: str) -> Work:
    """The work of this name.

    Raises:
        ValueError: there is none.
    """
    for work in WORKS:
        if work.name == name:
            return work
    names = ", ".join(work.name for work in WORKS)
    raise ValueError(f"expected one of {names}, got {name!r}")
