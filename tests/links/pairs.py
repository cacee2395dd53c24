"""Connected pairs of links, one maker for every kind."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial

import trio
import trio.testing

from roam_trio.links.base import Link, SplitLink
from roam_trio.links.byte_streams import (
    ByteTransport,
    SocketTransport,
    StreamTransport,
)
from roam_trio.links.local import LocalLink, LocalListener
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.links.tcp import tcp_link
from roam_trio.links.tls import TlsByteTransport, accept_tls, connect_tls
from roam_trio.links.websocket import WebSocketLink

from ..schemes import client_context, server_context
from .views import on_views

MAX_PAYLOAD = 4 * 1024 * 1024
LIMITS = StreamLimits(max_payload=MAX_PAYLOAD, max_unsent_payloads=64)


async def memory_pair() -> tuple[Link, Link]:
    return memory_link_pair(8)


async def pair_on_views() -> tuple[Link, Link]:
    left, right = memory_link_pair(8)
    return on_views(left), on_views(right)


async def tightest_memory_pair() -> tuple[Link, Link]:
    return memory_link_pair(1)


async def memory_stream_pair() -> tuple[Link, Link]:
    left, right = trio.testing.memory_stream_pair()
    return StreamLink(left, limits=LIMITS), StreamLink(right, limits=LIMITS)


async def lockstep_stream_pair() -> tuple[Link, Link]:
    left, right = trio.testing.lockstep_stream_pair()
    return StreamLink(left, limits=LIMITS), StreamLink(right, limits=LIMITS)


async def one_way_streams_pair() -> tuple[Link, Link]:
    there_send, there_receive = trio.testing.memory_stream_one_way_pair()
    back_send, back_receive = trio.testing.memory_stream_one_way_pair()
    return (
        StreamLink(there_send, back_receive, limits=LIMITS),
        StreamLink(back_send, there_receive, limits=LIMITS),
    )


async def tcp_stream_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        left = await trio.testing.open_stream_to_socket_listener(listener)
        right = await listener.accept()
    return left, right


async def tcp_pair() -> tuple[Link, Link]:
    left, right = await tcp_stream_pair()
    return tcp_link(left, limits=LIMITS), tcp_link(right, limits=LIMITS)


async def local_pair() -> tuple[Link, Link]:
    with tempfile.TemporaryDirectory() as directory:
        listener = await LocalListener.bind(f"{directory}/socket")
        left = await LocalLink.connect(listener.address, limits=LIMITS)
        right = await listener.accept(limits=LIMITS)
        listener.close()
    return left, right


async def both(
    make_left: Callable[[], Awaitable[Link]], make_right: Callable[[], Awaitable[Link]]
) -> tuple[Link, Link]:
    """Two ends of one connection, which shake hands."""
    made: dict[str, Link] = {}

    async def make(name: str, end: Callable[[], Awaitable[Link]]) -> None:
        made[name] = await end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make, "left", make_left)
        nursery.start_soon(make, "right", make_right)
    return made["left"], made["right"]


async def tls_pair() -> tuple[Link, Link]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def left() -> Link:
        return await connect_tls(
            "127.0.0.1", port, ssl_context=client_context(), limits=LIMITS
        )

    async def right() -> Link:
        stream = await listener.accept()
        return await accept_tls(stream, server_context(), limits=LIMITS)

    async with listener:
        return await both(left, right)


async def websocket_pair() -> tuple[Link, Link]:
    left, right = socket.socketpair()
    return await websockets_on(SocketTransport(left), SocketTransport(right))


async def websocket_stream_pair() -> tuple[Link, Link]:
    left, right = trio.testing.memory_stream_pair()
    return await websockets_on(
        StreamTransport(left, None), StreamTransport(right, None)
    )


async def secure_websocket_pair() -> tuple[Link, Link]:
    left, right = (SocketTransport(each) for each in socket.socketpair())
    client = TlsByteTransport(left, client_context(), server_hostname="localhost")
    server = TlsByteTransport(right, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.shake_hands)
        nursery.start_soon(server.shake_hands)
    return await websockets_on(client, server)


async def websockets_on(left: ByteTransport, right: ByteTransport) -> tuple[Link, Link]:
    return await both(
        partial(WebSocketLink.connect, left, "ws://localhost/", limits=LIMITS),
        partial(WebSocketLink.accept, right, limits=LIMITS),
    )


async def websocket_pair_the_other_way() -> tuple[Link, Link]:
    left, right = await websocket_pair()
    return right, left


async def tcp_as_plain_stream_pair() -> tuple[Link, Link]:
    left, right = await tcp_stream_pair()
    return StreamLink(left, limits=LIMITS), StreamLink(right, limits=LIMITS)


async def socketpair_streams() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = trio.socket.socketpair()
    for sock in (left, right):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return trio.SocketStream(left), trio.SocketStream(right)


async def split_pair() -> tuple[Link, Link]:
    """One direction over memory, the other over a stream."""
    memory_left, memory_right = memory_link_pair(8)
    stream_left, stream_right = await memory_stream_pair()
    memory_left_tx, _ = memory_left.split()
    _, memory_right_rx = memory_right.split()
    _, stream_left_rx = stream_left.split()
    stream_right_tx, _ = stream_right.split()
    return (
        SplitLink(memory_left_tx, stream_left_rx),
        SplitLink(stream_right_tx, memory_right_rx),
    )
