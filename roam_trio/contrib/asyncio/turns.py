"""The turns of trio's loop within those of asyncio's.

trio's guest mode waits for sockets in a thread, which costs two changes of threads for
each turn that has to wait. Where trio waits by epoll, this waits in asyncio's own loop
instead: the descriptor of an epoll is readable while one of its events is there. A
clock that never has time to wait keeps trio from going into a thread, and the next turn
is put off until that descriptor is readable, or a deadline is over. A call alone takes
80 us of processor time then, and 160 us with the thread; with 64 calls in flight, both
take 20 us for each.

This reads and sets state of trio that is not public. It was tried with the releases
up to `LAST_TRIED`. With a later one, or one that keeps its state elsewhere or does not
wait by epoll, guest mode is used as it is, with its thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

import trio

__all__ = ["LAST_TRIED", "Turns"]

LAST_TRIED = (0, 35)
"""The last release of trio whose state is known."""

_TURNS_AT_ONCE = 8
"""Number of turns of trio's loop that asyncio's waits for."""

_EPOLL = "_epoll"
"""The attribute of trio's `IOManager` that holds its epoll."""

_PATIENCE = 2.0
"""Number of seconds that a run has to end when its loop is closed."""

_pause = partial(time.sleep, 0.001)
"""Waits between its turns then."""

_LONGEST_WAIT = 86_400.0
"""Seconds; loops do not agree on how far ahead a timer may be."""


class _Clock(trio.abc.Clock):
    """Tells the time of asyncio's loop, and how long trio would wait.

    Attributes:
        waits_here: False while trio may wait itself, in a thread.
    """

    def __init__(self) -> None:
        self.waits_here = False
        self._seconds: float | None = None

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        seconds = self._seconds = deadline - time.monotonic()
        return 0.0 if self.waits_here else seconds

    def seconds_to_wait(self) -> float | None:
        """Return the time for which the last turn would have waited; None if there is
        something to do at once.
        """
        seconds, self._seconds = self._seconds, None
        return seconds


class Turns:
    """Runs the turns of one run of trio.

    Args:
        loop: the loop in which they run.
        use_thread: use guest mode as it is, with its thread.

    Attributes:
        clock: the clock for the run.
        is_over: True once the run has ended.
    """

    __slots__ = (
        "_epoll",
        "_is_scheduled",
        "_loop",
        "_next",
        "_state",
        "_timer",
        "_use_thread",
        "clock",
        "is_over",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, use_thread: bool = False
    ) -> None:
        self.clock = _Clock()
        self.is_over = False
        self._loop = loop
        self._use_thread = use_thread
        self._next: Callable[[], object] | None = None
        self._state: Any = None
        self._epoll = -1
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waits_in_thread(self) -> bool:
        """Return True if trio waits for sockets in a thread."""
        return self._state is None

    def from_thread(self, turn: Callable[[], object]) -> None:
        """Run a turn soon; for the ``run_sync_soon_threadsafe`` of guest mode."""
        self._next = turn
        with suppress(RuntimeError):  # the loop is closed; it is for `run_to_the_end`
            self._loop.call_soon_threadsafe(self._run)

    def from_here(self, turn: Callable[[], object]) -> None:
        """Run a turn soon; for the ``run_sync_soon_not_threadsafe`` of guest mode."""
        self._next = turn
        self._schedule()

    def begin(self) -> None:
        """Find out how trio waits, once the run has begun and before its next turn."""
        state: Any = getattr(self._next, "__self__", None)
        epoll = None if self._use_thread else _epoll_of(state)
        if epoll is None:
            return
        try:
            self._loop.add_reader(epoll, self._on_readable)
        except (NotImplementedError, OSError, ValueError):
            return  # this loop cannot wait for it
        self._state, self._epoll = state, epoll
        self.clock.waits_here = True

    def wake(self) -> None:
        """Have a turn run soon, because a task can go on.

        Called before the task is told: trio writes to a socket otherwise, in order to
        wake the thread in which it believes to wait.
        """
        if self._state is not None and not self._is_scheduled:
            self._state.runner.guest_tick_scheduled = True
            self._schedule()

    def end(self) -> None:
        """Let go of the loop, when the run has ended."""
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._state is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll)
        self._state = None

    def run_to_the_end(self) -> None:
        """Run turns until the run has ended, without the loop, which is closed."""
        self._is_scheduled = True  # from now on the loop is left alone
        end = time.monotonic() + _PATIENCE
        while not self.is_over and time.monotonic() < end:
            turn, self._next = self._next or _pause, None
            turn()
            _pause()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def _on_readable(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._run()

    def _on_timer(self) -> None:
        self._timer = None
        self._on_readable()

    def _run(self) -> None:
        """Run turns until trio waits, or asyncio's tasks have waited long enough."""
        state, clock = self._state, self.clock
        for _ in range(_TURNS_AT_ONCE):
            turn, self._next = self._next, None
            if turn is None:
                break
            if state is not None:
                state.runner.guest_tick_scheduled = True
            turn()  # and it has given the next one to `from_here` afterwards
            seconds = clock.seconds_to_wait()
            if seconds is not None and not self._has_events():
                self._is_scheduled = False
                self._wait(seconds)
                return
        self._is_scheduled = False
        if self._next is not None:
            self._schedule()

    def _has_events(self) -> bool:
        """Return True if trio has taken events from its epoll, or an error."""
        if self._state is None:
            return True  # or it waits in a thread, and there is no next turn
        return bool(getattr(self._state.unrolled_run_next_send, "value", True))

    def _wait(self, seconds: float) -> None:
        """Put the next turn off until there are events, or the time is over."""
        # From now on trio writes to its socket if a task is to go on, so that nothing
        # is missed that does not know of `wake`.
        self._state.runner.guest_tick_scheduled = False
        if seconds == inf:
            return
        seconds = min(seconds, _LONGEST_WAIT)
        timer = self._timer
        if timer is not None:
            if timer.when() <= self._loop.time() + seconds:
                return  # it comes first; a turn with nothing to do is harmless
            timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)


def _epoll_of(state: Any) -> int | None:
    """Return the descriptor by which a run waits; None if that is not known."""
    if _release(trio.__version__) > LAST_TRIED:
        return None
    try:
        epoll = getattr(state.runner.io_manager, _EPOLL).fileno()
        is_known = hasattr(state.unrolled_run_next_send, "value")
        is_scheduled = state.runner.guest_tick_scheduled
    except AttributeError:
        return None
    return epoll if is_known and is_scheduled is True else None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
