"""Stream links on real sockets: what the kernel makes them wait for, and its errors."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import LinkClosed, LinkError, TruncatedPayload
from roam_trio.links import byte_streams
from roam_trio.links.base import Buffer, Link
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.sockets import open_tcp
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.links.tcp import connect_tcp, tcp_link

from . import pairs
from .test_framing import frame

MIB = 1024 * 1024


def tight_link() -> tuple[StreamLink, socket.socket]:
    """A link on a socket with small buffers, and the peer's plain socket."""
    left, right = socket.socketpair()
    for sock in (left, right):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    right.setblocking(False)
    limits = StreamLimits(max_unsent_bytes=100_000)
    return StreamLink.over(SocketTransport(left), limits=limits), right


async def read_all(sock: socket.socket) -> bytes:
    read = bytearray()
    while True:
        await trio.lowlevel.wait_readable(sock)
        chunk = sock.recv(10_000)
        if not chunk:
            return bytes(read)
        read += chunk


@pytest.mark.rule("link.tx.reserve")
async def test_peer_that_never_reads_makes_reserve_wait_with_bounded_bytes() -> None:
    link, peer = tight_link()
    tx, rx = link.split()
    sent = 0

    async def send_for_ever() -> None:
        nonlocal sent
        while True:
            (await tx.reserve()).send((bytes(1000),))
            sent += 1

    with peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.pump)
            nursery.start_soon(send_for_ever)
            await wait_all_tasks_blocked()
            stuck_at = sent
            held = tx.statistics()
            assert held.tasks_waiting == 1
            assert 100_000 <= held.unsent_bytes < 100_000 + 1004
            await wait_all_tasks_blocked()
            assert sent == stuck_at
            nursery.cancel_scope.cancel()
        await tx.abort()
        await rx.close()


@pytest.mark.parametrize("gathers", [True, False], ids=["sendmsg", "send"])
async def test_everything_arrives_through_a_narrow_socket(
    gathers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gathers and not hasattr(socket.socket, "sendmsg"):
        pytest.skip("this system has no sendmsg")
    if not gathers:
        monkeypatch.setattr(byte_streams, "_sendmsg", None)
    link, peer = tight_link()
    tx, rx = link.split()
    payloads = [bytes([n]) * (40_000 if n % 2 else 10) for n in range(200)]
    with peer:
        async with trio.open_nursery() as nursery:
            got: list[bytes] = []

            async def read() -> None:
                got.append(await read_all(peer))

            nursery.start_soon(tx.pump)
            for payload in payloads[:5]:
                tx.reserve_nowait().send((payload,))
            nursery.start_soon(read)
            for payload in payloads[5:]:
                (await tx.reserve()).send((payload,))
            await tx.close()
            await rx.close()
        assert got == [b"".join(map(frame, payloads))]


@pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="no sendmsg")
async def test_more_buffers_than_one_call_takes_are_sent_in_several() -> None:
    left, right = socket.socketpair()
    right.setblocking(False)
    tx, rx = StreamLink.over(
        SocketTransport(left), limits=StreamLimits(max_unsent_bytes=100 * MIB)
    ).split()
    payload = bytes(40_000)
    for _ in range(100):
        tx.reserve_nowait().send((payload,))
    with right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.close)
            assert await read_all(right) == frame(payload) * 100
        await rx.close()


@pytest.mark.rule("zerocopy", "zerocopy.copies", "zerocopy.recv.stream")
async def test_large_payload_is_held_once_on_each_side() -> None:
    left, right = await pairs.tcp_pair()
    (tx, left_rx), (right_tx, rx) = left.split(), right.split()
    payload = bytes(MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        tracemalloc.start()
        try:
            (await tx.reserve()).send((payload,))
            got = await rx.recv()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert got == payload
        assert peak < MIB + MIB // 4
        await tx.close()
        await right_tx.close()
        await left_rx.close()
        await rx.close()


async def test_end_inside_a_payload_is_told_from_an_orderly_end() -> None:
    link, peer = tight_link()
    tx, rx = link.split()
    with peer:
        peer.send(frame(b"whole") + frame(b"torn")[:-1])
    assert await rx.recv() == b"whole"
    with pytest.raises(TruncatedPayload):
        await rx.recv()
    await tx.abort()
    await rx.close()


async def test_reset_connection_fails_both_halves_with_the_cause() -> None:
    stream, peer = await pairs.tcp_stream_pair()
    tx, rx = tcp_link(stream).split()
    reset_on_close = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, 0 seconds
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
    await peer.aclose()
    with pytest.raises(LinkError) as caught:
        await rx.recv()
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    (await tx.reserve()).send((b"too late",))
    with pytest.raises(LinkError) as caught:
        await tx.pump()
    assert isinstance(caught.value.__cause__, OSError)
    await tx.close()
    await rx.close()


async def test_closing_one_half_leaves_the_other_at_work() -> None:
    link, peer = tight_link()
    tx, rx = link.split()
    closed: list[LinkError] = []

    async def receive() -> None:
        try:
            await rx.recv()
        except LinkClosed as exc:
            closed.append(exc)

    with peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.pump)
            nursery.start_soon(receive)
            (await tx.reserve()).send((bytes(50_000),))
            await wait_all_tasks_blocked()
            assert tx.statistics().unsent_payloads == 1
            await rx.close()  # wakes the task that writes too; it has to go on waiting
            await wait_all_tasks_blocked()
            assert len(closed) == 1
            nursery.start_soon(tx.close)
            assert await read_all(peer) == frame(bytes(50_000))


