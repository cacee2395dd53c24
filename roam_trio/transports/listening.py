"""Listening on sockets, for all stream transports."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, TypeAlias, TypeVar

import trio

from ..failures import text_of
from ..legible import without_secrets
from ..links.base import Link
from ..links.sockets import UNKNOWN_ADDRESS, peer_of, take_socket
from ..logs import Log, note_address, note_peer
from ..peers import Peer
from .base import LinkListener
from .hosts import HostAndPort

T = TypeVar("T")

__all__ = [
    "Accepting",
    "LinkAtOnce",
    "LinkOn",
    "SocketClient",
    "StreamLinkListener",
    "accept_when_possible",
    "listen_on_tcp",
]

logger = Log("roam_trio.transports")

LinkOn: TypeAlias = Callable[[trio.SocketStream], Awaitable[Link]]
"""Makes the link of a connection, or closes the connection if that fails."""

LinkAtOnce: TypeAlias = Callable[[trio.SocketStream, Peer], Link]
"""Makes the link of a connection with a peer without waiting."""

_NO_MEANS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
"""Errors of accept for lack of resources, which closing other connections would free.
"""

_NO_LISTENER: Final = {errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EFAULT}
"""Errors of accept if the socket does not listen. All other errors, including those of
the network, concern one connection (accept(2)).
"""

_FAILURES_IN_A_ROW: Final = 8
"""Number of consecutive failures after which there are pauses."""

_SECONDS_OF_PAUSE: Final = 0.1

_BACKLOG: Final = 65_535
"""Number of connections that may wait to be accepted, as trio has it; the system bounds
it further.
"""

_TRIES: Final = 10
"""Number of attempts to find a port that is free on all addresses of a machine."""


class Accepting(Protocol):
    """Accepts connections; a `trio.SocketListener` does."""

    @property
    def socket(self) -> socket.socket | trio.socket.SocketType:
        """The socket, which its owner closes."""
        ...

    async def accept(self) -> trio.SocketStream:
        """Wait for the next connection; see `LinkListener.accept`."""
        ...


class StreamLinkListener(LinkListener):
    """Listens on a socket.

    Args:
        url: its URL, as reported to users.
        listener: accepts the connections.
        link_on: makes the link of a connection; None with `at_once`.
        at_once: makes it without waiting, if that is possible.
    """

    def __init__(
        self,
        url: str,
        listener: Accepting,
        link_on: LinkOn | None,
        at_once: LinkAtOnce | None = None,
    ) -> None:
        self._url = url
        self._listener = listener
        self._link_on = link_on
        self._at_once = at_once

    @property
    def url(self) -> str:
        return self._url

    async def accept(self) -> SocketClient:
        stream = await self._listener.accept()
        return SocketClient(stream, self._link_on, self._at_once)

    def fileno(self) -> int:
        return self._listener.socket.fileno()

    def close(self) -> None:
        self._listener.socket.close()


class SocketClient:
    """A client that has connected, and has no link yet; a `LinkFactory`.

    Args:
        stream: its connection.
        link_on: see `StreamLinkListener`.
        at_once: see `StreamLinkListener`.
    """

    __slots__ = ("_at_once", "_link_on", "_stream")

    def __init__(
        self,
        stream: trio.SocketStream,
        link_on: LinkOn | None,
        at_once: LinkAtOnce | None = None,
    ) -> None:
        self._stream = stream
        self._link_on = link_on
        self._at_once = at_once

    def link_at_once(self) -> Link | None:
        """Make the link; return None if that takes waiting, and call this then.

        Raises:
            OSError: the client is gone.
        """
        if self._at_once is None:
            return None
        peer = self.peer()  # asked for once: the link describes it too
        note_peer(peer)
        return self._at_once(self._stream, peer)

    async def __call__(self) -> Link:
        """Make the link; see `LinkListener.accept`."""
        link = self.link_at_once()
        if link is not None:
            return link
        assert self._link_on is not None, "one of both makes it"
        # Do this in the task of the client, so that its log records can name the
        # client.
        if self._stream.socket.family not in (socket.AF_INET, socket.AF_INET6):
            note_peer(self.peer())
            return await self._link_on(self._stream)
        try:
            host, port, *_ = self._stream.socket.getpeername()
            note_address(str(HostAndPort(host, port)))
        except OSError:
            note_address(UNKNOWN_ADDRESS)
        return await self._link_on(self._stream)

    def take_socket(self) -> socket.socket:
        """Return the connection, in place of making the link."""
        return take_socket(self._stream)

    def peer(self) -> Peer:
        """Describe the client, as far as its connection tells."""
        return peer_of(self._stream.socket)


async def accept_when_possible(accept: Callable[[], Awaitable[T]], url: str) -> T:
    """Accept a connection; after a failure try again, as long as the listener works.

    Most failures concern one connection that has ended before it was accepted; for
    those, accept(2) says to try again. If the system lacks resources, or if several
    connections have failed in a row, pause first.

    Args:
        accept: accepts a connection. It may be cancelled.
        url: the URL of the listener, for the log and for errors.

    Raises:
        OSError: the listener itself is closed or broken.
    """
    failures = 0
    while True:
        try:
            return await accept()
        except trio.ClosedResourceError as error:
            raise _no_more(errno.EBADF, "the listener is closed", url) from error
        except OSError as error:
            shown = without_secrets(url)
            if error.errno is None or error.errno in _NO_LISTENER:
                raise _no_more(error.errno, text_of(error), url) from error
            failures += 1
            has_means = error.errno not in _NO_MEANS
            if has_means:
                logger.warning("%s: a connection was not accepted: %s", shown, error)
            else:
                logger.error(
                    "%s: cannot accept a connection now, and try again: %s",
                    shown,
                    error,
                )
        if not has_means or failures >= _FAILURES_IN_A_ROW:
            await trio.sleep(_SECONDS_OF_PAUSE)


def _no_more(number: int | None, why: str, url: str) -> OSError:
    problem = f"cannot accept connections any more: {why}"
    number = errno.EIO if number is None else number
    return OSError(number, problem, without_secrets(url))


async def listen_on_tcp(
    address: HostAndPort, url: str | None = None
) -> tuple[HostAndPort, list[trio.SocketListener]]:
    """Listen at all addresses of a host on one port, and return the port.

    Args:
        address: the host and the port, and whether other sockets may listen there too.
        url: the URL to name in errors; the address if None.

    Raises:
        OSError: it cannot listen there.
    """
    try:
        return await _listen_on_one_port(address)
    except OSError as error:
        _explain(error, without_secrets(url or str(address)))
        raise


def _explain(error: OSError, url: str) -> None:
    """Add the URL and a remedy to an error."""
    told = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        told += "; another program listens at this port, and port 0 takes a free one"
    if error.errno is None:
        error.args = (f"{told}: {url!r}",)
    else:
        error.strerror, error.filename = told, url


async def _listen_on_one_port(
    address: HostAndPort,
) -> tuple[HostAndPort, list[trio.SocketListener]]:
    for _ in range(_TRIES):
        listeners = await _listen_at(address)
        port: int = listeners[0].socket.getsockname()[1]
        bound = address.with_port(port)
        if all(each.socket.getsockname()[1] == port for each in listeners):
            return bound, listeners
        # With port 0 each address gets a different port. Try the first one on all
        # addresses.
        for each in listeners:
            each.socket.close()
        with suppress(OSError):
            return bound, await _listen_at(bound)
    raise OSError(
        errno.EADDRINUSE, f"found no port that is free on all addresses of {address}"
    )


async def _listen_at(address: HostAndPort) -> list[trio.SocketListener]:
    host = address.host or None
    if not address.reuse_port:
        return await trio.open_tcp_listeners(address.port, host=host)
    found = await trio.socket.getaddrinfo(
        host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[trio.SocketListener] = []
    try:
        for family, _, protocol, _, where in found:
            sock = trio.socket.socket(family, socket.SOCK_STREAM, protocol)
            listeners.append(await _sharing_listener(sock, where))
    except BaseException:
        for each in listeners:
            each.socket.close()
        raise
    return listeners


async def _sharing_listener(
    sock: trio.socket.SocketType, where: object
) -> trio.SocketListener:
    """Listen at an address where other sockets of this user may listen too."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "win32":  # where `HostAndPort` refuses it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await sock.bind(where)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)
