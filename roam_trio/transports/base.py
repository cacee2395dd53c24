"""The interface of transports, which make links for the URLs of one scheme.

A transport checks a URL at once, so that a wrong one is refused before anything is
opened. It returns a factory of links to connect, or of listeners to serve. A factory
can be called repeatedly, for further links to the same address.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias, cast, runtime_checkable

import attrs

from ..legible import urls_without_secrets, without_secrets
from ..links.base import Link
from ..links.stream import StreamLimits

__all__ = [
    "LinkFactory",
    "LinkListener",
    "LinkOptions",
    "ListenerFactory",
    "ListeningSocket",
    "Transport",
    "urls_of",
    "wrong_url",
]

LinkFactory: TypeAlias = Callable[[], Awaitable[Link]]
"""Makes a new link. If it fails or is cancelled, nothing is left open.

Raises:
    OSError: no server can be reached, or TLS fails.
    LinkError: the server speaks another protocol.
"""

ListenerFactory: TypeAlias = Callable[[], Awaitable[Sequence["LinkListener"]]]
"""Starts to listen. If it fails or is cancelled, nothing is left open.

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
        limits: bounds of a link.
        ssl_context: for transports that use TLS. To connect, None means a default
            context. To listen, a context with a certificate is needed.
        origins: the web origins that may connect over WebSocket, as browsers send them:
            ``"https://example.org"``. Others are refused. Programs other than browsers
            send no origin, and are accepted.

    Raises:
        TypeError: `origins` is a text, and not a list of them.
    """

    limits: StreamLimits = attrs.field(factory=StreamLimits)
    ssl_context: ssl.SSLContext | None = None
    origins: Sequence[str] = attrs.field(default=(), validator=_check_several)


@runtime_checkable
class ListeningSocket(Protocol):
    """A socket of the standard library or of trio that listens."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...


class LinkListener(ABC):
    """Accepts clients, one by one.

    Attributes:
        is_private: whether its URL is of no use to clients.
    """

    is_private: ClassVar[bool] = False

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL at which it listens, with its actual port."""

    @abstractmethod
    async def accept(self) -> LinkFactory:
        """Wait for the next client. A checkpoint. If cancelled, it loses no client.

        The returned function makes the link. Call it exactly once, in its own task and
        with a time limit, because there may be a handshake. If it fails or is
        cancelled, the connection is closed.

        Raises:
            trio.EndOfChannel: there will be no further client.
            OSError: this client is gone, or the system lacks the resources, and the
                next client may be accepted. With an errno of EBADF, ENOTSOCK, EINVAL or
                EFAULT, or without one, the listener is broken.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop listening, without waiting. Accepted links continue."""

    def fileno(self) -> int | None:
        """Return the descriptor of the socket on which it listens, if it is one."""
        return None

    def over(self) -> None:
        """Note that nothing is left of one of the accepted clients. Never waits."""
        return


class Transport(ABC):
    """Makes links for the URLs of a scheme; `register_transport` registers it.

    Attributes:
        example: a correct URL, for the errors about wrong ones.
        uses_tls: whether it uses `LinkOptions.ssl_context`.
        can_be_polled: whether its links are sockets that carry payloads and nothing
            else; see the argument `busy_poll` of `connect`.
    """

    example: ClassVar[str]
    uses_tls: ClassVar[bool] = False
    can_be_polled: ClassVar[bool] = False

    @abstractmethod
    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        """Return a factory of links to a URL.

        Raises:
            ValueError: the URL cannot be connected to; see `wrong_url`.
        """

    @abstractmethod
    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        """Return a factory of listeners at a URL.

        Raises:
            ValueError: the URL cannot be listened at, or an option is missing.
        """

    def _wrong(self, url: str, problem: object) -> ValueError:
        return wrong_url(url, self.example, problem)


def urls_of(urls: object) -> tuple[str, ...]:
    """Return the URLs in an argument that is one URL or several.

    Raises:
        TypeError: the argument is neither.
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
    """Return the error for a wrong URL."""
    got = without_secrets(url)
    return ValueError(f"expected a URL like {example}, got {got!r}: {problem}")
