"""What a transport is: how links are made for the URLs of one scheme.

A transport reads a URL at once, so that a wrong one is refused before anything is
opened, and gives a factory: of links, to connect; of listeners, to serve. Factories can
be called again and again, by whoever wants another link to the same address.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeAlias

import attrs

from ..links import Link, StreamLimits

__all__ = [
    "LinkFactory",
    "LinkListener",
    "LinkOptions",
    "ListenerFactory",
    "Transport",
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


@attrs.frozen(kw_only=True)
class LinkOptions:
    """What links are made with, whatever their transport.

    Attributes:
        limits: what a link may hold.
        ssl_context: for transports that use TLS. None is a default context for who
            connects; who listens needs one with a certificate.
        origins: the web pages that may connect over WebSocket, as browsers name them:
            ``"https://example.org"``. Others are refused; who is no browser names none.
    """

    limits: StreamLimits = attrs.field(factory=StreamLimits)
    ssl_context: ssl.SSLContext | None = None
    origins: Sequence[str] = ()


class LinkListener(ABC):
    """Accepts clients, one by one."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it listens: as it was asked to, with the port it really has."""

    @abstractmethod
    async def accept(self) -> LinkFactory:
        """Wait for the next client. A checkpoint; cancelled, it loses no client.

        What is returned makes the link, and is to be called exactly once, in a task of
        its own and with a time limit: there may be a handshake to do. If it fails or is
        cancelled, the connection is closed.

        Raises:
            trio.EndOfChannel: there will never be another client.
            OSError: the listener is broken.
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
        """What connects to a URL.

        Raises:
            ValueError: the URL is none to connect to; see `wrong_url`.
        """

    @abstractmethod
    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        """What listens at a URL.

        Raises:
            ValueError: the URL is none to listen at, or an option is missing.
        """

    def _wrong(self, url: str, problem: object) -> ValueError:
        return wrong_url(url, self.example, problem)


def wrong_url(url: str, example: str, problem: object) -> ValueError:
    """The error for a URL that is not as it should be."""
    return ValueError(f"expected a URL like {example}, got {url!r}: {problem}")
