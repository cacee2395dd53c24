"""Connections that a `Driver` runs, as those of other implementations are run."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AcceptedConnection,
    ConnectionClosed,
    ConnectionHandle,
    ConnectionLost,
    ConnectionPhase,
    Driver,
    UnknownMethod,
    acceptor,
    client,
    initiator,
    memory_link_pair,
)
from roam_trio.testing import connected_pair

from .connecting import Acceptor, add, hang, streams_on
from .running import Streams, Task, streams


@pytest.mark.rule("rpc.virtual-connection.accept")
async def test_driver_answers_on_a_connection_that_the_peer_has_opened(
    nursery: trio.Nursery,
) -> None:
    async def run(handle: ConnectionHandle) -> None:
        await Driver(handle, streams(add=add)).run()

    near, far = memory_link_pair(16)
    deciding = Acceptor(AcceptedConnection(setup=run))
    nursery.start_soon(acceptor(far, on_connection=deciding).run)
    async with (
        initiator(near).open() as session,
        await session.open_connection() as connection,
    ):
        assert await streams_on(connection).add(3, 5) == 8


async def test_both_sides_of_a_connection_call_each_other_through_drivers(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    decided = Acceptor()
    nursery.start_soon(acceptor(far, on_connection=decided).run)
    async with initiator(near).open() as session:
        ours = Driver(await session.open_connection(), streams(add=add))
        await wait_all_tasks_blocked()
        theirs = Driver(decided.handles[0], streams(add=_subtract))
        nursery.start_soon(ours.run)
        nursery.start_soon(theirs.run)
        assert await client(Streams, ours.caller).add(5, 3) == 2
        assert await client(Streams, theirs.caller).add(5, 3) == 8


async def _subtract(left: int, right: int) -> int:
    return left - right


async def test_requests_wait_until_the_driver_runs(nursery: trio.Nursery) -> None:
    pair = connected_pair(Streams, streams(add=hang))
    async with pair as calling:
        driver = Driver(pair.server_session.root, streams(add=add))
        call = Task(nursery, calling.add, 1, 2)
        await wait_all_tasks_blocked()
        assert not call.is_done
        nursery.start_soon(driver.run)
        assert await call.result() == 3
        assert repr(driver) == "<Driver of <ConnectionHandle 0, open>>"


async def test_run_returns_when_the_connection_ends(nursery: trio.Nursery) -> None:
    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(far, on_connection=Acceptor()).run)
    async with initiator(near).open() as session:
        driver = Driver(await session.open_connection(), streams(add=add))
        running = Task(nursery, driver.run)
        await wait_all_tasks_blocked()
        assert not running.is_done
        driver.connection.close()
        await running.result()
        assert isinstance(driver.connection.ended_because, ConnectionClosed)
        await driver.run()  # it has ended already


@pytest.mark.rule("connection.close.semantics")
async def test_cancelling_run_closes_a_virtual_connection_and_its_handlers(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    decided = Acceptor()
    nursery.start_soon(acceptor(far, on_connection=decided).run)
    async with initiator(near).open() as session:
        connection = await session.open_connection()
        await wait_all_tasks_blocked()
        running = Task(nursery, Driver(decided.handles[0], streams(add=hang)).run)
        call = Task(nursery, streams_on(connection).add, 1, 2)
        await wait_all_tasks_blocked()
        running.cancel()
        with pytest.raises(ConnectionLost, match="closed"):
            await call.result()
        assert connection.phase is ConnectionPhase.CLOSED


async def test_cancelling_run_leaves_the_root_open_without_methods(
    nursery: trio.Nursery,
) -> None:
    pair = connected_pair(Streams, streams(add=hang))
    async with pair as calling:
        driver = Driver(pair.server_session.root, streams(add=add))
        with trio.CancelScope() as scope:
            scope.cancel()
            await driver.run()
        assert driver.connection.phase is ConnectionPhase.OPEN
        with pytest.raises(UnknownMethod):
            await calling.add(1, 2)


async def test_what_is_no_handler_is_refused_at_once() -> None:
    pair = connected_pair(Streams, streams(add=add))
    wrong: Any = object()
    async with pair as calling:
        with pytest.raises(TypeError, match="expected a Handler"):
            Driver(pair.server_session.root, wrong)
        assert await calling.add(1, 2) == 3  # who has served so far, serves still
