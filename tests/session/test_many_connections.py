"""Many connections on one session, one after the other and all at once: nothing is left
behind, and the last costs what the first did.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio import Limits, OfferedServices, dispatcher, service, u32
from roam_trio.session import Session
from roam_trio.session.futile import FutileMessages
from roam_trio.session.workers import IDLE_SECONDS

from .running import join


@service
class Feature(Protocol):
    async def double(self, number: u32) -> u32: ...
    async def wait(self, number: u32) -> u32: ...


class FeatureImpl:
    """Tells when `expected` calls wait, and answers them when told to."""

    def __init__(self, expected: int = 0) -> None:
        self.all_wait = trio.Event()
        self.go_on = trio.Event()
        self._expected = expected
        self._waiting = 0

    async def double(self, number: int) -> int:
        return 2 * number

    async def wait(self, number: int) -> int:
        self._waiting += 1
        if self._waiting == self._expected:
            self.all_wait.set()
        await self.go_on.wait()
        return number


async def join_offering(
    nursery: trio.Nursery, feature: FeatureImpl, limits: Limits
) -> tuple[Session, Session]:
    offered = OfferedServices({"feature": dispatcher(Feature, feature)})
    return await join(
        nursery, limits=limits, accepting={"on_connection": offered, "limits": limits}
    )


async def use(session: Session, number: int) -> None:
    async with session.open(Feature) as feature:
        assert await feature.double(number) == 2 * number


def held_by(session: Session) -> dict[str, int]:
    """How much each of a session's containers holds, in all that belongs to it."""
    found: dict[str, int] = {}
    seen: set[int] = set()

    def look(thing: Any, path: str) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        for name in _attributes(thing):
            value = getattr(thing, name, None)
            if isinstance(value, FutileMessages):
                continue  # has one count for each kind
            if isinstance(value, dict | list | set) or hasattr(value, "popleft"):
                found[f"{path}.{name}"] = len(value)
            elif type(value).__module__.startswith("roam_trio."):
                look(value, f"{path}.{name}")

    look(session, "session")
    return found


def _attributes(thing: Any) -> set[str]:
    names = set(getattr(thing, "__dict__", ()))
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names |= {slots} if isinstance(slots, str) else set(slots)
    return names - {"__dict__", "__weakref__"}


# ------------------------------------------------------------ one after the other


