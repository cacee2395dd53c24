"""Every scheme of URLs, for tests that run over each of them."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trustme

__all__ = [
    "SCHEMES",
    "Scheme",
    "authority",
    "client_context",
    "own_certificate",
    "server_context",
    "trusted_certificates",
]


@attrs.frozen
class Scheme:
    """How to serve and to connect over one kind of link.

    Attributes:
        name: what its URLs begin with.
        _url: see `url`.
        to_serve: options of `serve`.
        to_connect: options of `connect`.
    """

    name: str
    _url: Callable[[Path, str], str]
    to_serve: Callable[[], Mapping[str, Any]] = dict
    to_connect: Callable[[], Mapping[str, Any]] = dict

    def url(self, directory: Path, name: str = "test") -> str:
        """Where to listen, in a test with a directory for itself."""
        return self._url(directory, name)

    def __str__(self) -> str:
        return self.name


@functools.cache
def authority() -> trustme.CA:
    """Who has signed the certificates of the tests' servers."""
    return trustme.CA()


@functools.cache
def server_context() -> ssl.SSLContext:
    """TLS at the side of a server on the loopback interface."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@functools.cache
def client_context() -> ssl.SSLContext:
    """TLS at the side of a client that trusts that server."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def own_certificate(directory: Path) -> str:
    """A file for a server in another process: its certificate and key."""
    path = directory / "own.pem"
    certificate = authority().issue_cert("127.0.0.1", "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


def trusted_certificates(directory: Path) -> str:
    """A file for a client in another process, as its ``SSL_CERT_FILE``."""
    path = directory / "trusted.pem"
    authority().cert_pem.write_to_path(path)
    return str(path)


def to_serve() -> Mapping[str, Any]:
    return {"ssl_context": server_context()}


def to_connect() -> Mapping[str, Any]:
    return {"ssl_context": client_context()}


SCHEMES = [
    Scheme("tcp", lambda *_: "tcp://127.0.0.1:0"),
    Scheme("unix", lambda directory, name: f"unix://{directory}/{name}"),
    Scheme("tls", lambda *_: "tls://127.0.0.1:0", to_serve, to_connect),
    Scheme("ws", lambda *_: "ws://127.0.0.1:0/roam"),
    Scheme("wss", lambda *_: "wss://127.0.0.1:0/roam", to_serve, to_connect),
    Scheme("memory", lambda _, name: f"memory://{name}"),
]
