"""Done 10 000 times over, nothing is left behind: no entry, task, file or memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from roam_trio import channel
from roam_trio.limits import DEFAULT_LIMITS

from .memory import MIB, State, state_now
from .over import Over
from .processes import within
from .watch import MemoryWatch
from .workshop import Workshop

REPETITIONS = 10_000
FEW = 100

AT_ONCE = 16
"""How many calls are under way together. The server accepts 64, and so none waits for
a slot, unless slots are not freed."""

WARM_UP = DEFAULT_LIMITS.channels + FEW
"""A connection remembers so many channels that have ended, so let them be there."""

COME_AND_GO = 8 * 1000
"""Small objects of tasks that a session keeps for the next handlers, and those that
trio keeps for deadlines of scopes that were left before: it clears the latter away once
they are a thousand."""

IDLE = "<ConnectionRun 0: 0 answering, 0 calling, 0 channels>"
ASKED = "<ConnectionRun 0: 1 answering, 0 calling, 0 channels>"
"""A server's, while it answers what this is the answer to."""


async def cancel_at_work(workshop: Workshop) -> None:
    """Call, and cancel the call when the handler is at work."""
    given, begun = channel[bool]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workshop.wait_visibly, given)
        assert await begun.recv()
        nursery.cancel_scope.cancel()


async def cancel_at_once(workshop: Workshop) -> None:
    """Call, and cancel the call in the moment after it was sent.

    Call and Cancel come to the server together as a rule, so the handler never runs.
    """
    with trio.CancelScope() as scope:
        trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
        await workshop.wait()
    # The connection is none the worse. And without this calls would be made, and
    # cancelled, faster than they are answered, and most would not even get a slot.
    assert await workshop.add(1, 2) == 3


Repetition = Callable[[Workshop], Awaitable[None]]


async def repeat(repetition: Repetition, workshop: Workshop, count: int) -> None:
    """Do it so many times, `AT_ONCE` at a time."""
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            await repetition(workshop)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(one_after_another)


async def assert_nothing_is_left(
    workshop: Workshop, server_before: State, client_before: State
) -> None:
    # The handlers that ended last answer before this does, and so all have answered.
    await workshop.until_waiting(0)
    server = await workshop.state()
    assert server.connections == [ASKED]
    assert server == server_before
    client = state_now()
    assert client.connections == [IDLE]
    assert client == client_before


ways = pytest.mark.parametrize("repetition", [cancel_at_once, cancel_at_work])


@pytest.mark.rule("rpc.cancel")
@ways
@within(60)
async def test_cancelled_calls_leave_nothing(
    repetition: Repetition, mostly_over_tcp: Over
) -> None:
    over = mostly_over_tcp
    async with over.server() as server, over.connect(server.url) as workshop:
        await repeat(repetition, workshop, AT_ONCE)  # what begins when it is needed
        await workshop.until_waiting(0)
        before = await workshop.state(), state_now()
        await repeat(repetition, workshop, FEW)
        await assert_nothing_is_left(workshop, *before)


@pytest.mark.slow
@pytest.mark.rule("rpc.cancel")
@ways
@within(600)
async def test_10_000_cancelled_calls_leave_nothing(
    repetition: Repetition, mostly_over_tcp: Over
) -> None:
    over = mostly_over_tcp
    async with over.server() as server, over.connect(server.url) as workshop:
        await repeat(repetition, workshop, WARM_UP)
        await workshop.until_waiting(0)
        watch = MemoryWatch(workshop)
        before = await workshop.state(), state_now()
        await watch.lap()
        await repeat(repetition, workshop, REPETITIONS // 2)
        await watch.lap()
        await repeat(repetition, workshop, REPETITIONS // 2)
        await assert_nothing_is_left(workshop, *before)
        await watch.lap()
    watch.check_flat(
        peak_growth=4 * MIB,
        block_growth=REPETITIONS // 10,
        varying=COME_AND_GO,
    )


async def connect_and_leave(over: Over, url: str, count: int) -> None:
    for number in range(count):
        async with over.connect(url) as workshop:
            assert await workshop.add(number, 1) == number + 1


@within(60)
async def test_connections_leave_nothing(mostly_over_tcp: Over) -> None:
    over = mostly_over_tcp
    async with over.server() as server, over.connect(server.url) as workshop:
        before = await workshop.state(), state_now()
        await connect_and_leave(over, server.url, 10)
        await assert_nothing_is_left(workshop, *before)


@pytest.mark.slow
@within(600)
async def test_10_000_connections_leave_nothing(mostly_over_tcp: Over) -> None:
    over = mostly_over_tcp
    async with over.server() as server, over.connect(server.url) as workshop:
        await connect_and_leave(over, server.url, FEW)
        watch = MemoryWatch(workshop)
        before = await workshop.state(), state_now()
        await watch.lap()
        await connect_and_leave(over, server.url, REPETITIONS // 2)
        await watch.lap()
        await connect_and_leave(over, server.url, REPETITIONS // 2)
        await assert_nothing_is_left(workshop, *before)
        await watch.lap()
    # Timers of sessions that have ended stay until their time, or until they are many.
    watch.check_flat(peak_growth=16 * MIB, block_growth=REPETITIONS // 2)
