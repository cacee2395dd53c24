"""Transports, which make links for URLs, to connect and to serve.

`base` defines the interface, `registry` finds a transport by its scheme, and `dialing`
connects to a server that has several URLs or is not up yet.
"""

from .base import (
    LinkFactory,
    LinkListener,
    LinkOptions,
    ListenerFactory,
    ListeningSocket,
    Transport,
    urls_of,
    wrong_url,
)
from .dialing import DEFAULT_CONNECT_TIMEOUT, Dialer, dialer
from .registry import (
    ENTRY_POINTS,
    known_schemes,
    register_transport,
    transport_for,
    transports_for,
)

__all__ = [
    "DEFAULT_CONNECT_TIMEOUT",
    "ENTRY_POINTS",
    "Dialer",
    "LinkFactory",
    "LinkListener",
    "LinkOptions",
    "ListenerFactory",
    "ListeningSocket",
    "Transport",
    "dialer",
    "known_schemes",
    "register_transport",
    "transport_for",
    "transports_for",
    "urls_of",
    "wrong_url",
]
