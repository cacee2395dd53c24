"""Sessions whose task is started by a function of the program's: ``spawn=``."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    BoxSessionFuture,
    Session,
    SessionError,
    SessionIoError,
    acceptor,
    client,
    initiator,
    memory_link_pair,
)
from tests.peer import link_to_peer

from .connecting import add
from .running import Streams, streams


class Spawner:
    """Starts tasks in a nursery, and notes what it is given."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.given: list[BoxSessionFuture] = []
        self.ended = 0

    def __call__(self, run: BoxSessionFuture) -> None:
        self.given.append(run)
        self.nursery.start_soon(self._run, run)

    async def _run(self, run: BoxSessionFuture) -> None:
        await run()
        self.ended += 1


@pytest.mark.rule("rpc.session-setup")
async def test_establish_gives_the_work_of_each_side_to_its_spawn(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    spawner = Spawner(nursery)
    accepted: list[Session] = []

    @nursery.start_soon
    async def accept() -> None:
        builder = acceptor(far, spawn=spawner)
        accepted.append(await builder.establish(streams(add=add)))

    session = await initiator(near, spawn=spawner).establish()
    assert await client(Streams, session.caller).add(3, 5) == 8
    assert len(spawner.given) == 2
    assert spawner.ended == 0
    await session.shutdown()
    await accepted[0].closed()
    await wait_all_tasks_blocked()
    assert spawner.ended == 2


async def test_spawn_of_establish_goes_before_that_of_the_builder(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(far).run, streams(add=add))
    ours, its = Spawner(nursery), Spawner(nursery)
    session = await initiator(near, spawn=its).establish(spawn=ours)
    assert (len(ours.given), len(its.given)) == (1, 0)
    await session.shutdown()


async def test_session_outlives_the_task_that_established_it(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(far).run, streams(add=add))
    with trio.CancelScope() as scope:
        session = await initiator(near).establish(spawn=nursery.start_soon)
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert await client(Streams, session.caller).add(1, 1) == 2
    await session.shutdown()


async def test_a_session_may_live_in_a_system_task() -> None:
    near, far = memory_link_pair(16)
    spawn = trio.lowlevel.spawn_system_task
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(far).run, streams(add=add))
        session = await initiator(near).establish(spawn=spawn)
        assert await client(Streams, session.caller).add(1, 2) == 3
        await session.shutdown()


async def test_handshake_that_fails_is_raised_by_establish_and_not_in_the_task(
    nursery: trio.Nursery,
) -> None:
    link, peer = link_to_peer()
    spawner = Spawner(nursery)
    nursery.start_soon(peer.leave)
    with pytest.raises(SessionIoError, match="closed"):
        await initiator(link).establish(spawn=spawner)
    await wait_all_tasks_blocked()
    assert spawner.ended == 1  # without error: the nursery is still there


async def test_cancelling_establish_ends_the_session_and_its_task(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    link, peer = link_to_peer()
    spawner = Spawner(nursery)
    with trio.move_on_after(1) as scope:
        await initiator(link).establish(spawn=spawner)
    assert scope.cancelled_caught
    await peer.rx.recv()  # the hello
    await peer.hear_end()
    await peer.leave()
    await wait_all_tasks_blocked()
    assert spawner.ended == 1


async def test_task_that_is_cancelled_in_the_handshake_fails_establish(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    link, _ = link_to_peer()
    scope = trio.CancelScope()

    async def in_scope(run: BoxSessionFuture) -> None:
        with scope:
            await run()

    nursery.start_soon(trio.sleep, 1)
    nursery.start_soon(_cancel_later, scope)
    with pytest.raises(SessionError, match="the session was cancelled"):
        await initiator(link).establish(
            spawn=lambda run: nursery.start_soon(in_scope, run)
        )


async def _cancel_later(scope: trio.CancelScope) -> None:
    await trio.sleep(1)
    scope.cancel()


async def test_establish_without_a_spawn_says_what_one_is() -> None:
    with pytest.raises(TypeError, match=r"expected spawn=.*nursery\.start_soon"):
        await initiator(memory_link_pair(1)[0]).establish()


async def test_what_starts_no_task_is_refused_with_what_does(
    nursery: trio.Nursery,
) -> None:
    link, _ = memory_link_pair(1)
    given: Any = nursery
    expected = r"expected a function that starts a task.*nursery\.start_soon"
    with pytest.raises(TypeError, match=expected + ".* type Nursery"):
        initiator(link, spawn=given)
    with pytest.raises(TypeError, match=expected):
        await acceptor(link).establish(spawn=given)
    with pytest.raises(TypeError, match=expected + ".*got an async function"):
        await initiator(link).establish(spawn=nursery.start)
