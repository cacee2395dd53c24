"""The interface of transports, which make links for the URLs of one scheme.

A transport reads a URL at once, so that a wrong one is refused before anything is
opened, and gives a factory: of links, to connect; of listeners, to serve. Factories can
be called again and again, by whoever wants another link to the same address.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias, cast

import attrs

from ..legible import urls_without_secrets, without_secrets
from ..links.base import Link
from ..links.stream import StreamLimits

__all__ = [
    "LinkFactory",
    "LinkListener",
    "LinkOptions",
    "ListenerFactory",
    "Transport",
    "urls_of",
    "wrong_url",
]

LinkFactory: TypeAlias = Callable[[], Awaitable[Link]]
"""Makes a fresh link. If that fails or is cancelled, nothing is left open.

Raises:
    OSError: nobody can be reached, or TLS fails.
    LinkError: who was reached speaks something else.
"""

ListenerFactory: TypeAlias = Callable[[], Awaitable[Sequence["LinkListener"]]]
"""Begins to listen. If that fails or is cancelled, nothing is left open.

Raises:
    OSError: it cannot listen there.
"""


def _check_several(
    instance: object, attribute: attrs.Attribute[Any], value: object
) -> None:
    if isinstance(value, str | bytes):
        raise TypeError(
            f"{attribute.name}: expected a list, such as ['https://example.org'], "
            f"got {value!r}"
        )


@attrs.frozen(kw_only=True)
class LinkOptions:
    """Options of links, whatever their transport.

    Attributes:
        limits: what a link may hold.
        ssl_context: for transports that use TLS. None is a default context for who
            connects; who listens needs one with a certificate.
        origins: the web pages that may connect over WebSocket, as browsers name them:
            ``"https://example.org"``. Others are refused; who is no browser names none.

    Raises:
        TypeError: `origins` is a text, and not a list of them.
    """

    limits: StreamLimits = attrs.field(factory=StreamLimits)
    ssl_context: ssl.SSLContext | None = None
    origins: Sequence[str] = attrs.field(default=(), validator=_check_several)


class LinkListener(ABC):
    """Accepts clients, one by one."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL it listens at: as it was asked to, with the port it really has."""

    @abstractmethod
    async def accept(self) -> LinkFactory:
        """Wait for the next client. A checkpoint; cancelled, it loses no client.

        What is returned makes the link, and is to be called exactly once, in a task of
        its own and with a time limit: there may be a handshake to do. If it fails or is
        cancelled, the connection is closed.

        Raises:
            trio.EndOfChannel: there will never be another client.
            OSError: this client is gone, or the system has no means for it, and the
                next may be accepted; or, with an errno of EBADF, ENOTSOCK, EINVAL or
                EFAULT or without any, the listener is broken.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop listening, without waiting. Links that were accepted live on."""


class Transport(ABC):
    """Makes links for the URLs of a scheme; `register_transport` makes it known.

    Attributes:
        example: a URL as it should be, for messages about one that is not.
        uses_tls: whether it makes use of `LinkOptions.ssl_context`.
    """

    example: ClassVar[str]
    uses_tls: ClassVar[bool] = False

    @abstractmethod
    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        """Return a factory of links to a URL.

        Raises:
            ValueError: the URL is none to connect to; see `wrong_url`.
        """

    @abstractmethod
    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        """Return a factory of listeners at a URL.

        Raises:
            ValueError: the URL is none to listen at, or an option is missing.
        """

    def _wrong(self, url: str, problem: object) -> ValueError:
        return wrong_url(url, self.example, problem)


def urls_of(urls: object) -> tuple[str, ...]:
    """Return each of the URLs that somebody was given: one, or several.

    Raises:
        TypeError: something else was given.
    """
    if isinstance(urls, str):
        return (urls,)
    several: tuple[object, ...] = (urls,)
    if isinstance(urls, Iterable) and not isinstance(urls, bytes | bytearray):
        several = tuple(cast("Iterable[object]", urls))
    for url in several:
        if not isinstance(url, str):
            raise TypeError(
                "expected a URL as a str, such as 'tcp://127.0.0.1:7000', or a list of "
                f"them, got {urls_without_secrets(repr(url))}"
            )
    return cast("tuple[str, ...]", several)


def wrong_url(url: str, example: str, problem: object) -> ValueError:
    """Return the error for a URL that is not as it should be."""
    got = without_secrets(url)
    return ValueError(f"expected a URL like {example}, got {got!r}: {problem}")
