"""Links over TLS: closed by halves, among peers of other makes, and their failures."""

from __future__ import annotations

import random
import socket
import ssl

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import ForeignProtocol, LinkError, PayloadTooLarge
from roam_trio.links import tls
from roam_trio.links.base import Link
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.links.tls import TlsByteTransport, accept_tls, connect_tls

from ..schemes import authority, client_context, server_context
from . import pairs

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
in_both_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)


def context_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    context.maximum_version = context.minimum_version = version
    return context


async def pair(version: ssl.TLSVersion) -> tuple[Link, Link]:
    left, right = (SocketTransport(each) for each in socket.socketpair())
    client = TlsByteTransport(left, context_of(version), server_hostname="localhost")
    server = TlsByteTransport(right, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.shake_hands)
        nursery.start_soon(server.shake_hands)
    return StreamLink.over(client), StreamLink.over(server)


@in_both_versions
async def test_what_the_peer_has_yet_to_send_arrives_after_closing(
    version: ssl.TLSVersion, nursery: trio.Nursery
) -> None:
    left, right = await pair(version)
    (tx, rx), (peer_tx, peer_rx) = left.split(), right.split()
    payloads = [bytes([n]) * 50_000 for n in range(40)]
    nursery.start_soon(peer_tx.pump)
    (await peer_tx.reserve()).send((b"before",))
    await wait_all_tasks_blocked()
    assert await rx.recv() == b"before"
    (await peer_tx.reserve()).send((b"on its way",))
    await wait_all_tasks_blocked()
    (await tx.reserve()).send((b"last",))
    await tx.close()
    assert await peer_rx.recv() == b"last"
    assert await peer_rx.recv() is None

    async def send_the_rest() -> None:
        for payload in payloads:
            (await peer_tx.reserve()).send((payload,))
        await peer_tx.close()

    nursery.start_soon(send_the_rest)
    assert await rx.recv() == b"on its way"
    assert [await rx.recv() for _ in payloads] == payloads
    assert await rx.recv() is None
    await rx.close()
    await peer_rx.close()


async def cancel_after_steps(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@in_both_versions
async def test_large_payload_goes_on_arriving_after_closing(
    version: ssl.TLSVersion, nursery: trio.Nursery
) -> None:
    left, right = await pair(version)
    (tx, rx), (peer_tx, peer_rx) = left.split(), right.split()
    large = random.Random(1).randbytes(3_000_000)

    async def send_all() -> None:
        for payload in (b"first", large, b"last"):
            (await peer_tx.reserve()).send((payload,))

    nursery.start_soon(peer_tx.pump)
    nursery.start_soon(send_all)
    assert await rx.recv() == b"first"
    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_after_steps, scope, 10)
        await rx.recv()  # it begins to arrive
    assert scope.cancelled_caught
    await tx.close()
    assert await rx.recv() == large
    assert await rx.recv() == b"last"
    for half in (tx, peer_tx):
        await half.abort()
    for half in (rx, peer_rx):
        await half.close()


@in_both_versions
async def test_what_was_not_taken_before_closing_can_be_taken_after(
    version: ssl.TLSVersion,
) -> None:
    near, far = (SocketTransport(each) for each in socket.socketpair())
    client = TlsByteTransport(near, context_of(version), server_hostname="localhost")
    server = TlsByteTransport(far, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.shake_hands)
        nursery.start_soon(server.shake_hands)
    message = bytes(range(200))
    await server.send_all([message])
    assert await client.receive_some(10) == message[:10]
    await client.end_sending()
    buffer = bytearray(40)
    assert await client.receive_into(memoryview(buffer)) == 40
    assert buffer == message[10:50]
    assert await client.receive_some(1000) == message[50:]
    assert await server.receive_some(10) == b""
    await server.end_sending()
    assert await client.receive_some(10) == b""
    await client.end_receiving()
    await server.end_receiving()


async def test_end_of_the_connection_without_an_end_of_tls_is_an_error() -> None:
    left, right = await pair(ssl.TLSVersion.TLSv1_3)
    (tx, rx), (peer_tx, peer_rx) = left.split(), right.split()
    await peer_tx.abort()
    with pytest.raises(LinkError, match="closed the connection without an end of TLS"):
        await rx.recv()
    await tx.abort()
    await rx.close()
    await peer_rx.close()


async def test_what_came_before_damaged_bytes_is_delivered() -> None:
    near, far = socket.socketpair()
    there = TlsByteTransport(
        SocketTransport(near), client_context(), server_hostname="localhost"
    )
    raw = SocketTransport(far)
    here = TlsByteTransport(raw, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.shake_hands)
        nursery.start_soon(here.shake_hands)
    tx, rx = StreamLink.over(there).split()
    here._encrypt(memoryview(b"\x04\0\0\0good"))
    damaged = b"\x17\x03\x03\x00\x20" + bytes(32)
    await raw.send_all([here._outgoing.read() + damaged])
    assert await rx.recv() == b"good"
    for _ in range(2):
        with pytest.raises(LinkError, match="receiving failed") as caught:
            await rx.recv()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    await tx.abort()
    await rx.close()
    await raw.abort_sending()
    await raw.end_receiving()


