"""What all links on sockets have in common: the socket is driven directly."""

from __future__ import annotations

import socket

import trio

__all__ = ["take_socket"]


def take_socket(stream: trio.SocketStream) -> socket.socket:
    """The socket of a connection, taken out of its stream, which is of no use then."""
    return socket.socket(fileno=stream.socket.detach())
