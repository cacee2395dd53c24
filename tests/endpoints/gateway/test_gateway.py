"""Connections that a gateway passes on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    DeadlineExceeded,
    Disconnected,
    Health,
    HealthState,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    Peer,
    Session,
    SessionRejected,
    Unavailable,
    client,
    connect,
    current_call,
    dispatcher,
    open_call,
    serving,
    with_metadata,
)
from roam_trio.endpoints.gateway.routes import Route

from .behind import (
    HERE,
    Bank,
    BankImpl,
    Shop,
    ShopImpl,
    bank,
    banks,
    passing_on,
    shop,
    to_banks,
)

SHOP = Route("shop", "memory://shop")


async def where(session: Session) -> str:
    async with session.open(Bank) as teller:
        return await teller.where()


# ------------------------------------------------------------ where it goes


async def test_services_are_found_by_their_names() -> None:
    async with (
        banks("a"),
        shop(),
        passing_on(to_banks("a"), SHOP),
        connect(HERE) as session,
        session.open(Bank) as teller,
        session.open(Shop) as counter,
    ):
        assert await teller.where() == "a"
        assert await counter.sell("pen") == "sold pen"


async def test_unknown_name_is_rejected_as_by_a_server() -> None:
    async with passing_on(to_banks("a"), SHOP) as (gate, _), connect(HERE) as session:
        assert repr(gate) == "<Gateway 'bank', 'shop'>"
        with pytest.raises(
            SessionRejected, match="'till' is not one of the services: bank, shop"
        ):
            async with session.open(Shop, "till"):
                pass
        with pytest.raises(SessionRejected, match="none was named"):
            await session.open_connection()


async def test_route_without_a_name_takes_what_no_other_does() -> None:
    everything = Route("", "memory://shop")
    root = dispatcher(Shop, ShopImpl())
    offered = {"till": root}

    async def names(peer: Peer) -> Any:
        return offered if peer.metadata.get("by") == "name" else None

    async with (
        banks("a"),
        serving("memory://shop", root, on_session=names),
        passing_on(to_banks("a"), everything),
    ):
        async with connect(HERE, metadata={"by": "name"}) as session:
            assert await where(session) == "a"
            async with session.open(Shop, "till") as counter:
                assert await counter.sell("pen") == "sold pen"
            with pytest.raises(SessionRejected, match="of the services: till"):
                async with session.open(Shop):
                    pass
        async with connect(HERE, Shop) as counter:
            assert await counter.sell("pen") == "sold pen"


async def test_root_connection_ends_with_that_of_the_server(
    autojump_clock: MockClock,
) -> None:
    impl = BankImpl("root")
    async with (
        passing_on(Route("", "memory://root")),
        connect(HERE, Bank) as teller,
        trio.open_nursery() as nursery,
    ):
        with pytest.raises(Unavailable) as caught:
            await teller.where()
        assert caught.value.was_begun is False
        async with serving("memory://root", dispatcher(Bank, impl)) as server:
            await trio.sleep(1)  # until the gateway has tried again
            assert await teller.where() == "root"
            nursery.start_soon(lost, teller.wait)
            await wait_all_tasks_blocked()
            assert impl.waiting == 1
            await server.shutdown()
        assert impl.waiting == 0
        with pytest.raises(Disconnected):
            await teller.where()


async def test_client_of_a_root_connection_is_told_when_its_server_drains(
    autojump_clock: MockClock,
) -> None:
    root = dispatcher(Bank, BankImpl("root"))
    async with (
        serving("memory://root", root, reflection=True) as server,
        passing_on(Route("", "memory://root"), server={"reflection": True}),
        connect(HERE) as session,
        session.open(Health) as health,
        open_call(health.watch, "") as watch,
        trio.open_nursery() as nursery,
    ):
        assert await watch.rx.recv() is HealthState.SERVING
        teller = client(Bank, session.caller)
        assert await teller.where() == "root"
        await wait_all_tasks_blocked()  # the gateway watches the health of the server
        nursery.start_soon(server.shutdown, 10)
        assert await watch.rx.recv() is HealthState.DRAINING
        with pytest.raises(Unavailable) as caught:
            await teller.where()
        assert caught.value.was_begun is False
        await session.closed()
        assert trio.current_time() == pytest.approx(1)


async def test_client_leaves_when_the_session_of_its_root_connection_has_ended(
    autojump_clock: MockClock,
) -> None:
    root = dispatcher(Bank, BankImpl("root"))
    async with (
        serving("memory://root", root) as server,  # which tells no health
        passing_on(Route("", "memory://root"), server={"reflection": True}),
        connect(HERE) as session,
        session.open(Health) as health,
        open_call(health.watch, "") as watch,
    ):
        assert await watch.rx.recv() is HealthState.SERVING
        teller = client(Bank, session.caller)
        assert await teller.where() == "root"
        await server.shutdown(10)
        assert await watch.rx.recv() is HealthState.DRAINING
        with pytest.raises(Unavailable) as caught:
            await teller.where()
        assert caught.value.was_begun is False
        await session.closed()
        assert trio.current_time() == pytest.approx(1)


async def test_calls_of_the_server_reach_the_root_of_its_client() -> None:
    async with (
        serving("memory://root", dispatcher(Bank, CallingBack("root"))),
        passing_on(Route("", "memory://root")),
        connect(HERE, Bank, dispatcher(Shop, ShopImpl())) as teller,
    ):
        assert await teller.told("pen") == "sold pen"


class CallingBack(BankImpl):
    """A bank that asks its client."""

    async def told(self, key: str) -> str:
        return await client(Shop, current_call().connection.caller).sell(key)


async def lost(call: Any) -> None:
    with pytest.raises(Disconnected):
        await call()


# ------------------------------------------------------------ what passes


async def test_streams_pass_both_ways_under_credit() -> None:
    impl = BankImpl("a")
    async with (
        bank(impl),
        passing_on(to_banks("a")),
        connect(HERE) as session,
        session.open(Bank) as teller,
    ):
        async with open_call(teller.tail, 5) as call:
            assert [await call.rx.recv() for _ in range(100)] == [*range(5, 105)]
            await wait_all_tasks_blocked()
            # The rest waits at the server, and not at the gateway.
            assert impl.sent < 200
        async with open_call(teller.total) as adding:
            for amount in range(100):
                await adding.tx.send(amount)
            await adding.tx.aclose()
            assert await adding.result() == sum(range(100))


async def test_cancelled_call_is_cancelled_at_the_server() -> None:
    impl = BankImpl("a")
    async with (
        bank(impl),
        passing_on(to_banks("a")),
        connect(HERE) as session,
        session.open(Bank) as teller,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(teller.wait)
        await wait_all_tasks_blocked()
        assert impl.waiting == 1
        nursery.cancel_scope.cancel()
    assert impl.waiting == 0


async def test_deadline_is_carried_on_with_what_is_left(
    autojump_clock: MockClock,
) -> None:
    async with (
        bank(BankImpl("a"), deadlines=True),
        passing_on(to_banks("a")),
        connect(HERE) as session,
        session.open(Bank) as teller,
    ):
        assert await teller.left() == float("inf")
        with trio.fail_after(60):
            await trio.sleep(20)
            assert await teller.left() == pytest.approx(40, abs=0.1)
        with pytest.raises(trio.TooSlowError), trio.fail_after(7):
            await teller.wait()
        assert trio.current_time() == pytest.approx(27, abs=0.1)


async def test_deadline_is_kept_by_the_gateway_for_clients_that_do_not_cancel(
    autojump_clock: MockClock,
) -> None:
    deadline = MetadataEntry(
        "request-deadline", 3_000_000, MetadataFlags.NO_PROPAGATE.value
    )
    impl = BankImpl("a")
    async with (
        bank(impl, deadlines=False),
        passing_on(to_banks("a")),
        connect(HERE) as session,
        session.open(Bank) as teller,
    ):
        with pytest.raises(DeadlineExceeded):
            await with_metadata(teller.wait, Metadata([deadline]))()
        assert trio.current_time() == pytest.approx(3, abs=0.1)
        assert impl.waiting == 0


async def test_metadata_passes_without_what_is_for_the_next_hop() -> None:
    entries = [
        MetadataEntry("user", "ada"),
        MetadataEntry("hop", "one", MetadataFlags.NO_PROPAGATE.value),
    ]
    async with (
        banks("a"),
        passing_on(to_banks("a")),
        connect(HERE) as session,
        session.open(Bank) as teller,
    ):
        told = with_metadata(teller.told, Metadata(entries))
        assert (await told("user")).value == "ada"
        assert (await told("hop")).value == "None"


async def test_handshake_of_a_client_is_told_to_its_servers() -> None:
    impl = BankImpl("a")
    entries = [
        MetadataEntry("user", "ada"),
        MetadataEntry("token", "stolen"),
        MetadataEntry("hop", "one", MetadataFlags.NO_PROPAGATE.value),
    ]
    async with (
        bank(impl, on_session=impl.welcome),
        passing_on(to_banks("a"), metadata={"token": "of the gateway"}),
        connect(HERE, metadata=Metadata(entries)) as session,
    ):
        assert await where(session) == "a"
    keeping, own = impl.handshakes
    assert [*keeping] == [MetadataEntry("token", "of the gateway")]
    assert [*own] == [MetadataEntry("user", "ada"), *keeping]
