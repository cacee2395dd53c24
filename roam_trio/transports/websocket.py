"""``ws://host:port/path`` and ``wss://host:port/path``: WebSocket, over TCP or TLS.

A server whose URL has a path accepts WebSockets only at that path.
"""

from __future__ import annotations

import importlib.util
import re
import ssl
from functools import partial
from urllib.parse import quote, urlsplit

import attrs
import trio

from ..extras import how_to_install
from ..legible import without_secrets
from ..links.base import Link
from ..links.byte_streams import ByteTransport, SocketTransport
from ..links.sockets import open_tcp, send_at_once, take_socket
from ..links.stream import StreamLimits
from ..links.tls import tls_to_client, tls_to_server
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport
from .hosts import HostAndPort, without_reuse_port
from .listening import LinkOn, StreamLinkListener, listen_on_tcp
from .tls import certificate_of, trust_of

__all__ = [
    "SecureWebSocketTransport",
    "WebSocketTransport",
    "check_for_websockets",
    "encoded",
    "websockets_on",
]


class WebSocketTransport(Transport):
    """Makes links over WebSocket."""

    example = "ws://127.0.0.1:7000/path"
    _scheme = "ws"
    _port = 80

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        place = self._read(url)
        place.address.check_for_connecting(url, self.example)
        return partial(
            _connect, place, options.limits, self._tls_to_connect(url, options)
        )

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        read = HostAndPort.to_listen_at
        place = self._read(without_reuse_port(url, self.example)[0])
        address = read(url, self.example, default_port=self._port, may_have_path=True)
        place = attrs.evolve(place, address=address)
        return partial(_listen, place, options, self._tls_to_listen(url, options))

    def _read(self, url: str) -> _Place:
        check_for_websockets(url)
        address = HostAndPort.of(
            url, self.example, default_port=self._port, may_have_path=True
        )
        parts = urlsplit(url)
        query = f"?{encoded(parts.query)}" if parts.query else ""
        return _Place(self._scheme, address, encoded(parts.path) + query)

    def _tls_to_connect(self, url: str, options: LinkOptions) -> ssl.SSLContext | None:
        return None

    def _tls_to_listen(self, url: str, options: LinkOptions) -> ssl.SSLContext | None:
        return None


class SecureWebSocketTransport(WebSocketTransport):
    """Makes links over WebSocket and TLS."""

    example = "wss://example.org:7000/path"
    uses_tls = True
    _scheme = "wss"
    _port = 443

    def _tls_to_connect(self, url: str, options: LinkOptions) -> ssl.SSLContext | None:
        return trust_of(url, options) or ssl.create_default_context()

    def _tls_to_listen(self, url: str, options: LinkOptions) -> ssl.SSLContext | None:
        return certificate_of(url, options)


def encoded(part: str) -> str:
    """Percent-encode a part of a URL where it is not encoded yet.

    A space would end the target of the request, and HTTP allows only ASCII.
    """
    lone_percent = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", part)
    return quote(lone_percent, safe="%/?:@!$&'()*+,;=~-._")


@attrs.frozen
class _Place:
    scheme: str
    address: HostAndPort
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}{self.path}"


async def _connect(
    place: _Place, limits: StreamLimits, context: ssl.SSLContext | None
) -> Link:
    from ..links.websocket import WebSocketLink

    address = place.address
    transport: ByteTransport
    if context is None:
        transport = SocketTransport(await open_tcp(address.host, address.port))
    else:
        transport = await tls_to_server(address.host, address.port, context)
    return await WebSocketLink.connect(transport, str(place), limits=limits)


async def _listen(
    place: _Place, options: LinkOptions, context: ssl.SSLContext | None
) -> list[LinkListener]:
    link_on = websockets_on(place.path, options, context)
    address, listeners = await listen_on_tcp(place.address, str(place))
    url = str(attrs.evolve(place, address=address))
    return [StreamLinkListener(url, each, link_on) for each in listeners]


def websockets_on(
    path: str, options: LinkOptions, context: ssl.SSLContext | None
) -> LinkOn:
    """Return what makes WebSockets of accepted connections.

    Args:
        path: the only path at which they are accepted; empty for any.
        options: the options of links.
        context: has the certificate; None for no TLS.
    """
    from ..links.websocket import WebSocketLink

    async def link_on(stream: trio.SocketStream) -> Link:
        transport: ByteTransport
        if context is None:
            sock = take_socket(stream)
            send_at_once(sock)
            transport = SocketTransport(sock)
        else:
            transport = await tls_to_client(stream, context)
        return await WebSocketLink.accept(
            transport,
            path=path or None,
            origins=options.origins,
            limits=options.limits,
        )

    return link_on


def check_for_websockets(url: str) -> None:
    """Check that the package is there that WebSockets need.

    Raises:
        ImportError: it is not.
    """
    if importlib.util.find_spec("websockets") is None:
        raise ImportError(
            f"for {without_secrets(url)!r} the package websockets is required; "
            + how_to_install("websocket")
        )
