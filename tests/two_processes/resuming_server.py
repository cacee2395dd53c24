"""A server in a process of its own that keeps the sessions of clients it has lost.

    python -m tests.two_processes.resuming_server URL

Prints its URL, and serves until its standard input ends.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from typing import Annotated, Protocol

import trio

from roam_trio import Credit, Limits, Rx, Tx, dispatcher, serve, service, u32

__all__ = ["Ledger"]


@service
class Ledger(Protocol):
    """Remembers, for the life of its process, and of a call."""

    async def enter(self, number: u32) -> list[u32]:
        """Enter a number; returns all that were, in order."""
        ...

    async def follow(
        self,
        numbers: Annotated[Rx[u32], Credit(4)],
        back: Annotated[Tx[u32], Credit(4)],
    ) -> u32:
        """Send every number back, and say in the end how many there were."""
        ...

    async def hold(self) -> u32:
        """Wait for a number to be entered, and return it."""
        ...


class LedgerHandler:
    def __init__(self) -> None:
        self.entered: list[int] = []
        self.changed = trio.lowlevel.ParkingLot()

    async def enter(self, number: int) -> list[int]:
        self.entered.append(number)
        self.changed.unpark_all()
        return self.entered

    async def follow(self, numbers: Rx[int], back: Tx[int]) -> int:
        count = 0
        async with back:
            async for number in numbers:
                await back.send(number)
                count += 1
        return count

    async def hold(self) -> int:
        await self.changed.park()
        return self.entered[-1]


async def serve_until_input_ends(url: str) -> None:
    handler = dispatcher(Ledger, LedgerHandler())
    limits = Limits(close_seconds=1)
    async with trio.open_nursery() as nursery:
        run = partial(serve, resume=True, limits=limits)
        server = await nursery.start(run, url, handler)
        print(server.url, flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            async for _ in stdin:
                pass
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    # It has to refuse clients of the process before it, and says so.
    logging.getLogger("roam_trio.links").setLevel(logging.ERROR)
    trio.run(serve_until_input_ends, sys.argv[1])
