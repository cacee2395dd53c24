"""Connected pairs of links, one maker for every kind."""

from __future__ import annotations

import socket
import tempfile

import trio
import trio.testing

from roam_trio.links import (
    Link,
    LocalLink,
    LocalListener,
    SplitLink,
    StreamLimits,
    StreamLink,
    memory_link_pair,
    tcp_link,
)

MAX_PAYLOAD = 4 * 1024 * 1024
LIMITS = StreamLimits(max_payload=MAX_PAYLOAD, max_unsent_payloads=64)


async def memory_pair() -> tuple[Link, Link]:
    return memory_link_pair(8)


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
