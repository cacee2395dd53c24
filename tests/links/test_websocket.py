"""WebSocket links: among peers of another make, and what they refuse."""

from __future__ import annotations

import socket
import struct
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import LinkClosed, LinkError, PayloadTooLarge, TruncatedPayload
from roam_trio.links.base import Buffer, Link, LinkRx, LinkTx
from roam_trio.links.byte_streams import ByteTransport, SocketTransport
from roam_trio.links.sockets import take_socket
from roam_trio.links.stream import StreamLimits
from roam_trio.links.websocket import WebSocketLink
from roam_trio.links.websocket_framing import WebSocketDecoder

websocket_rule = pytest.mark.rule("transport.websocket")

LIMITS = StreamLimits(max_payload=1000)

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
)


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, mask: bool = True
) -> bytes:
    """A frame as a peer makes it: with its own few lines."""
    first = opcode | (0x80 if fin else 0)
    flag = 0x80 if mask else 0
    if len(data) < 126:
        head = bytes([first, flag | len(data)])
    elif len(data) < 2**16:
        head = bytes([first, flag | 126]) + struct.pack(">H", len(data))
    else:
        head = bytes([first, flag | 127]) + struct.pack(">Q", len(data))
    return head + (bytes(4) if mask else b"") + data


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Peer:
    """A WebSocket server of ours, and the bare socket of its client."""

    def __init__(self, sock: trio.SocketStream, tx: LinkTx, rx: LinkRx) -> None:
        self.sock = sock
        self.tx = tx
        self.rx = rx

    async def receive_all(self) -> bytes:
        return b"".join([chunk async for chunk in self.sock])

    async def done(self) -> None:
        await self.tx.abort()
        await self.rx.close()
        await self.sock.aclose()


REQUEST = (
    b"GET /roam HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def with_bare_client(more: bytes = b"") -> Peer:
    near, far = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    await stream.send_all(REQUEST + b"\r\n" + more)
    link = await WebSocketLink.accept(SocketTransport(far), limits=LIMITS)
    answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert answer.endswith(b"\r\n\r\n")
    return Peer(stream, *link.split())


# ---------------------------------------------------------------- another make


async def exchange(link: Link, other: trio_websocket.WebSocketConnection) -> None:
    tx, rx = link.split()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        for size in (0, 1, 125, 126, 1000, 65_535, 65_536, 500_000):
            (await tx.reserve()).send((b"q" * size,))
            assert await other.get_message() == b"q" * size
            nursery.start_soon(other.send_message, b"a" * size)
            assert await rx.recv() == b"a" * size
        async with trio.open_nursery() as pinging:
            pinging.start_soon(other.ping)
            pinging.start_soon(rx.recv)
            await wait_all_tasks_blocked(0.01)
            await other.send_message(b"after the ping")
        nursery.cancel_scope.cancel()  # the pump has nothing to do now


@websocket_rule
@pytest.mark.rule("zerocopy.framing.link.websocket")
async def test_client_understands_a_server_of_another_make() -> None:
    near, far = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(far))
    accepted: list[trio_websocket.WebSocketConnection] = []

    async def accept(nursery: trio.Nursery) -> None:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        assert request.path == "/some/path?query"
        accepted.append(await request.accept())

    async with trio.open_nursery() as reading:
        reading.start_soon(accept, reading)
        link = await WebSocketLink.connect(
            SocketTransport(near), "ws://localhost/some/path?query"
        )
        await wait_all_tasks_blocked()
        (other,) = accepted
        await exchange(link, other)
        tx, rx = link.split()
        await tx.close()
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await other.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1000
        assert await rx.recv() is None
        await rx.close()
        await other.aclose()


