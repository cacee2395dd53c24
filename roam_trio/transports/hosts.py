"""Hosts and ports in the URLs of all transports over TCP."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

import attrs

from ..legible import without_secrets
from .base import wrong_url

__all__ = ["HostAndPort"]


@attrs.frozen
class HostAndPort:
    """A host and port to connect to or listen at; an empty host means every address."""

    host: str
    port: int

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
        return HostAndPort(self.host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _has_more(parts: SplitResult, may_have_path: bool) -> bool:
    if "@" in parts.netloc or parts.fragment:
        return True
    return not may_have_path and bool(parts.path or parts.query)
