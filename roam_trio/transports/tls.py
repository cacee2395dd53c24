"""``tls://host:port``: TLS over TCP."""

from __future__ import annotations

import ssl
from functools import partial

import trio

from ..links import Link, StreamLimits, accept_tls, connect_tls
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport
from .hosts import HostAndPort
from .listening import StreamLinkListener, listen_on_tcp

__all__ = ["TlsTransport", "certificate_of"]


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
            ssl_context=options.ssl_context,
            limits=options.limits,
        )

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        address = HostAndPort.of(url, self.example)
        context = certificate_of(url, options)
        return partial(_listen, address, context, options.limits)


def certificate_of(url: str, options: LinkOptions) -> ssl.SSLContext:
    """The context to listen with.

    Raises:
        ValueError: there is none.
    """
    if options.ssl_context is None:
        raise ValueError(
            f"to listen at {url!r}, ssl_context is needed: "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "
            "with the server's certificate loaded into it"
        )
    return options.ssl_context


async def _listen(
    address: HostAndPort, context: ssl.SSLContext, limits: StreamLimits
) -> list[LinkListener]:
    async def link_on(stream: trio.SocketStream) -> Link:
        return await accept_tls(stream, context, limits=limits)

    bound, listeners = await listen_on_tcp(address)
    return [StreamLinkListener(f"tls://{bound}", each, link_on) for each in listeners]