@websocket_rule
@pytest.mark.rule("zerocopy.framing.link.websocket")
async def test_server_understands_a_client_of_another_make() -> None:
    near, far = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    links: list[Link] = []

    async def serve() -> None:
        links.append(await WebSocketLink.accept(SocketTransport(far), path="/roam"))

    async with trio.open_nursery() as working:
        working.start_soon(serve)
        async with trio.open_nursery() as reading:
            other = await trio_websocket.wrap_client_stream(
                reading, stream, "localhost", "/roam"
            )
            await wait_all_tasks_blocked()
            await exchange(links[0], other)
            tx, rx = links[0].split()
            reading.start_soon(tx.pump)
            reading.start_soon(other.aclose)
            assert await rx.recv() is None
            await tx.close()
            await rx.close()


# ---------------------------------------------------------------- sending


@websocket_rule
@pytest.mark.rule("zerocopy.send.websocket", "zerocopy.framing.link.websocket")
async def test_payload_in_pieces_becomes_one_frame() -> None:
    peer = await with_bare_client()
    peer.tx.send_nowait((b"in ", bytearray(b"three "), memoryview(b"pieces")))
    peer.tx.send_nowait(())
    await peer.tx.close()
    await peer.rx.close()
    expected = frame(BINARY, b"in three pieces", mask=False) + b"\x82\0"
    assert await peer.receive_all() == expected + b"\x88\x02\x03\xe8"
    await peer.sock.aclose()


@pytest.mark.rule("zerocopy.send.websocket", "zerocopy.recv.websocket")
async def test_large_payload_is_held_a_few_times_at_most() -> None:
    megabyte = 1024 * 1024
    near, far = socket.socketpair()
    async with trio.open_nursery() as nursery:
        made: list[WebSocketLink] = []

        async def accept() -> None:
            made.append(await WebSocketLink.accept(SocketTransport(far)))

        nursery.start_soon(accept)
        client = await WebSocketLink.connect(SocketTransport(near), "ws://localhost/")
    (tx, client_rx), (server_tx, rx) = client.split(), made[0].split()
    payload = bytes(megabyte)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        tracemalloc.start()
        try:
            tx.send_nowait((payload,))
            sent = tracemalloc.get_traced_memory()[0]
            assert await rx.recv() == payload
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert sent < 1.1 * megabyte  # one copy: the frame
    for half in (tx, server_tx):
        await half.abort()
    for half in (client_rx, rx):
        await half.close()


# ---------------------------------------------------------------- receiving


@websocket_rule
@pytest.mark.rule("zerocopy.recv.websocket")
async def test_payload_comes_whole_however_it_is_cut() -> None:
    peer = await with_bare_client()
    stream = (
        frame(BINARY, b"whole")
        + frame(BINARY, b"in ", fin=False)
        + frame(PING, b"between")
        + frame(0, b"three ", fin=False)
        + frame(PONG)
        + frame(0, b"parts")
        + frame(BINARY)
    )
    for byte in stream:
        await peer.sock.send_all(bytes([byte]))
        await trio.lowlevel.checkpoint()
    assert [await peer.rx.recv() for _ in range(3)] == [
        b"whole",
        b"in three parts",
        b"",
    ]
    assert peer.rx.statistics().payloads == 3
    assert peer.rx.statistics().payload_bytes == 19
    await peer.done()


async def test_what_comes_with_the_handshake_is_not_lost() -> None:
    peer = await with_bare_client(frame(BINARY, b"early") + frame(BINARY, b"bird")[:3])
    await peer.sock.send_all(frame(BINARY, b"bird")[3:])
    assert [await peer.rx.recv(), await peer.rx.recv()] == [b"early", b"bird"]
    await peer.done()


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


