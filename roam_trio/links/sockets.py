"""Common parts of all links on sockets, which drive the socket directly."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

__all__ = ["send_at_once", "take_socket"]


def take_socket(stream: trio.SocketStream) -> socket.socket:
    """Take the socket of a connection out of its stream, which is of no use then."""
    taken = stream.socket
    # All is said, so that the system is not asked: it refuses to tell of a socket whose
    # peer is gone already, on macOS for one.
    return socket.socket(taken.family, taken.type, taken.proto, taken.detach())


def send_at_once(sock: socket.socket) -> None:
    """Have small payloads leave at once (TCP_NODELAY)."""
    with suppress(OSError):  # the peer is gone, as whoever receives will see
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
