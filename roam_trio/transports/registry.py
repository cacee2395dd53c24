"""Transports by the scheme of a URL: those of this package, and those that others add.

Another package names its own in its ``pyproject.toml``,

    [project.entry-points."roam_trio.schemes"]
    pigeon = "pigeon_post:PigeonTransport"

or calls `register_transport`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final
from urllib.parse import quote

from ..legible import without_secrets
from .base import LinkOptions, Transport, wrong_url
from .local import LocalTransport
from .memory import MemoryTransport
from .stdio import StdioTransport
from .tcp import TcpTransport
from .tls import TlsTransport
from .websocket import SecureWebSocketTransport, WebSocketTransport

__all__ = [
    "ENTRY_POINTS",
    "known_schemes",
    "register_transport",
    "transport_for",
    "transports_for",
]

ENTRY_POINTS: Final = "roam_trio.schemes"
"""The group of the entry points: each is named as its scheme, and is a `Transport` or
a class of them that takes no arguments."""

# What urlsplit takes out without a word, or what ends a line of a request of HTTP.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")

_transports: dict[str, Transport] = {
    "memory": MemoryTransport(),
    "stdio": StdioTransport(),
    "tcp": TcpTransport(),
    "tls": TlsTransport(),
    "unix": LocalTransport(),
    "ws": WebSocketTransport(),
    "wss": SecureWebSocketTransport(),
}


def register_transport(scheme: str, transport: Transport) -> None:
    """Make URLs of a scheme known to `connect` and `serve`, for this process.

    Args:
        scheme: what stands before the colon, in lower case.
        transport: makes the links.

    Raises:
        ValueError: this is no scheme, or another transport has it.
        TypeError: `transport` is not a `Transport`.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(
            f"expected a scheme such as 'pigeon' (lower-case letters, digits, '+', '-' "
            f"and '.'), got {scheme!r}"
        )
    if not isinstance(transport, Transport):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"expected a Transport for {scheme!r}, got {transport!r}")
    taken_by = _transports.setdefault(scheme, transport)
    if taken_by is not transport:
        raise ValueError(f"the scheme {scheme!r} belongs to {taken_by!r} already")


def known_schemes() -> list[str]:
    """Return all schemes there are, sorted."""
    return sorted({*_transports, *entry_points(group=ENTRY_POINTS).names})


def transport_for(url: str) -> Transport:
    """Return the transport of a URL.

    Raises:
        ValueError: the URL has no scheme, or one that nobody has registered.
        TypeError: what a package has registered is not a `Transport`.
    """
    if control := _CONTROL.search(url):
        raise wrong_url(
            url,
            TcpTransport.example,
            f"there is a control character, {control[0]!r}, at position "
            f"{control.start()}; where it is meant, write {quote(control[0])}",
        )
    scheme, colon, _ = url.partition(":")
    scheme = scheme.lower()
    if transport := _transports.get(scheme):
        return transport
    if colon and _SCHEME.fullmatch(scheme):
        for entry in entry_points(group=ENTRY_POINTS, name=scheme):
            return _transports.setdefault(scheme, _loaded(entry))
    raise _unknown(url, scheme)


def transports_for(urls: Sequence[str], options: LinkOptions) -> list[Transport]:
    """Return the transports of several URLs; at least one uses TLS if that is set up.

    Raises:
        ValueError: no URL makes use of the `ssl_context`; or see `transport_for`.
        TypeError: see `transport_for`.
    """
    transports = [transport_for(url) for url in urls]
    if options.ssl_context is not None and not any(t.uses_tls for t in transports):
        where = ", ".join(map(without_secrets, urls))
        raise ValueError(
            f"ssl_context was given, but no TLS is spoken at {where}; leave "
            "it out, or take a URL with tls: or wss:"
        )
    return transports


def _loaded(found: EntryPoint) -> Transport:
    transport = found.load()
    if isinstance(transport, type):
        transport = transport()
    if not isinstance(transport, Transport):
        raise TypeError(
            f"the entry point {found.value!r} for the scheme {found.name!r}: "
            f"expected a Transport, got {transport!r}"
        )
    return transport


def _unknown(url: str, scheme: str) -> ValueError:
    known = known_schemes()
    problem = f"the schemes are: {', '.join(known)}"
    if nearest := difflib.get_close_matches(scheme, known, 1):
        problem += f"; did you mean {nearest[0]}:?"
    return wrong_url(url, TcpTransport.example, problem)
