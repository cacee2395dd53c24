"""The side of a gateway that its clients see: access, limits and draining."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    Health,
    HealthState,
    Limits,
    Overloaded,
    Peer,
    Refused,
    SessionRejected,
    Unavailable,
    connect,
    dispatcher,
    open_call,
    serving,
)
from roam_trio.endpoints.gateway.routes import Route

from .behind import HERE, Bank, BankImpl, bank, banks, client_of, passing_on, to_banks


async def identify(peer: Peer) -> None:
    peer.identity = peer.metadata.get("user")


WITH_NAMES = {"on_session": identify}


async def test_services_are_for_clients_that_may_use_them() -> None:
    route = to_banks("a", allow=["ada"])
    async with banks("a") as servers, passing_on(route, server=WITH_NAMES):
        async with (
            connect(HERE, metadata={"user": "ada"}) as session,
            session.open(Bank) as teller,
        ):
            assert await teller.where() == "a"
        async with connect(HERE, metadata={"user": "eve"}) as session:
            with pytest.raises(Refused, match="may not use 'bank'"):
                async with session.open(Bank):
                    pass
            assert len(servers["a"].sessions) == 1


async def test_root_connection_is_for_clients_that_may_use_it() -> None:
    route = Route("", "memory://root", ["ada"])
    async with (
        serving("memory://root", dispatcher(Bank, BankImpl("root"))),
        passing_on(route, server=WITH_NAMES),
    ):
        async with connect(HERE, Bank, metadata={"user": "ada"}) as teller:
            assert await teller.where() == "root"
        async with connect(HERE, Bank, metadata={"user": "eve"}) as teller:
            with pytest.raises(Refused, match="may not use"):
                await teller.where()


async def test_calls_that_no_server_can_take_are_limited(
    autojump_clock: MockClock,
) -> None:
    limits = Limits(futile_messages=5, futile_messages_per_second=1)
    async with (
        passing_on(Route("", "memory://root"), server={"limits": limits}),
        connect(HERE, Bank) as teller,
    ):
        for _ in range(5):
            with pytest.raises(Unavailable):
                await teller.where()
        with pytest.raises(ConnectionLost, match=r"\(limit: futile_messages\)"):
            await teller.where()


async def test_connections_of_a_client_are_limited() -> None:
    limits = {"limits": Limits(connections=1)}
    async with (
        banks("a"),
        passing_on(to_banks("a"), server=limits),
        client_of() as (session, _),
    ):
        with pytest.raises(SessionRejected, match=r"\(limit: connections\)"):
            async with session.open(Bank):
                pass


async def test_sessions_of_a_peer_are_limited() -> None:
    limits = {"max_sessions_per_peer": 1}
    async with banks("a"), passing_on(to_banks("a"), server=limits), client_of():
        with pytest.raises(Overloaded, match="max_sessions_per_peer"):
            async with connect(HERE):
                pass


async def test_gateway_that_drains_tells_its_clients_and_lets_calls_go_on(
    autojump_clock: MockClock,
) -> None:
    impl = BankImpl("a")
    async with (
        bank(impl) as server,
        passing_on(to_banks("a"), server={"reflection": True}) as (_, gate),
        client_of() as (session, teller),
        session.open(Health) as health,
        open_call(health.watch, "") as watch,
        trio.open_nursery() as nursery,
    ):
        assert await watch.rx.recv() is HealthState.SERVING
        async with open_call(teller.tail, 0) as call:
            assert await call.rx.recv() == 0
            nursery.start_soon(gate.shutdown, 10)
            assert await watch.rx.recv() is HealthState.DRAINING
            with pytest.raises(Unavailable) as caught:
                async with session.open(Bank):
                    pass
            assert caught.value.was_begun is False
            await trio.sleep(5)
            assert [await call.rx.recv() for _ in range(100)] == [*range(1, 101)]
        await session.closed()
        assert trio.current_time() < 10
        await wait_all_tasks_blocked()
        assert len(server.sessions) == 1
