"""``stdio:``: the standard input and output of this process.

For serving the program that has started this one, or for being its client. There is
exactly one peer.
"""

from __future__ import annotations

from functools import partial

import trio
from trio.lowlevel import checkpoint

from ..links.base import Link
from ..links.stdio import stdio_link
from ..links.stream import StreamLimits
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport

__all__ = ["StdioTransport"]


class StdioTransport(Transport):
    """Makes the only link on standard input and output."""

    example = "stdio:"

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        self._check(url)
        return partial(_connect, options.limits)

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        self._check(url)
        return partial(_listen, options.limits)

    def _check(self, url: str) -> None:
        if url.partition(":")[2]:
            raise self._wrong(url, "there is more than the scheme")


async def _connect(limits: StreamLimits) -> Link:
    await checkpoint()
    return stdio_link(limits=limits)


async def _listen(limits: StreamLimits) -> list[LinkListener]:
    return [_OnlyOne(limits)]


class _OnlyOne(LinkListener):
    """Accepts the only peer."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._accepted = False

    @property
    def url(self) -> str:
        return "stdio:"

    async def accept(self) -> LinkFactory:
        await checkpoint()
        if self._accepted:
            raise trio.EndOfChannel
        self._accepted = True
        return partial(_connect, self._limits)

    def close(self) -> None:
        """Do nothing: the session owns the link."""
