"""Work in volume, done by a client, and all of it checked."""

from __future__ import annotations

import random
import zlib
from collections.abc import Awaitable, Callable

import trio

from roam_trio import channel

from .memory import MIB
from .numbers import Receipt, receipt_for, receive_numbers, send_numbers
from .workshop import DOWN, UP, Workshop

__all__ = ["Halfway", "calls", "echoes", "items"]

Halfway = Callable[[], Awaitable[None]]
"""Awaited in the middle of a volume, while the work goes on."""

CALLS_IN_FLIGHT = 64
ECHOES_IN_FLIGHT = 4

BLOCK = random.Random(7).randbytes(MIB)


async def calls(workshop: Workshop, count: int, halfway: Halfway | None = None) -> None:
    """Have `count` pairs of numbers added, `CALLS_IN_FLIGHT` at a time."""

    async def add(number: int) -> None:
        assert await workshop.add(number, 1_000_000) == number + 1_000_000

    await _do_all(add, count, CALLS_IN_FLIGHT, halfway)


async def echoes(
    workshop: Workshop, count: int, halfway: Halfway | None = None
) -> None:
    """Send `count` blocks of 1 MiB there and back, each another one.

    The server checks the checksum of what it gets, and this side that of what comes
    back: so the volume goes through the sending and the receiving half of either side.
    """

    async def echo(number: int) -> None:
        block = number.to_bytes(8, "little") + BLOCK[8:]
        checksum = zlib.crc32(block)
        back = await workshop.echo(block, checksum)
        assert (len(back), zlib.crc32(back)) == (MIB, checksum)

    await _do_all(echo, count, ECHOES_IN_FLIGHT, halfway)


async def items(workshop: Workshop, count: int, halfway: Halfway | None = None) -> None:
    """Send `count` items each way over two channels of one call, at the same time."""
    upward, taken = channel[int]()
    given, downward = channel[int]()
    received: list[Receipt] = []

    async def receive() -> None:
        received.append(await receive_numbers(downward, DOWN))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(send_numbers, upward, count, UP, halfway)
        received_there = await workshop.exchange(taken, given, count)
    assert received_there == receipt_for(count, UP)
    assert received == [receipt_for(count, DOWN)]


async def _do_all(
    do: Callable[[int], Awaitable[None]],
    count: int,
    at_once: int,
    halfway: Halfway | None,
) -> None:
    numbers = iter(range(count))
    done = 0

    async def do_one_after_another() -> None:
        nonlocal done
        for number in numbers:
            if number == count // 2 and halfway is not None:
                await halfway()
            await do(number)
            done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(do_one_after_another)
    assert done == count
