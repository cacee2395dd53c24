"""A server that this process starts, and speaks with over its standard streams."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from roam_trio import ConnectionLost, spawn
from roam_trio.endpoints.connect import Connecting

from .processes import within
from .test_ends import ALL_LOST, Start, at_work
from .test_repetitions import FEW, Repetition, repeat, ways
from .volumes import calls, echoes, items
from .workshop import Workshop

ROOT = Path(__file__).parent.parent.parent

SERVER = [sys.executable, "-W", "error", "-m", "tests.two_processes.server"]


def spawned() -> Connecting[Workshop]:
    return spawn([*SERVER, "5", "stdio:"], Workshop, cwd=ROOT)


@within(60)
async def test_calls_items_and_blocks_share_a_connection() -> None:
    async with spawned() as workshop, trio.open_nursery() as nursery:
        nursery.start_soon(calls, workshop, 100)
        nursery.start_soon(items, workshop, 1000)
        nursery.start_soon(echoes, workshop, 4)


@pytest.mark.slow
@within(600)
async def test_volumes_arrive_whole() -> None:
    async with spawned() as workshop:
        await calls(workshop, 20_000)
        await items(workshop, 200_000)
        await echoes(workshop, 256)


@at_work
@within(60)
async def test_calls_and_channels_fail_at_once_when_the_program_ends(
    start: Start,
) -> None:
    async with spawned() as workshop:
        async with trio.open_nursery() as nursery:
            lost = await start(workshop, nursery)
            assert lost == {}
            with pytest.raises(ConnectionLost):
                await workshop.exit_at_once()
        assert lost.items() >= ALL_LOST.items()
        with pytest.raises(ConnectionLost):
            await workshop.add(1, 2)


@pytest.mark.slow
@pytest.mark.rule("rpc.cancel")
@ways
@within(60)
async def test_cancelled_calls_leave_nothing(repetition: Repetition) -> None:
    async with spawned() as workshop:
        before = await workshop.state()
        await repeat(repetition, workshop, FEW)
        await workshop.until_waiting(0)
        assert await workshop.state() == before
