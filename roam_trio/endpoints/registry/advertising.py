"""The choice of the URLs that are announced: without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from ...legible import without_secrets
from .entries import is_of_one_process

__all__ = ["advertised"]

_ANY_HOST = ("", "0.0.0.0", "::")


def advertised(urls: Sequence[str], advertise: str | Sequence[str]) -> Sequence[str]:
    """Return the URLs to announce.

    Args:
        urls: the URLs at which a server listens, with their actual ports.
        advertise: what replaces them; see `Registry.service`.

    Raises:
        ValueError: a URL would be of no use to clients elsewhere.
    """
    if isinstance(advertise, str):
        if "://" in advertise:
            urls = [advertise]
        elif advertise:
            urls = [_at_host(url, advertise) for url in urls]
    elif advertise:
        urls = advertise
    for url in urls:
        _check(url)
    return urls


def _at_host(url: str, host: str) -> str:
    """Return a URL with another host."""
    parts = urlsplit(url)
    if parts.port is None:
        return url
    named = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{named}:{parts.port}").geturl()


def _check(url: str) -> None:
    parts = urlsplit(url)
    shown = without_secrets(url)
    if is_of_one_process(url):
        problem = "only its process can use it"
    elif parts.port is not None and (parts.hostname or "") in _ANY_HOST:
        problem = "it stands for every address of the machine"
    elif parts.port == 0:
        problem = "port 0 stands for any"
    else:
        return
    raise ValueError(
        f"{shown!r} cannot be announced, as {problem}; say how clients reach this "
        "server: service(name, advertise='host') or advertise=['tcp://host:port']"
    )