REFUSALS: dict[str, tuple[bytes, type[LinkError], str, int]] = {
    "text": (frame(TEXT, b"hello"), LinkError, "payloads are binary messages", 1003),
    "no mask": (frame(BINARY, b"a", mask=False), LinkError, "incorrect masking", 1002),
    "no opcode": (frame(3), LinkError, "broke the WebSocket protocol", 1002),
    "reserved bit": (b"\xc2\x80\0\0\0\0", LinkError, "reserved bits must be 0", 1002),
    "long ping": (frame(PING, bytes(126)), LinkError, "control frame too long", 1002),
    "continuation of nothing": (frame(0), LinkError, "without a message", 1002),
    "message in a message": (
        frame(BINARY, b"a", fin=False) + frame(BINARY, b"b"),
        LinkError,
        "before the last one is complete",
        1002,
    ),
    "close in a message": (
        frame(BINARY, b"a", fin=False) + closing(1000),
        LinkError,
        "closed in the middle of a message",
        1002,
    ),
    "close without a code": (frame(CLOSE, b"\x03"), LinkError, "broke", 1002),
    "close with bad text": (closing(1000, b"\xff"), LinkError, "broke", 1002),
    "too large": (
        frame(BINARY, bytes(1001)),
        PayloadTooLarge,
        r"1001 bytes, and at most 1000 .*max_payload",
        1009,
    ),
    "too large in parts": (
        frame(BINARY, bytes(600), fin=False) + frame(0, bytes(401)),
        PayloadTooLarge,
        r"1001 bytes, and at most 1000 .*max_payload",
        1009,
    ),
    "slightly too large in parts": (
        frame(BINARY, bytes(950), fin=False) + frame(0, bytes(51)),
        PayloadTooLarge,
        "1001 bytes",
        1009,
    ),
    "closed as too big": (
        closing(1009, b"too much"),
        LinkError,
        "1009.*too much",
        1000,
    ),
}


@websocket_rule
@pytest.mark.rule("link.rx.error")
@pytest.mark.parametrize("what", REFUSALS)
async def test_what_is_no_payload_is_an_error_for_ever_and_the_peer_is_told(
    what: str,
) -> None:
    sent, kind, problem, code = REFUSALS[what]
    peer = await with_bare_client()
    await peer.sock.send_all(frame(BINARY, b"good") + sent + frame(BINARY, b"late"))
    assert await peer.rx.recv() == b"good"
    for _ in range(2):
        with pytest.raises(kind, match=problem):
            await peer.rx.recv()
    await peer.sock.send_eof()
    await peer.tx.close()
    await peer.rx.close()
    assert await peer.receive_all() == b"\x88\x02" + struct.pack(">H", code)
    await peer.sock.aclose()


async def test_announced_length_is_refused_before_any_of_it_has_come() -> None:
    peer = await with_bare_client()
    await peer.sock.send_all(b"\x82\xff" + struct.pack(">Q", 2**62))
    with pytest.raises(PayloadTooLarge) as caught:
        await peer.rx.recv()
    assert caught.value.size == 2**62
    await peer.sock.send_eof()
    await peer.done()


async def test_peer_that_still_sends_what_is_too_large_is_told_why() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        sock = await trio.testing.open_stream_to_socket_listener(listener)
        stream = await listener.accept()
    transport = SocketTransport(take_socket(stream))
    limits = StreamLimits(max_payload=1000)
    tx, rx = WebSocketLink(transport, is_client=False, limits=limits).split()

    async def refuse() -> None:
        with pytest.raises(PayloadTooLarge):
            await rx.recv()
        await tx.close()
        await rx.close()

    async with sock, trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        message = frame(BINARY, bytes(8_000_000))
        for start in range(0, len(message), 500_000):
            await sock.send_all(message[start : start + 500_000])
            await wait_all_tasks_blocked()
        await sock.send_eof()
        assert await sock.receive_some() == b"\x88\x02" + struct.pack(">H", 1009)


