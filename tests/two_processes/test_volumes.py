"""Volumes between two processes: nothing is lost, order is kept, memory is flat."""

from __future__ import annotations

import pytest
import trio

from .memory import MIB
from .over import Over
from .processes import within
from .volumes import calls, echoes, items
from .watch import MemoryWatch


@within(60)
async def test_calls_items_and_blocks_share_a_connection(
    mostly_over_tcp: Over,
) -> None:
    over = mostly_over_tcp
    async with (
        over.server() as server,
        over.connect(server.url) as workshop,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(calls, workshop, 100)
        nursery.start_soon(items, workshop, 1000)
        nursery.start_soon(echoes, workshop, 4)


@pytest.mark.slow
@within(600)
async def test_100_000_calls_are_answered_in_flat_memory(over: Over) -> None:
    async with over.server() as server, over.connect(server.url) as workshop:
        watch = MemoryWatch(workshop)
        await calls(workshop, 5_000)
        await watch.lap()
        await calls(workshop, 100_000, watch.lap)
        await watch.lap()
    watch.check_flat(peak_growth=8 * MIB, block_growth=10_000)


@pytest.mark.slow
@within(600)
async def test_1_000_000_items_each_way_keep_order_in_flat_memory(over: Over) -> None:
    async with over.server() as server, over.connect(server.url) as workshop:
        watch = MemoryWatch(workshop)
        await items(workshop, 50_000)
        await watch.lap()
        await items(workshop, 1_000_000, watch.lap)
        await watch.lap()
    watch.check_flat(peak_growth=8 * MIB, block_growth=10_000)


@pytest.mark.slow
@within(600)
async def test_1_gib_of_blocks_comes_back_in_flat_memory(over: Over) -> None:
    async with over.server() as server, over.connect(server.url) as workshop:
        watch = MemoryWatch(workshop)
        await echoes(workshop, 50)
        await watch.lap()
        await echoes(workshop, 1024, watch.lap)
        await watch.lap()
    # Fewer than one object left behind by each echo.
    watch.check_flat(peak_growth=32 * MIB, block_growth=900)
