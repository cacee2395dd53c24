"""The honest client, a process of its own; `run` starts it.

    python -m benchmarks.floods.honest URL PROCESS [--resume]

`PROCESS` is the number of the server's process. The client calls 100 times a second,
whether earlier calls have been answered or not, and prints "ready". At a line of input
it begins to count; at the next one it prints what it has counted, as JSON, and ends.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec
import trio

from roam_trio import RoamTrioError, connect

from .service import NAME, Target

__all__ = ["CALLS_PER_SECOND", "Counted", "Figures"]

CALLS_PER_SECOND: Final = 100

_WARM_UP: Final = 50
"""Number of calls before it says that it is ready."""


class Figures(msgspec.Struct, frozen=True):
    """Of a number of times.

    Attributes:
        median: half of them are this at most.
        p99: the same for 99 of 100.
    """

    median: float
    p99: float

    @classmethod
    def of(cls, times: Iterable[float]) -> Figures:
        ordered = sorted(times) or [0.0]
        return cls(statistics.median(ordered), ordered[len(ordered) * 99 // 100])


class Counted(msgspec.Struct):
    """Calls of the honest client.

    Attributes:
        calls: number of calls that were not refused. Those without an answer yet count
            with the time that they have waited.
        taken: seconds that they took.
        served: seconds of processor time that the server used meanwhile. On a core of
            its own, a call takes little more; on a busy machine, it also waits for the
            core.
        refused: the errors of the others, with the number of each.
    """

    calls: int
    taken: Figures
    served: Figures
    refused: dict[str, int]


class _Caller:
    """Calls, and counts."""

    def __init__(self, target: Target, server: int) -> None:
        self._target = target
        self._clock = (~server << 3) | 2  # of Linux: the time of another process
        self._waiting: dict[object, tuple[float, float]] = {}
        self.times: list[tuple[float, float]] = []
        self.refused: Counter[str] = Counter()

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.clock_gettime(self._clock)

    def _since(self, began: tuple[float, float]) -> tuple[float, float]:
        now = self._now()
        return now[0] - began[0], now[1] - began[1]

    async def call(self, left: int, right: int) -> None:
        key = object()
        began = self._waiting[key] = self._now()
        try:
            assert await self._target.add(left, right) == left + right
        except RoamTrioError as error:
            self.refused[type(error).__name__] += 1
        else:
            self.times.append(self._since(began))
        finally:
            del self._waiting[key]

    def counted(self) -> Counted:
        times = [*self.times, *map(self._since, self._waiting.values())]
        return Counted(
            calls=len(times),
            taken=Figures.of(taken for taken, _ in times),
            served=Figures.of(served for _, served in times),
            refused=dict(self.refused),
        )


async def _call_all_the_time(caller: _Caller, nursery: trio.Nursery) -> None:
    at = trio.current_time()
    number = 0
    while True:
        number += 1
        nursery.start_soon(caller.call, number, 1)
        at += 1 / CALLS_PER_SECOND
        await trio.sleep_until(at)


async def _line() -> None:
    await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


async def _run(url: str, server: int, *, resume: bool) -> None:
    async with (
        connect(url, resume=resume) as session,
        session.open(Target, NAME) as target,
        trio.open_nursery() as nursery,
    ):
        caller = _Caller(target, server)
        for number in range(_WARM_UP):
            await caller.call(number, 1)
        nursery.start_soon(_call_all_the_time, caller, nursery)
        print("ready", flush=True)
        await _line()
        caller.times.clear()
        caller.refused.clear()
        await _line()
        print(msgspec.json.encode(caller.counted()).decode(), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    url, server = sys.argv[1:3]
    trio.run(lambda: _run(url, int(server), resume="--resume" in sys.argv))