class _NeverSilent(ByteTransport):
    """A peer that sends too much, and then goes on for ever, or says no more."""

    def __init__(self, *, goes_on: bool) -> None:
        self.goes_on = goes_on
        self.received = 0
        self.sent = b""
        self.ended = False

    async def receive_some(self, most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.received and not self.goes_on:
            await trio.sleep_forever()
        chunk = bytes(most) if self.received else b"\x82\xff" + b"\0\0\0\xff" * 3
        self.received += len(chunk)
        return chunk

    async def receive_into(self, buffer: memoryview) -> int:
        raise AssertionError("there is no large_buffer to fill")

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        self.sent += b"".join(buffers)

    async def end_sending(self) -> None:
        self.ended = True

    async def abort_sending(self) -> None:
        self.ended = True

    async def end_receiving(self) -> None:
        pass


@pytest.mark.parametrize("closed", [False, True], ids=["open", "receiving closed"])
@pytest.mark.parametrize("goes_on", [True, False])
async def test_refused_peer_is_read_for_a_bounded_time_and_amount(
    goes_on: bool, closed: bool, autojump_clock: trio.testing.MockClock
) -> None:
    transport = _NeverSilent(goes_on=goes_on)
    tx, rx = WebSocketLink(transport, is_client=False).split()
    with pytest.raises(PayloadTooLarge):
        await rx.recv()
    if closed:
        await rx.close()
    begun = trio.current_time()
    await tx.close()
    assert transport.sent == b"\x88\x02" + struct.pack(">H", 1009)
    assert transport.ended
    assert trio.current_time() - begun == (0 if goes_on else 2)
    assert transport.received < 65 * 1024 * 1024
    await rx.close()


async def test_fragments_are_refused_before_they_are_too_much() -> None:
    peer = await with_bare_client()
    await peer.sock.send_all(frame(BINARY, bytes(900), fin=False))
    await peer.sock.send_all(frame(0, bytes(900), fin=False)[:8])
    with pytest.raises(PayloadTooLarge, match="1800 bytes"):
        await peer.rx.recv()
    await peer.sock.send_eof()
    await peer.done()


@websocket_rule
@pytest.mark.rule("link.rx.eof")
@pytest.mark.parametrize(
    "end", [closing(1000), closing(1001), frame(CLOSE), b""], ids=lambda end: end.hex()
)
async def test_peer_that_closes_or_vanishes_between_messages_has_ended(
    end: bytes,
) -> None:
    peer = await with_bare_client()
    await peer.sock.send_all(frame(BINARY, b"last") + end)
    await peer.sock.send_eof()
    assert await peer.rx.recv() == b"last"
    assert [await peer.rx.recv() for _ in range(3)] == [None] * 3
    await peer.done()


@pytest.mark.parametrize(
    "cut",
    [
        b"\x82",
        frame(BINARY, b"abc")[:-1],
        frame(BINARY, b"a", fin=False),
        b"\x82\x81abcd",
    ],
    ids=lambda cut: cut.hex(),
)
async def test_end_inside_a_message_is_told_from_an_orderly_end(cut: bytes) -> None:
    peer = await with_bare_client()
    await peer.sock.send_all(cut)
    await peer.sock.send_eof()
    with pytest.raises(TruncatedPayload, match="inside a WebSocket message"):
        await peer.rx.recv()
    await peer.done()


async def test_nothing_counts_after_the_end() -> None:
    peer = await with_bare_client()
    await peer.sock.send_all(closing(1000) + frame(BINARY, b"late"))
    assert await peer.rx.recv() is None
    await peer.sock.send_all(frame(BINARY, b"later"))
    assert await peer.rx.recv() is None
    await peer.done()


def test_nothing_counts_after_an_interruption() -> None:
    """Control-C can strike while something is decoded, outside of a session."""

    def strike(_: bytes) -> None:
        raise KeyboardInterrupt

    decoder = WebSocketDecoder(100, masked=True, on_ping=strike)
    with pytest.raises(KeyboardInterrupt):
        decoder.feed(frame(BINARY, b"early") + frame(PING, b""))
    decoder.feed(frame(BINARY, b"later"))
    assert decoder.payloads == [b"early"]
    with pytest.raises(TruncatedPayload):
        decoder.ended()


# ---------------------------------------------------------------- pings


async def test_pings_are_answered(nursery: trio.Nursery) -> None:
    peer = await with_bare_client()
    nursery.start_soon(peer.tx.pump)
    nursery.start_soon(peer.rx.recv)
    for data in (b"", b"one", bytes(125)):
        await peer.sock.send_all(frame(PING, data))
        expected = frame(PONG, data, mask=False)
        received = b""
        while len(received) < len(expected):
            received += await peer.sock.receive_some()
        assert received == expected
    nursery.cancel_scope.cancel()
    await peer.done()


async def test_flood_of_pings_is_not_held(nursery: trio.Nursery) -> None:
    peer = await with_bare_client()
    nursery.start_soon(peer.rx.recv)  # and nobody writes
    for number in range(1000):
        await peer.sock.send_all(frame(PING, b"%4d" % number))
    await wait_all_tasks_blocked(0.01)
    held = peer.tx.statistics()
    assert (held.unsent_payloads, held.unsent_bytes) == (1, 6)
    nursery.start_soon(peer.tx.pump)
    assert await peer.sock.receive_some() == frame(PONG, b" 999", mask=False)
    await wait_all_tasks_blocked()
    held = peer.tx.statistics()
    assert (held.unsent_payloads, held.unsent_bytes, held.payloads) == (0, 0, 0)
    nursery.cancel_scope.cancel()
    await peer.done()


async def test_ping_after_closing_is_not_answered() -> None:
    peer = await with_bare_client()
    await peer.tx.close()
    await peer.sock.send_all(frame(PING, b"hello") + frame(BINARY, b"still heard"))
    assert await peer.rx.recv() == b"still heard"
    await peer.rx.close()
    assert await peer.receive_all() == b"\x88\x02\x03\xe8"
    await peer.sock.aclose()


# ---------------------------------------------------------------- closing


@websocket_rule
@pytest.mark.rule("link.tx.close")
async def test_closing_says_so_and_still_receives() -> None:
    peer = await with_bare_client()
    peer.tx.send_nowait((b"last",))
    await peer.tx.close()
    with pytest.raises(LinkClosed):
        peer.tx.send_nowait((b"too late",))
    await peer.sock.send_all(frame(BINARY, b"answer") + closing(1000))
    assert await peer.rx.recv() == b"answer"
    assert await peer.rx.recv() is None
    await peer.rx.close()
    expected = frame(BINARY, b"last", mask=False) + b"\x88\x02\x03\xe8"
    assert await peer.receive_all() == expected
    await peer.sock.aclose()


async def test_connection_that_is_gone_does_not_keep_it_from_closing() -> None:
    peer = await with_bare_client()
    await peer.sock.aclose()
    assert await peer.rx.recv() is None
    await peer.rx.close()
    await peer.tx.close()


# ---------------------------------------------------------------- handshakes


def raw_pair() -> tuple[trio.SocketStream, SocketTransport]:
    near, far = socket.socketpair()
    return trio.SocketStream(trio.socket.from_stdlib_socket(near)), SocketTransport(far)


async def answer_of(
    request: bytes, **options: Any
) -> tuple[bytes, LinkError | OSError]:
    """What a server says to a request that it refuses, and why."""
    stream, transport = raw_pair()
    await stream.send_all(request)
    await stream.send_eof()
    with pytest.raises((LinkError, OSError)) as caught:
        await WebSocketLink.accept(transport, **options)
    answer = b""
    async with stream:
        with suppress(trio.BrokenResourceError):  # not all of the request was read
            async for chunk in stream:
                answer += chunk
    return answer, caught.value


@websocket_rule
@pytest.mark.parametrize(
    ("request_", "status", "problem"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"426", "Connection"),
        (REQUEST.replace(b"13", b"12") + b"\r\n", b"400", "Sec-WebSocket-Version"),
        (REQUEST.replace(b"GET", b"POST") + b"\r\n", b"", "handshake failed"),
        (b"\x06\0\0\0\x00\x00\x07\x00\x40\x00", b"400", "speaks roam"),
        (b"", b"", "closed the connection after 0 bytes"),
        (b"GET /" + b"x" * 20_000, b"", "more than 16384 bytes of a header"),
        (b"nonsense\r\n\r\n", b"400", "the peer sent text, 'nonsense"),
        (b"\xfe\xfd\xfc\xfb" * 8, b"", "speaks neither HTTP nor another protocol"),
        (REQUEST + b"Filler: " + b"x" * 9000 + b"\r\n\r\n", b"", "handshake failed"),
    ],
    ids=[
        "http",
        "version",
        "post",
        "roam",
        "nothing",
        "endless",
        "nonsense",
        "bytes",
        "long",
    ],
)
async def test_what_asks_for_no_websocket_is_refused(
    request_: bytes, status: bytes, problem: str
) -> None:
    answer, error = await answer_of(request_)
    assert problem in str(error)
    if status:
        assert answer.startswith(b"HTTP/1.1 " + status)


