"""Connections that one process accepts and another one serves.

A parent accepts the connections, and passes each of them over a Unix socket to one of
its workers (SCM_RIGHTS). The worker says when it has finished with a connection. So the
parent knows how many each worker has, and a worker that is replaced leaves no
connection in a queue of its own.

Over the socket, the parent first sends a line with the URL at which it accepts, and
then one byte with the descriptor of each connection. The worker sends one byte for each
connection that it takes, and one for each that is over. The parent keeps a connection
until it is taken, so that it can pass it to another worker if this one ends before.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import Final

import trio

from .listening import LinkOn, StreamLinkListener

__all__ = ["MOST_GIVEN", "Hand", "HandedConnections", "HandedListener"]

_ONE: Final = b"+"
_TAKEN: Final = b"+"
_OVER: Final = b"-"

MOST_GIVEN: Final = 64
"""Number of connections that wait to be taken by a worker."""

_MOST_AT_ONCE: Final = 4096
"""Number of reports of connections that are over, read or written at a time."""

_LONGEST_URL: Final = 65_536


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next byte with its descriptors; none if the other side has ended."""
    if sys.platform == "win32":  # where there are no workers
        return b"", []
    else:
        data, numbers, *_ = socket.recv_fds(sock, 1, 1)
        return data, numbers


class Hand:
    """Passes connections to a worker; the end of the parent.

    Args:
        sock: this end of a pair of Unix sockets.
        url: the URL at which the connections are accepted.
    """

    def __init__(self, sock: socket.socket, url: str) -> None:
        sock.setblocking(False)
        sock.send(url.encode() + b"\n")
        self._sock = sock
        self._given: deque[socket.socket] = deque()

    def give(self, connection: socket.socket) -> None:
        """Pass a connection, which this owns then.

        Raises:
            trio.WouldBlock: the worker is too busy to take it; it is not passed.
            OSError: there is no worker any more; it is not passed.
        """
        if len(self._given) >= MOST_GIVEN:
            raise trio.WouldBlock
        try:
            if sys.platform != "win32":  # where there are no workers
                socket.send_fds(self._sock, [_ONE], [connection.fileno()])
        except BlockingIOError:
            raise trio.WouldBlock from None
        self._given.append(connection)

    async def over(self) -> int:
        """Wait until the worker has finished with connections; return their number.

        Raises:
            trio.EndOfChannel: the worker takes no more connections; see `left`.
        """
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            with suppress(BlockingIOError):
                try:
                    reports = self._sock.recv(_MOST_AT_ONCE)
                except ConnectionError:
                    reports = b""
                if not reports:
                    raise trio.EndOfChannel
                for _ in range(reports.count(_TAKEN)):
                    self._given.popleft().close()
                if over := reports.count(_OVER):
                    return over

    def finish(self) -> None:
        """Pass no more connections. The worker takes those that were passed."""
        with suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_WR)

    def left(self) -> list[socket.socket]:
        """Return the connections that the worker has not taken, after its end."""
        left, self._given = list(self._given), deque()
        return left

    def close(self) -> None:
        """Close this end, and the connections that were not taken."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        for connection in self.left():
            connection.close()


class HandedConnections:
    """Takes connections from the parent; the end of a worker.

    Args:
        sock: this end of the pair.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.socket = trio.socket.from_stdlib_socket(sock)  # the same
        self._unsaid = b""

    async def url(self) -> str:
        """Read the URL at which the parent accepts. The first to be called.

        Raises:
            OSError: the parent has sent none.
        """
        line = bytearray()
        while not line.endswith(b"\n"):
            # One byte at a time: the next one may carry a descriptor.
            await trio.lowlevel.wait_readable(self._sock)
            byte = self._sock.recv(1)
            if not byte or len(line) > _LONGEST_URL:
                raise OSError(errno.EINVAL, "no parent passes connections on it")
            line += byte
        return line[:-1].decode()

    async def accept(self) -> trio.SocketStream:
        """Wait for the next connection. A checkpoint. If cancelled, it loses none.

        Raises:
            trio.EndOfChannel: the parent passes no more.
            OSError: this process lacks the descriptors for it; it is lost.
        """
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            with suppress(BlockingIOError):
                data, numbers = _receive(self._sock)
                if not data:
                    raise trio.EndOfChannel
                self._say(_TAKEN)
                return trio.SocketStream(self._connection(numbers))

    def _connection(self, numbers: list[int]) -> trio.socket.SocketType:
        if not numbers:
            self.over()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        os.set_inheritable(numbers[0], False)
        connection = socket.socket(fileno=numbers[0])
        connection.setblocking(False)
        return trio.socket.from_stdlib_socket(connection)

    def over(self) -> None:
        """Tell the parent that this process has finished with a connection."""
        self._say(_OVER)

    def _say(self, report: bytes) -> None:
        self._unsaid += report
        with suppress(OSError):  # the parent is gone, or hears of it the next time
            said = self._sock.send(self._unsaid[:_MOST_AT_ONCE])
            self._unsaid = self._unsaid[said:]


class HandedListener(StreamLinkListener):
    """Listens for connections that a parent passes."""

    def __init__(self, url: str, handed: HandedConnections, link_on: LinkOn) -> None:
        super().__init__(url, handed, link_on)
        self._handed = handed

    def over(self) -> None:
        self._handed.over()
