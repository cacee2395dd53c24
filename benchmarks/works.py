"""What is done and measured: the works, each a number of equal steps for a client."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import attrs

from .adapters.base import (
    CONNECTIONS,
    IN_FLIGHT,
    RECORDS,
    CallsWith,
    Client,
    Connect,
    Receipt,
    WrongAnswer,
    make_rows,
    receipt_for,
)
from .stopwatch import Stopwatch

__all__ = [
    "ECHO_SIZE",
    "HELD",
    "NOT_PINNED",
    "PINNED",
    "SPEEDS",
    "WORKS",
    "Work",
    "find_work",
    "make_blocks",
    "time_calls",
]

ECHO_SIZE = 1024 * 1024
"""How long an echoed byte string is, in bytes."""

_WARM_UP = 10
"""Before its steps are timed, a client does this part of them: one in so many."""

_ALONE = 4
"""This part of the steps is done again with each timed by itself."""

_HELD_BEFORE = 20
"""How many of the things to be held there are when the memory is first looked at."""

PINNED = "both processes pinned to one CPU"
NOT_PINNED = "not pinned"


@attrs.frozen
class Work:
    """One kind of work.

    Attributes:
        name: for command lines and tables.
        unit: what one step is, in the plural.
        about: what is done, with all that matters for the speed.
        measure: does a number of steps with clients that it connects, checks what came
            out, and lets the stopwatch run for the steps.
        target: the least throughput of roam_trio, as a ratio to the floor's, with both
            processes pinned to one CPU; None if there is none.
        target_not_pinned: the same with the processes where the system puts them.
        first: how many steps to try when nothing is known of the speed yet.
        least: do not do fewer steps, however long they take.
        peers: whether it is for every implementation, or for the floor, raw trio and
            roam_trio only.
        beside: works of roam_trio's with whose processor time that of this one is
            compared; then it is for roam_trio only.
        most_beside: the most processor time, as a ratio to the first of them.
        most_held: for things that are held: the most memory for one, in bytes.
    """

    name: str
    unit: str
    about: str
    measure: Callable[[Connect, int, Stopwatch], Awaitable[None]]
    target: float | None = None
    target_not_pinned: float | None = None
    first: int = 100
    least: int = 1
    peers: bool = True
    beside: Sequence[str] = ()
    most_beside: float | None = None
    most_held: int | None = None

    def target_at(self, placement: str) -> float | None:
        """The target with the processes in this place."""
        return self.target if placement == PINNED else self.target_not_pinned


# ------------------------------------------------------------ steps of one client


async def _calls(
    connect: Connect, count: int, watch: Stopwatch, *, can_wait: bool
) -> None:
    async with connect() as client:
        await client.calls(count // _WARM_UP + 1, can_wait=can_wait)
        with watch:
            await client.calls(count, can_wait=can_wait)
        watch.time_steps(
            await time_calls(client, count // _ALONE + 1, can_wait=can_wait)
        )


async def _calls_with(
    connect: Connect, count: int, watch: Stopwatch, *, what: CallsWith
) -> None:
    async with connect() as plain, plain.calling_with(what) as client:
        await client.calls(count // _WARM_UP + 1, can_wait=False)
        with watch:
            await client.calls(count, can_wait=False)


async def time_calls(client: Client, count: int, *, can_wait: bool) -> list[float]:
    """What each of some calls takes, one after another."""
    laps: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        await client.calls(1, can_wait=can_wait)
        laps.append(time.perf_counter() - start)
    return laps


async def _calls_in_flight(
    connect: Connect, count: int, watch: Stopwatch, *, can_wait: bool
) -> None:
    async with connect() as client:
        await client.calls_in_flight(count // _WARM_UP + 1, can_wait=can_wait)
        with watch:
            await client.calls_in_flight(count, can_wait=can_wait)


async def _items(
    connect: Connect,
    count: int,
    watch: Stopwatch,
    *,
    carry: Callable[[Client, int], Awaitable[Receipt]],
) -> None:
    warm_up = count // _WARM_UP + 1
    expected = receipt_for(count)
    async with connect() as client:
        _check_receipt(await carry(client, warm_up), receipt_for(warm_up))
        with watch:
            receipt = await carry(client, count)
        _check_receipt(receipt, expected)


def _check_receipt(receipt: Receipt, expected: Receipt) -> None:
    if receipt != expected:
        raise WrongAnswer(f"items: expected {expected}, got {receipt}")


async def _echoes(connect: Connect, count: int, watch: Stopwatch) -> None:
    async with connect() as client:
        await client.echoes(make_blocks(), count // _WARM_UP + 1)
        with watch:
            await client.echoes(make_blocks(), count)


@functools.cache
def make_blocks() -> tuple[bytes, ...]:
    """What is echoed: several, so that an answer to another question shows."""
    numbers = random.Random(7)
    return tuple(numbers.randbytes(ECHO_SIZE) for _ in range(4))


async def _records(connect: Connect, count: int, watch: Stopwatch) -> None:
    """The answers are checked while the stopwatch stands still."""
    choices = [make_rows(seed) for seed in (1, 2)]
    async with connect() as client:
        lists = [client.records_of(rows) for rows in choices]
        for _ in range(count // _WARM_UP + 1):
            await client.swap(lists[0])
        for turn in range(count):
            records = lists[turn % len(lists)]
            with watch:
                answer = await client.swap(records)
            if client.rows_of(answer) != choices[turn % len(lists)]:
                raise WrongAnswer(f"list {turn} of records came back changed")


# ------------------------------------------------------------ making and holding


async def _connects(connect: Connect, count: int, watch: Stopwatch) -> None:
    """What closes a connection is not counted."""
    for _ in range(count // _WARM_UP + 1):
        async with connect() as client:
            await client.calls(1, can_wait=False)
    for _ in range(count):
        async with AsyncExitStack() as stack:
            with watch:
                client = await stack.enter_async_context(connect())
                await client.calls(1, can_wait=False)


async def _hold_sessions(connect: Connect, count: int, watch: Stopwatch) -> None:
    """Some connect only when they have something to send, so a call is counted too."""
    async with AsyncExitStack() as stack:
        await _call_each(await _open(connect, stack, _HELD_BEFORE))
        before = watch.server_memory()
        with watch:
            await _call_each(await _open(connect, stack, count))
        watch.hold(before, watch.server_memory())


async def _hold_connections(connect: Connect, count: int, watch: Stopwatch) -> None:
    async with (
        connect() as client,
        client.session() as open_connection,
        AsyncExitStack() as stack,
    ):
        await _call_each(await _open(open_connection, stack, _HELD_BEFORE))
        before = watch.server_memory()
        with watch:
            clients = await _open(open_connection, stack, count)
        await _call_each(clients)
        watch.hold(before, watch.server_memory())


async def _open(open_one: Connect, stack: AsyncExitStack, count: int) -> list[Client]:
    return [await stack.enter_async_context(open_one()) for _ in range(count)]


async def _call_each(clients: Sequence[Client]) -> None:
    for client in clients:
        await client.calls(1, can_wait=False)


# ------------------------------------------------------------ the works


def _feature(
    name: str,
    text: str,
    what: CallsWith,
    *,
    beside: tuple[str, ...],
    most_beside: float | None = None,
) -> Work:
    """Return a work of roam_trio alone: calls that use one of its features."""
    run = functools.partial(_calls_with, what=what)
    return Work(
        name,
        "calls",
        text,
        run,
        peers=False,
        beside=beside,
        most_beside=most_beside,
    )


SPEEDS = (
    Work(
        "call",
        "calls",
        "add two u32, one call at a time; the handler has no await in it",
        functools.partial(_calls, can_wait=False),
        target=1.10,
        target_not_pinned=1.00,
    ),
    Work(
        "call-task",
        "calls",
        "as call, with a handler that has an await, and so a task of its own",
        functools.partial(_calls, can_wait=True),
        target=1.00,
        target_not_pinned=1.00,
        peers=False,
    ),
    _feature(
        "call-metadata",
        "as call, with an entry of metadata, a key and a short text",
        CallsWith.ONE_ENTRY,
        beside=("call", "call-task"),
    ),
    _feature(
        "call-metadata-3",
        "as call, with three entries of metadata",
        CallsWith.THREE_ENTRIES,
        beside=("call", "call-task"),
    ),
    _feature(
        "call-scope",
        "as call, each under a trio.fail_after of its own, of which the peer is not "
        "told",
        CallsWith.SCOPE,
        beside=("call",),
    ),
    _feature(
        "call-deadline",
        "as call-scope, and the peer is told the deadline",
        CallsWith.DEADLINE,
        beside=("call-scope", "call"),
        most_beside=1.05,
    ),
    _feature(
        "call-middleware",
        "as call, with an async middleware that does nothing on each side, for which "
        "the server needs a task, as in call-task",
        CallsWith.MIDDLEWARE,
        beside=("call-task", "call"),
        most_beside=1.15,
    ),
    _feature(
        "call-with-entry",
        "as call-middleware, with an entry of metadata that is as long as that of a "
        "trace",
        CallsWith.MIDDLEWARE_ENTRY,
        beside=("call-middleware", "call"),
    ),
    _feature(
        "call-otel",
        "as call-middleware, with the middleware of Telemetry, and a span of each call "
        "on each side, which is exported in batches and discarded",
        CallsWith.RECORDED,
        beside=("call-middleware", "call"),
    ),
    _feature(
        "call-unsampled",
        "as call-otel, in a trace that is not sampled: its context is passed on in an "
        "entry of metadata",
        CallsWith.UNSAMPLED,
        beside=("call-with-entry", "call-middleware", "call"),
        most_beside=1.1,
    ),
    _feature(
        "call-translated",
        "as call, by a client with another version of the service: the arguments have "
        "another order, one of them is left out, and the result is wider",
        CallsWith.VERSION,
        beside=("call",),
        most_beside=1.3,
    ),
    Work(
        "in-flight",
        "calls",
        f"as call, with {IN_FLIGHT} in flight; the floor answers and asks again in "
        "batches, one write for all of one read",
        functools.partial(_calls_in_flight, can_wait=False),
        target=0.23,
        target_not_pinned=0.23,
        first=1000,
    ),
    Work(
        "in-flight-task",
        "calls",
        f"as call-task, with {IN_FLIGHT} in flight",
        functools.partial(_calls_in_flight, can_wait=True),
        target=0.17,
        target_not_pinned=0.17,
        first=1000,
        peers=False,
    ),
    Work(
        "items",
        "items",
        "u64 items 0, 1, 2 … from client to server; roam_trio at channel credit 256; "
        "the floor writes 64 at a time, without credit",
        functools.partial(_items, carry=lambda client, n: client.items(n, 256)),
        target=0.20,
        target_not_pinned=0.20,
        first=1000,
    ),
    Work(
        "items-16",
        "items",
        "as items, at the default channel credit, 16",
        functools.partial(_items, carry=lambda client, n: client.items(n, 16)),
        first=1000,
        peers=False,
    ),
    Work(
        "items-many",
        "items",
        "as items, 64 with each send_many, received with recv_many; the floor writes "
        "64 at a time as well",
        functools.partial(_items, carry=lambda client, n: client.items_many(n, 256)),
        target=0.75,
        target_not_pinned=0.75,
        first=1000,
        peers=False,
    ),
    Work(
        "items-back",
        "items",
        "as items, from server to client",
        functools.partial(_items, carry=lambda client, n: client.items_back(n, 256)),
        target=0.19,
        target_not_pinned=0.19,
        first=1000,
    ),
    Work(
        "items-both",
        "items",
        "as items, both ways at once: the server sends each item back as it comes, the "
        "floor all items of one read with one write",
        functools.partial(_items, carry=lambda client, n: client.items_both(n, 256)),
        first=1000,
    ),
    Work(
        "echo",
        "echoes",
        "a byte string of 1 MiB there and back, one at a time",
        _echoes,
        target=1.00,
        target_not_pinned=1.00,
        first=10,
    ),
    Work(
        "records",
        "lists",
        f"a list of {RECORDS:,} records of five fields there and back, one at a time; "
        "the floor encodes them with msgspec as MessagePack",
        _records,
        target=1.00,
        first=10,
    ),
    Work(
        "connect",
        "connections",
        "connect, and make a first call; closing is not counted",
        _connects,
        target=0.70,
        first=10,
    ),
)
"""The works that are done round by round, by the processes of the whole run."""

HELD = (
    Work(
        "idle-sessions",
        "sessions",
        "sessions with a TCP connection each, idle after one call; the rate is that of "
        "opening them and making the call",
        _hold_sessions,
        most_held=10_500,
        first=1000,
    ),
    Work(
        CONNECTIONS,
        "connections",
        "virtual connections in one session, idle after one call; the rate is that of "
        "opening them",
        _hold_connections,
        most_held=2_000,
        first=10_000,
    ),
)
"""The works that hold `first` things at once, in processes of their own each time."""

WORKS = SPEEDS + HELD
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