async def test_another_path_is_not_found() -> None:
    answer, error = await answer_of(REQUEST + b"\r\n", path="/other")
    assert answer.startswith(b"HTTP/1.1 404 Not Found")
    assert b"There is nothing at /roam." in answer
    assert "the client asked for '/roam', not '/other'" in str(error)


async def test_web_pages_may_connect_only_from_origins_that_are_named() -> None:
    from_page = REQUEST + b"Origin: https://example.org\r\n\r\n"
    for origins in ((), ("https://example.com",)):
        answer, error = await answer_of(from_page, origins=origins)
        assert answer.startswith(b"HTTP/1.1 403 Forbidden")
        assert "https://example.org" in str(error)
    stream, transport = raw_pair()
    async with stream:
        await stream.send_all(from_page)
        link = await WebSocketLink.accept(transport, origins=["https://example.org"])
        tx, rx = link.split()
        await tx.abort()
        await rx.close()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 'HTTP/1.1 404 Not Found'"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            "answered 'HTTP/1.1 200 OK'",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the peer speaks SSH: check"),
        (
            ANSWER + b"Sec-WebSocket-Accept: wrong\r\n\r\n",
            "invalid Sec-WebSocket-Accept",
        ),
        (ANSWER + b"\r\n", "Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101\r\nbroken\r\n\r\n", "handshake failed"),
        (b"\x05\0\0\0\x00\x01\x01\x40\x00", "the peer speaks roam: it speaks it"),
    ],
    ids=["404", "200", "ssh", "wrong key", "no key", "broken", "roam"],
)
async def test_server_that_grants_no_websocket_is_a_link_error(
    answer: bytes, problem: str
) -> None:
    stream, transport = raw_pair()
    async with stream:
        await stream.send_all(answer)
        await stream.send_eof()
        with pytest.raises(LinkError, match=f"handshake failed: .*{problem}|{problem}"):
            await WebSocketLink.connect(transport, "ws://localhost/")


