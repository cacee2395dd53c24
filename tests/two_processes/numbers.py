"""Streams of numbers whose order and completeness show at the other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from roam_trio import Rx, Tx, i64, u64

__all__ = [
    "FOR_EVER",
    "Receipt",
    "receipt_for",
    "receive_numbers",
    "send_numbers",
]

FOR_EVER = 2**62
"""So many numbers that nobody will see the last one."""


class Receipt(msgspec.Struct, frozen=True):
    """What a receiver got.

    Attributes:
        count: how many items.
        total: their sum.
        misplaced: how many were not the number due at their place.
    """

    count: u64
    total: i64
    misplaced: u64


def receipt_for(count: int, step: int) -> Receipt:
    """The receipt for `count` numbers, each once and in order."""
    return Receipt(count, step * count * (count - 1) // 2, 0)


async def send_numbers(
    tx: Tx[int],
    count: int,
    step: int,
    halfway: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Send 0, `step`, 2 `step` … and close; `halfway` is awaited in the middle."""
    async with tx:
        for place in range(count):
            if place == count // 2 and halfway is not None:
                await halfway()
            await tx.send(place * step)


async def receive_numbers(rx: Rx[int], step: int) -> Receipt:
    """Receive to the end, and check every number against its place."""
    count = total = misplaced = 0
    async for number in rx:
        if number != count * step:
            misplaced += 1
        total += number
        count += 1
    return Receipt(count, total, misplaced)
