"""Events at given times, in one task; those of one time in the order of `at`."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

import trio

__all__ = ["TICK", "Clockwork"]

TICK = 1 / 1024
"""The unit of all times drawn, in seconds: sums of it are exact, so that events do
coincide."""


class Clockwork:
    """Calls functions at their times, while `run` runs."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._scope: trio.CancelScope | None = None

    def at(self, time: float, function: Callable[[], object]) -> None:
        """Call `function` at `time`."""
        self._number += 1
        heappush(self._heap, (time, self._number, function))
        if self._scope is not None and self._heap[0][0] < self._scope.deadline:
            self._scope.deadline = self._heap[0][0]

    def after(self, seconds: float, function: Callable[[], object]) -> None:
        """Call `function` in so many seconds."""
        self.at(trio.current_time() + seconds, function)

    async def run(self) -> None:
        """Call every function at its time, until cancelled."""
        while True:
            next_at = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=next_at) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                heappop(self._heap)[2]()
