"""Calls whose time is over leave nothing running, whenever that was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio

import roam_trio
from roam_trio import service
from roam_trio.contrib.asyncio import connect, dispatcher, in_trio, serving, timeout

from .works import idle, nothing_is_left, until

AT_ONCE = 50
LONGEST = 0.01
VERY_LONG = 600.0


@service
class Sleeper:
    async def sleep(self, seconds: float) -> float: ...


class Counting:
    def __init__(self, sleep: Callable[[float], Any]) -> None:
        self._sleep = sleep
        self.begun = self.finished = self.cancelled = 0

    async def sleep(self, seconds: float) -> float:
        self.begun += 1
        try:
            await self._sleep(seconds)
        except (asyncio.CancelledError, trio.Cancelled):
            self.cancelled += 1
            raise
        self.finished += 1
        return seconds


@pytest.mark.parametrize(
    ("calls", "within", "handlers"),
    [
        (1000, asyncio.timeout, "asyncio"),
        (200, asyncio.timeout, "trio"),
        (200, timeout, "asyncio"),
        (200, timeout, "trio"),
    ],
)
def test_calls_with_random_timeouts_leave_nothing_running(
    calls: int, within: Callable[[float], Any], handlers: str
) -> None:
    random = Random(17)
    told = {"returned": 0, "timed out": 0}

    async def one(sleeper: Sleeper, seconds: float, patience: float) -> None:
        try:
            async with within(patience):
                assert await sleeper.sleep(seconds) == seconds
        except TimeoutError:
            told["timed out"] += 1
        else:
            told["returned"] += 1

    async def some(sleeper: Sleeper) -> None:
        for _ in range(calls // AT_ONCE):
            a, b = random.uniform(0, LONGEST), random.uniform(0, LONGEST)
            # Some return, some do not, and of others only the clock knows.
            times = random.choice([(0.0, VERY_LONG), (VERY_LONG, a), (a, b)])
            await one(sleeper, *times)

    async def main() -> None:
        if handlers == "asyncio":
            counting = Counting(asyncio.sleep)
            handler: Any = dispatcher(Sleeper, counting)
        else:
            counting = Counting(trio.sleep)
            handler = roam_trio.dispatcher(Sleeper, counting)
        async with (
            serving("tcp://127.0.0.1:0", handler) as server,
            connect(server.url, Sleeper) as sleeper,
        ):
            tasks_before = asyncio.all_tasks()
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(some(sleeper))
            assert sum(told.values()) == calls
            assert min(told.values()) > calls / 5
            await until(lambda: idle(server))
            assert counting.begun == counting.finished + counting.cancelled
            assert asyncio.all_tasks() == tasks_before
            [session] = server.sessions
            [connection] = session.statistics().connections
            assert connection.answering == connection.channels == ()
            assert connection.waiting == ()
            statistics = await in_trio(living)
            assert statistics < 2 * AT_ONCE + 70  # those that wait for the next calls
            assert await sleeper.sleep(0.0) == 0.0
        nothing_is_left()

    async def living() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    asyncio.run(main())
