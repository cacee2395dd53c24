"""The service that the server process serves."""

from __future__ import annotations

import os
import zlib
from types import TracebackType
from typing import Annotated, Protocol

import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Credit, Rx, Tx, i64, service, u32, u64

from .memory import KIB, Memory, State, memory_since_last_time, state_now
from .numbers import FOR_EVER, Receipt, receive_numbers, send_numbers

__all__ = ["DOWN", "POURED_SIZE", "UP", "Workshop", "WorkshopHandler"]

UP, DOWN = 1, -1
"""The steps of the numbers that go to the server, and of those that come from it."""

POURED_SIZE = 64 * KIB


@service
class Workshop(Protocol):
    """Work in volumes, handlers that wait, and a look at the server process."""

    async def add(self, left: u32, right: u32) -> u64: ...

    async def echo(self, block: bytes, checksum: u32) -> bytes:
        """The block again; what does not fit its checksum is not answered."""
        ...

    async def exchange(
        self,
        upward: Annotated[Rx[i64], Credit(256)],
        downward: Annotated[Tx[i64], Credit(256)],
        count: u64,
    ) -> Receipt:
        """Take numbers in steps `UP`, and send so many in steps `DOWN` meanwhile."""
        ...

    async def wait(self) -> None:
        """Wait until cancelled."""
        ...

    async def wait_visibly(self, begun: Tx[bool]) -> None:
        """Send one item, then wait until cancelled."""
        ...

    async def hold(self, upward: Rx[i64], downward: Tx[i64]) -> None:
        """Wait until cancelled, and neither take a number nor send one."""
        ...

    async def flow(self, upward: Rx[i64], downward: Tx[i64]) -> None:
        """Take numbers, and send some in steps `DOWN`, for ever."""
        ...

    async def pour(self, blocks: Tx[bytes]) -> None:
        """Send new blocks of `POURED_SIZE` for ever."""
        ...

    async def until_waiting(self, count: u32) -> None:
        """Until so many handlers work that only end when cancelled."""
        ...

    async def poured(self) -> u64:
        """Return the number of blocks `pour` has sent, once nothing moves any more."""
        ...

    async def exit_at_once(self) -> None:
        """End the server process, without a word to anyone."""
        ...

    async def memory(self) -> Memory:
        """What the server process holds in memory."""
        ...

    async def state(self) -> State:
        """What it holds besides, once nothing moves any more."""
        ...


class Endless:
    """Counts the handlers in its block, and wakes whoever waits for a number."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = trio.Event()

    def __enter__(self) -> None:
        self._change(1)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._change(-1)

    def _change(self, by: int) -> None:
        self._count += by
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, count: int) -> None:
        """Wait until so many are in the block."""
        while self._count != count:
            await self._changed.wait()


class WorkshopHandler:
    """Does the work."""

    def __init__(self) -> None:
        self._endless = Endless()
        self._poured = 0

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def echo(self, block: bytes, checksum: int) -> bytes:
        if zlib.crc32(block) != checksum:
            raise ValueError(f"a block of {len(block)} bytes came damaged")
        return block

    async def exchange(self, upward: Rx[int], downward: Tx[int], count: int) -> Receipt:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_numbers, downward, count, DOWN)
            return await receive_numbers(upward, UP)

    async def wait(self) -> None:
        with self._endless:
            await trio.sleep_forever()

    async def wait_visibly(self, begun: Tx[bool]) -> None:
        with self._endless:
            await begun.send(True)
            await trio.sleep_forever()

    async def hold(self, upward: Rx[int], downward: Tx[int]) -> None:
        with self._endless:
            await trio.sleep_forever()

    async def flow(self, upward: Rx[int], downward: Tx[int]) -> None:
        with self._endless:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive_numbers, upward, UP)
                await send_numbers(downward, FOR_EVER, DOWN)

    async def pour(self, blocks: Tx[bytes]) -> None:
        with self._endless:
            while True:
                await blocks.send(b"\xaa" * POURED_SIZE)
                self._poured += 1

    async def until_waiting(self, count: int) -> None:
        await self._endless.until(count)

    async def poured(self) -> int:
        await wait_all_tasks_blocked()
        return self._poured

    async def exit_at_once(self) -> None:
        os._exit(1)

    async def memory(self) -> Memory:
        return memory_since_last_time()

    async def state(self) -> State:
        await wait_all_tasks_blocked()
        return state_now()
