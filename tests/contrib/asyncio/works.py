"""A service, with handlers in asyncio and in trio, for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from roam_trio import Fallible, Rx, Tx, current_call, service
from roam_trio.contrib.asyncio import Server, connect, dispatcher, guest, serving

__all__ = [
    "AsyncioWorks",
    "TooLarge",
    "TrioWorks",
    "Works",
    "at_work",
    "idle",
    "nothing_is_left",
    "until",
]


@attrs.frozen
class TooLarge(Exception):
    most: int


@service
class Works:
    """Works."""

    async def add(self, left: int, right: int) -> int: ...
    async def half(self, number: int) -> Fallible[int, TooLarge]: ...
    async def fail(self) -> None: ...
    async def wait(self) -> None: ...
    async def time_left(self) -> float: ...
    async def count(self, first: int, last: int, numbers: Tx[int]) -> int: ...
    async def total(self, *, numbers: Rx[int]) -> int: ...
    async def echo(self, inwards: Rx[int], outwards: Tx[int]) -> None: ...
    async def tenant(self) -> str: ...


class _Works(ABC):
    """What is the same on asyncio and on trio."""

    def __init__(self) -> None:
        self.waiting = 0
        self.cancelled = 0
        self.counted = 0

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def half(self, number: int) -> int:
        if number > 100:
            raise TooLarge(100)
        return number // 2

    async def fail(self) -> None:
        raise ValueError("a bug")

    async def time_left(self) -> float:
        await self.pause()
        return current_call().deadline - time.monotonic()

    @abstractmethod
    async def pause(self) -> None: ...

    async def tenant(self) -> str:
        await self.pause()
        call = current_call()
        call.response_metadata = {"served-by": "works"}
        return str(call.metadata.get("tenant"))

    async def count(self, first: int, last: int, numbers: Tx[int]) -> int:
        for number in range(first, last):
            await numbers.send(number)
            self.counted += 1
        return last - first

    async def total(self, *, numbers: Rx[int]) -> int:
        total = 0
        async for number in numbers:
            total += number
        return total

    async def echo(self, inwards: Rx[int], outwards: Tx[int]) -> None:
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                await outwards.send_many(await inwards.recv_many(3))


class AsyncioWorks(_Works):
    async def pause(self) -> None:
        await asyncio.sleep(0)

    async def wait(self) -> None:
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class TrioWorks(_Works):
    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait(self) -> None:
        self.waiting += 1
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled += 1
            raise


@asynccontextmanager
async def at_work(
    works: AsyncioWorks | None = None, url: str = "memory://works"
) -> AsyncIterator[tuple[Works, Server]]:
    """A client and a server of it, in this loop."""
    handler = dispatcher(Works, works or AsyncioWorks())
    async with (
        serving(url, handler, tell_failures="text") as server,
        connect(server.url, Works) as client,
    ):
        yield client, server


def idle(server: Server) -> bool:
    """Return True if the server answers nothing, and has no channel open."""
    return not any(
        connection.answering or connection.channels
        for session in server.sessions
        for connection in session.statistics().connections
    )


async def until(condition: Callable[[], object]) -> None:
    """Let tasks run until a condition holds."""
    while not condition():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


def nothing_is_left() -> None:
    """Check that no run of trio, and no task but this one is left in this loop."""
    assert guest.guest_of_loop() is None
    assert asyncio.all_tasks() == {asyncio.current_task()}