@pytest.mark.rule("transport.stream.kinds")
@pytest.mark.parametrize("ours", ["client", "server"])
async def test_peer_may_use_trios_own_tls(ours: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    made: dict[str, Link] = {}

    async def make_client() -> None:
        if ours == "client":
            made["client"] = await connect_tls(
                "localhost", port, ssl_context=client_context()
            )
        else:
            stream = await trio.open_ssl_over_tcp_stream(
                "127.0.0.1", port, ssl_context=client_context()
            )
            await stream.do_handshake()
            made["client"] = StreamLink(stream)

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(make_client)
        accepted = await listener.accept()
        if ours == "server":
            made["server"] = await accept_tls(accepted, server_context())
        else:
            stream = trio.SSLStream(accepted, server_context(), server_side=True)
            await stream.do_handshake()
            made["server"] = StreamLink(stream)
    (tx, rx), (peer_tx, peer_rx) = made["client"].split(), made["server"].split()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        nursery.start_soon(peer_tx.pump)
        for size in (0, 5, 100_000):
            (await tx.reserve()).send((b"q" * size,))
            assert await peer_rx.recv() == b"q" * size
            (await peer_tx.reserve()).send((b"a" * size,))
            assert await rx.recv() == b"a" * size
        closing, ending = (tx, peer_rx) if ours == "client" else (peer_tx, rx)
        await closing.close()
        assert await ending.recv() is None
        await tx.close()
        await peer_tx.close()
    await rx.close()
    await peer_rx.close()


async def test_wrong_certificate_is_refused_by_the_client(
    nursery: trio.Nursery,
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    refused: list[OSError] = []

    async def serve() -> None:
        for _ in range(2):
            try:
                await accept_tls(await listener.accept(), server_context())
            except OSError as error:
                refused.append(error)

    async with listener:
        nursery.start_soon(serve)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect_tls("127.0.0.1", port)
        stranger = ssl.create_default_context()
        trustme.CA().configure_trust(stranger)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect_tls("127.0.0.1", port, ssl_context=stranger)
        await wait_all_tasks_blocked(0.01)
    assert all("unknown ca" in str(error).lower() for error in refused)
    assert len(refused) == 2


async def test_certificate_for_another_name_is_refused() -> None:
    left, right = (SocketTransport(each) for each in socket.socketpair())
    client = TlsByteTransport(left, client_context(), server_hostname="example.org")
    server = TlsByteTransport(right, server_context(), server_side=True)

    async def serve() -> None:
        with pytest.raises(ssl.SSLError):
            await server.shake_hands()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"):
            await client.shake_hands()
    for each in (left, right):
        await each.abort_sending()
        await each.end_receiving()


async def test_client_that_speaks_no_tls_is_an_error(nursery: trio.Nursery) -> None:
    stream, peer = await pairs.tcp_stream_pair()
    async with peer:
        await peer.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ForeignProtocol, match="expected TLS, but the peer speaks"):
            await accept_tls(stream, server_context())
    stream, peer = await pairs.tcp_stream_pair()
    async with peer:
        await peer.send_all(b"\xff" * 64)
        with pytest.raises(ssl.SSLError):
            await accept_tls(stream, server_context())
    stream, peer = await pairs.tcp_stream_pair()
    await peer.aclose()
    with pytest.raises(OSError):  # noqa: PT011 - which one is OpenSSL's choice
        await accept_tls(stream, server_context())


@in_both_versions
async def test_large_payload_is_not_held_encrypted_as_a_whole(
    version: ssl.TLSVersion, nursery: trio.Nursery
) -> None:
    left, right = await pair(version)
    (tx, rx), (peer_tx, peer_rx) = left.split(), right.split()
    nursery.start_soon(tx.pump)
    (await tx.reserve()).send((bytes(10_000_000),))
    await wait_all_tasks_blocked()
    transport = tx._transport  # type: ignore[attr-defined]
    assert transport._outgoing.pending <= 2 * tls._WRITTEN_AT_ONCE
    assert await peer_rx.recv() == bytes(10_000_000)
    for half in (tx, peer_tx):
        await half.abort()
    for half in (rx, peer_rx):
        await half.close()


async def test_limits_hold(nursery: trio.Nursery) -> None:
    left, right = await pairs.tls_pair()
    (tx, rx), (peer_tx, peer_rx) = left.split(), right.split()
    assert StreamLimits().max_payload > pairs.MAX_PAYLOAD
    with pytest.raises(PayloadTooLarge, match="max_payload"):
        tx.send_nowait((bytes(pairs.MAX_PAYLOAD + 1),))
    for half in (tx, peer_tx):
        await half.abort()
    for half in (rx, peer_rx):
        await half.close()
