"""Keepalive: pings in their time, and an end for a peer that does not answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing

from roam_trio import ConnectionLost, Limits, RxConnectionLost, Tx, channel, client
from roam_trio.errors import SessionIoError
from roam_trio.session import SessionKeepaliveConfig
from roam_trio.wire.envelope import decode_message
from roam_trio.wire.messages import Ping, Pong, RequestCall
from tests.peer import Peer
from tests.session.running import (
    OK,
    Streams,
    Task,
    WithPeer,
    caller_of,
    join,
    response,
    streams,
)

CONFIG = SessionKeepaliveConfig(ping_interval=5, pong_timeout=2)
WHY = (
    r"the peer is taken for dead: it has not answered a Ping for 2 s "
    r"\(keepalive: pong_timeout\)"
)


async def hear_ping(peer: Peer) -> tuple[float, int]:
    """When the next Ping comes, and its nonce."""
    ping = await peer.hear(Ping)
    assert ping.connection_id == 0
    return trio.current_time(), ping.nonce


@pytest.mark.rule("session.keepalive")
async def test_each_ping_comes_one_interval_after_the_pong(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer(keepalive=CONFIG) as (session, peer):
        last = trio.current_time()
        for nonce, delay in [(1, 0.0), (2, 1.5), (3, 0.5), (4, 0.0)]:
            pinged, heard = await hear_ping(peer)
            assert (pinged, heard) == (last + 5, nonce)
            await trio.sleep(delay)
            await peer.say(Pong(0, nonce))
            last = trio.current_time()
        assert session.ended_because is None


async def test_by_default_there_are_no_pings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer() as (session, peer):
        await trio.sleep(80_000)
        assert await peer.heard_nothing_more()
        assert session.ended_because is None


@pytest.mark.rule("session.keepalive")
async def test_a_ping_is_answered_whether_keepalive_is_on_or_not() -> None:
    for keepalive in (None, CONFIG):
        async with WithPeer(keepalive=keepalive) as (_, peer):
            await peer.say(Ping(0, 2**64 - 1), Ping(0, 0))
            assert await peer.hear(Pong) == Pong(0, 2**64 - 1)
            assert await peer.hear(Pong) == Pong(0, 0)


async def test_one_ping_is_outstanding_at_a_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    config = SessionKeepaliveConfig(ping_interval=1, pong_timeout=60)
    async with WithPeer(keepalive=config) as (_, peer):
        await hear_ping(peer)
        await trio.sleep(50)
        assert await peer.heard_nothing_more()


@pytest.mark.rule("session.keepalive")
async def test_pongs_of_other_nonces_are_ignored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer(keepalive=CONFIG) as (session, peer):
        await peer.say(Pong(0, 0), Pong(0, 1))  # before there was a Ping
        pinged, nonce = await hear_ping(peer)
        await peer.say(Pong(0, nonce - 1), Pong(0, nonce + 1), Pong(3, nonce))
        await session.root.closed()
        assert trio.current_time() == pytest.approx(pinged + 2)


@pytest.mark.rule("session.keepalive")
async def test_a_missing_pong_ends_everything_and_says_why(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        trio.open_nursery() as nursery,
        WithPeer(keepalive=CONFIG) as (session, peer),
    ):
        caller = caller_of(session)
        output, back = channel[int]()
        calls: list[Task[Any]] = [Task(nursery, caller.echo, "a")]
        calls.append(Task(nursery, caller.give, 3, output))
        received = Task(nursery, back.__anext__)
        heard = {(await peer.hear(RequestCall)).request_id for _ in calls}
        assert heard == {1, 3}
        await trio.sleep(6)
        await session.root.closed()
        assert trio.current_time() == pytest.approx(7)
        assert isinstance(session.ended_because, SessionIoError)
        for call in calls:
            with pytest.raises(ConnectionLost, match=WHY):
                await call.result()
        with pytest.raises(RxConnectionLost, match=WHY):
            await received.result()
        with pytest.raises(ConnectionLost, match=WHY):
            await caller.echo("too late")


async def test_a_pong_in_time_keeps_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer(keepalive=CONFIG) as (session, peer):
        for nonce in range(1, 50):
            await hear_ping(peer)
            await trio.sleep(1.99)
            await peer.say(Pong(0, nonce))
        assert session.ended_because is None


async def test_a_pong_that_is_there_when_this_program_wakes_counts(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer(keepalive=CONFIG) as (session, peer):
        for nonce in range(1, 30):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(5)
            await hear_ping(peer)
            await peer.say(Pong(0, nonce))
            mock_clock.jump(100)  # before the session's reader has run
            await trio.testing.wait_all_tasks_blocked()
            assert session.ended_because is None


async def test_a_ping_finds_its_way_through_a_busy_link(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        trio.open_nursery() as nursery,
        WithPeer(keepalive=CONFIG, buffer=2, most=1000) as (session, peer),
    ):
        caller = caller_of(session)
        for _ in range(50):
            nursery.start_soon(caller.echo, "busy")
        await trio.sleep(5.5)
        calls: list[RequestCall] = []
        pings: list[int] = []
        while len(calls) < 50 or not pings:
            payload = await peer.rx.recv()
            assert payload is not None
            message = decode_message(payload)
            if isinstance(message, RequestCall):
                calls.append(message)
            elif isinstance(message, Ping):
                pings.append(message.nonce)
                await peer.say(Pong(0, message.nonce))
        assert pings == [1]
        for call in calls:
            await peer.say(response(call.request_id, OK + b"\x00"))
        await trio.testing.wait_all_tasks_blocked()
        assert session.ended_because is None


@pytest.mark.rule("session.keepalive")
async def test_a_peer_that_does_not_read_is_dead_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits(close_seconds=1)
    async with (
        trio.open_nursery() as nursery,
        WithPeer(keepalive=CONFIG, buffer=1, limits=limits) as (session, _),
    ):
        caller = caller_of(session)
        calls = [Task(nursery, caller.echo, "stuck") for _ in range(3)]
        await session.closed()
        assert trio.current_time() == pytest.approx(5 + 2 + 1)
        for call in calls:
            with pytest.raises(ConnectionLost, match=WHY):
                await call.result()


async def test_both_sides_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        async with output:
            for number in range(upto):
                await trio.sleep(1)
                await output.send(number)

    ours, theirs = await join(
        nursery,
        streams(give=give),
        keepalive=CONFIG,
        accepting={"keepalive": SessionKeepaliveConfig(ping_interval=3)},
    )
    output, back = channel[int]()
    nursery.start_soon(client(Streams, ours.caller).give, 60, output)
    assert [number async for number in back] == list(range(60))
    assert ours.ended_because is theirs.ended_because is None
    sent = ours.statistics().sent.payloads
    await trio.sleep(30)
    # 6 Pings of its own at most, and an answer to every one of 10.
    assert 10 <= ours.statistics().sent.payloads - sent <= 16
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["ping_interval", "pong_timeout"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_times_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        SessionKeepaliveConfig(**{name: value})
