"""A server process, and its clients, over one of the schemes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from roam_trio.endpoints.connect import Connecting, connect

from ..schemes import Scheme, own_certificate, trusted_certificates
from .processes import NO_LIMIT, ClientProcess, ServerProcess
from .workshop import Workshop

__all__ = ["Over"]


@attrs.frozen
class Over:
    """How processes speak in a test.

    Attributes:
        scheme: what their URLs begin with.
        directory: for the files they need.
    """

    scheme: Scheme
    directory: Path

    def server(self, *, close_seconds: float = NO_LIMIT) -> ServerProcess:
        """A process that serves `Workshop`."""
        return ServerProcess(
            self.scheme.url(self.directory),
            own_certificate(self.directory),
            close_seconds=close_seconds,
        )

    def connect(self, url: str, **options: Any) -> Connecting[Workshop]:
        """A client of it in this process."""
        return connect(url, Workshop, **self.scheme.to_connect(), **options)

    def client(self, url: str) -> ClientProcess:
        """A client of it in a process that is to be killed."""
        trusted = {"SSL_CERT_FILE": trusted_certificates(self.directory)}
        return ClientProcess(url, env={**os.environ, **trusted})

    def clear_away(self, url: str) -> None:
        """Remove what a server that was killed could not."""
        if self.scheme.name == "unix":
            os.unlink(urlsplit(url).path)
