"""Payloads that have begun count until they are complete, or never will be."""

from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    Limits,
    LinkError,
    StreamLimits,
    StreamLink,
    connect,
    dispatcher,
    serving,
)
from roam_trio.links.arrivals import Arrivals
from tests.test_server_budgets import Room, RoomImpl, budget_of

MIB = 1024 * 1024
AHEAD = MIB + 64 * 1024
"""The first buffer of a large payload, which doubles when it is full."""


class Counting:
    """Counts what may be held."""

    first = None
    arrivals: Arrivals | None = None

    def __init__(self, most: int = 100 * MIB) -> None:
        self.most = most
        self.held = 0
        self.peak = 0

    def hold(self, size: int) -> bool:
        if self.held + size > self.most:
            return False
        self.held += size
        self.peak = max(self.peak, self.held)
        return True

    def give(self, size: int) -> None:
        self.held -= size

    wait, go_on = hold, give


def begun(length: int, come: int) -> bytes:
    return length.to_bytes(4, "little") + bytes(come)


async def receiving(
    nursery: trio.Nursery, budget: Counting
) -> tuple[trio.abc.SendStream, list[int]]:
    ours, theirs = memory_stream_pair()
    _, rx = StreamLink(ours, limits=StreamLimits(max_payload=10 * MIB)).split()
    rx.count_in(budget)
    lengths: list[int] = []

    async def receive() -> None:
        try:
            while (payload := await rx.recv()) is not None:
                lengths.append(len(payload))
        except LinkError:
            lengths.append(-1)

    nursery.start_soon(receive)
    return theirs, lengths


async def test_large_payload_counts_until_it_is_complete(
    nursery: trio.Nursery,
) -> None:
    budget = Counting()
    stream, lengths = await receiving(nursery, budget)
    await stream.send_all(begun(5 * MIB, 10))
    await wait_all_tasks_blocked()
    assert budget.held == 0
    await stream.send_all(bytes(100_000))
    await wait_all_tasks_blocked()
    assert budget.held == AHEAD
    await stream.send_all(bytes(3 * MIB + MIB // 2 - 100_010))
    await wait_all_tasks_blocked()
    assert budget.held == 4 * AHEAD
    await stream.send_all(bytes(3 * MIB // 2))
    await wait_all_tasks_blocked()
    assert (lengths, budget.held) == ([5 * MIB], 0)
    assert budget.peak == 5 * MIB
    nursery.cancel_scope.cancel()


async def test_payload_of_less_than_a_read_counts_once_it_comes_in_parts(
    nursery: trio.Nursery,
) -> None:
    budget = Counting()
    stream, lengths = await receiving(nursery, budget)
    await stream.send_all(begun(60_000, 20_000))
    await wait_all_tasks_blocked()
    assert budget.held == 20_004
    await stream.send_all(bytes(20_000))
    await wait_all_tasks_blocked()
    assert budget.held == 40_004
    await stream.send_all(bytes(20_000))
    await wait_all_tasks_blocked()
    assert (lengths, budget.held) == ([60_000], 0)
    nursery.cancel_scope.cancel()


async def test_payload_that_comes_whole_does_not_count(nursery: trio.Nursery) -> None:
    budget = Counting()
    stream, lengths = await receiving(nursery, budget)
    await stream.send_all(begun(60_000, 60_000) + begun(16_000, 16_000))
    await wait_all_tasks_blocked()
    assert (lengths, budget.peak) == ([60_000, 16_000], 0)
    nursery.cancel_scope.cancel()


async def test_payload_that_is_cut_off_counts_no_longer(nursery: trio.Nursery) -> None:
    budget = Counting()
    stream, lengths = await receiving(nursery, budget)
    await stream.send_all(begun(5 * MIB, 2 * MIB))
    await wait_all_tasks_blocked()
    assert budget.held > 0
    await stream.aclose()
    await wait_all_tasks_blocked()
    assert (lengths, budget.held) == ([-1], 0)


async def test_budget_without_room_is_asked_and_counts_nothing(
    nursery: trio.Nursery,
) -> None:
    budget = Counting(MIB)
    stream, lengths = await receiving(nursery, budget)
    await stream.send_all(begun(2 * MIB, 2 * MIB))
    await wait_all_tasks_blocked()
    assert (lengths, budget.held) == ([2 * MIB], 0)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("resume", [False, True])
async def test_session_ends_whose_payload_has_no_room(resume: bool) -> None:
    limits = Limits(session_bytes=3 * MIB)
    async with (
        serving(
            "tcp://127.0.0.1:0",
            dispatcher(Room, RoomImpl()),
            limits=limits,
            resume=resume,
        ) as server,
        connect(server.url, Room, resume=resume) as room,
    ):
        session = server.sessions[0]
        with pytest.raises(ConnectionLost, match="limit: session_bytes"):
            await room.store(bytes(8 * MIB))
        await session.closed()
        assert budget_of(session).bytes == 0
