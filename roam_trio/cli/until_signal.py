"""Run a trio program until it finishes or a signal stops it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

__all__ = ["STOP_SIGNALS", "die_of_the_next_signal", "run_until_signal"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_until_signal(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main`, and cancel it on Control-C or SIGTERM.

    Unlike `KeyboardInterrupt`, cancellation occurs only where `main` waits, so that
    cleanup is orderly. A second signal ends the process at once.

    Returns:
        The result of `main`; if a signal has stopped it, 128 plus the number of the
        signal, as in shells.
    """
    try:
        return trio.run(_Stoppable().run, main)
    except KeyboardInterrupt:  # before or after trio listened for signals
        return 128 + signal.SIGINT


def die_of_the_next_signal() -> None:
    """Let the next signal end the process, for a user who has asked twice."""
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_DFL)


class _Stoppable:
    """A program, and the signal that stopped it."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._returned = 0

    async def run(self, main: Callable[[], Awaitable[int]]) -> int:
        try:
            with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stop, signals, nursery.cancel_scope)
                    self._returned = await main()
                    nursery.cancel_scope.cancel()
        except ExceptionGroup:
            if self._signal is None:
                raise
            # After a request to stop, ignore further errors.
        return self._returned if self._signal is None else 128 + self._signal

    async def _stop(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for self._signal in signals:
            scope.cancel()
            die_of_the_next_signal()
