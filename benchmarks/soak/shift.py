"""Work that rests when it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["Shift"]


class Shift:
    """Tasks work in turns, and none has a turn during a rest.

    Attributes:
        done: how often each thing was done.
    """

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self._rests = False
        self._at_work = 0
        self._changed = trio.lowlevel.ParkingLot()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Work for a short time, after the rest, if there is one."""
        while self._rests:
            await self._changed.park()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            self._changed.unpark_all()

    async def rest(self) -> None:
        """Wait for the end of all turns, and give none until `go_on`."""
        self._rests = True
        while self._at_work:
            await self._changed.park()

    def go_on(self) -> None:
        """End the rest."""
        self._rests = False
        self._changed.unpark_all()
