"""A trio run that goes on only when told to, so that a hypothesis state machine, whose
rules are plain functions, can act inside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import TypeVar

import outcome
import trio
from trio.testing import MockClock

__all__ = ["Guest"]

T = TypeVar("T")

_PATIENCE = 60.0
"""Number of seconds a run may make no progress; it has hung then."""


class Guest:
    """Runs trio as a guest of the thread that made it.

    Its time stands still, unless `clock` is moved. An exception that ends the run, as
    one of a task in `nursery` does, comes out of whatever was told to run last.
    """

    def __init__(self) -> None:
        self.clock = MockClock()
        self._ticks: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._ended: outcome.Outcome[None] | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._wanted: Callable[[], Awaitable[None]] | None = None
        self._task: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._ticks.put,
            done_callback=self._on_done,
            host_uses_signal_set_wakeup_fd=True,
            clock=self.clock,
        )
        self._go_on_until(lambda: self._task is not None)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            while True:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(
                    lambda _: trio.lowlevel.Abort.SUCCEEDED
                )
                if self._wanted is None:
                    self.clock.rate = 1e6  # no time-out of what ends is waited for
                    self._nursery.cancel_scope.cancel()
                    return
                await self._wanted()

    def _on_done(self, ended: outcome.Outcome[None]) -> None:
        self._ended = ended

    @property
    def nursery(self) -> trio.Nursery:
        """For the tasks of the run; it is cancelled when one of them fails."""
        assert self._nursery is not None
        return self._nursery

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run a function in the run's main task; other tasks run while it waits."""
        results: list[outcome.Outcome[T]] = []

        async def keep_result() -> None:
            results.append(await outcome.acapture(function))

        self._tell(keep_result)
        self._go_on_until(lambda: bool(results))
        return results[0].unwrap()

    def end(self) -> None:
        """Cancel what is left, and let the run end."""
        if self._ended is None:
            self._tell(None)
            self._go_on_until(lambda: self._ended is not None)

    def _tell(self, wanted: Callable[[], Awaitable[None]] | None) -> None:
        assert self._token is not None
        assert self._task is not None
        self._wanted = wanted
        task, self._task = self._task, None
        self._token.run_sync_soon(trio.lowlevel.reschedule, task)

    def _go_on_until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            if self._ended is not None:
                self._ended.unwrap()  # raises what has ended it
                raise AssertionError("the run has ended, and not done what it should")
            self._ticks.get(timeout=_PATIENCE)()
