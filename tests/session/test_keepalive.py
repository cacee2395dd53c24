"""Keepalive: pings in their time, and an end for a peer that does not answer."""

from __future__ import annotations

import logging
import math
import re
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from roam_trio import (
    ConnectionAcceptor,
    ConnectionLost,
    LimitExceeded,
    Limits,
    Rx,
    RxConnectionLost,
    Server,
    Session,
    SessionRejected,
    Tx,
    channel,
    client,
    serve,
)
from roam_trio.errors import SessionIoError
from roam_trio.links.base import RxStatistics, TxStatistics
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.session import SessionKeepaliveConfig, acceptor
from roam_trio.session.keepalive import _is_progress, _moving
from roam_trio.session.outbox import Outbox
from roam_trio.transports import dialer
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.ids import ConnectionId, Parity
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ChannelClose,
    ChannelItem,
    ConnectionSettings,
    Hello,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
)
from tests.peer import Peer
from tests.session.running import (
    OK,
    Streams,
    Task,
    WithPeer,
    call_of,
    caller_of,
    join,
    response,
    streams,
)

CONFIG = SessionKeepaliveConfig(ping_interval=5, pong_timeout=2, while_idle=True)
LAZY = SessionKeepaliveConfig(ping_interval=5, pong_timeout=2, idle_interval=60)
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
    config = SessionKeepaliveConfig(ping_interval=1, pong_timeout=60, while_idle=True)
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
        accepting={
            "keepalive": SessionKeepaliveConfig(ping_interval=3, while_idle=True)
        },
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


@pytest.mark.rule("session.keepalive")
async def test_an_idle_peer_is_pinged_rarely_and_need_not_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer(keepalive=LAZY) as (session, peer):
        assert await hear_ping(peer) == (60, 1)
        watching = session._run.control.keepalive
        assert repr(watching).startswith("<Keepalive: Ping 1 unanswered, due at ")
        await trio.sleep(10_000)
        assert await peer.heard_nothing_more()  # one Ping is outstanding at a time
        await peer.say(Pong(0, 1))
        answered = trio.current_time()
        pinged, nonce = await hear_ping(peer)
        assert nonce == 2
        assert answered + 60 == pytest.approx(pinged)
        assert session.ended_because is None


