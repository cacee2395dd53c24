"""A client in a process of its own, which is there to be killed.

    python -m tests.two_processes.client URL

Keeps `ENDLESS_CALLS` handlers of the server busy for ever.
"""

from __future__ import annotations

import sys

import trio

from roam_trio import channel, connect

from .numbers import FOR_EVER, receive_numbers, send_numbers
from .workshop import DOWN, UP, Workshop

__all__ = ["ENDLESS_CALLS"]

ENDLESS_CALLS = 4


async def keep_busy(url: str) -> None:
    async with connect(url, Workshop) as workshop, trio.open_nursery() as nursery:
        nursery.start_soon(workshop.wait)

        unused, held = channel[int]()
        held_too, never_sent_on = channel[int]()
        nursery.start_soon(workshop.hold, held, held_too)

        upward, taken = channel[int]()
        given, downward = channel[int]()
        nursery.start_soon(workshop.flow, taken, given)
        nursery.start_soon(send_numbers, upward, FOR_EVER, UP)
        nursery.start_soon(receive_numbers, downward, DOWN)

        poured, never_read = channel[bytes]()
        await workshop.pour(poured)
        del unused, never_sent_on, never_read  # until here they are kept open


if __name__ == "__main__":
    trio.run(keep_busy, sys.argv[1])
