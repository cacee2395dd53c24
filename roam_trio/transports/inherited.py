"""``fd://3``: a socket that listens already, which this process has inherited.

systemd passes such sockets from descriptor 3 on (``LISTEN_FDS``), and a parent passes
them to its workers. ``fd://3`` speaks as TCP and Unix sockets do, and ``fd+tls://3``
speaks TLS.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import trio

from ..links.base import Link
from ..links.local import LocalLink
from ..links.sockets import take_socket
from ..links.stream import StreamLimits
from ..links.tcp import tcp_link
from ..logs import note_peer
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport
from .hosts import HostAndPort
from .listening import StreamLinkListener

__all__ = ["InheritedTlsTransport", "InheritedTransport"]

_Listen = Callable[[trio.SocketListener, str], LinkListener]
"""Makes the listener on a socket, with its address as it stands in URLs."""


class InheritedTransport(Transport):
    """Makes links on an inherited socket."""

    example = "fd://3"

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        raise self._wrong(url, "it is for servers; a client needs the address")

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        limits = options.limits
        tcp, local = partial(_on_tcp, limits), partial(_LocalListener, limits)
        return partial(_listen, self._number(url), tcp, local)

    def _number(self, url: str) -> int:
        number = url.partition("://")[2]
        if not re.fullmatch("[0-9]{1,9}", number):
            raise self._wrong(url, "it has no number of a descriptor")
        return int(number)


class InheritedTlsTransport(InheritedTransport):
    """Makes links over TLS on an inherited socket."""

    example = "fd+tls://3"
    uses_tls = True

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        # Only now, since most programs need no TLS.
        from ..links.tls import accept_tls
        from .tls import certificate_of

        context, limits = certificate_of(url, options), options.limits

        async def link_on(stream: trio.SocketStream) -> Link:
            return await accept_tls(stream, context, limits=limits)

        def secure(listener: trio.SocketListener, address: str) -> LinkListener:
            return StreamLinkListener(f"tls://{address}", listener, link_on)

        return partial(_listen, self._number(url), secure, None)


def _on_tcp(
    limits: StreamLimits, listener: trio.SocketListener, address: str
) -> LinkListener:
    async def link_on(stream: trio.SocketStream) -> Link:
        return tcp_link(stream, limits=limits)

    return StreamLinkListener(f"tcp://{address}", listener, link_on)


class _LocalListener(LinkListener):
    """Listens on a Unix socket, whose file belongs to the process that has made it."""

    def __init__(
        self, limits: StreamLimits, listener: trio.SocketListener, address: str
    ) -> None:
        self._limits = limits
        self._listener = listener
        self._address = address

    @property
    def url(self) -> str:
        return f"unix://{self._address}"

    async def accept(self) -> LinkFactory:
        stream = await self._listener.accept()
        link = LocalLink.on(take_socket(stream), limits=self._limits)

        async def accepted() -> Link:
            note_peer(link.peer())
            return link

        return accepted

    def close(self) -> None:
        self._listener.socket.close()


async def _listen(
    number: int, on_internet: _Listen, on_local: _Listen | None
) -> list[LinkListener]:
    """Listen on a copy of a descriptor.

    Args:
        number: the descriptor.
        on_internet: makes the listener on a socket of IPv4 or IPv6.
        on_local: makes the listener on a Unix socket; None if none can.

    Raises:
        OSError: it is not a socket that listens, or not one of a fitting family.
    """
    await trio.lowlevel.checkpoint()
    sock = _copy_of(number)
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "it does not listen")
        sock.setblocking(False)
        name: tuple[Any, ...] | str | bytes = sock.getsockname()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        if isinstance(name, tuple):
            return [on_internet(listener, str(HostAndPort(name[0], name[1])))]
        if on_local is None:
            raise OSError(errno.EAFNOSUPPORT, "it is a Unix socket, which has no TLS")
        return [on_local(listener, quote(os.fsdecode(name)))]
    except OSError as error:
        sock.close()
        raise _no_listener(number, error) from error


def _copy_of(number: int) -> socket.socket:
    try:
        copy = os.dup(number)
        try:
            return socket.socket(fileno=copy)
        except BaseException:
            os.close(copy)
            raise
    except OSError as error:
        raise _no_listener(number, error) from error


def _no_listener(number: int, error: OSError) -> OSError:
    problem = f"expected a socket that listens: {error.strerror or error}"
    return OSError(error.errno or errno.EINVAL, problem, f"fd://{number}")
