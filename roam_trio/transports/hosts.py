"""Hosts and ports in the URLs of all transports over TCP."""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from ..legible import without_secrets
from .base import wrong_url

__all__ = ["HostAndPort", "without_reuse_port"]


@attrs.frozen
class HostAndPort:
    """A host and port to connect to or listen at; an empty host means every address.

    Attributes:
        host: the host.
        port: the port.
        reuse_port: whether other sockets may listen there too (SO_REUSEPORT).
    """

    host: str
    port: int
    reuse_port: bool = False

    @classmethod
    def of(
        cls,
        url: str,
        example: str,
        *,
        default_port: int | None = None,
        may_have_path: bool = False,
    ) -> HostAndPort:
        """Read the host and the port of a URL.

        Args:
            url: the URL.
            example: a correct URL, for the error.
            default_port: the port if none is given; None if one is required.
            may_have_path: whether there may be a path and a query.

        Raises:
            ValueError: the URL is wrong.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            # The text of the error quotes a part of the URL, which may be secret.
            is_harmless = without_secrets(url) == url
            problem = error if is_harmless else "host or port are malformed"
            raise wrong_url(url, example, problem) from None
        if port is None:
            port = default_port
        if port is None:
            raise wrong_url(url, example, "there is no port")
        if _has_more(parts, may_have_path):
            most = "host, port and path" if may_have_path else "host and port"
            raise wrong_url(url, example, f"there is more than {most}")
        host = parts.hostname or ""
        if found := re.search(r"[\s\\%\"<>^`{|}]", host.partition("%")[0]):
            raise wrong_url(url, example, f"there is {found[0]!r} in the host")
        return cls(host, port)

    @classmethod
    def to_listen_at(
        cls,
        url: str,
        example: str,
        *,
        default_port: int | None = None,
        may_have_path: bool = False,
    ) -> HostAndPort:
        """As `of`, for a URL to listen at, which may have ``?reuse_port=1``.

        Raises:
            ValueError: the URL is wrong, or this system cannot share ports.
        """
        rest, reuse_port = without_reuse_port(url, example)
        address = cls.of(
            rest, example, default_port=default_port, may_have_path=may_have_path
        )
        if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
            raise wrong_url(
                url,
                example,
                "reuse_port=1 needs a system with SO_REUSEPORT, such as Linux or "
                "macOS, and this one has none; leave it out, and let the processes "
                "share one socket: fd://, or roam-trio serve --workers",
            )
        return attrs.evolve(address, reuse_port=reuse_port)

    def check_for_connecting(self, url: str, example: str) -> None:
        """Check that the address can be connected to, and not only listened at.

        Raises:
            ValueError: there is no host, or no port.
        """
        if not self.host:
            raise wrong_url(url, example, "there is no host to connect to")
        if not self.port:
            raise wrong_url(
                url,
                example,
                "port 0 is for servers, which get a free one; Server.url tells it",
            )

    def with_port(self, port: int) -> HostAndPort:
        """Return the same host with another port."""
        return attrs.evolve(self, port=port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def without_reuse_port(url: str, example: str) -> tuple[str, bool]:
    """Return a URL without the option ``reuse_port``, and its value.

    Raises:
        ValueError: it is neither 0 nor 1.
    """
    base, mark, query = url.partition("?")
    kept = [each for each in query.split("&") if not each.startswith(_REUSE_PORT)]
    given = {each for each in query.split("&") if each.startswith(_REUSE_PORT)}
    if not given:
        return url, False
    if given not in ({f"{_REUSE_PORT}0"}, {f"{_REUSE_PORT}1"}):
        raise wrong_url(url, example, "reuse_port is 1 or 0, as in ?reuse_port=1")
    rest = f"{base}{mark}{'&'.join(kept)}" if kept else base
    return rest, f"{_REUSE_PORT}1" in given


_REUSE_PORT: Final = "reuse_port="


def _has_more(parts: SplitResult, may_have_path: bool) -> bool:
    if "@" in parts.netloc or parts.fragment:
        return True
    return not may_have_path and bool(parts.path or parts.query)
