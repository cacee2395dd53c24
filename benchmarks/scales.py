"""The works that grow: one step, while there is more and more of something."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import attrs

from .adapters import FLOOR, ROAM
from .adapters.base import Client, Connect
from .stopwatch import Stopwatch
from .works import Work

__all__ = ["SCALES", "Scale", "find_scaled"]

_WARM_UP = 10


@attrs.frozen
class Scale:
    """One thing of which there is more and more.

    Attributes:
        name: for tables and command lines.
        title: what a step costs, for the plot.
        about: what a step is.
        sizes: how much there is of it.
        adapters: the implementations that have it.
        is_flat: whether a step should cost the same at every size; otherwise its cost
            should grow in proportion.
        measure: does a number of steps at a size.
    """

    name: str
    title: str
    about: str
    sizes: Sequence[int]
    adapters: Sequence[str]
    is_flat: bool
    measure: Callable[[int, Connect, int, Stopwatch], Awaitable[None]]

    def at(self, size: int) -> Work:
        """The work at one size."""
        return Work(
            f"{self.name}-{size}",
            "steps",
            self.about,
            partial(self.measure, size),
            first=1000 if self.is_flat else max(2, min(200, 2**24 // size)),
            least=size if self.is_flat else 1,
            peers=False,
        )


async def _over_sessions(
    size: int, connect: Connect, count: int, watch: Stopwatch
) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect()) for _ in range(size)]
        await _call_in_turn(clients, count, watch)


async def _over_connections(
    size: int, connect: Connect, count: int, watch: Stopwatch
) -> None:
    async with (
        connect() as client,
        client.session() as open_connection,
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(open_connection()) for _ in range(size)
        ]
        await _call_in_turn(clients, count, watch)


async def _call_in_turn(
    clients: Sequence[Client], count: int, watch: Stopwatch
) -> None:
    for client in clients:
        await client.calls(1, can_wait=False)
    with watch:
        for turn in range(count):
            await clients[turn % len(clients)].calls(1, can_wait=False)


async def _over_channels(
    size: int, connect: Connect, count: int, watch: Stopwatch
) -> None:
    async with (
        connect() as client,
        client.session() as open_connection,
        open_connection() as roomy,
        roomy.channels(size) as senders,
    ):
        for send in senders:
            await send(0)
        await roomy.calls(1, can_wait=False)  # answered after all items have come
        with watch:
            for turn in range(count):
                round, place = divmod(turn, size)
                await senders[place](round + 1)
            await roomy.calls(1, can_wait=False)


async def _over_payloads(
    size: int, connect: Connect, count: int, watch: Stopwatch
) -> None:
    numbers = random.Random(size)
    blocks = [numbers.randbytes(size) for _ in range(2)]
    async with connect() as client:
        await client.echoes(blocks, count // _WARM_UP + 1)
        with watch:
            await client.echoes(blocks, count)


SCALES = (
    Scale(
        "sessions",
        "A call, by sessions",
        "a call, one at a time, in each of the sessions in turn, all of one server and "
        "one client",
        (1, 10, 100, 1000),
        (FLOOR, ROAM),
        True,
        _over_sessions,
    ),
    Scale(
        "connections",
        "A call, by virtual connections",
        "a call, one at a time, on each of the connections of one session in turn",
        (1, 10, 100, 1000, 10_000),
        (ROAM,),
        True,
        _over_connections,
    ),
    Scale(
        "channels",
        "An item, by channels",
        "an item, on each of the channels of one connection in turn, at the default "
        "credit of 16; each belongs to a call that is in flight",
        (1, 10, 100, 1000, 10_000),
        (ROAM,),
        True,
        _over_channels,
    ),
    Scale(
        "payloads",
        "An echo, by bytes",
        "an echo of so many bytes, one at a time",
        (1, 64, 1024, 2**14, 2**17, 2**20, 2**22, 2**24, 2**26),
        (FLOOR, ROAM),
        False,
        _over_payloads,
    ),
)
"""Everything that grows."""

_SCALED = {
    work.name: work
    for work in (scale.at(size) for scale in SCALES for size in scale.sizes)
}


def find_scaled(name: str) -> Work | None:
    """The work of this name, at the size in it; None if there is none."""
    return _SCALED.get(name)