HANDSHAKES: dict[str, Callable[[SocketTransport], Awaitable[object]]] = {
    "connect": partial(WebSocketLink.connect, url="ws://localhost/"),
    "accept": WebSocketLink.accept,
}


@pytest.mark.parametrize("side", HANDSHAKES)
async def test_handshake_can_be_cancelled(side: str, nursery: trio.Nursery) -> None:
    stream, transport = raw_pair()
    async with stream:
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when_stuck, scope)
            await HANDSHAKES[side](transport)
        assert scope.cancelled_caught
        assert (await stream.receive_some()).startswith((b"GET / HTTP/1.1", b""))
    assert transport._socket.fileno() == -1


async def _cancel_when_stuck(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


def test_decoder_lends_no_buffer_and_ignores_what_comes_once_it_was_stopped() -> None:
    pings: list[bytes] = []
    decoder = WebSocketDecoder(100, masked=True, on_ping=pings.append)
    decoder.stop()
    decoder.feed(frame(PING, b"late"))
    assert pings == []
    assert decoder.large_buffer is None
    with pytest.raises(AssertionError, match="no large_buffer to fill"):
        decoder.filled(1)


def test_bytes_after_the_end_are_not_kept() -> None:
    decoder = WebSocketDecoder(100, masked=True, on_ping=lambda ping: None)
    decoder.feed(closing(1000))
    assert decoder.at_end
    decoder.feed(frame(BINARY, b"late"))
    assert not decoder.payloads
