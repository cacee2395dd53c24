"""Transports: how the links of a URL are made, to connect and to serve.

`base` says what a transport is, `registry` knows them by their schemes, and `dialing`
gets through to a server that has several URLs or is not up yet.
"""

from .base import (
    LinkFactory,
    LinkListener,
    LinkOptions,
    ListenerFactory,
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
    "Transport",
    "dialer",
    "known_schemes",
    "register_transport",
    "transport_for",
    "transports_for",
    "urls_of",
    "wrong_url",
]
