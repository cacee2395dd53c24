"""``unix:///path``: Unix sockets.

The path is percent-encoded, as in every URL. A listener may set the permissions of the
socket's file: ``unix:///run/adder.sock?mode=600``.
"""

from __future__ import annotations

import socket
from functools import partial
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import attrs
import trio

from ..links.base import Link
from ..links.local import LocalLink, LocalListener
from ..links.sockets import take_socket
from ..links.stream import StreamLimits
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport
from .listening import SocketClient

__all__ = ["LocalTransport"]


class LocalTransport(Transport):
    """Makes links on Unix sockets."""

    example = "unix:///run/adder.sock"
    can_be_polled = True

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        return partial(LocalLink.connect, self._read(url).path, limits=options.limits)

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        return partial(_listen, self._read(url), options.limits)

    def taken_over(self, url: str, number: int) -> LinkListener:
        """Return the listener at a URL on a socket that listens there already.

        It removes the file at the end, as if it had made it.

        Args:
            url: the URL.
            number: the descriptor of the socket, which this takes over.
        """
        sock = socket.socket(fileno=number)
        sock.setblocking(False)
        listener = LocalListener(sock, self._read(url).path)
        return _Listener(listener, LinkOptions().limits)

    def _read(self, url: str) -> _Place:
        parts = urlsplit(url)
        if parts.netloc:
            raise self._wrong(url, "there is a host; the path must begin with /")
        if not parts.path or parts.path.endswith("/"):
            raise self._wrong(url, "there is no path of a socket")
        if parts.fragment:
            raise self._wrong(url, "there is a fragment; write # in a path as %23")
        return _Place(unquote(parts.path), self._mode(url, parts.query))

    def _mode(self, url: str, query: str) -> int | None:
        mode = None
        for key, value in parse_qsl(query, keep_blank_values=True):
            if key != "mode":
                # Anything but a plain word may be a part of a password.
                what = repr(key) if key.isascii() and key.isalpha() else "what it has"
                raise self._wrong(url, f"{what} is not an option; there is only mode")
            try:
                mode = int(value, 8)
            except ValueError:
                mode = -1
            if not 0 <= mode <= 0o777:
                raise self._wrong(
                    url, "its mode is not one; it is octal, as in ?mode=600"
                )
        return mode


@attrs.frozen
class _Place:
    path: str
    mode: int | None


class _Listener(LinkListener):
    def __init__(self, listener: LocalListener, limits: StreamLimits) -> None:
        self._listener = listener
        self._limits = limits

    @property
    def url(self) -> str:
        path = quote(self._listener.address)
        return f"unix://{path}" if path.startswith("/") else f"unix:{path}"

    def fileno(self) -> int:
        return self._listener.fileno()

    async def accept(self) -> SocketClient:
        return SocketClient(await self._listener.accept_stream(), self._link_on)

    async def _link_on(self, stream: trio.SocketStream) -> Link:
        return LocalLink.on(take_socket(stream), limits=self._limits)

    def close(self) -> None:
        self._listener.close()


async def _listen(place: _Place, limits: StreamLimits) -> list[LinkListener]:
    listener = await LocalListener.bind(place.path, mode=place.mode)
    return [_Listener(listener, limits)]
