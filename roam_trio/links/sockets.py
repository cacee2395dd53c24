"""Common parts of all links that use a socket directly."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Any, Final

import trio

from ..peers import Credentials, Peer

__all__ = [
    "UNKNOWN_ADDRESS",
    "address_text",
    "open_tcp",
    "peer_of",
    "send_at_once",
    "take_socket",
]


UNKNOWN_ADDRESS: Final = "unknown address"
"""The address of a peer that is gone, which the system no longer knows."""


_UNSENT_BYTES: Final = 16 * 1024
"""Number of bytes that the system may hold unsent, as `trio.SocketStream` has it."""


async def open_tcp(host: str, port: int) -> socket.socket:
    """Connect to a TCP server, and return a socket that sends small payloads at once.

    A host that is an address needs no resolver, and no race between addresses.

    Args:
        host: name or address of the server.
        port: its port.

    Raises:
        OSError: no address of the host accepts the connection.
    """
    family = _family_of(host)
    if family is None:
        return take_socket(await trio.open_tcp_stream(host, port))
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((host, port))
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError):
            raise
        told = f"all attempts to connect to {address_text((host, port))} failed"
        raise OSError(told) from ExceptionGroup(told, [error])
    connected = socket.socket(family, socket.SOCK_STREAM, 0, sock.detach())
    send_at_once(connected)
    if _NOTSENT_LOWAT is not None:
        _set_option(connected, _NOTSENT_LOWAT, _UNSENT_BYTES)
    return connected


_NOTSENT_LOWAT: Final[int | None] = getattr(trio.socket, "TCP_NOTSENT_LOWAT", None)


def _family_of(host: str) -> socket.AddressFamily | None:
    """Return the family of an address; None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family
    return None


def take_socket(stream: trio.SocketStream) -> socket.socket:
    """Take the socket out of the stream of a connection, which is unusable then."""
    taken = stream.socket
    # All is said, so that the system is not asked: it refuses to tell of a socket whose
    # peer is unknown address, on macOS for one.
    return socket.socket(taken.family, taken.type, taken.proto, taken.detach())


def send_at_once(sock: socket.socket) -> None:
    """Send small payloads at once (TCP_NODELAY)."""
    _set_option(sock, socket.TCP_NODELAY, True)


def _set_option(sock: socket.socket, option: int, value: int) -> None:
    with suppress(OSError):  # the peer is gone, which the receiver will notice
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def peer_of(sock: socket.socket | trio.socket.SocketType) -> Peer:
    """Describe the peer of a connected socket of any family. The system no longer knows
    the address of a peer that is gone.
    """
    try:
        address = sock.getpeername()
    except OSError:
        address = None
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return Peer("tcp", address_text(address) if address else UNKNOWN_ADDRESS)
    credentials = _credentials(sock)
    where = os.fsdecode(address) if isinstance(address, bytes) else str(address or "")
    # The socket of a client usually has no name, so name its process.
    if not where and credentials:
        where = f"process {credentials.pid} of user {credentials.uid}"
    return Peer("unix", where or "an unnamed socket", credentials=credentials)


def address_text(address: tuple[Any, ...]) -> str:
    """Return the address of an internet socket as it stands in a URL."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _credentials(sock: socket.socket | trio.socket.SocketType) -> Credentials | None:
    option = getattr(socket, "SO_PEERCRED", None)  # Linux has it
    if option is None:
        return None
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    except OSError:
        return None
    return Credentials(*_CREDENTIALS.unpack(data))


_CREDENTIALS = struct.Struct("iII")
