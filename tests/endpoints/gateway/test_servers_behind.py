"""Servers behind a gateway that come, go and refuse, and clients that misbehave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Address,
    Disconnected,
    Limits,
    Overloaded,
    Peer,
    Refused,
    Resolver,
    Session,
    Unavailable,
    connect,
    open_call,
    serving,
    stay_connected,
)
from roam_trio.endpoints.gateway.gateway import gateway
from roam_trio.endpoints.gateway.routes import Route
from roam_trio.wire.messages import ChannelItem

from .behind import (
    HERE,
    Bank,
    BankImpl,
    bank,
    banks,
    client_of,
    passing_on,
    to_banks,
)


async def where(session: Session) -> str:
    async with session.open(Bank) as teller:
        return await teller.where()


async def disconnected(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(Disconnected):
        await call()


async def unavailable(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(Unavailable) as caught:
        await call()
    assert caught.value.was_begun


# ------------------------------------------------------------ each client by itself


async def test_each_client_has_a_session_of_its_own_that_ends_with_it() -> None:
    async with banks("a") as servers, passing_on(to_banks("a")):
        await wait_all_tasks_blocked()
        assert len(servers["a"].sessions) == 1  # which shows that it is there
        async with client_of() as (one, _), client_of():
            async with one.open(Bank) as another:
                assert await another.where() == "a"
            assert len(servers["a"].sessions) == 3
        await wait_all_tasks_blocked()
        assert len(servers["a"].sessions) == 1


async def test_trusted_clients_share_the_sessions_of_the_gateway() -> None:
    async def welcome(peer: Peer) -> None:
        peer.identity = peer.metadata.get("user")

    async with (
        banks("a") as servers,
        passing_on(to_banks("a"), trusted=["ada"], server={"on_session": welcome}),
        connect(HERE, metadata={"user": "ada"}) as one,
        connect(HERE, metadata={"user": "ada"}) as two,
        connect(HERE, metadata={"user": "eve"}) as three,
    ):
        assert [await where(one), await where(two)] == ["a", "a"]
        assert len(servers["a"].sessions) == 1
        assert await where(three) == "a"
        assert len(servers["a"].sessions) == 2


async def test_client_that_sends_beyond_its_credit_ends_only_its_own_connection() -> (
    None
):
    async with (
        banks("a"),
        passing_on(to_banks("a")),
        client_of() as (_, other),
        client_of() as (hostile, teller),
        open_call(teller.hold) as holding,
    ):
        await holding.tx.send(1)
        run = next(run for number, run in hostile.connections.runs.items() if number)
        (channel,) = run.channels.entries
        for _ in range(1000):
            item = ChannelItem(run.port.connection_id, channel, b"\x00")
            run.port.outbox.push(item)
        await disconnected(holding.result)
        assert await other.where() == "a"
        assert hostile.ended_because is None
        assert await where(hostile) == "a"


async def test_reader_that_stalls_holds_up_no_other_client() -> None:
    impl = BankImpl("a")
    async with (
        bank(impl),
        passing_on(to_banks("a")),
        client_of() as (_, slow),
        client_of() as (_, other),
        open_call(slow.tail, 0),
    ):
        await wait_all_tasks_blocked()
        held = impl.sent
        assert await other.where() == "a"
        async with open_call(other.tail, 0) as call:
            found = [await call.rx.recv() for _ in range(500)]
        assert found == [*range(held, held + 500)]


# ------------------------------------------------------------ servers that go


async def test_server_that_is_gone_closes_the_connections_with_it(
    autojump_clock: MockClock,
) -> None:
    impl = BankImpl("a")
    async with banks("b"), passing_on(to_banks("a", "b")), connect(HERE) as session:
        async with bank(impl) as server, trio.open_nursery() as nursery:
            await trio.sleep(1)
            async with session.open(Bank) as teller:
                assert await teller.where() == "a"
                nursery.start_soon(disconnected, teller.wait)
                await wait_all_tasks_blocked()
                await server.shutdown()
                await disconnected(teller.where)
        assert impl.waiting == 0
        assert session.ended_because is None
        assert await where(session) == "b"


@pytest.mark.parametrize("tells_its_health", [True, False])
async def test_connections_of_a_server_that_drains_go_on_and_new_ones_go_elsewhere(
    tells_its_health: bool, autojump_clock: MockClock
) -> None:
    impl = BankImpl("a")
    async with (
        bank(impl, reflection=tells_its_health) as server,
        banks("b"),
        passing_on(to_banks("a", "b")),
        connect(HERE) as session,
        session.open(Bank) as teller,
        trio.open_nursery() as nursery,
    ):
        assert await teller.where() == "a"
        nursery.start_soon(unavailable, teller.wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 10)
        await wait_all_tasks_blocked()
        assert await where(session) == "b"
        assert await where(session) == "b"
        async with connect(HERE) as another:
            assert await where(another) == "b"
        assert impl.waiting == 1
        with pytest.raises(Unavailable) as caught:
            await teller.where()
        assert caught.value.was_begun is False


async def test_open_waits_until_it_is_known_whether_a_server_is_there(
    autojump_clock: MockClock,
) -> None:
    async def slow(peer: Peer) -> None:
        await trio.sleep(3)

    async with (
        bank(BankImpl("a"), on_session=slow),
        gateway([to_banks("a")]) as made,
        serving(HERE, made.handler, on_connection=made),
        connect(HERE) as session,
    ):
        assert await where(session) == "a"
        assert trio.current_time() == pytest.approx(6)  # two sessions
    async with (
        gateway([to_banks("a")]) as made,
        serving(HERE, made.handler, on_connection=made),
        connect(HERE) as session,
    ):
        with pytest.raises(Unavailable):
            await where(session)
        assert {name: each.phase for name, each in made.state.items()} == {
            "bank": "down"
        }


async def test_servers_that_are_not_there_make_opens_unavailable(
    autojump_clock: MockClock,
) -> None:
    async with passing_on(to_banks("a", "b")), connect(HERE) as session:
        for _ in range(2):
            with pytest.raises(
                Unavailable, match="no server of 'bank' can be reached"
            ) as caught:
                await where(session)
            assert caught.value.was_begun is False
            assert "memory" not in str(caught.value)
        async with bank(BankImpl("b")):
            await trio.sleep(10)
            assert await where(session) == "b"


async def test_server_that_takes_no_clients_is_passed_over(
    autojump_clock: MockClock,
) -> None:
    async with (
        bank(BankImpl("a"), reflection=False) as server,
        banks("b"),
        passing_on(to_banks("a", "b")),
        client_of() as (_, teller),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(unavailable, teller.wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 10)
        await wait_all_tasks_blocked()
        async with connect(HERE) as session:  # for which nobody listens at the server
            assert await where(session) == "b"


async def test_server_with_which_a_client_cannot_have_a_session_is_passed_over() -> (
    None
):
    async with (
        bank(BankImpl("a"), limits=Limits(metadata_bytes=1000)),
        banks("b"),
        passing_on(to_banks("a", "b")),
        connect(HERE, metadata={"much": "m" * 2000}) as session,
    ):
        assert await where(session) == "b"


async def test_server_that_does_not_answer_is_given_up_in_time(
    autojump_clock: MockClock,
) -> None:
    async def silent(peer: Peer) -> None:
        if peer.metadata.get("user"):
            await trio.sleep_forever()

    async with (
        bank(BankImpl("a"), on_session=silent, limits=Limits(handshake_seconds=1e5)),
        passing_on(to_banks("a"), limits=Limits(handshake_seconds=1e5)),
        connect(HERE, metadata={"user": "ada"}) as session,
    ):
        with pytest.raises(Unavailable, match=r"\(limit: handshake_seconds\)"):
            await where(session)
        assert trio.current_time() == pytest.approx(10)


async def test_servers_that_cannot_be_found_make_opens_unavailable(
    autojump_clock: MockClock,
) -> None:
    async with passing_on(Route("bank", _Finding([]))), connect(HERE) as session:
        with pytest.raises(Unavailable):
            await where(session)


async def test_server_that_cannot_be_found_any_more_keeps_its_connections(
    autojump_clock: MockClock,
) -> None:
    found = _Finding(["a"])
    async with (
        banks("a", "b") as servers,
        passing_on(Route("bank", found)),
        connect(HERE) as session,
    ):
        async with session.open(Bank) as teller:
            assert await teller.where() == "a"
            found.change(["b"])
            await trio.sleep(10)
            assert await where(session) == "b"
            assert await teller.where() == "a"
            assert len(servers["a"].sessions) == 2
        await trio.sleep(10)
        assert servers["a"].sessions == ()
        assert await where(session) == "b"


class _Finding(Resolver):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._changed = trio.Event()

    def change(self, names: Sequence[str]) -> None:
        self._names = names
        self._changed.set()

    async def resolve(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return [Address(f"memory://{name}") for name in self._names]

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()


class _Buggy(Resolver):
    async def resolve(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        raise TypeError("a bug")


async def test_bug_of_a_resolver_is_raised_by_the_block() -> None:
    with pytest.raises(TypeError, match="a bug"):
        async with passing_on(Route("bank", _Buggy())):
            await trio.sleep_forever()


# ------------------------------------------------------------ servers that refuse


async def test_server_that_is_full_gets_no_further_client() -> None:
    async with bank(BankImpl("a"), max_sessions=1):
        async with passing_on(to_banks("a")), connect(HERE) as session:
            with pytest.raises(Overloaded, match="max_sessions"):
                await where(session)
        async with (
            banks("b"),
            passing_on(to_banks("a", "b")),
            connect(HERE) as session,
        ):
            assert await where(session) == "b"


async def test_refusal_of_a_client_by_the_server_is_told_to_it() -> None:
    async def welcome(peer: Peer) -> None:
        if peer.metadata.get("user") == "eve":
            raise Refused("banned", "not you")

    async with (
        bank(BankImpl("a"), on_session=welcome),
        passing_on(to_banks("a")),
        connect(HERE, metadata={"user": "eve"}) as session,
    ):
        with pytest.raises(Refused, match="not you") as caught:
            await where(session)
        assert caught.value.code == "banned"


# ------------------------------------------------------------ balance


async def test_clients_are_divided_among_the_servers() -> None:
    async with (
        banks("a", "b") as servers,
        passing_on(to_banks("a", "b"), balance="least busy"),
        client_of() as (_, one),
        client_of() as (_, two),
        client_of() as (_, three),
        client_of() as (_, four),
    ):
        found = [await each.where() for each in (one, two, three, four)]
        assert sorted(found) == ["a", "a", "b", "b"]
        assert [len(each.sessions) for each in servers.values()] == [3, 3]


# ------------------------------------------------------------ a lasting client


async def test_lasting_client_outlives_the_servers_behind_a_gateway(
    autojump_clock: MockClock,
) -> None:
    async with (
        passing_on(to_banks("a"), server={"reflection": True}),
        stay_connected(HERE, Bank, name="bank") as teller,
    ):
        for _ in range(3):
            async with bank(BankImpl("a")):
                assert await teller.where() == "a"