class Steps(trio.abc.Instrument):
    """Counts how often trio runs a task."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@attrs.frozen
class Lap:
    """What some connections have cost.

    Attributes:
        steps: how often trio ran a task.
        messages: how many payloads went both ways, and bytes of them.
        seconds: how long it took.
        memory: the bytes that are allocated after it.
    """

    steps: int
    messages: tuple[int, int, int, int]
    seconds: float
    memory: int


def traffic(session: Session) -> tuple[int, int, int, int]:
    sent, received = session.statistics().sent, session.statistics().received
    return (
        sent.payloads,
        sent.payload_bytes,
        received.payloads,
        received.payload_bytes,
    )


async def lap(
    sessions: tuple[Session, Session],
    count: int,
    work: Callable[[int], Awaitable[None]],
) -> Lap:
    """Do some work so many times, and measure it."""
    left, _ = sessions
    await wait_all_tasks_blocked()
    gc.collect()
    before, steps = traffic(left), Steps()
    trio.lowlevel.add_instrument(steps)
    began = time.perf_counter()
    for number in range(count):
        await work(number)
    seconds = time.perf_counter() - began
    trio.lowlevel.remove_instrument(steps)
    await wait_all_tasks_blocked()
    gc.collect()
    memory, _ = tracemalloc.get_traced_memory()
    messages = tuple(
        now - then for now, then in zip(traffic(left), before, strict=True)
    )
    assert len(messages) == 4
    return Lap(steps.count, messages, seconds, memory)


async def open_one_after_the_other(laps: int, count: int) -> list[Lap]:
    limits = Limits(connections=16)  # so that what is remembered is all there soon
    measured: list[Lap] = []
    async with trio.open_nursery() as nursery:
        sessions = await join_offering(nursery, FeatureImpl(), limits)
        tasks = trio.lowlevel.current_statistics().tasks_living
        left, _ = sessions
        tracemalloc.start()
        try:
            await lap(sessions, 100, lambda number: use(left, number))
            held = [held_by(session) for session in sessions]
            for _ in range(laps):
                measured.append(
                    await lap(sessions, count, lambda number: use(left, number))
                )
        finally:
            tracemalloc.stop()
        assert [held_by(session) for session in sessions] == held
        for session in sessions:
            (root,) = session.statistics().connections
            assert (root.connection_id, root.calling, root.answering) == (0, (), ())
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        await left.shutdown()
    return measured


def check_flat(laps: list[Lap], count: int) -> None:
    first, last = laps[0], laps[-1]
    print(
        *(
            f"{each.seconds / count * 1e6:.0f} us, {each.steps / count:.2f} steps, "
            f"{each.memory / 1024:.0f} KiB allocated"
            for each in (first, last)
        ),
        sep="\n",
    )
    assert last.messages[0::2] == first.messages[0::2] == (3 * count, 2 * count)
    # Numbers grow by a byte or two.
    assert last.messages[1] - first.messages[1] <= 6 * count
    assert abs(last.steps - first.steps) <= count // 50
    assert last.memory - first.memory < 50_000
    assert last.seconds < 5 * first.seconds


@pytest.mark.rule("connection.virtual", "connection.close")
async def test_connections_leave_nothing_behind() -> None:
    check_flat(await open_one_after_the_other(3, 100), 100)


@pytest.mark.slow
@pytest.mark.rule("connection.virtual", "connection.close")
async def test_10_000_connections_leave_nothing_behind() -> None:
    check_flat(await open_one_after_the_other(10, 1000), 1000)


# ------------------------------------------------------------ all at once

ENTRIES = "session._run.connections._table._entries._entries"
OVER = "session._run.connections._table._entries._over"


async def idle_tasks_are_over() -> None:
    """Wait until those are that have run handlers, on a clock that jumps."""
    await wait_all_tasks_blocked()
    await trio.sleep(2 * IDLE_SECONDS)
    await wait_all_tasks_blocked()


async def open_all_at_once(count: int) -> None:
    limits = Limits(connections=count, pending_opens=count)
    feature = FeatureImpl(expected=count)
    answers: list[int] = []
    async with trio.open_nursery() as nursery:
        left, right = await join_offering(nursery, feature, limits)
        held = [held_by(session) for session in (left, right)]
        tasks = trio.lowlevel.current_statistics().tasks_living

        async def use_it(number: int) -> None:
            async with left.open(Feature) as one:
                answers.append(await one.wait(number))

        began = time.perf_counter()
        async with trio.open_nursery() as users:
            for number in range(count):
                users.start_soon(use_it, number)
            await feature.all_wait.wait()
            for session in (left, right):
                _, *virtual = session.statistics().connections
                assert len(virtual) == count
                assert all(len(one.calling + one.answering) == 1 for one in virtual)
            feature.go_on.set()
        print(f"{count} at once: {time.perf_counter() - began:.2f} s")
        assert sorted(answers) == list(range(count))
        await idle_tasks_are_over()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for session, before in zip((left, right), held, strict=True):
            after = held_by(session)
            # Which ones the peer has closed is remembered, within bounds.
            assert after[OVER] <= count
            assert after.pop(ENTRIES) == after.pop(OVER) + 1  # and the root
            assert before.pop(ENTRIES) == before.pop(OVER) + 1
            assert after == before
        await left.shutdown()


@pytest.mark.rule("connection.virtual", "rpc.pipelining")
async def test_many_connections_are_open_at_once_with_a_call_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await open_all_at_once(100)


@pytest.mark.slow
@pytest.mark.rule("connection.virtual", "rpc.pipelining")
async def test_1_000_connections_are_open_at_once_with_a_call_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await open_all_at_once(1000)
