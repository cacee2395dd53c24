"""The sockets on which a parent accepts the connections for its workers."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

import attrs

from ...transports import LinkListener, LinkOptions, transport_for
from ...transports.hosts import HostAndPort, without_reuse_port
from ...transports.listening import SocketClient, accept_when_possible
from ...transports.local import LocalTransport
from ..exits import UsageError

__all__ = ["Door", "accept", "open_doors"]

_PORTS: Final = {"ws": 80, "wss": 443}

_SPOKEN: Final = {"fd": "tcp", "fd+tls": "tls", "fd+ws": "ws", "fd+wss": "wss"}


@attrs.frozen
class Door:
    """A URL at which a parent accepts connections.

    Attributes:
        given: the URL of the user.
        url: the URL with its actual port.
        listeners: those of its addresses.
    """

    given: str
    url: str
    listeners: Sequence[LinkListener]

    def descriptors(self) -> list[int]:
        """Return those of the sockets, for a parent that takes over."""
        numbers = [listener.fileno() for listener in self.listeners]
        return [number for number in numbers if number is not None]

    def close(self) -> None:
        """Listen no longer."""
        for listener in self.listeners:
            listener.close()


async def accept(listener: LinkListener, url: str) -> socket.socket:
    """Wait for the next connection; see `accept_when_possible`."""
    client = await accept_when_possible(listener.accept, url)
    assert isinstance(client, SocketClient)
    return client.take_socket()


async def open_doors(
    urls: Sequence[str], inherited: Sequence[Sequence[int]] | None = None
) -> list[Door]:
    """Listen at all URLs.

    Args:
        urls: where.
        inherited: for each URL the descriptors of the sockets that listen there
            already; None if there are none.

    Raises:
        UsageError: a URL is wrong, or stands for no sockets.
        OSError: it cannot listen there.
    """
    doors: list[Door] = []
    with ExitStack() as opened:
        for number, url in enumerate(urls):
            numbers = inherited[number] if inherited is not None else None
            doors.append(await _door(url, numbers))
            opened.callback(doors[-1].close)
        opened.pop_all()
    return doors


async def _door(url: str, numbers: Sequence[int] | None) -> Door:
    scheme, listeners = url.partition(":")[0].lower(), list[LinkListener]()
    try:
        if numbers is not None and scheme == "unix":
            listeners += [LocalTransport().taken_over(url, each) for each in numbers]
        else:
            where = [_bare(url, scheme)]
            if numbers is not None:
                where = [f"fd://{number}" for number in numbers]
            for each in where:
                listeners += await transport_for(each).to_listen(each, LinkOptions())()
            for number in numbers or ():
                os.close(number)  # the listeners have copies
    except ValueError as error:
        raise UsageError(str(error)) from error
    door = Door(url, _shown(listeners[0].url, url, scheme), listeners)
    if not door.descriptors():
        door.close()
        raise UsageError(
            f"{url}: expected a URL of sockets, whose connections --workers can share"
        )
    return door


def _bare(url: str, scheme: str) -> str:
    """Return the URL at which to accept connections, whatever is spoken on them."""
    if scheme in ("tcp", "tls", "ws", "wss"):
        address = HostAndPort.to_listen_at(
            url,
            f"{scheme}://127.0.0.1:7000",
            default_port=_PORTS.get(scheme),
            may_have_path=scheme in _PORTS,
        )
        return f"tcp://{address}{'?reuse_port=1' if address.reuse_port else ''}"
    if scheme in _SPOKEN:
        return f"fd://{urlsplit(url).netloc}"
    return url


def _shown(bound: str, url: str, scheme: str) -> str:
    """Return the URL for clients.

    Args:
        bound: what the listener says, of TCP or a Unix socket.
        url: the URL of the user.
        scheme: its scheme.
    """
    if not bound.startswith("tcp:"):
        return bound
    spoken = _SPOKEN.get(scheme, scheme)
    shown = f"{spoken}:{bound.removeprefix('tcp:')}"
    if spoken not in _PORTS:
        return shown
    parts = urlsplit(without_reuse_port(url, url)[0])
    return f"{shown}{parts.path}?{parts.query}" if parts.query else shown + parts.path
