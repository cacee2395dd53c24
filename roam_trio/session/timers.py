"""Checks that are due at certain times, for many sessions in one task.

A task for each session would take more memory than all the rest of an idle session
needs for this.
"""

from __future__ import annotations

import heapq
from contextvars import Context
from typing import Any, Protocol

import trio

__all__ = ["Timed", "Timers"]


class Timed(Protocol):
    """Something to check at certain times; `Timers` does it.

    Attributes:
        due: the time of the next check, in seconds.
    """

    due: float

    @property
    def is_over(self) -> bool:
        """True if there is nothing left to check."""
        ...

    def check(self, now: float) -> None:
        """Do what is due, and set `due` to a later time. Never raises."""
        ...

    def __lt__(self, other: Any) -> bool: ...


class Timers:
    """Runs checks when they are due.

    The task starts with the first check that is added, and ends soon after the last one
    is forgotten.

    Args:
        nursery: where the task runs.
    """

    __slots__ = ("_added", "_are_running", "_heap", "_nursery", "_sleeping", "now")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._heap: list[Timed] = []
        self._added = 0
        self._are_running = False
        self._sleeping: trio.CancelScope | None = None
        self.now = trio.lowlevel.current_clock().current_time
        """Returns the time, in seconds; one function for all sessions."""

    def add(self, timed: Timed) -> None:
        """Check something when it is due, until it is forgotten."""
        self._added += 1
        heapq.heappush(self._heap, timed)
        if not self._are_running:
            self._are_running = True
            # Not in the context of the session that happens to be the first.
            Context().run(self._nursery.start_soon, self._run)
        elif self._heap[0] is timed:
            self._wake()

    def forget(self, timed: Timed) -> None:
        """Check something no longer. It has been added, and is over now."""
        assert timed.is_over, "or else it would still be checked"
        self._added -= 1
        if not self._added:
            self._heap.clear()
            self._wake()
        elif len(self._heap) > 16 + 2 * self._added:
            # Removing each at once would take a search.
            self._heap = [each for each in self._heap if not each.is_over]
            heapq.heapify(self._heap)

    def _wake(self) -> None:
        if self._sleeping is not None:
            self._sleeping.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        try:
            while self._heap:
                with trio.CancelScope(deadline=self._heap[0].due) as self._sleeping:
                    await trio.sleep_forever()
                self._sleeping = None
                # If it is this program that was held up, what a check waits for has
                # come meanwhile, and the reader is about to see it.
                await trio.lowlevel.checkpoint()
                self._check_due(self.now())
        finally:
            self._are_running = False

    def _check_due(self, now: float) -> None:
        while self._heap and self._heap[0].due <= now:
            timed = heapq.heappop(self._heap)
            if not timed.is_over:
                timed.check(now)
            if not timed.is_over:
                heapq.heappush(self._heap, timed)

    def __repr__(self) -> str:
        return f"<Timers of {self._added} checks>"
