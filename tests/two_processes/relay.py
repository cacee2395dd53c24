"""A TCP relay between a client and a server, which drops connections when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

__all__ = ["Relay"]


class Relay:
    """Passes bytes on between whoever connects to it and a server.

    Attributes:
        url: where it listens.
        source: the address from which the next connections to the server come.
        connections: how many there were so far.
    """

    def __init__(self, target: str, url: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self.url = url
        self.source = "127.0.0.1"
        self.connections = 0
        self._scopes: set[trio.CancelScope] = set()
        self._changed = trio.lowlevel.ParkingLot()

    @classmethod
    @asynccontextmanager
    async def to(cls, target: str) -> AsyncIterator[Relay]:
        """A relay to a server, for the length of a block."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        relay = cls(target, f"tcp://127.0.0.1:{port}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, relay._join, listeners)
            yield relay
            nursery.cancel_scope.cancel()

    async def _join(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope, suppress(OSError):
            self._scopes.add(scope)
            async with await trio.open_tcp_stream(
                *self._target, local_address=self.source
            ) as far:
                self.connections += 1
                self._changed.unpark_all()
                async with near, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass_on, near, far)
                    nursery.start_soon(self._pass_on, far, near)
        self._scopes.discard(scope)

    async def _pass_on(self, one: trio.SocketStream, other: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for chunk in one:
                await other.send_all(chunk)
            await other.send_eof()

    def drop(self) -> None:
        """Drop every connection there is."""
        for scope in self._scopes:
            scope.cancel()

    async def until_connected(self, times: int) -> None:
        """Wait until there have been so many connections."""
        while self.connections < times:
            await self._changed.park()
