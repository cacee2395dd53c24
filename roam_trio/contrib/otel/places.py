"""Attributes of the network, from the address of a peer or a URL."""

from __future__ import annotations

from typing import Final, TypeAlias
from urllib.parse import urlsplit

import attrs

from ...legible import legible
from ...peers import Peer
from .names import (
    NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT,
    NETWORK_TRANSPORT,
    SERVER_ADDRESS,
    SERVER_PORT,
)

__all__ = ["MOST_MEASURED", "Attributes", "Place", "Places", "server_attributes"]

Attributes: TypeAlias = dict[str, str | int]

_NONE: Final[Attributes] = {}

_TRANSPORTS: Final = {
    "tcp": "tcp",
    "tls": "tcp",
    "ws": "tcp",
    "wss": "tcp",
    "unix": "unix",
    "stdio": "pipe",
}

_MOST_ADDRESS: Final = 255
"""Length, in characters, to which an address is cut."""

_MOST_KEPT: Final = 1024
"""Number of peers whose attributes are kept."""

MOST_MEASURED: Final = 128
"""Number of servers that measurements tell apart, unless given."""


def server_attributes(url: str) -> Attributes:
    """Return the attributes of the server at a URL.

    Raises:
        ValueError: the URL names neither a host nor a path.
    """
    parts = urlsplit(url)
    if parts.hostname:
        return _host(parts.hostname, parts.port, SERVER_ADDRESS, SERVER_PORT)
    if parts.path:
        return {SERVER_ADDRESS: legible(parts.path, _MOST_ADDRESS)}
    raise ValueError(
        f"server: expected a URL with a host or a path, got {legible(url)!r}"
    )


@attrs.frozen(eq=False)
class Place:
    """The attributes of a peer.

    Attributes:
        as_server: as the server of a call.
        as_peer: as the other end of a connection.
        as_measured: as the server in measurements; empty if there are too many.
    """

    as_server: Attributes
    as_peer: Attributes
    as_measured: Attributes


class Places:
    """The attributes of peers; those of recent ones are kept.

    Each set of attributes of a measurement is kept as long as the program runs. Only
    the first servers are told apart, because a server that calls its clients can have
    any number of peers.

    Args:
        most_measured: number of servers that measurements tell apart.
    """

    def __init__(self, most_measured: int = MOST_MEASURED) -> None:
        self._most_measured = most_measured
        self._kept: dict[tuple[str, str], Place] = {}
        self._measured: set[tuple[str, str]] = set()

    def of(self, peer: Peer) -> Place:
        """Return the attributes of a peer."""
        key = peer.transport, peer.address
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            found = self._kept[key] = self._made(key, peer)
        return found

    def _made(self, key: tuple[str, str], peer: Peer) -> Place:
        server = _as_server(peer)
        measured = key in self._measured or len(self._measured) < self._most_measured
        if measured:
            self._measured.add(key)
        return Place(server, _as_peer(peer), server if measured else _NONE)


def _as_server(peer: Peer) -> Attributes:
    return _address(peer, SERVER_ADDRESS, SERVER_PORT)


def _as_peer(peer: Peer) -> Attributes:
    found = _address(peer, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT)
    transport = _TRANSPORTS.get(peer.transport)
    return found if transport is None else {**found, NETWORK_TRANSPORT: transport}


def _address(peer: Peer, address: str, port: str) -> Attributes:
    transport = _TRANSPORTS.get(peer.transport)
    if transport == "unix" and peer.address.startswith(("/", "@")):
        return {address: legible(peer.address, _MOST_ADDRESS)}
    if transport == "tcp":
        host, _, number = peer.address.rpartition(":")
        if host and number.isdecimal() and number.isascii():
            return _host(host.strip("[]"), int(number), address, port)
    return {}


def _host(host: str, number: int | None, address: str, port: str) -> Attributes:
    found: Attributes = {address: legible(host, _MOST_ADDRESS)}
    if number is not None:
        found[port] = number
    return found
