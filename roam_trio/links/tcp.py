"""Links over TCP.

They use the socket directly, which costs a fraction of a `StreamLink` on a
`trio.SocketStream`, and each half can be closed and aborted separately. Small payloads
are sent at once (TCP_NODELAY); the link gathers payloads that are committed together.

TCP answers data for a closed socket with a reset, which can destroy data that was sent
before. To make sure that the peer receives every payload, close the sending half,
receive until the end of the peer's stream, and only then close the receiving half.
"""

from __future__ import annotations

import trio

from ..peers import Peer
from .byte_streams import SocketTransport
from .sockets import open_tcp, send_at_once, take_socket
from .stream import StreamLimits, StreamLink

__all__ = ["connect_tcp", "tcp_link"]


async def connect_tcp(
    host: str, port: int, *, limits: StreamLimits | None = None
) -> StreamLink:
    """Connect to a TCP server.

    Args:
        host: name or address of the server.
        port: its port.
        limits: what the link may hold.

    Raises:
        OSError: no address of the host accepts the connection.
    """
    sock = await open_tcp(host, port)
    return StreamLink.over(SocketTransport(sock), limits=limits)


def tcp_link(
    stream: trio.SocketStream,
    *,
    limits: StreamLimits | None = None,
    peer: Peer | None = None,
) -> StreamLink:
    """Make a link of a connection, such as a listener has accepted. Never waits.

    Takes the socket out of `stream`, which must not be used afterwards.

    Args:
        stream: the connection.
        limits: what the link may hold.
        peer: the peer, if that is known; None to ask the system.
    """
    sock = take_socket(stream)
    send_at_once(sock)
    return StreamLink.over(SocketTransport(sock), limits=limits, peer=peer)
