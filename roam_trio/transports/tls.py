"""``tls://host:port``: TLS over TCP."""

from __future__ import annotations

import ssl
from functools import partial

import trio

from ..legible import without_secrets
from ..links.base import Link
from ..links.stream import StreamLimits
from ..links.tls import accept_tls, connect_tls
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport
from .hosts import HostAndPort
from .listening import StreamLinkListener, listen_on_tcp

__all__ = ["TlsTransport", "certificate_of", "trust_of"]


class TlsTransport(Transport):
    """Makes links over TLS."""

    example = "tls://example.org:7000"
    uses_tls = True

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        address = HostAndPort.of(url, self.example)
        address.check_for_connecting(url, self.example)
        return partial(
            connect_tls,
            address.host,
            address.port,
            ssl_context=trust_of(url, options),
            limits=options.limits,
        )

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        address = HostAndPort.to_listen_at(url, self.example)
        context = certificate_of(url, options)
        return partial(_listen, address, url, context, options.limits)


def certificate_of(url: str, options: LinkOptions) -> ssl.SSLContext:
    """Return the context to listen with.

    Raises:
        ValueError: there is none, or it is one for clients.
    """
    context = options.ssl_context
    if context is None or context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        problem = "is needed" if context is None else "must be one for servers"
        raise ValueError(
            f"to listen at {without_secrets(url)!r}, ssl_context {problem}: "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "
            "with the server's certificate loaded into it"
        )
    return context


def trust_of(url: str, options: LinkOptions) -> ssl.SSLContext | None:
    """Return the context to connect with; None for the default one.

    Raises:
        ValueError: it is one for servers.
    """
    context = options.ssl_context
    if context is not None and context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError(
            f"to connect to {without_secrets(url)!r}, ssl_context must be "
            "one for clients: ssl.create_default_context(), or none at all"
        )
    return context


async def _listen(
    address: HostAndPort, url: str, context: ssl.SSLContext, limits: StreamLimits
) -> list[LinkListener]:
    async def link_on(stream: trio.SocketStream) -> Link:
        return await accept_tls(stream, context, limits=limits)

    bound, listeners = await listen_on_tcp(address, url)
    return [StreamLinkListener(f"tls://{bound}", each, link_on) for each in listeners]
