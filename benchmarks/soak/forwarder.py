"""A TCP port that forwards to a server, and stalls and cuts what it forwards."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

__all__ = ["Forwarder"]

_LONGEST_STALL: Final = 2.0
"""In seconds. A server waits longer than this for clients that it has lost."""


class Forwarder:
    """Forwards each connection to a server.

    Attributes:
        url: where it listens.
        cuts: how many connections it has cut.
    """

    def __init__(self, target: str, url: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self.url = url
        self.cuts = 0
        self._scopes: dict[trio.CancelScope, None] = {}
        self._stalled_until = 0.0

    @classmethod
    @asynccontextmanager
    async def to(cls, target: str) -> AsyncIterator[Forwarder]:
        """A forwarder to a server, for the length of a block."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        forwarder = cls(target, f"tcp://127.0.0.1:{port}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, forwarder._join, listeners)
            yield forwarder
            nursery.cancel_scope.cancel()

    async def _join(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope, suppress(OSError):
            self._scopes[scope] = None
            try:
                far = await trio.open_tcp_stream(*self._target)
                async with far, near, trio.open_nursery() as nursery:
                    nursery.start_soon(self._forward, near, far)
                    nursery.start_soon(self._forward, far, near)
            finally:
                del self._scopes[scope]

    async def _forward(self, one: trio.SocketStream, other: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for chunk in one:
                await trio.sleep_until(self._stalled_until)
                await other.send_all(chunk)
            await other.send_eof()

    async def disturb(self, chance: random.Random) -> None:
        """Cut every connection, in half of the cases after a stall."""
        if chance.random() < 0.5:
            stall = chance.uniform(0.0, _LONGEST_STALL)
            self._stalled_until = trio.current_time() + stall
            await trio.sleep(stall)
        for scope in list(self._scopes):
            scope.cancel()
            self.cuts += 1
