"""Cancelling what is under way, at each point where it can be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import checkpoint

__all__ = ["cancel_everywhere"]

_FAR_ENOUGH = 3
"""So often in a row has the work to come to its end, before it is done with."""


async def cancel_everywhere(work: Callable[[], Awaitable[None]]) -> int:
    """Do the work again and again, cancelled one step of the run later each time.

    Returns how often it was cut short. The work checks for itself what it leaves.
    """
    cut_short = finished = steps = 0
    while finished < _FAR_ENOUGH:
        if await _cancelled_after(steps, work):
            cut_short += 1
        else:
            finished += 1
        steps += 1
    return cut_short


async def _cancelled_after(steps: int, work: Callable[[], Awaitable[None]]) -> bool:
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel_later() -> None:
                for _ in range(steps):
                    await checkpoint()
                scope.cancel()

            nursery.start_soon(cancel_later)
            await work()
        nursery.cancel_scope.cancel()
    return scope.cancelled_caught
