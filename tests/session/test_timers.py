"""`Timers`: checks in their time, in a task that is there only while it is needed."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from roam_trio.session.timers import Timers


class Check:
    """Something that is due every `every` seconds; keeps when it was checked."""

    def __init__(self, every: float) -> None:
        self.every = self.due = every
        self.is_over = False
        self.checked: list[float] = []
        self.ends_after = 10**9

    def check(self, now: float) -> None:
        self.checked.append(now)
        self.due = now + self.every
        self.is_over = len(self.checked) >= self.ends_after

    def __lt__(self, other: Any) -> bool:
        return bool(self.due < other.due)


def end(timers: Timers, check: Check) -> None:
    check.is_over = True
    timers.forget(check)


async def test_each_is_checked_when_it_is_due(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    timers = Timers(nursery)
    slow, fast = Check(5), Check(2)
    timers.add(slow)
    await trio.testing.wait_all_tasks_blocked()
    timers.add(fast)  # due before what the task sleeps for
    await trio.sleep(11)
    assert slow.checked == [5, 10]
    assert fast.checked == [2, 4, 6, 8, 10]
    assert repr(timers) == "<Timers of 2 checks>"
    end(timers, slow)
    end(timers, fast)


async def test_the_task_ends_with_the_last_check_and_starts_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        timers = Timers(nursery)
        first, second = Check(3), Check(3)
        timers.add(first)
        assert len(nursery.child_tasks) == 1
        end(timers, first)  # before it has run
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        timers.add(second)
        await trio.sleep(4)
        assert (first.checked, second.checked) == ([], [3])
        end(timers, second)
        # Added while the task still runs, which then stays.
        third = Check(3)
        third.due = trio.current_time() + 1
        timers.add(third)
        assert len(nursery.child_tasks) == 1
        await trio.sleep(2)
        assert third.checked == [5]
        end(timers, third)
    assert trio.current_time() == 6


async def test_one_that_ends_in_its_check_is_not_checked_again(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    timers = Timers(nursery)
    other, ending = Check(10), Check(1)
    ending.ends_after = 2
    timers.add(other)
    timers.add(ending)
    await trio.sleep(5)
    assert ending.checked == [1, 2]
    timers.forget(ending)
    end(timers, other)


async def test_many_that_are_over_take_no_room(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    timers = Timers(nursery)
    stays, after = Check(10), Check(1)
    timers.add(stays)
    for _ in range(10_000):
        gone = Check(1000)
        timers.add(gone)
        end(timers, gone)
        assert len(timers._heap) < 32
    timers.add(after)
    await trio.sleep(25.5)
    assert stays.checked == [10, 20]
    assert len(after.checked) == 25
    end(timers, stays)
    end(timers, after)


async def test_one_that_is_over_when_it_is_due_is_not_checked(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    timers = Timers(nursery)
    stays, gone = Check(10), Check(5)
    timers.add(stays)
    timers.add(gone)
    end(timers, gone)
    await trio.sleep(11)
    assert (stays.checked, gone.checked) == ([10], [])
    end(timers, stays)
