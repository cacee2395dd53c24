"""One task watches the payloads that have begun, on all links of a run of trio."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio.links.payload_watch import PayloadWatch, payload_watch


@attrs.define(eq=False)
class Arriving:
    """A link with a payload that has begun."""

    deadline: float
    more: float = 0.0
    error: Exception | None = None
    asked_at: list[float] = attrs.Factory(list)

    async def give_up_if_late(self, now: float) -> bool:
        self.asked_at.append(now)
        if self.error is not None:
            raise self.error
        self.deadline += self.more
        return not self.more


def system_tasks() -> int:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return sum(len(nursery.child_tasks) for nursery in root.child_nurseries)


async def test_each_payload_is_given_up_at_its_time(autojump_clock: MockClock) -> None:
    watch = PayloadWatch()
    late, early, done = Arriving(60.0), Arriving(20.0), Arriving(40.0)
    for each in (late, early, done):
        watch.begin(each)
    watch.end(done)
    await trio.sleep(1000)
    assert (early.asked_at, late.asked_at, done.asked_at) == ([20.0], [60.0], [])
    assert repr(watch) == "<PayloadWatch: 0 arriving>"


async def test_an_earlier_deadline_counts_while_the_task_waits_for_a_later_one(
    autojump_clock: MockClock,
) -> None:
    watch = PayloadWatch()
    late, early = Arriving(60.0), Arriving(20.0)
    watch.begin(late)
    await wait_all_tasks_blocked()
    watch.begin(early)
    await trio.sleep(30)
    assert early.asked_at == [20.0]
    late.deadline = 40.0
    watch.begin(late)
    await trio.sleep(30)
    assert late.asked_at == [40.0]


async def test_a_payload_that_has_more_time_is_asked_again(
    autojump_clock: MockClock,
) -> None:
    watch = PayloadWatch()
    slow = Arriving(20.0, more=10.0)
    watch.begin(slow)
    await trio.sleep(45)
    assert slow.asked_at == [20.0, 30.0, 40.0]
    watch.end(slow)


async def test_the_task_ends_when_nothing_arrives(autojump_clock: MockClock) -> None:
    watch, before = PayloadWatch(), system_tasks()
    for _ in range(2):
        arriving = Arriving(trio.current_time() + 20)
        for _ in range(100):  # as many payloads that come in time
            watch.begin(arriving)
            watch.end(arriving)
        assert system_tasks() == before + 1
        await trio.sleep(30)
        assert system_tasks() == before
        assert arriving.asked_at == []


async def test_nothing_watches_payloads_that_have_any_time() -> None:
    watch, before = PayloadWatch(), system_tasks()
    arriving = Arriving(math.inf)
    watch.begin(arriving)
    assert system_tasks() == before
    watch.end(arriving)


async def test_a_failure_of_one_link_is_logged_and_the_others_are_watched(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = PayloadWatch()
    broken, other = Arriving(20.0, error=ValueError("broken")), Arriving(20.0)
    watch.begin(broken)
    watch.begin(other)
    await trio.sleep(100)
    assert (broken.asked_at, other.asked_at) == ([20.0], [20.0])
    (record,) = caplog.records
    assert record.getMessage() == "a payload that was too slow was not given up"
    assert "ValueError: broken" in str(record.exc_text)


def test_there_is_one_watch_for_each_run() -> None:
    async def watches() -> tuple[PayloadWatch, PayloadWatch]:
        return payload_watch(), payload_watch()

    first, again = trio.run(watches)
    other, _ = trio.run(watches)
    assert first is again
    assert first is not other
