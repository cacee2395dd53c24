"""Lost calls: whether a handler may have seen one, or it can be made again."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import ConnectionLost, client
from roam_trio.wire.messages import RequestCall

from .running import Streams, Task, WithPeer, caller_of


async def test_call_on_a_session_that_has_ended_was_not_begun(
    autojump_clock: MockClock,
) -> None:
    async with WithPeer() as (session, _):
        calls = caller_of(session)
        await session.shutdown()
        with pytest.raises(ConnectionLost, match="the connection has ended") as caught:
            await calls.add(1, 2)
    assert caught.value.was_begun is False


async def test_call_by_a_caller_that_was_closed_was_not_begun() -> None:
    async with WithPeer() as (session, _):
        caller = session.caller.clone()
        calls = client(Streams, caller)
        caller.close()
        with pytest.raises(ConnectionLost, match="has been closed") as caught:
            await calls.add(1, 2)
    assert caught.value.was_begun is False


async def test_call_on_a_session_that_is_being_shut_down_was_not_begun(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        calls = caller_of(session)
        Task(nursery, calls.add, 1, 2)
        await peer.hear(RequestCall)
        stopping = Task(nursery, session.shutdown, 60)
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost, match="is being shut down") as caught:
            await calls.add(1, 2)
        stopping.cancel()
    assert caught.value.was_begun is False


@pytest.mark.parametrize(
    ("most", "buffer"), [(1, 16), (64, 1)], ids=["for a slot", "for room"]
)
async def test_call_that_waits_when_its_connection_is_lost_was_not_begun(
    most: int, buffer: int, nursery: trio.Nursery
) -> None:
    """But of one that was sent before, nobody here knows."""
    async with WithPeer(most=most, buffer=buffer) as (session, peer):
        calls = caller_of(session)
        sent = Task(nursery, calls.add, 1, 2)
        await wait_all_tasks_blocked()
        waiting = Task(nursery, calls.add, 3, 4)
        await wait_all_tasks_blocked()
        await peer.tx.close()
        await peer.rx.close()
        with pytest.raises(ConnectionLost) as of_sent:
            await sent.result()
        with pytest.raises(ConnectionLost) as of_waiting:
            await waiting.result()
    assert of_sent.value.was_begun is None
    assert of_waiting.value.was_begun is False
