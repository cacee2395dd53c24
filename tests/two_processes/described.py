"""A server of services whose classes no other process has.

    python -m tests.two_processes.described

Prints its URL. When its standard input ends, it shuts down with a grace, and ends.
"""

from __future__ import annotations

import enum
import os
import sys
from typing import Protocol

import attrs
import trio

from roam_trio import Fallible, Rx, Tx, UserError, dispatcher, service, serving, u32

__all__ = ["main"]


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Item:
    name: str
    size: Size = Size.SMALL
    count: u32 = 1


@attrs.frozen
class SoldOut(Exception):
    name: str
    left: u32


@service
class Shop(Protocol):
    """Sells items."""

    async def order(
        self, item: Item, note: str | None = None
    ) -> Fallible[u32, SoldOut]:
        """Return the number of the order."""
        ...

    async def paint(self, name: str) -> Fallible[None, Size]: ...
    async def sizes(self, items: Rx[Item], found: Tx[Size]) -> u32: ...


class ShopImpl:
    async def order(self, item: Item, note: str | None = None) -> int:
        if item.size is Size.LARGE:
            raise SoldOut(item.name, 3)
        return item.count + len(note or "")

    async def paint(self, name: str) -> None:
        raise UserError(Size.LARGE)

    async def sizes(self, items: Rx[Item], found: Tx[Size]) -> int:
        count = 0
        async for item in items:
            await found.send(item.size)
            count += item.count
        return count


async def main() -> None:
    offered = {"shop": dispatcher(Shop, ShopImpl())}
    async with serving(
        "tcp://127.0.0.1:0", offered, reflection=True, grace=30
    ) as server:
        print(server.url, flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            async for _ in stdin:
                pass


if __name__ == "__main__":
    trio.run(main)
