"""The service ``statistics`` of a server."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    Peer,
    Proceed,
    Refused,
    Rx,
    SessionRejected,
    Tx,
    channel,
    client,
    connect,
    dispatcher,
    service,
    serving,
    u32,
)
from roam_trio.endpoints import statistics as module
from roam_trio.endpoints.statistics import STATISTICS, ServerFigures, Statistics


@service
class Echo(Protocol):
    async def wait(self) -> None: ...
    async def both(self, numbers: Rx[u32], out: Tx[u32]) -> None: ...


class EchoImpl:
    async def wait(self) -> None:
        await trio.sleep_forever()

    async def both(self, numbers: Rx[int], out: Tx[int]) -> None:
        await trio.sleep_forever()


ECHO = {"echo": dispatcher(Echo, EchoImpl())}


async def snapshot(url: str, most: int = 1000) -> ServerFigures:
    async with connect(url) as session, session.open(Statistics) as statistics:
        return await statistics.snapshot(most)


async def test_calls_and_channels_of_each_session_are_told() -> None:
    async with (
        serving("memory://told", ECHO, statistics=True) as server,
        connect(server.url) as session,
        session.open(Echo) as echo,
        trio.open_nursery() as nursery,
    ):
        numbers, out = channel[int](), channel[int]()
        nursery.start_soon(echo.wait)
        nursery.start_soon(echo.both, numbers[1], out[0])
        await wait_all_tasks_blocked()
        await numbers[0].send(1)
        await wait_all_tasks_blocked()
        found = await snapshot(server.url)
        assert found.sessions == 2
        first, asking = found.busiest
        assert (first.connections, first.calls, first.channels) == (2, 2, 2)
        methods = {call.method: call.direction for call in first.oldest_calls}
        assert methods == {"Echo.wait": "in", "Echo.both": "in"}
        assert all(call.age >= 0 for call in first.oldest_calls)
        channels = [(each.direction, each.queued) for each in first.some_channels]
        assert sorted(channels) == [("in", 1), ("out", 0)]
        assert first.received_bytes > 0
        assert first.peer == "this process"
        assert [call.method for call in asking.oldest_calls] == ["Statistics.snapshot"]
        assert asking.some_channels == []
        nursery.cancel_scope.cancel()


async def test_calls_of_the_server_are_told_as_its_own() -> None:
    async with (
        serving("memory://calling", ECHO, statistics=True) as server,
        connect(server.url, None, dispatcher(Echo, EchoImpl())),
        trio.open_nursery() as nursery,
    ):
        (session,) = server.sessions
        nursery.start_soon(client(Echo, session.caller).wait)
        await wait_all_tasks_blocked()
        calls = [
            call
            for each in (await snapshot(server.url)).busiest
            for call in each.oldest_calls
        ]
        assert {(call.method, call.direction) for call in calls} == {
            ("Echo.wait", "out"),
            ("Statistics.snapshot", "in"),
        }
        nursery.cancel_scope.cancel()


async def test_only_so_many_sessions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    async with (
        serving("memory://many", ECHO, statistics=True) as server,
        trio.open_nursery() as nursery,
    ):

        async def stay() -> None:
            async with connect(server.url):
                await trio.sleep_forever()

        for _ in range(5):
            nursery.start_soon(stay)
        await wait_all_tasks_blocked()
        assert len((await snapshot(server.url)).busiest) == 6
        few = await snapshot(server.url, 2)
        assert (few.sessions, len(few.busiest)) == (6, 2)
        # The one that asks has a call, and so it is the busiest.
        assert few.busiest[0].calls == 1
        assert (await snapshot(server.url, 0)).busiest == []
        nursery.cancel_scope.cancel()


async def test_statistics_are_offered_by_those_alone_who_are_told_to() -> None:
    async with serving("memory://not-told", ECHO) as server:
        with pytest.raises(SessionRejected, match="'statistics' is not one"):
            await snapshot(server.url)


async def test_service_of_the_program_takes_the_place_of_the_statistics() -> None:
    offered: dict[str, Any] = {STATISTICS: dispatcher(Echo, EchoImpl())}
    async with (
        serving("memory://own", offered, statistics=True) as server,
        connect(server.url) as session,
        session.open(Echo, STATISTICS) as echo,
    ):
        with trio.move_on_after(0.01) as scope:
            await echo.wait()
        assert scope.cancelled_caught


async def test_root_handler_can_be_offered_beside_them() -> None:
    handler = dispatcher(Echo, EchoImpl())
    async with serving("memory://root", handler, statistics=True) as server:
        assert (await snapshot(server.url)).sessions == 1


async def test_middleware_of_the_server_guards_them() -> None:
    async def guard(call: AnyCall, proceed: Proceed) -> Any:
        raise Refused("denied", "not for you")

    async with serving(
        "memory://guarded", ECHO, statistics=True, middleware=[guard]
    ) as server:
        with pytest.raises(Refused, match="not for you"):
            await snapshot(server.url)


async def test_sessions_with_handlers_of_their_own_do_not_see_them() -> None:
    async def welcome(peer: Peer) -> dict[str, Any]:
        return ECHO

    async with serving(
        "memory://welcomed", ECHO, statistics=True, on_session=welcome
    ) as server:
        with pytest.raises(SessionRejected):
            await snapshot(server.url)
