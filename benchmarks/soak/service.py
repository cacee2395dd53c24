"""The service that both sides of a soak offer."""

from __future__ import annotations

import zlib
from typing import Annotated, Protocol

import attrs
import trio

from roam_trio import Credit, Fallible, Rx, Tx, client, current_call, service, u32, u64

__all__ = ["Odd", "Soaked", "SoakedHandler"]


@attrs.frozen
class Odd(Exception):
    """A number is odd."""

    number: u32


@service
class Soaked(Protocol):
    """Work of all sorts."""

    async def add(self, left: u32, right: u32) -> u64: ...

    async def half(self, number: u32) -> Fallible[u32, Odd]: ...

    async def fail(self) -> None: ...

    async def wait(self, begun: Tx[bool]) -> None: ...

    async def echo(self, block: bytes, checksum: u32) -> bytes: ...

    async def exchange(
        self,
        count: u32,
        numbers: Annotated[Rx[u32], Credit(32)],
        back: Annotated[Tx[u32], Credit(32)],
    ) -> u32: ...

    async def enter(self, name: str, number: u64) -> u64:
        """Enter a number, and return the one that was entered before it."""
        ...

    async def call_back(self, number: u32) -> u64:
        """Have the caller add, and return the sum."""
        ...


class SoakedHandler:
    """Does the work."""

    def __init__(self) -> None:
        self._entered: dict[str, int] = {}

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def half(self, number: int) -> int:
        if number % 2:
            raise Odd(number)
        return number // 2

    async def fail(self) -> None:
        raise LookupError("a handler that fails")

    async def wait(self, begun: Tx[bool]) -> None:
        await begun.send(True)
        await trio.sleep_forever()

    async def echo(self, block: bytes, checksum: int) -> bytes:
        if zlib.crc32(block) != checksum:
            raise ValueError(f"a block of {len(block)} bytes came damaged")
        return block

    async def exchange(self, count: int, numbers: Rx[int], back: Tx[int]) -> int:
        """Send back every number, and return how many there were."""
        came = 0
        async with back:
            async for number in numbers:
                if number != came:
                    raise ValueError(f"expected item {came}, got {number}")
                came += 1
                await back.send(count - number)
        return came

    async def enter(self, name: str, number: int) -> int:
        before = self._entered.get(name, 0)
        self._entered[name] = number
        return before

    async def call_back(self, number: int) -> int:
        caller = client(Soaked, current_call().connection.caller)
        return await caller.add(number, number)
