"""Servers and a proxy in a row, each in a process whose wall clock is wrong.

    python -m tests.two_processes.hops HOURS last            the last server
    python -m tests.two_processes.hops HOURS server URL      a server that calls that
    python -m tests.two_processes.hops HOURS proxy URL       a proxy to the server there

Prints its URL, and goes on until its standard input ends. ``time.time`` is wrong by as
many hours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from roam_trio import (
    ProxyAcceptor,
    Server,
    acceptor,
    connect,
    dispatcher,
    serve,
    service,
)
from roam_trio.links.tcp import tcp_link

from .chain import Reporting, main

__all__ = ["Hop"]


@service
class Hop(Protocol):
    async def wait(self) -> float:
        """Never returns; the last server notes when it was cancelled."""
        ...

    async def left(self) -> float:
        """The seconds that the last handler had when `wait` began."""
        ...

    async def cancelled_at(self) -> float:
        """When `wait` was cancelled at the last server, on the clock of the machine."""
        ...

    async def in_flight(self) -> int:
        """The number of calls of `wait` that run in all the servers."""
        ...

    async def wall_clocks(self) -> list[float]:
        """The wall clock of each server."""
        ...


class Counted:
    def __init__(self) -> None:
        self.running = 0


class LastHop(Counted):
    def __init__(self) -> None:
        super().__init__()
        self._left = self._cancelled_at = 0.0

    async def wait(self) -> float:
        self._left = trio.current_effective_deadline() - trio.current_time()
        self.running += 1
        try:
            await trio.sleep_forever()
        finally:
            self.running -= 1
            self._cancelled_at = time.monotonic()
        return 0.0

    async def left(self) -> float:
        return self._left

    async def cancelled_at(self) -> float:
        return self._cancelled_at

    async def in_flight(self) -> int:
        return self.running

    async def wall_clocks(self) -> list[float]:
        return [time.time()]


class MiddleHop(Counted):
    def __init__(self, following: Hop) -> None:
        super().__init__()
        self._following = following

    async def wait(self) -> float:
        self.running += 1
        try:
            return await self._following.wait()
        finally:
            self.running -= 1

    async def left(self) -> float:
        return await self._following.left()

    async def cancelled_at(self) -> float:
        return await self._following.cancelled_at()

    async def in_flight(self) -> int:
        return self.running + await self._following.in_flight()

    async def wall_clocks(self) -> list[float]:
        return [time.time(), *await self._following.wall_clocks()]


async def serve_hop(
    handler: Hop, input_ends: trio.Event, task_status: Reporting
) -> None:
    async with trio.open_nursery() as nursery:
        offered = {"hop": dispatcher(Hop, handler)}
        server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", offered)
        task_status.started(server.url)
        await input_ends.wait()
        nursery.cancel_scope.cancel()


async def last(input_ends: trio.Event, *, task_status: Reporting) -> None:
    await serve_hop(LastHop(), input_ends, task_status)


async def server(url: str, input_ends: trio.Event, *, task_status: Reporting) -> None:
    async with connect(url) as session, session.open(Hop) as following:
        await serve_hop(MiddleHop(following), input_ends, task_status)


async def proxy(url: str, input_ends: trio.Event, *, task_status: Reporting) -> None:
    async with connect(url) as upstream, trio.open_nursery() as nursery:

        async def pass_on(stream: trio.SocketStream) -> None:
            builder = acceptor(tcp_link(stream), on_connection=ProxyAcceptor(upstream))
            async with builder.open() as session:
                await session.closed()

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.start_soon(trio.serve_listeners, pass_on, [listener])
        await input_ends.wait()
        nursery.cancel_scope.cancel()


def set_wall_clock_wrong(hours: float) -> None:
    right = time.time
    wrong: Any = lambda: right() + hours * 3600  # noqa: E731
    time.time = wrong


ROLES: dict[str, Callable[..., Awaitable[None]]] = {
    "last": last,
    "server": server,
    "proxy": proxy,
}

if __name__ == "__main__":
    set_wall_clock_wrong(float(sys.argv[1]))
    trio.run(main, ROLES[sys.argv[2]], *sys.argv[3:])
