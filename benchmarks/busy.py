"""The works of the benchmark of fairness: a probe, and floods beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from .adapters.base import Client, Connect
from .stopwatch import Stopwatch
from .works import Work, make_blocks, time_calls

__all__ = ["FLOODS", "PROBE", "find_flood", "flood_work", "probe_beside"]

_SETTLING = 0.1
"""How long a flood runs before the probe begins, in seconds."""

_ECHOES = 4
"""How many large echoes are under way at a time."""

Flood = Callable[[Client], Awaitable[None]]


async def _calls(client: Client) -> None:
    await client.calls_in_flight(1000, can_wait=True)


async def _items(client: Client) -> None:
    await client.items(10_000, 256)


async def _echoes(client: Client) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(_ECHOES):
            nursery.start_soon(client.echoes, make_blocks(), 4)


FLOODS: dict[str, tuple[str, Flood]] = {
    "calls": ("64 calls in flight, answered by tasks", _calls),
    "items": ("small items at credit 256", _items),
    "echoes": (f"{_ECHOES} echoes of 1 MiB at a time", _echoes),
}
"""The floods by name: what they are, and what does a part of one."""


async def _probe(
    flood: Flood | None, connect: Connect, count: int, watch: Stopwatch
) -> None:
    """Time single calls on a connection, with a flood on the next of the session."""
    async with (
        connect() as client,
        client.session() as open_connection,
        open_connection() as busy,
        open_connection() as probe,
        trio.open_nursery() as nursery,
    ):
        await probe.calls(20, can_wait=False)
        if flood is not None:
            nursery.start_soon(_go_on, flood, busy)
            await trio.sleep(_SETTLING)
        with watch:
            laps = await time_calls(probe, count, can_wait=False)
        watch.time_steps(laps)
        nursery.cancel_scope.cancel()


async def _flood(flood: Flood, connect: Connect, count: int, watch: Stopwatch) -> None:
    """Flood from a session of its own, until the process is ended."""
    async with (
        connect() as client,
        client.session() as open_connection,
        open_connection() as busy,
    ):
        await _go_on(flood, busy)


async def _go_on(flood: Flood, client: Client) -> None:
    while True:
        await flood(client)


PROBE = Work("probe", "calls", "calls, one at a time", partial(_probe, None))


def probe_beside(flood: str) -> Work:
    """The probe on one connection with a flood on the next."""
    about, do = FLOODS[flood]
    return Work(f"probe-{flood}", "calls", about, partial(_probe, do))


def flood_work(flood: str) -> Work:
    """A flood, without end."""
    about, do = FLOODS[flood]
    return Work(f"flood-{flood}", "parts", about, partial(_flood, do))


_WORKS = {
    work.name: work
    for work in (PROBE, *map(probe_beside, FLOODS), *map(flood_work, FLOODS))
}


def find_flood(name: str) -> Work | None:
    """The work of this name; None if there is none."""
    return _WORKS.get(name)