async def test_write_that_continues_is_counted_and_one_that_waits_is_not() -> None:
    link, peer = tight_link()
    tx, rx = link.split()
    with peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.pump)
            (await tx.reserve()).send((bytes(200_000),))
            await wait_all_tasks_blocked()
            parts = []
            for _ in range(3):
                await wait_all_tasks_blocked()
                parts.append(tx.statistics().parts)
            assert parts == [0, 0, 0]  # the peer has read nothing
            read = 0
            while tx.statistics().unsent_payloads:
                read += len(peer.recv(10_000))
                await wait_all_tasks_blocked()
            assert 0 < tx.statistics().parts < read
            await rx.close()
            nursery.start_soon(tx.close)
            assert read + len(await read_all(peer)) == 200_004


async def drop(*links: Link) -> None:
    for link in links:
        tx, rx = link.split()
        await tx.abort()
        await rx.close()


async def test_small_writes_have_no_parts() -> None:
    left, right = await pairs.tcp_pair()
    left_tx, _ = left.split()
    _, right_rx = right.split()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left_tx.pump)
        for number in range(3):
            (await left_tx.reserve()).send((bytes([number]),))
            assert await right_rx.recv() == bytes([number])
        assert left_tx.statistics().parts == 0
        await drop(left, right)


@pytest.mark.parametrize(
    "pair",
    [pairs.websocket_pair, pairs.websocket_stream_pair, pairs.secure_websocket_pair],
)
async def test_parts_are_counted_below_websockets_and_tls(
    pair: Callable[[], Awaitable[tuple[Link, Link]]],
) -> None:
    left, right = await pair()
    left_tx, _ = left.split()
    _, right_rx = right.split()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left_tx.pump)
        (await left_tx.reserve()).send((bytes(pairs.MAX_PAYLOAD),))
        await wait_all_tasks_blocked()
        received = await right_rx.recv()
        assert received == bytes(pairs.MAX_PAYLOAD)
        assert left_tx.statistics().parts > 0
        await drop(left, right)


async def test_writer_is_woken_when_the_socket_is_released(
    nursery: trio.Nursery,
) -> None:
    left, right = socket.socketpair()
    transport = SocketTransport(left)
    raised: list[Exception] = []

    async def send() -> None:
        try:
            await transport.send_all([bytes(10 * MIB)])
        except trio.ClosedResourceError as exc:
            raised.append(exc)

    with right:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await transport.abort_sending()
        await transport.end_receiving()
        await wait_all_tasks_blocked()
    assert len(raised) == 1
    assert left.fileno() == -1


async def test_aborting_the_sending_half_drops_what_is_unsent_and_still_receives(
    nursery: trio.Nursery,
) -> None:
    link, peer = tight_link()
    tx, rx = link.split()
    with peer:
        nursery.start_soon(tx.pump)
        (await tx.reserve()).send((bytes(50_000),))
        await wait_all_tasks_blocked()
        await tx.abort()
        assert len(await read_all(peer)) < 50_000
        peer.send(frame(b"still here"))
        assert await rx.recv() == b"still here"
        await rx.close()


