"""The reserved service `health`."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    Health,
    HealthProblem,
    HealthState,
    Limits,
    Overloaded,
    Server,
    UserError,
    channel,
    connect,
    open_call,
    reserved_services,
    serve,
    serving,
)
from roam_trio.service.reserved.handlers import LEAVING_SECONDS
from roam_trio.session import OfferedServices
from tests.session.running import join
from tests.test_reflection import clock, shop

URL = "memory://health"
SERVING, DRAINING = HealthState.SERVING, HealthState.DRAINING


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    """A server of two services."""
    offered = {"shop": shop(), "clock": clock()}
    limits = Limits(reserved_streams=2)
    started: Server = await nursery.start(
        partial(serve, URL, offered, reflection=True, limits=limits)
    )
    return started


# ------------------------------------------------------------ the state


async def test_offered_services_and_the_server_are_serving(server: Server) -> None:
    async with connect(URL) as session, session.open(Health) as health:
        assert await health.state("shop") is SERVING
        assert await health.state("") is SERVING


async def test_a_name_that_is_not_offered_is_a_declared_error(server: Server) -> None:
    async with connect(URL) as session, session.open(Health) as health:
        for name in ("other", "health"):
            with pytest.raises(UserError) as caught:
                await health.state(name)
            assert caught.value.error is HealthProblem.UNKNOWN
        with pytest.raises(UserError) as caught:
            await health.watch("other", channel[HealthState]()[0])
        assert caught.value.error is HealthProblem.UNKNOWN


async def test_states_follow_what_the_server_offers(server: Server) -> None:
    async with connect(URL) as session, session.open(Health) as health:
        server.withdraw("shop")
        with pytest.raises(UserError):
            await health.state("shop")
        server.offer("store", shop())
        assert await health.state("store") is SERVING


async def test_a_lone_session_tells_its_health(nursery: trio.Nursery) -> None:
    offering = OfferedServices({"clock": clock()}, reserved=reserved_services)
    left, right = await join(nursery, accepting={"on_connection": offering})
    async with left.open(Health) as health, open_call(health.watch, "clock") as call:
        assert await call.rx.recv() is SERVING
        assert not right.draining.is_set()
        nursery.start_soon(right.shutdown, 5)
        assert [state async for state in call.rx] == [DRAINING]
        assert right.draining.is_set()


# ------------------------------------------------------------ watches


@pytest.mark.parametrize("name", ["", "shop"])
async def test_a_watch_begins_with_the_state_and_ends_after_draining(
    server: Server, name: str
) -> None:
    async with (
        connect(URL) as session,
        session.open(Health) as health,
        open_call(health.watch, name) as call,
        trio.open_nursery() as rest,
    ):
        assert await call.rx.recv() is SERVING
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            call.rx.recv_nowait()
        rest.start_soon(server.shutdown, 5)
        assert [state async for state in call.rx] == [DRAINING]
        await call.result()


async def test_watches_take_a_second_of_the_grace_of_a_shutdown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watched = []

    async def watch() -> None:
        async with (
            connect(URL) as session,
            session.open(Health) as health,
            open_call(health.watch, "") as call,
        ):
            async for state in call.rx:
                watched.append(state)

    began = trio.current_time()
    async with (
        trio.open_nursery() as clients,
        serving(URL, shop(), reflection=True, grace=5),
    ):
        for _ in range(3):
            clients.start_soon(watch)
        await wait_all_tasks_blocked()
    assert watched == [SERVING] * 3 + [DRAINING] * 3
    assert trio.current_time() == began + LEAVING_SECONDS


async def test_a_client_that_leaves_when_it_learns_of_a_shutdown_shortens_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def leave() -> None:
        async with (
            connect(URL) as session,
            session.open(Health) as health,
            open_call(health.watch, "") as call,
        ):
            async for state in call.rx:
                if state is DRAINING:
                    break

    began = trio.current_time()
    async with (
        trio.open_nursery() as clients,
        serving(URL, shop(), reflection=True, grace=5),
    ):
        clients.start_soon(leave)
        await wait_all_tasks_blocked()
    assert trio.current_time() == began


async def test_only_the_session_that_is_shut_down_drains(server: Server) -> None:
    async with (
        connect(URL) as first,
        connect(URL) as second,
        first.open(Health) as health,
        second.open(Health) as other,
        open_call(health.watch, "") as call,
        open_call(other.watch, "") as others,
        trio.open_nursery() as rest,
    ):
        assert await call.rx.recv() is SERVING
        assert await others.rx.recv() is SERVING
        rest.start_soon(server.sessions[0].shutdown, 5)
        assert [state async for state in call.rx] == [DRAINING]
        assert await other.state("") is SERVING
        with pytest.raises(trio.WouldBlock):
            others.rx.recv_nowait()
        others.rx.reset()


async def test_a_watch_fails_when_the_service_is_withdrawn(server: Server) -> None:
    async with (
        connect(URL) as session,
        session.open(Health) as health,
        open_call(health.watch, "shop") as call,
    ):
        assert await call.rx.recv() is SERVING
        server.withdraw("clock")
        server.withdraw("shop")
        with pytest.raises(UserError) as caught:
            await call.result()
        assert caught.value.error is HealthProblem.UNKNOWN


async def test_a_slow_receiver_gets_the_last_state_and_no_queue(
    server: Server,
) -> None:
    async with (
        connect(URL) as session,
        session.open(Health) as health,
        open_call(health.watch, "shop") as call,
        trio.open_nursery() as rest,
    ):
        for _ in range(5):
            await wait_all_tasks_blocked()
            server.withdraw("shop")
            server.offer("shop", shop())
        rest.start_soon(server.shutdown, 5)
        await wait_all_tasks_blocked()
        assert [state async for state in call.rx] == [SERVING, DRAINING]
        await call.result()


async def test_watches_of_a_session_are_bounded_and_those_that_end_count_no_more(
    server: Server,
) -> None:
    async with connect(URL) as session, session.open(Health) as health:
        watches: list[Any] = [open_call(health.watch, "") for _ in range(2)]
        for watch in watches:
            await watch.__aenter__()
            assert await watch.rx.recv() is SERVING
        with pytest.raises(Overloaded, match="limit: reserved_streams"):
            await health.watch("", channel[HealthState]()[0])
        await watches.pop().__aexit__(None, None, None)
        async with open_call(health.watch, "") as another:
            assert await another.rx.recv() is SERVING
            another.rx.reset()
        await watches.pop().__aexit__(None, None, None)
