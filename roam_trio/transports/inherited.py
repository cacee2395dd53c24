"""``fd://3``: a socket that listens already, which this process has inherited.

systemd passes such sockets from descriptor 3 on (``LISTEN_FDS``), and a parent passes
them to its workers. ``fd://3`` speaks as TCP and Unix sockets do, ``fd+tls://3`` speaks
TLS, and ``fd+ws://3/path`` and ``fd+wss://3/path`` speak WebSocket. With
``fd://handed:3``, the socket is one over which a parent passes connections that it has
accepted; see `handing`.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterable
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs
import trio

from ..legible import without_secrets
from ..links.base import Link
from ..links.local import LocalLink
from ..links.sockets import take_socket
from ..links.tcp import tcp_link
from .base import (
    LinkFactory,
    LinkListener,
    LinkOptions,
    ListenerFactory,
    ListeningSocket,
    Transport,
)
from .hosts import HostAndPort, without_reuse_port
from .listening import LinkOn, StreamLinkListener

__all__ = [
    "InheritedSecureWebSocketTransport",
    "InheritedTlsTransport",
    "InheritedTransport",
    "InheritedWebSocketTransport",
    "url_handed",
    "urls_on",
]


def urls_on(url: str | None, sockets: Iterable[ListeningSocket]) -> list[str]:
    """Return URLs to listen on sockets, in place of those of a URL.

    Args:
        url: its scheme says what is spoken, and its path where WebSockets are accepted;
            None for what TCP and Unix sockets speak.
        sockets: listen already.

    Raises:
        ValueError: the URL stands for no sockets, or one of them is closed.
        TypeError: one of the sockets is none.
    """
    scheme, path = "fd", ""
    if url is not None:
        name = url.partition(":")[0].lower()
        if name not in _INHERITED:
            raise ValueError(
                "sockets: expected them with a URL of tcp:, unix:, tls:, ws: or wss:, "
                f"which says what is spoken on them, got {without_secrets(url)!r}"
            )
        scheme = _INHERITED[name]
        if scheme in ("fd+ws", "fd+wss"):
            parts = urlsplit(without_reuse_port(url, f"{name}://127.0.0.1/path")[0])
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return [f"{scheme}://{_number_of(each)}{path}" for each in sockets]


def url_handed(url: str, sock: ListeningSocket) -> str:
    """Return the URL for connections of a URL that a parent passes over a socket.

    Raises:
        ValueError: as `urls_on`.
    """
    if url.startswith("fd"):
        return re.sub("://[0-9]+", f"://handed:{sock.fileno()}", url)
    scheme, _, rest = urls_on(url, [sock])[0].partition("://")
    return f"{scheme}://handed:{rest}"


def _number_of(sock: object) -> int:
    if not isinstance(sock, ListeningSocket):
        raise TypeError(f"sockets: expected sockets that listen, got {sock!r}")
    number = sock.fileno()
    if number < 0:
        raise ValueError(f"sockets: expected sockets that listen, got {sock!r}: closed")
    return number


_INHERITED: Final = {
    "tcp": "fd",
    "unix": "fd",
    "tls": "fd+tls",
    "ws": "fd+ws",
    "wss": "fd+wss",
}
"""For each scheme the one that speaks the same on inherited sockets."""


@attrs.frozen
class _Place:
    """The parts of a URL.

    Attributes:
        number: the descriptor.
        path: where WebSockets are accepted.
        is_handed: whether connections come over it.
    """

    number: int
    path: str
    is_handed: bool


class InheritedTransport(Transport):
    """Makes links on an inherited socket."""

    example = "fd://3"
    can_be_polled = True
    _scheme = "tcp"
    _has_path = False
    _speaks_on_unix_sockets = True

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        raise self._wrong(url, "it is for servers; a client needs the address")

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        place = self._read(url)
        return partial(self._listen, place, self._link_on(url, place, options))

    def _read(self, url: str) -> _Place:
        where, slash, path = url.partition("://")[2].partition("/")
        found = re.fullmatch("(handed:)?([0-9]{1,9})", where)
        if found is None or (slash and not self._has_path):
            raise self._wrong(url, "it has no number of a descriptor")
        return _Place(int(found[2]), slash + path, found[1] is not None)

    def _link_on(self, url: str, place: _Place, options: LinkOptions) -> LinkOn:
        limits = options.limits

        async def link_on(stream: trio.SocketStream) -> Link:
            if stream.socket.family in (socket.AF_INET, socket.AF_INET6):
                return tcp_link(stream, limits=limits)
            return LocalLink.on(take_socket(stream), limits=limits)

        return link_on

    async def _listen(self, place: _Place, link_on: LinkOn) -> list[LinkListener]:
        """Listen on a copy of a descriptor.

        Raises:
            OSError: it is not a socket that listens, or not one of a fitting family.
        """
        await trio.lowlevel.checkpoint()
        sock = _copy_of(place.number)
        try:
            if place.is_handed:
                return [await _handed_on(sock, link_on)]
            if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise OSError(errno.EINVAL, "it does not listen")
            sock.setblocking(False)
            url = self._url_of(sock, place.path)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise _no_listener(place.number, error) from error
            raise
        return [StreamLinkListener(url, listener, link_on)]

    def _url_of(self, sock: socket.socket, path: str) -> str:
        name: tuple[Any, ...] | str | bytes = sock.getsockname()
        if isinstance(name, tuple):
            return f"{self._scheme}://{HostAndPort(name[0], name[1])}{path}"
        if self._speaks_on_unix_sockets:
            return f"unix://{quote(os.fsdecode(name))}"
        problem = "it is a Unix socket, which has no TLS and no WebSocket"
        raise OSError(errno.EAFNOSUPPORT, problem)


class InheritedTlsTransport(InheritedTransport):
    """Makes links over TLS on an inherited socket."""

    example = "fd+tls://3"
    uses_tls = True
    can_be_polled = False
    _scheme = "tls"
    _speaks_on_unix_sockets = False

    def _link_on(self, url: str, place: _Place, options: LinkOptions) -> LinkOn:
        # Only now, since most programs need no TLS.
        from ..links.tls import accept_tls
        from .tls import certificate_of

        context, limits = certificate_of(url, options), options.limits

        async def link_on(stream: trio.SocketStream) -> Link:
            return await accept_tls(stream, context, limits=limits)

        return link_on


class InheritedWebSocketTransport(InheritedTransport):
    """Makes links over WebSocket on an inherited socket."""

    example = "fd+ws://3/path"
    can_be_polled = False
    _scheme = "ws"
    _has_path = True
    _speaks_on_unix_sockets = False

    def _link_on(self, url: str, place: _Place, options: LinkOptions) -> LinkOn:
        from .websocket import check_for_websockets, encoded, websockets_on

        check_for_websockets(url)
        context = self._context(url, options)
        return websockets_on(encoded(place.path), options, context)

    def _context(self, url: str, options: LinkOptions) -> ssl.SSLContext | None:
        return None


class InheritedSecureWebSocketTransport(InheritedWebSocketTransport):
    """Makes links over WebSocket and TLS on an inherited socket."""

    example = "fd+wss://3/path"
    uses_tls = True
    _scheme = "wss"

    def _context(self, url: str, options: LinkOptions) -> ssl.SSLContext | None:
        from .tls import certificate_of

        return certificate_of(url, options)


async def _handed_on(sock: socket.socket, link_on: LinkOn) -> LinkListener:
    # Only now, since few servers have a parent.
    from .handing import HandedConnections, HandedListener

    handed = HandedConnections(sock)
    return HandedListener(await handed.url(), handed, link_on)


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