async def test_a_peer_that_did_not_answer_while_idle_has_time_when_it_is_called(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with WithPeer(keepalive=LAZY) as (session, peer):
        await hear_ping(peer)
        await trio.sleep(1001)
        call = Task(nursery, caller_of(session).echo, "a")
        heard = await peer.hear(RequestCall)
        await trio.sleep(1)
        await peer.say(Pong(0, 1))
        await trio.sleep(4)
        await peer.say(response(heard.request_id, OK + b"\x00"))
        assert await call.result() == ""


async def test_a_peer_that_answers_no_more_is_dead_once_it_is_called(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with WithPeer(keepalive=LAZY) as (session, peer):
        await hear_ping(peer)
        await trio.sleep(1001)
        began = trio.current_time()
        call = Task(nursery, caller_of(session).echo, "a")
        with pytest.raises(ConnectionLost, match=WHY):
            await call.result()
        assert 2 <= trio.current_time() - began <= 5 + 2


async def test_a_peer_with_something_in_flight_is_pinged_when_it_says_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with WithPeer(keepalive=LAZY) as (session, peer):
        output, back = channel[int]()
        nursery.start_soon(caller_of(session).give, 3, output)
        heard = await peer.hear(RequestCall)
        for _ in range(20):  # what it sends shows that it is alive
            await trio.sleep(4)
            await peer.say(ChannelItem(0, heard.channels[0], b"\x02"))
            assert await back.recv() == 1
        said = trio.current_time()
        while True:
            payload = await peer.rx.recv()
            assert payload is not None
            if isinstance(decode_message(payload), Ping):
                break
        assert said + 5 <= trio.current_time() <= said + 2 * 5
        await peer.say(Pong(0, 1))
        await peer.say(response(heard.request_id), ChannelClose(0, heard.channels[0]))
        with pytest.raises(trio.EndOfChannel):
            await back.recv()
        await trio.testing.wait_all_tasks_blocked()
        quiet = trio.current_time()
        pinged, nonce = await hear_ping(peer)
        assert nonce == 2
        assert pinged >= quiet + 60


async def test_a_message_answers_a_ping_as_well(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with WithPeer(keepalive=CONFIG) as (session, peer):
        call = Task(nursery, caller_of(session).echo, "a")
        heard = await peer.hear(RequestCall)
        assert await hear_ping(peer) == (5, 1)
        await trio.sleep(1)
        await peer.say(response(heard.request_id, OK + b"\x00"))
        assert await call.result() == ""
        assert (await hear_ping(peer))[1] == 2
        assert session.ended_because is None


class SlowPeer:
    """A peer on a stream that says things byte by byte."""

    def __init__(self, **options: Any) -> None:
        self.stream, right = trio.testing.memory_stream_pair()
        limits = StreamLimits(payload_seconds=math.inf)
        self.link = StreamLink(right, limits=limits)
        self.opening = acceptor(self.link, **options).open(streams(echo=self.echo))
        self.echoed: list[str] = []
        self.has_echoed = trio.Event()

    async def echo(self, text: str) -> str:
        self.echoed.append(text)
        self.has_echoed.set()
        await trio.sleep(20)
        return text

    def pings(self, session: Session) -> int:
        """Return the number of Pings that the session has sent."""
        return session.statistics().sent.payloads - 1  # beside HelloYourself

    async def say(self, *messages: Message, count: int | None = None) -> None:
        """Say messages, or the first bytes of them."""
        data = b""
        for message in messages:
            payload = b"".join(encode_message(message))
            data += len(payload).to_bytes(4, "little") + payload
        for byte in data[:count]:
            await self.stream.send_all(bytes([byte]))
            await trio.sleep(1)


HELLO = Hello(
    ConnectionId.ROOT, PROTOCOL_VERSION, ConnectionSettings(Parity.ODD, 64), NO_METADATA
)


async def test_a_payload_on_its_way_shows_that_the_peer_is_alive(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    slow = SlowPeer(
        keepalive=CONFIG, limits=Limits(handshake_seconds=60, idle_seconds=30)
    )
    nursery.start_soon(slow.say, HELLO, call_of("echo", 1, "x" * 100))
    async with slow.opening as session:
        await slow.has_echoed.wait()
        assert trio.current_time() > 100
        assert session.ended_because is None
        assert slow.echoed == ["x" * 100]
        await session.closed()
        assert WHY.replace("\\", "") in str(session.ended_because)


async def test_a_pong_may_come_behind_a_payload_that_is_on_its_way(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    slow = SlowPeer(keepalive=CONFIG, limits=Limits(handshake_seconds=60))
    nursery.start_soon(slow.say, HELLO)
    async with slow.opening as session:
        while not slow.pings(session):
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.5)
        await slow.say(call_of("echo", 1, "x" * 100), Pong(ConnectionId.ROOT, 1))
        assert session.ended_because is None
        assert slow.echoed == ["x" * 100]
        nursery.cancel_scope.cancel()


async def test_a_payload_that_stops_on_its_way_shows_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    slow = SlowPeer(keepalive=CONFIG, limits=Limits(handshake_seconds=60))
    call = call_of("echo", 1, "x" * 100)
    nursery.start_soon(partial(slow.say, HELLO, call, count=60))
    async with slow.opening as session:
        await session.closed()
        assert WHY.replace("\\", "") in str(session.ended_because)
        gone = trio.current_time() - Limits().close_seconds
        assert 60 < gone <= 60 + 2 * (5 + 2)
        assert slow.echoed == []


class SlowReader:
    """A peer on a stream that calls twice, and reads one large response in parts."""

    PART = 64 * 1024
    LENGTH = 16 * PART

    def __init__(self) -> None:
        self.stream, right = trio.testing.lockstep_stream_pair()
        handler = streams(echo=self.echo, count=self.count)
        link = StreamLink(right)
        self.opening = acceptor(link, keepalive=CONFIG).open(handler)

    async def echo(self, text: str) -> str:
        return text * self.LENGTH

    async def count(self, numbers: list[int]) -> int:
        await trio.sleep_forever()
        raise AssertionError

    async def call(self) -> None:
        for message in (HELLO, call_of("count", 1, []), call_of("echo", 3, "x")):
            payload = b"".join(encode_message(message))
            await self.stream.send_all(len(payload).to_bytes(4, "little") + payload)

    async def read(self, length: int) -> None:
        """Read so many bytes, one part in 3 seconds."""
        while length > 0:
            await trio.sleep(3)
            for _ in range(0, self.PART, 4096):
                length -= len(await self.stream.receive_some(4096))


async def test_a_payload_that_is_read_slowly_shows_that_the_peer_is_alive(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    slow = SlowReader()
    nursery.start_soon(slow.call)
    nursery.start_soon(slow.read, slow.LENGTH)
    async with slow.opening as session:
        await trio.sleep(45)  # the last parts are still to be read
        sent = session.statistics().sent
        assert sent.unsent_payloads
        assert sent.parts >= 12
        assert session.ended_because is None
        nursery.cancel_scope.cancel()


async def test_a_payload_that_is_read_no_further_shows_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    slow = SlowReader()
    nursery.start_soon(slow.call)
    nursery.start_soon(slow.read, slow.LENGTH // 2)
    async with slow.opening as session:
        await session.closed()
        assert WHY.replace("\\", "") in str(session.ended_because)
        gone = trio.current_time() - Limits().close_seconds
        assert 24 < gone <= 24 + 2 * (5 + 2)


@pytest.mark.parametrize(
    ("before", "now", "is_progress"),
    [
        (None, None, False),
        ((5, -1), None, False),
        (None, (5, -1), True),
        ((5, -1), (5, -1), False),
        ((5, -1), (6, -1), True),
        ((6, -1), (5, -1), True),
        (None, (0, 7), False),  # it began to wait only now
        ((0, 7), (0, 7), False),
        ((0, 7), (0, 8), True),
        ((5, 7), (0, 7), False),
        ((5, -1), (0, 7), False),
        ((0, 7), (5, -1), True),
    ],
)
def test_progress_is_more_bytes_or_a_write_while_others_wait(
    before: tuple[int, int] | None, now: tuple[int, int] | None, is_progress: bool
) -> None:
    assert _is_progress(before, now) is is_progress


def test_payloads_that_wait_are_on_their_way() -> None:
    def sent(payloads: int, unsent: int, parts: int = 0) -> TxStatistics:
        return TxStatistics(payloads, 0, 0, unsent, 0, 0, parts=parts)

    assert _moving(RxStatistics(3, 30), sent(5, 0)) is None
    assert _moving(RxStatistics(3, 30, 4), sent(5, 0)) == (4, -1)
    assert _moving(RxStatistics(3, 30), sent(5, 2)) == (0, 3)
    assert _moving(RxStatistics(3, 30), sent(5, 2, parts=4)) == (0, 7)
    assert _moving(RxStatistics(3, 30), sent(5, 0, parts=4)) is None


IDLE = r"nothing was in flight, and no message came, for 80 s \(limit: idle_seconds\)"


async def test_an_idle_session_ends_and_both_sides_say_why(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "roam_trio.session")
    async with WithPeer(limits=Limits(idle_seconds=80)) as (session, peer):
        told = await peer.hear(ProtocolError)
        assert trio.current_time() == 80
        assert re.fullmatch(IDLE, told.description)
        assert isinstance(session.ended_because, LimitExceeded)
        assert session.ended_because.limit == "idle_seconds"
        with pytest.raises(ConnectionLost, match=IDLE):
            await caller_of(session).echo("too late")
    (record,) = caplog.records
    assert (record.levelname, "has ended" in record.getMessage()) == ("INFO", True)


@pytest.mark.parametrize("keepalive", [None, CONFIG, LAZY])
async def test_pings_of_either_side_do_not_keep_an_idle_session(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    keepalive: SessionKeepaliveConfig | None,
) -> None:
    limits = Limits(idle_seconds=80)
    ours, _ = await join(
        nursery,
        limits=limits,
        keepalive=keepalive,
        accepting={"keepalive": CONFIG},
    )
    await ours.closed()
    assert isinstance(ours.ended_because, LimitExceeded)
    assert 80 <= trio.current_time() <= 80 + 80 / 8 + limits.close_seconds
    nursery.cancel_scope.cancel()


async def test_a_session_is_not_idle_while_something_is_in_flight(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def take(numbers: Rx[int]) -> int:
        return sum([number async for number in numbers])

    class Deciding(ConnectionAcceptor):
        async def accept(self, *args: Any) -> Metadata:
            await trio.sleep(1000)
            return NO_METADATA

    ours, theirs = await join(
        nursery,
        streams(take=take),
        limits=Limits(idle_seconds=80),
        accepting={"limits": Limits(idle_seconds=80), "on_connection": Deciding()},
    )
    with pytest.raises(SessionRejected):
        await ours.open_connection()
    assert trio.current_time() == 1000
    await trio.sleep(75)
    tx, rx = channel[int]()
    call = Task(nursery, client(Streams, ours.caller).take, rx)
    await trio.sleep(1000)
    await tx.send(7)
    await tx.aclose()
    assert await call.result() == 7
    done = trio.current_time()
    assert ours.ended_because is theirs.ended_because is None
    await theirs.closed()
    assert done + 80 <= trio.current_time()


async def test_a_conduit_that_fails_in_its_own_way_ends_the_session(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def doubt(outbox: Outbox) -> bool:
        raise ZeroDivisionError("as conduits of somebody else's may")

    monkeypatch.setattr(Outbox, "doubt", doubt)
    async with WithPeer(keepalive=CONFIG) as (session, peer):
        await hear_ping(peer)
        await session.closed()
        assert "the conduit has failed: as conduits" in str(session.ended_because)
    assert "a conduit has failed otherwise than conduits do" in caplog.text


async def test_a_server_pings_clients_that_have_something_in_flight(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def sleep(text: str) -> str:
        await trio.sleep(100)
        return text

    run = partial(serve, "memory://pings", streams(echo=sleep))
    server: Server = await nursery.start(run)
    dead = Peer(await dialer("memory://pings")())
    await dead.initiate()
    idle = Peer(await dialer("memory://pings")())
    await idle.initiate()
    await dead.say(call_of("echo", 1, "a"))
    dead_session = server.sessions[0]
    # The check at 30 s sees that the call has come since the one before.
    assert await hear_ping(dead) == (60, 1)
    await dead_session.closed()
    await trio.testing.wait_all_tasks_blocked()
    assert "a Ping for 10.0 s" in str(dead_session.ended_because)
    assert trio.current_time() == pytest.approx(70 + Limits().close_seconds)
    idle_session = server.sessions[-1]
    assert await hear_ping(idle) == (300, 1)
    await trio.sleep(10_000)
    assert idle_session.ended_because is None


async def test_a_server_without_keepalive_does_not_ping(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    run = partial(serve, "memory://no-pings", streams(), keepalive=None)
    await nursery.start(run)
    peer = Peer(await dialer("memory://no-pings")())
    await peer.initiate()
    await trio.sleep(10_000)
    assert await peer.heard_nothing_more()


@pytest.mark.parametrize("name", ["ping_interval", "pong_timeout", "idle_interval"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_times_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        SessionKeepaliveConfig(**{name: value})
