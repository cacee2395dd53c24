"""A busy connection holds up no other: what a call takes beside a flood, in turns.

A turn is one round of trio's loop, in which every task that is ready runs one step.
Both peers are in this process, so a lone call takes three: one of each reader, and one
of the caller. Turns do not depend on the machine, so there is a bound to hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

import pytest
import trio

from roam_trio import Rx, channel, client
from roam_trio.session import session_run
from roam_trio.session.turns import TURN_SECONDS, next_turn

from .pair_of_sockets import SocketPair, Steps
from .running import Streams, streams

PROBES = 100


async def add(left: int, right: int) -> int:
    return left + right


async def echo(text: str) -> str:
    if text == "wait":  # never
        await trio.sleep_forever()
    return text


async def take(numbers: Rx[int]) -> int:
    return sum([number async for number in numbers])


async def take_all(numbers: Rx[int]) -> None:
    await take(numbers)


HANDLER = streams(add=add, echo=echo, take=take, take_200=take_all)


async def calls(caller: Streams) -> None:
    while True:
        await caller.add(1, 2)


async def calls_that_can_wait(caller: Streams) -> None:
    while True:
        await caller.echo("flood")


async def large_calls(caller: Streams) -> None:
    text = "x" * 300_000
    while True:
        await caller.echo(text)


async def items(caller: Streams) -> None:
    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.take_200, rx)
        while True:
            await tx.send(1)


LOOKS = 25
"""Looks at the clock in one turn of a reader, as on a machine that is not busy."""


@pytest.fixture(autouse=True)
def steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock for the turns of readers that does not know how busy the machine is."""
    looks = count()
    monkeypatch.setattr(
        session_run,
        "next_turn",
        partial(next_turn, now=lambda: next(looks) * TURN_SECONDS / LOOKS),
    )


FLOODS = [(calls, 64), (calls_that_can_wait, 64), (items, 20)]
LARGE = (large_calls, 4)


async def turns_of_calls(caller: Streams) -> list[int]:
    """Return the turns that each of `PROBES` calls took, sorted."""
    taken: list[int] = []
    with Steps() as steps:
        for number in range(PROBES):
            before = steps.turns
            assert await caller.add(number, 1) == number + 1
            taken.append(steps.turns - before)
    return sorted(taken)


def show(flood: object, taken: list[int]) -> None:
    name = getattr(flood, "__name__", flood)
    print(  # pytest -s shows it
        f"beside {name}: turns of a call: median {taken[PROBES // 2]}, "
        f"p99 {taken[PROBES * 99 // 100]}, most {taken[-1]}"
    )


async def test_alone_a_call_takes_three_turns() -> None:
    async with SocketPair(HANDLER) as pair:
        await pair.caller.add(1, 2)
        assert await turns_of_calls(pair.caller) == [3] * PROBES


@pytest.mark.parametrize(
    ("flood", "tasks", "most"),
    [(calls, 64, 10), (calls_that_can_wait, 64, 10), (items, 20, 60), (*LARGE, 40)],
)
async def test_flood_on_a_connection_does_not_starve_the_next(
    flood: Callable[[Streams], Awaitable[None]], tasks: int, most: int
) -> None:
    """A large payload is a large piece of the one stream that all connections share:
    what is behind it has to wait until it is over, and no longer. So does what is
    behind all items that were sent in one write, which take the reader several turns.
    """
    async with SocketPair(HANDLER) as pair:
        connection = await pair.session.open_connection()
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(flood, pair.caller)
            taken = await turns_of_calls(client(Streams, connection.caller))
            nursery.cancel_scope.cancel()
    show(flood, taken)
    assert taken[-1] <= most


@pytest.mark.parametrize(("flood", "tasks"), [*FLOODS, LARGE])
async def test_flood_on_a_session_does_not_starve_the_next(
    flood: Callable[[Streams], Awaitable[None]], tasks: int
) -> None:
    async with (
        SocketPair(HANDLER) as flooded,
        SocketPair(HANDLER) as pair,
        trio.open_nursery() as nursery,
    ):
        for _ in range(tasks):
            nursery.start_soon(flood, flooded.caller)
        taken = await turns_of_calls(pair.caller)
        nursery.cancel_scope.cancel()
    show(flood, taken)
    assert taken[-1] <= 6
