"""``memory://name``: within one process, and one run of trio.

For tests, and for parts of a program that may become separate processes.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import trio
from trio.lowlevel import checkpoint

from ..legible import without_secrets
from ..links.base import Link
from ..links.memory import memory_link_pair
from .base import LinkFactory, LinkListener, LinkOptions, ListenerFactory, Transport

__all__ = ["MemoryTransport"]

_BUFFER: Final = 64
"""Number of payloads that a link holds in each direction before senders wait."""


class MemoryTransport(Transport):
    """Makes links in memory."""

    example = "memory://adder"

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        return partial(_connect, self._name(url))

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        return partial(_listen, self._name(url))

    def _name(self, url: str) -> str:
        _, _, name = url.partition("://")
        if not name or name != urlsplit(url).netloc:
            raise self._wrong(url, "there is no name, or more than one")
        return name


class _Listener(LinkListener):
    """Listens under a name, until closed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._names = _names()
        if name in self._names:
            raise OSError(
                errno.EADDRINUSE,
                "a server already listens under this name",
                without_secrets(self.url),
            )
        self._names[name] = self
        # Use no buffer: each client waits until it is accepted, so no accepted client
        # remains when the listener closes.
        self._send, self._receive = trio.open_memory_channel[Link](0)

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    async def hand_over(self, link: Link) -> None:
        """Wait until the listener accepts.

        Raises:
            trio.BrokenResourceError: the listener was closed first.
        """
        await self._send.send(link)

    async def accept(self) -> LinkFactory:
        link = await self._receive.receive()

        async def accepted() -> Link:
            return link

        return accepted

    def close(self) -> None:
        if self._names.get(self._name) is self:
            del self._names[self._name]
        self._receive.close()


async def _listen(name: str) -> list[LinkListener]:
    await checkpoint()
    return [_Listener(name)]


async def _connect(name: str) -> Link:
    await checkpoint()
    near, far = memory_link_pair(_BUFFER)
    try:
        await _names()[name].hand_over(far)
    except (KeyError, trio.BrokenResourceError):
        raise ConnectionRefusedError(
            errno.ECONNREFUSED,
            "no server listens under this name",
            without_secrets(f"memory://{name}"),
        ) from None
    return near


_names_of_run = trio.lowlevel.RunVar[dict[str, _Listener]]("listeners in memory")


def _names() -> dict[str, _Listener]:
    """Return the listeners in this run of trio, by name."""
    try:
        return _names_of_run.get()
    except LookupError:
        names: dict[str, _Listener] = {}
        _names_of_run.set(names)
        return names
