"""What a measurement takes: time, processor time on both sides, and memory held."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

__all__ = ["Done", "Stopwatch", "held_bytes", "quantile"]

_SCHEDULED = 2
"""The kind of clock that a process has of the time it ran, in Linux's clock ids."""


class Done(msgspec.Struct):
    """A client has done as ordered, and every answer was right.

    Attributes:
        seconds: what the steps took.
        client_cpu: seconds of processor time that the client's process took for them.
        server_cpu: the same of the server's; None where it cannot be found out.
        p50: seconds that half of the steps take at most, if steps were timed alone.
        p99: the same for 99 of 100.
        held: bytes that the server's process holds for the steps, if they are things
            that are held.
    """

    seconds: float
    client_cpu: float = 0.0
    server_cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    held: int | None = None


class Stopwatch:
    """Runs inside ``with`` blocks, in the client's process.

    Args:
        server: the server's process; None leaves its side out.
    """

    def __init__(self, server: int | None = None) -> None:
        self._server = server
        self._seconds = 0.0
        self._client_cpu = 0.0
        self._server_cpu: float | None = None
        self._laps: Sequence[float] = ()
        self._held: int | None = None

    def __enter__(self) -> None:
        self._server_start = _cpu_of(self._server)
        self._client_start = time.process_time()
        self._start = time.perf_counter()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._seconds += time.perf_counter() - self._start
        self._client_cpu += time.process_time() - self._client_start
        server_cpu = _cpu_of(self._server)
        if server_cpu is not None and self._server_start is not None:
            taken = server_cpu - self._server_start
            self._server_cpu = (self._server_cpu or 0.0) + taken

    def time_steps(self, laps: Sequence[float]) -> None:
        """Note what some steps took, each by itself; no part of the time above."""
        self._laps = laps

    def server_memory(self) -> int | None:
        """What the server's process holds now."""
        return None if self._server is None else held_bytes(self._server)

    def hold(self, before: int | None, after: int | None) -> None:
        """Note what the server held before it had to hold anything, and after."""
        if before is not None and after is not None:
            self._held = after - before

    def done(self) -> Done:
        """What was measured."""
        return Done(
            self._seconds,
            self._client_cpu,
            self._server_cpu,
            quantile(self._laps, 0.50) if self._laps else None,
            quantile(self._laps, 0.99) if self._laps else None,
            self._held,
        )


def quantile(figures: Sequence[float], part: float) -> float:
    """The least of the figures that so great a part of them does not exceed."""
    if part == 0.5:
        return statistics.median(figures)
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def held_bytes(process: int) -> int | None:
    """The memory of a process, where pages that it shares count in part; None where
    the system does not tell."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return None
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def _cpu_of(process: int | None) -> float | None:
    """Seconds of processor time that all threads of a process have had."""
    if process is None or sys.platform != "linux":
        return None
    return time.clock_gettime((~process << 3) | _SCHEDULED)
