"""``tcp://host:port``: TCP.

If a host has several addresses, `trio.open_tcp_stream` tries them a quarter of a second
apart, until one answers.
"""

from __future__ import annotations

from functools import partial

import trio

from ..links.base import Link
from ..links.stream import StreamLimits
from ..links.tcp import connect_tcp, tcp_link
from ..peers import Peer
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport
from .hosts import HostAndPort
from .listening import StreamLinkListener, listen_on_tcp

__all__ = ["TcpTransport"]


class TcpTransport(Transport):
    """Makes links over TCP."""

    example = "tcp://127.0.0.1:7000"
    can_be_polled = True

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        address = HostAndPort.of(url, self.example)
        address.check_for_connecting(url, self.example)
        return partial(_connect, address, options.limits)

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        address = HostAndPort.to_listen_at(url, self.example)
        return partial(_listen, address, url, options.limits)


async def _connect(address: HostAndPort, limits: StreamLimits) -> Link:
    return await connect_tcp(address.host, address.port, limits=limits)


async def _listen(
    address: HostAndPort, url: str, limits: StreamLimits
) -> list[LinkListener]:
    def at_once(stream: trio.SocketStream, peer: Peer) -> Link:
        return tcp_link(stream, limits=limits, peer=peer)

    bound, listeners = await listen_on_tcp(address, url)
    return [
        StreamLinkListener(f"tcp://{bound}", each, None, at_once) for each in listeners
    ]
