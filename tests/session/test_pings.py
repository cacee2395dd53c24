"""`Session.ping` measures a round trip, and ends with the session."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import ConnectionLost
from roam_trio.session.pings import Pings
from roam_trio.wire.messages import Ping, Pong
from tests.session.running import Task, WithPeer, join


@pytest.mark.rule("session.keepalive")
async def test_a_ping_takes_as_long_as_its_answer(autojump_clock: MockClock) -> None:
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        pinging = Task(nursery, session.ping)
        asked = await peer.hear(Ping)
        assert asked.connection_id == 0
        await trio.sleep(3)
        await peer.say(Pong(0, asked.nonce))
        assert await pinging.result() == pytest.approx(3)


@pytest.mark.rule("session.keepalive")
async def test_only_the_pong_of_its_nonce_answers_a_ping() -> None:
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        first, second = Task(nursery, session.ping), Task(nursery, session.ping)
        nonces = [(await peer.hear(Ping)).nonce for _ in range(2)]
        assert len(set(nonces)) == 2
        await peer.say(Pong(0, 1), Pong(3, nonces[0]), Pong(0, nonces[1]))
        await wait_all_tasks_blocked()
        assert [first.is_done, second.is_done].count(True) == 1
        await peer.say(Pong(0, nonces[0]))
        assert await first.result() >= 0
        assert await second.result() >= 0


async def test_a_ping_fails_when_the_session_ends() -> None:
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        pinging = Task(nursery, session.ping)
        await peer.hear(Ping)
        await peer.leave()
        with pytest.raises(ConnectionLost, match="the peer has closed the link"):
            await pinging.result()
        with pytest.raises(ConnectionLost, match="the session has ended"):
            await session.ping()


async def test_a_cancelled_ping_is_forgotten() -> None:
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        pinging = Task(nursery, session.ping)
        asked = await peer.hear(Ping)
        pinging.cancel()
        await wait_all_tasks_blocked()
        assert pinging.was_cancelled
        await peer.say(Pong(0, asked.nonce))
        again = Task(nursery, session.ping)
        await peer.say(Pong(0, (await peer.hear(Ping)).nonce))
        assert await again.result() >= 0


async def test_sessions_answer_each_other(nursery: trio.Nursery) -> None:
    left, right = await join(nursery)
    assert await left.ping() >= 0
    assert await right.ping() >= 0


def test_repr_tells_how_many_are_unanswered() -> None:
    assert repr(Pings()) == "<Pings: 0 unanswered>"
