"""A payload that has begun must go on, on every link that is made of a stream."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from roam_trio import LimitExceeded, Limits, Server, Session, acceptor, serve
from roam_trio.errors import PayloadTooSlow
from roam_trio.links.base import Link
from roam_trio.links.byte_streams import (
    ByteTransport,
    SocketTransport,
    StreamTransport,
)
from roam_trio.links.payload_time import PayloadTime
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.links.stream_rx import StreamLinkRx
from roam_trio.links.tls import TlsByteTransport
from roam_trio.links.websocket import WebSocketLink
from roam_trio.rpc.handler import NoService
from roam_trio.wire.messages import ProtocolError
from tests.peer import Peer

from ..schemes import client_context, server_context
from .pairs import both
from .test_websocket import BINARY, PING, frame

MIB = 1024 * 1024
SECONDS = 60
LIMITS = StreamLimits(payload_seconds=SECONDS)

Pair = tuple[ByteTransport, ByteTransport]


def prefixed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + payload


def as_message(payload: bytes) -> bytes:
    return frame(BINARY, payload)


async def streams() -> Pair:
    left, right = trio.testing.memory_stream_pair()
    return StreamTransport(left, None), StreamTransport(right, None)


async def sockets() -> Pair:
    left, right = socket.socketpair()
    return SocketTransport(left), SocketTransport(right)


async def tls() -> Pair:
    left, right = await streams()
    client = TlsByteTransport(left, client_context(), server_hostname="localhost")
    server = TlsByteTransport(right, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.shake_hands)
        nursery.start_soon(server.shake_hands)
    return client, server


@attrs.frozen
class Kind:
    """A kind of link, and how a peer makes the bytes of a payload on it."""

    name: str
    pair: Callable[[], Awaitable[Pair]]
    encode: Callable[[bytes], bytes] = prefixed

    async def make(self, limits: StreamLimits = LIMITS) -> tuple[ByteTransport, Link]:
        """Return what a peer writes bytes to, and the link that gets them."""
        left, right = await self.pair()
        if self.encode is prefixed:
            return left, StreamLink.over(right, limits=limits)

        async def client() -> Link:
            return await WebSocketLink.connect(left, "ws://localhost/")

        async def server() -> Link:
            return await WebSocketLink.accept(right, limits=limits)

        _, link = await both(client, server)
        return left, link


KINDS = [
    Kind("stream", streams),
    Kind("socket", sockets),
    Kind("TLS", tls),
    Kind("WebSocket", streams, as_message),
    Kind("WebSocket on TLS", tls, as_message),
]

on_every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


class Line:
    """The receiving half of a link of some kind, and the bytes that come on it."""

    def __init__(self, kind: Kind, end: ByteTransport, link: Link) -> None:
        self.kind = kind
        self.end = end
        self.tx, self.rx = link.split()

    async def close(self) -> None:
        await self.tx.abort()
        await self.rx.close()
        await self.end.abort_sending()
        await self.end.end_receiving()

    async def write(self, data: bytes) -> None:
        await self.end.send_all([data])

    async def fails(self) -> float:
        """Receive until the payload is given up, and return when that is."""
        with pytest.raises(PayloadTooSlow, match=r"\(limit: payload_seconds\)"):
            await self.rx.recv()
        with pytest.raises(PayloadTooSlow):  # the link is dead
            await self.rx.recv()
        return trio.current_time()


@asynccontextmanager
async def line_of(kind: Kind, limits: StreamLimits = LIMITS) -> AsyncIterator[Line]:
    line = Line(kind, *await kind.make(limits))
    try:
        yield line
    finally:
        await line.close()


@on_every_kind
async def test_half_a_payload_is_given_up_in_time(
    kind: Kind, autojump_clock: trio.testing.MockClock
) -> None:
    for count in (1, 3, 7, 50):
        async with line_of(kind) as line:
            await trio.sleep(10_000)
            begun = trio.current_time()
            await line.write(kind.encode(bytes(100))[:count])
            assert await line.fails() == pytest.approx(begun + SECONDS)


@on_every_kind
async def test_announcing_much_gives_no_more_time(
    kind: Kind, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind) as line:
        await line.write(kind.encode(bytes(10 * MIB))[:70_000])
        assert await line.fails() == pytest.approx(SECONDS)


@on_every_kind
async def test_byte_by_byte_is_too_slow(
    kind: Kind, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind) as line:

        async def trickle() -> None:
            for byte in kind.encode(bytes(500)):
                await line.write(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(trickle)
        assert await line.fails() == pytest.approx(SECONDS)
        nursery.cancel_scope.cancel()


@on_every_kind
async def test_each_payload_has_its_own_time(
    kind: Kind, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind) as line:
        data = b"".join(kind.encode(bytes([number]) * 100) for number in range(5))

        async def write_slowly() -> None:
            for first in range(0, len(data), 60):
                await line.write(data[first : first + 60])
                await trio.sleep(25)

        nursery.start_soon(write_slowly)
        for number in range(5):
            assert await line.rx.recv() == bytes([number]) * 100
        assert trio.current_time() > 3 * SECONDS
        # None has begun, and so there is no hurry.
        await trio.sleep(10_000)
        await line.write(kind.encode(b"more"))
        assert await line.rx.recv() == b"more"


@on_every_kind
async def test_each_mib_that_has_begun_brings_time(
    kind: Kind, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind) as line:
        data = kind.encode(bytes(5 * MIB))

        async def write_slowly() -> None:
            for first in range(0, len(data), MIB // 2):
                await line.write(data[first : first + MIB // 2])
                await trio.sleep(SECONDS * 0.45)

        nursery.start_soon(write_slowly)
        payload = await line.rx.recv()
        assert payload is not None
        assert len(payload) == 5 * MIB
        assert trio.current_time() >= 4 * SECONDS


@on_every_kind
async def test_a_program_that_was_held_up_gives_nothing_up(
    kind: Kind, nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind) as line:
        data = kind.encode(bytes(100_000))
        received: list[bytes | None] = []

        async def receive() -> None:
            received.append(await line.rx.recv())

        nursery.start_soon(receive)
        for first in range(0, len(data), 30_000):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1000)
            await line.write(data[first : first + 30_000])
        await trio.testing.wait_all_tasks_blocked()
        assert received == [bytes(100_000)]


@on_every_kind
async def test_receiving_can_be_cancelled_and_goes_on(
    kind: Kind, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind) as line:
        data = kind.encode(b"in two parts")
        await line.write(data[:8])
        with trio.move_on_after(SECONDS / 2) as scope:
            await line.rx.recv()
        assert scope.cancelled_caught
        await line.write(data[8:])
        assert await line.rx.recv() == b"in two parts"


@on_every_kind
async def test_a_payload_that_comes_whole_is_not_timed(kind: Kind) -> None:
    async with line_of(kind) as line:
        await line.write(kind.encode(b"one") + kind.encode(b"two"))
        assert await line.rx.recv() == b"one"
        await line.write(kind.encode(b"three"))
        assert await line.rx.recv() == b"two"
        assert await line.rx.recv() == b"three"
        assert isinstance(line.rx, StreamLinkRx)
        assert line.rx._time is None


@on_every_kind
async def test_time_may_be_infinite(
    kind: Kind, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(kind, StreamLimits(payload_seconds=math.inf)) as line:
        data = kind.encode(b"at leisure")
        await line.write(data[:8])
        with trio.move_on_after(1_000_000):
            await line.rx.recv()
        await line.write(data[8:])
        assert await line.rx.recv() == b"at leisure"


async def test_fragments_and_pings_do_not_prolong_a_message(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with line_of(KINDS[3]) as line:

        async def say_much() -> None:
            await line.write(frame(PING, b"before"))
            await trio.sleep(100)
            await line.write(frame(BINARY, fin=False))
            while True:
                await trio.sleep(1)
                await line.write(frame(0, b"x", fin=False))
                await line.write(frame(0, fin=False) + frame(PING, b"beside"))

        nursery.start_soon(say_much)
        assert await line.fails() == pytest.approx(100 + SECONDS)
        nursery.cancel_scope.cancel()


async def test_a_ping_has_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    async with line_of(KINDS[3]) as line:
        for _ in range(5):
            ping = frame(PING, b"in two parts")
            await line.write(ping[:4])
            with trio.move_on_after(SECONDS / 2):
                await line.rx.recv()
            await line.write(ping[4:])
            with trio.move_on_after(SECONDS / 2):
                await line.rx.recv()
        await line.write(ping[:4])
        begun = trio.current_time()
        assert await line.fails() == pytest.approx(begun + SECONDS)


async def test_session_ends_and_the_peer_is_told(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    left, right = trio.testing.memory_stream_pair()
    link = StreamLink(right, limits=StreamLimits(payload_seconds=7))
    sessions: list[Session] = []

    async def run() -> None:
        sessions.append(await nursery.start(acceptor(link).run))

    nursery.start_soon(run)
    peer = Peer(StreamLink(left))
    nursery.start_soon(peer.tx.pump)
    await peer.initiate()
    await trio.testing.wait_all_tasks_blocked()
    await left.send_all(b"\x09\0\0\0half")
    begun = trio.current_time()
    told = await peer.hear(ProtocolError)
    assert trio.current_time() == pytest.approx(begun + 7)
    reason = sessions[0].ended_because
    assert isinstance(reason, LimitExceeded)
    assert reason.limit == "payload_seconds"
    assert "only 8 bytes of it came in time (limit: payload_seconds)" in str(reason)
    assert told.description in str(reason)
    assert isinstance(reason.__cause__, PayloadTooSlow)
    assert reason.__cause__.begun == 8
    nursery.cancel_scope.cancel()


async def test_limits_of_a_server_reach_its_links(
    nursery: trio.Nursery,
) -> None:
    run = partial(serve, "tcp://127.0.0.1:0", NoService())
    server: Server = await nursery.start(
        partial(run, limits=Limits(payload_seconds=0.01))
    )
    port = int(server.url.rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(b"\x09\0\0\0half")
        told = b"".join([chunk async for chunk in stream])
    assert b"only 8 bytes of it came in time (limit: payload_seconds)" in told
    await server.shutdown()


# ------------------------------------------------------------ deciding


def test_time_is_counted_from_the_beginning_of_each_payload() -> None:
    time = PayloadTime(60)
    time.note(0, 1, 1000.0)
    assert time.deadline == 1060
    time.note(0, MIB - 1, 1050.0)
    assert time.deadline == 1060
    time.note(0, MIB, 1050.0)
    assert time.deadline == 1120
    assert time.more_from == 2 * MIB
    time.note(0, 3 * MIB + 5, 1051.0)
    assert time.deadline == 1240
    time.note(1, 5, 1100.0)
    assert time.deadline == 1160
    assert repr(time) == "<PayloadTime until 1160.0>"


def test_time_lost_by_this_program_is_given_back() -> None:
    time = PayloadTime(60)
    time.note(0, 1, 0.0)
    assert time.is_up(60.05)
    assert not time.is_up(70)
    assert time.deadline == 80
    assert time.is_up(80)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_seconds_are_checked(seconds: float) -> None:
    with pytest.raises(ValueError, match="payload_seconds: expected"):
        StreamLimits(payload_seconds=seconds)
    with pytest.raises(ValueError, match=r"Limits\.payload_seconds: expected"):
        Limits(payload_seconds=seconds)


def test_links_by_hand_have_the_same_time() -> None:
    assert StreamLimits().payload_seconds == Limits().payload_seconds
