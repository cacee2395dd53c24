"""Links over TCP.

They drive the socket directly, which costs a fraction of what a `StreamLink` on a
`trio.SocketStream` does, and each half can be closed and aborted by itself. Small
payloads go out at once (TCP_NODELAY); the link gathers what is committed together.

TCP answers data for a socket that has been closed with a reset, which can destroy what
was sent before. To be sure that the peer gets every payload, receive until the peer's
end after closing the sending half, and only then close the receiving half.
"""

from __future__ import annotations

import trio

from .byte_streams import SocketTransport
from .sockets import send_at_once, take_socket
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
    return tcp_link(await trio.open_tcp_stream(host, port), limits=limits)


def tcp_link(
    stream: trio.SocketStream, *, limits: StreamLimits | None = None
) -> StreamLink:
    """Make a link of a connection, such as a listener has accepted.

    Takes the socket out of `stream`, which must not be used any more.

    Args:
        stream: the connection.
        limits: what the link may hold.
    """
    sock = take_socket(stream)
    send_at_once(sock)
    return StreamLink.over(SocketTransport(sock), limits=limits)
