"""Transports by URL scheme: those of this package, and those of other packages.

Another package registers a transport in its ``pyproject.toml``,

    [project.entry-points."roam_trio.schemes"]
    pigeon = "pigeon_post:PigeonTransport"

or calls `register_transport`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ..legible import without_secrets
from .base import LinkOptions, Transport, wrong_url

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

__all__ = [
    "ENTRY_POINTS",
    "known_schemes",
    "register_transport",
    "transport_for",
    "transports_for",
]

ENTRY_POINTS: Final = "roam_trio.schemes"
"""The group of the entry points. The name of each is its scheme. Its object is a
`Transport`, or a `Transport` class whose constructor takes no arguments.
"""

# Characters that urlsplit silently removes, or that would end a line of an HTTP
# request.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")

_BUILT_IN: Final = {
    "fd": "inherited:InheritedTransport",
    "fd+tls": "inherited:InheritedTlsTransport",
    "fd+ws": "inherited:InheritedWebSocketTransport",
    "fd+wss": "inherited:InheritedSecureWebSocketTransport",
    "memory": "memory:MemoryTransport",
    "stdio": "stdio:StdioTransport",
    "tcp": "tcp:TcpTransport",
    "tls": "tls:TlsTransport",
    "unix": "local:LocalTransport",
    "ws": "websocket:WebSocketTransport",
    "wss": "websocket:SecureWebSocketTransport",
}
"""A module of this room and its class, for each scheme. Each is imported with the first
URL of its scheme: a program that connects over TCP needs neither TLS nor WebSocket.
"""

_EXAMPLE: Final = "tcp://127.0.0.1:7000"

_transports: dict[str, Transport] = {}
"""The transports that are in use, or were registered."""


def register_transport(scheme: str, transport: Transport) -> None:
    """Register a transport for a scheme, for `connect` and `serve` in this process.

    Args:
        scheme: the part before the colon, in lower case.
        transport: makes the links.

    Raises:
        ValueError: `scheme` is not a valid scheme, or another transport has it.
        TypeError: `transport` is not a `Transport`.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(
            f"expected a scheme such as 'pigeon' (lower-case letters, digits, '+', '-' "
            f"and '.'), got {scheme!r}"
        )
    if not isinstance(transport, Transport):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"expected a Transport for {scheme!r}, got {transport!r}")
    taken_by = _built_in(scheme) or _transports.setdefault(scheme, transport)
    if taken_by is not transport:
        raise ValueError(f"the scheme {scheme!r} already belongs to {taken_by!r}")


def known_schemes() -> list[str]:
    """Return all known schemes, sorted."""
    return sorted({*_BUILT_IN, *_transports, *_entry_points().names})


def transport_for(url: str) -> Transport:
    """Return the transport of a URL.

    Raises:
        ValueError: the URL has no scheme, or an unknown one.
        TypeError: the registered object is not a `Transport`.
    """
    if control := _CONTROL.search(url):
        raise wrong_url(
            url,
            _EXAMPLE,
            f"there is a control character, {control[0]!r}, at position "
            f"{control.start()}; where it is meant, write {quote(control[0])}",
        )
    scheme, colon, _ = url.partition(":")
    scheme = scheme.lower()
    if transport := _transports.get(scheme) or _built_in(scheme):
        return transport
    if colon and _SCHEME.fullmatch(scheme):
        for entry in _entry_points().select(name=scheme):
            return _transports.setdefault(scheme, _loaded(entry))
    raise _unknown(url, scheme)


def transports_for(urls: Sequence[str], options: LinkOptions) -> list[Transport]:
    """Return the transports of several URLs, and check that one uses the TLS context.

    Raises:
        ValueError: no URL uses the `ssl_context`; or see `transport_for`.
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


def _built_in(scheme: str) -> Transport | None:
    """Return the transport of this package for a scheme, or None."""
    if scheme not in _BUILT_IN:
        return None
    if scheme not in _transports:
        module, _, cls = _BUILT_IN[scheme].partition(":")
        made = getattr(import_module(f"{__package__}.{module}"), cls)
        _transports[scheme] = made()
    return _transports[scheme]


def _entry_points() -> EntryPoints:
    # It imports email, csv and zipfile, which would be a tenth of the import time of
    # this package.
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


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
    import difflib

    known = known_schemes()
    problem = f"the schemes are: {', '.join(known)}"
    if nearest := difflib.get_close_matches(scheme, known, 1):
        problem += f"; did you mean {nearest[0]}:?"
    return wrong_url(url, _EXAMPLE, problem)