@pytest.mark.rule("transport.stream.kinds")
async def test_connect_tcp_makes_a_link_to_a_listener() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        link = await connect_tcp("127.0.0.1", listener.socket.getsockname()[1])
        accepted = await listener.accept()
    tx, rx = link.split()
    peer_tx, peer_rx = tcp_link(accepted).split()
    assert accepted.socket.fileno() == -1  # the link has taken the socket
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        nursery.start_soon(peer_tx.pump)
        (await tx.reserve()).send((b"question",))
        assert await peer_rx.recv() == b"question"
        (await peer_tx.reserve()).send((b"answer",))
        assert await rx.recv() == b"answer"
        await tx.close()
        await peer_tx.close()
        assert await peer_rx.recv() is None
        await rx.close()
        await peer_rx.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_open_tcp_connects_to_an_address_as_to_a_name(host: str) -> None:
    at = "127.0.0.1" if host == "localhost" else host
    try:
        (listener,) = await trio.open_tcp_listeners(0, host=at)
    except OSError:
        pytest.skip(f"this machine has no {at}")
    async with listener:
        sock = await open_tcp(host, listener.socket.getsockname()[1])
        async with (
            await listener.accept() as accepted,
            trio.SocketStream(trio.socket.from_stdlib_socket(sock)),
        ):
            # What `trio.SocketStream` sets by itself, the accepted one shows.
            for option in (socket.TCP_NODELAY, trio.socket.TCP_NOTSENT_LOWAT):
                assert sock.getsockopt(socket.IPPROTO_TCP, option) == (
                    accepted.getsockopt(socket.IPPROTO_TCP, option)
                )


async def test_open_tcp_says_which_address_has_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        port = unused.getsockname()[1]
        with pytest.raises(OSError, match="all attempts to connect to ") as raised:
            await open_tcp("127.0.0.1", port)
    assert str(raised.value).endswith(f" 127.0.0.1:{port} failed")
    each = raised.value.__cause__
    assert isinstance(each, ExceptionGroup)
    assert isinstance(each.exceptions[0], ConnectionRefusedError)


async def test_open_tcp_closes_its_socket_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[trio.socket.SocketType] = []
    make = trio.socket.socket

    def note(*args: int) -> trio.socket.SocketType:
        opened.append(make(*args))
        return opened[-1]

    monkeypatch.setattr(trio.socket, "socket", note)
    with trio.CancelScope() as scope:
        scope.cancel()
        await open_tcp("127.0.0.1", 1)
    assert scope.cancelled_caught
    assert [sock.fileno() for sock in opened] == [-1]


@pytest.mark.rule("transport.stream.kinds")
async def test_tcp_link_sends_small_payloads_at_once() -> None:
    stream, peer = await pairs.tcp_stream_pair()
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, False)
    with stream.socket.dup() as same_socket:
        tx, rx = tcp_link(stream).split()
        assert same_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await tx.close()
    await rx.close()
    await peer.aclose()


async def test_connect_tcp_without_a_server_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match=str(port)):
        await connect_tcp("127.0.0.1", port)


async def test_busy_socket_does_not_keep_other_tasks_from_running() -> None:
    left, right = await pairs.tcp_pair()
    (tx, left_rx), (right_tx, rx) = left.split(), right.split()
    others_ran = reads = 0

    async def other() -> None:
        nonlocal others_ran
        while True:
            await trio.lowlevel.checkpoint()
            others_ran += 1

    async def send_for_ever() -> None:
        payload = bytes(60_000)
        while True:
            (await tx.reserve()).send((payload,))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        nursery.start_soon(send_for_ever)
        nursery.start_soon(other)
        while reads < 200:
            assert await rx.recv() is not None
            reads += 1
        assert others_ran >= reads // 2
        nursery.cancel_scope.cancel()
    for half in (tx, right_tx):
        await half.abort()
    for half in (left_rx, rx):
        await half.close()


@pytest.mark.parametrize("into", [False, True], ids=["some", "into a buffer"])
async def test_read_that_finds_nothing_after_a_full_one_waits(
    into: bool, nursery: trio.Nursery
) -> None:
    left, right = socket.socketpair()
    transport = SocketTransport(left)

    async def read() -> bytes:
        if not into:
            return await transport.receive_some(4)
        buffer = bytearray(4)
        return bytes(buffer[: await transport.receive_into(memoryview(buffer))])

    with right:
        right.send(b"full")
        assert await read() == b"full"
        got: list[bytes] = []

        async def read_again() -> None:
            got.append(await read())

        nursery.start_soon(read_again)
        await wait_all_tasks_blocked()
        assert got == []
        right.send(b"few")
        await wait_all_tasks_blocked()
        assert got == [b"few"]
        await transport.abort_sending()
        await transport.end_receiving()


async def test_everything_is_sent_where_sockets_take_one_buffer_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows."""
    monkeypatch.setattr(byte_streams, "_sendmsg", None)
    left, right = socket.socketpair()
    transport = SocketTransport(left)
    buffers: list[Buffer] = [b"one", b"two"]
    with right:
        assert transport.send_nowait(list(buffers)) == buffers
        await transport.send_all(buffers)
        await transport.end_sending()
        right.setblocking(False)
        assert await read_all(right) == b"onetwo"
        await transport.end_receiving()
