"""roam_trio in programs on asyncio, on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from roam_trio.contrib.asyncio import connect, dispatcher, serving

from .base import ADDEND, Client, check_sum
from .loops import call_many_in_asyncio, run_asyncio
from .roam import RoamAdapter, RoamClient, Workplace, WorkplaceHandler

__all__ = ["RoamAsyncioAdapter", "RoamAsyncioClient"]


class _Handler(WorkplaceHandler):
    """Does the works whose handlers may wait in asyncio."""

    async def add_or_wait(self, left: int, right: int) -> int:
        if left < 0:  # never, but that it might wait is why it needs a task
            await asyncio.sleep(1)
        return left + right


class RoamAsyncioClient(RoamClient):
    """Does the works in tasks of asyncio."""

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        add = self._workplace.add_or_wait if can_wait else self._workplace.add

        async def call(number: int) -> None:
            check_sum(await add(number, ADDEND), number)

        await call_many_in_asyncio(call, count)


class RoamAsyncioAdapter(RoamAdapter):
    """roam_trio with trio as the guest of asyncio's loop."""

    name: ClassVar[str] = "roam_trio, asyncio"
    only: ClassVar[Sequence[str] | None] = (
        "call",
        "call-task",
        "in-flight",
        "in-flight-task",
        "echo",
        "records",
    )

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            handler = dispatcher(Workplace, _Handler())
            async with serving("tcp://127.0.0.1:0", handler) as server:
                started(server.url)
                await asyncio.Event().wait()

        asyncio.run(run())

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async with connect(address, Workplace) as workplace:
            yield RoamAsyncioClient(workplace)

    run = staticmethod(run_asyncio)
