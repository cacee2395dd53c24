"""Clients on virtual connections of lasting sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    AcceptedConnection,
    AnyCall,
    ConnectionLost,
    Disconnected,
    LastingSession,
    Overloaded,
    Proceed,
    Retry,
    Server,
    SessionRejected,
    Tx,
    Unavailable,
    current_call,
    dispatcher,
    idempotent,
    open_call,
    service,
    serving,
    state,
    stay_connected,
    u32,
)
from roam_trio.endpoints.lasting.balancing import Phase
from roam_trio.metadata import Metadata


@service
class Bank(Protocol):
    @idempotent
    async def balance(self) -> str: ...
    async def pay(self) -> str: ...
    async def tail(self, out: Tx[u32]) -> None: ...


@service
class Text(Protocol):
    async def upper(self, text: str) -> str: ...


class BankImpl:
    """A server; `before` runs in each call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.before: Callable[[], Any] | None = None
        self.calls = 0
        self.connections: set[Any] = set()

    async def balance(self) -> str:
        self.calls += 1
        self.connections.add(current_call().connection)
        if self.before is not None:
            await self.before()
        return self.name

    async def pay(self) -> str:
        return f"{await self.balance()} {current_call().metadata.get('user')}"

    async def tail(self, out: Tx[int]) -> None:
        await out.send(1)
        await trio.sleep_forever()


class TextImpl:
    async def upper(self, text: str) -> str:
        return text.upper()


TEXT = dispatcher(Text, TextImpl())


def bank(impl: BankImpl, **options: Any) -> Any:
    offered = {"bank": dispatcher(Bank, impl), "text": TEXT}
    return serving(f"memory://{impl.name}", offered, **options)


@asynccontextmanager
async def servers(*impls: BankImpl, **options: Any) -> AsyncIterator[list[Server]]:
    """Have a server for each, at ``memory://`` and its name."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(bank(i, **options)) for i in impls]


def urls(*impls: BankImpl) -> list[str]:
    return [f"memory://{impl.name}" for impl in impls]


# ------------------------------------------------------------ with one server


async def test_several_features_share_a_session(autojump_clock: MockClock) -> None:
    a = BankImpl("a")
    async with (
        servers(a) as (server,),
        stay_connected("memory://a") as session,
        session.open(Bank, "bank") as one,
        session.open(Bank, "bank", reopen=True) as two,
        session.open(Text, reopen=True) as text,
    ):
        assert isinstance(session, LastingSession)
        assert await one.balance() == await two.balance() == "a"
        assert await text.upper("x") == "X"
        assert len(a.connections) == 2
        assert len(server.sessions) == 1
        assert repr(session) == "<LastingSession ready>"
        for each in (session, two):
            assert state(each).phase == "ready"
            (endpoint,) = state(each).endpoints
            assert (endpoint.url, endpoint.calls) == ("memory://a", 1)


async def test_a_connection_waits_for_a_server_and_ends_with_its_session(
    autojump_clock: MockClock,
) -> None:
    a = BankImpl("a")
    async with stay_connected("memory://a") as session:
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await session.open(Bank, "bank").__aenter__()
        async with servers(a) as (server,), session.open(Bank, "bank") as client:
            assert await client.pay() == "a None"
            with pytest.raises(ConnectionLost):
                await follow(client, server)
            async with session.open(Bank, "bank") as other:
                assert await other.pay() == "a None"
            with pytest.raises(ConnectionLost):
                await client.balance()
            with pytest.raises(ConnectionLost, match="this side has closed"):
                await other.balance()


async def follow(client: Bank, server: Server) -> None:
    async with open_call(client.tail) as call:
        assert await call.rx.recv() == 1
        await server.sessions[0].shutdown()
        with pytest.raises(Disconnected):
            await call.rx.recv()
        await call.result()


async def test_a_connection_is_opened_again_for_later_calls(
    autojump_clock: MockClock,
) -> None:
    a = BankImpl("a")
    async with (
        stay_connected("memory://a") as session,
        session.open(Bank, "bank", reopen=True) as client,
    ):
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await client.balance()
        for count in (1, 2):
            async with servers(a):
                async with trio.open_nursery() as nursery:
                    for _ in range(5):
                        nursery.start_soon(client.balance)
                assert await client.pay() == "a None"
                assert len(a.connections) == count


async def test_a_connection_that_the_server_closes_is_opened_again(
    autojump_clock: MockClock,
) -> None:
    a = BankImpl("a")
    async with (
        servers(a) as (server,),
        stay_connected("memory://a") as session,
        session.open(Bank, "bank", reopen=True) as client,
    ):
        assert await client.balance() == "a"

        async def close() -> None:
            current_call().connection.close()
            a.before = None
            await trio.sleep_forever()

        a.before = close
        with pytest.raises(ConnectionLost):
            await client.pay()
        a.before = close
        assert await client.balance() == "a"
        (connection,) = [c for c in a.connections if c.ended_because is None]
        connection.close()
        await wait_all_tasks_blocked()
        assert await client.pay() == "a None"
        assert len(server.sessions) == 1
        assert len(a.connections) == 4


async def test_metadata_and_middleware_are_those_of_both(
    autojump_clock: MockClock,
) -> None:
    order: list[str] = []

    def noting(name: str) -> Any:
        async def note(call: AnyCall, proceed: Proceed) -> Any:
            order.append(name)
            return await proceed()

        return note

    a = BankImpl("a")
    async with (
        servers(a),
        stay_connected(
            "memory://a", middleware=[noting("o")], metadata_for_calls={"user": "Ada"}
        ) as session,
    ):
        for reopen in (False, True):
            order.clear()
            inner = noting("i")
            async with session.open(
                Bank, "bank", middleware=[inner], reopen=reopen
            ) as client:
                assert await client.pay() == "a Ada"
            assert order == ["o", "i"]
            async with session.open(
                Bank, "bank", metadata_for_calls={"user": "Bob"}, reopen=reopen
            ) as client:
                assert await client.pay() == "a Bob"


async def test_a_service_that_is_not_offered_is_told(autojump_clock: MockClock) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    async with servers(a, b), stay_connected(urls(a, b)) as session:
        await wait_all_tasks_blocked()
        with pytest.raises(SessionRejected, match="nothing"):
            async with session.open(Bank, "nothing"):
                pass
        async with session.open(Bank, "nothing", reopen=True) as client:
            for _ in range(2):
                with pytest.raises(SessionRejected, match="nothing"):
                    await client.balance()
        assert [each.calls for each in state(session).endpoints] == [0, 0]


async def test_wrong_arguments_are_told_at_once() -> None:
    async with stay_connected("memory://none") as session:
        for reopen in (False, True):
            with pytest.raises(TypeError, match="service"):
                session.open(BankImpl, reopen=reopen)
            wrong: Any = len
            with pytest.raises(TypeError, match="middleware"):
                session.open(Bank, middleware=wrong, reopen=reopen)
    options: Any = {"name": "bank"}
    with pytest.raises(TypeError, match="expected none without a service"):
        stay_connected("memory://none", **options)


async def test_a_connection_is_entered_once(autojump_clock: MockClock) -> None:
    async with stay_connected("memory://none") as session:
        opening = session.open(Bank, reopen=True)
        async with opening:
            with pytest.raises(RuntimeError, match="in use already"):
                await opening.__aenter__()


async def test_calls_fail_when_a_block_has_ended(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    failed = trio.Event()

    async def call(client: Bank, text: str) -> None:
        with pytest.raises(ConnectionLost, match=text) as caught:
            await client.pay()
        assert caught.value.was_begun is False
        failed.set()

    async with stay_connected("memory://none") as session:
        async with session.open(Bank, reopen=True) as client:
            nursery.start_soon(call, client, "open\\(\\) has ended")
            nursery.start_soon(call, client, "open\\(\\) has ended")
            await wait_all_tasks_blocked()
        await failed.wait()
        await call(client, "open\\(\\) has ended")
        last = session.open(Bank, reopen=True)
        lasting = await last.__aenter__()
    await call(lasting, "stay_connected has ended")
    await last.__aexit__()
    with pytest.raises(ConnectionLost, match="stay_connected has ended"):
        await session.open(Bank).__aenter__()


# ------------------------------------------------------------ with several


@asynccontextmanager
async def when_all_are_ready(urls: list[str]) -> AsyncIterator[LastingSession]:
    async with stay_connected(urls) as session:
        await wait_all_tasks_blocked()
        assert {each.phase for each in state(session).endpoints} == {Phase.READY}
        yield session


async def test_connections_are_balanced_and_stay(autojump_clock: MockClock) -> None:
    a, b, c = (BankImpl(name) for name in "abc")
    async with (
        servers(a, b, c),
        stay_connected(urls(a, b, c), balance="least busy") as session,
        AsyncExitStack() as stack,
    ):
        await wait_all_tasks_blocked()
        for reopen in (False, True):
            names = set()
            for _ in range(3):
                opening = session.open(Bank, "bank", reopen=reopen)
                client = await stack.enter_async_context(opening)
                names |= {await client.balance() for _ in range(3)}
            assert names == {"a", "b", "c"}
        assert [len(each.connections) for each in (a, b, c)] == [2, 2, 2]


async def test_calls_follow_the_rules_of_retries(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        a, b = BankImpl("a"), BankImpl("b")
        async with (
            servers(a, b) as (server, _),
            stay_connected(urls(a, b)) as session,
            session.open(Bank, "bank", reopen=True) as client,
        ):

            async def end() -> None:
                nursery.start_soon(server.sessions[0].shutdown)
                await trio.sleep_forever()

            a.before = end
            await wait_all_tasks_blocked()
            assert await client.balance() == "b"  # it was begun, and is idempotent
            assert await client.pay() == "b None"  # it stays there
            assert a.calls == 1
            await trio.sleep(1)
            async with session.open(Bank, "bank", reopen=True) as other:
                with pytest.raises(ConnectionLost):
                    await other.pay()


async def test_an_overloaded_server_is_asked_again_by_a_connection_that_stays(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    left = 2

    async def full() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Overloaded(text="full", was_begun=False, retry_after=2.0)

    a.before = full
    async with (
        servers(a, b),
        stay_connected(urls(a, b), retry=Retry(attempts=3)) as session,
        session.open(Bank, "bank", reopen=True) as client,
    ):
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert await client.pay() == "a None"
        assert trio.current_time() - began == pytest.approx(4.0, rel=0.1)
        assert (a.calls, b.calls) == (3, 0)


async def test_a_server_that_drains_keeps_what_stays_and_loses_the_rest(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    async with (
        bank(a, reflection=True) as server,
        servers(b),
        when_all_are_ready(urls(a, b)) as session,
        session.open(Bank, "bank") as staying,
        session.open(Bank, "bank", reopen=True) as moving,
        trio.open_nursery() as nursery,
    ):
        assert await staying.balance() == await moving.balance() == "a"
        release = trio.Event()
        a.before = release.wait
        nursery.start_soon(staying.balance)
        await wait_all_tasks_blocked()
        (of_a,) = server.sessions
        nursery.start_soon(of_a.shutdown, 60.0)
        await wait_all_tasks_blocked()
        assert state(session).endpoints[-1].phase is Phase.DRAINING
        assert await moving.pay() == "b None"
        with pytest.raises(Unavailable):
            await staying.balance()
        async with session.open(Bank, "bank") as late:
            assert await late.balance() == "b"
        release.set()
        await of_a.closed()
        with pytest.raises(ConnectionLost):
            await staying.balance()


async def test_a_server_that_shuts_down_and_does_not_say_so_is_left(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    async with (
        servers(a, b) as (server, _),
        when_all_are_ready(urls(a, b)) as session,
        session.open(Bank, "bank") as holding,
        trio.open_nursery() as nursery,
    ):
        release = trio.Event()
        a.before = release.wait
        nursery.start_soon(holding.balance)
        await wait_all_tasks_blocked()
        nursery.start_soon(server.sessions[0].shutdown, 60.0)
        await wait_all_tasks_blocked()
        async with session.open(Bank, "bank") as late:
            assert await late.balance() == "b"
        assert state(session).endpoints[-1].phase is Phase.DRAINING
        release.set()


async def test_a_server_that_is_lost_while_a_connection_opens_is_left(
    autojump_clock: MockClock,
) -> None:
    class Ends:
        """Ends the session instead of deciding on a connection."""

        async def accept(self, *args: Any) -> AcceptedConnection | Metadata:
            server.sessions[0].root.start_soon(server.sessions[0].shutdown)
            await trio.sleep_forever()
            raise AssertionError

    b = BankImpl("b")
    async with (
        serving("memory://a", TEXT, on_connection=Ends()) as server,
        servers(b),
        stay_connected(["memory://a", "memory://b"]) as session,
    ):
        await wait_all_tasks_blocked()
        async with session.open(Bank, "bank") as client:
            assert await client.balance() == "b"


async def test_cancelled_while_it_opens_it_holds_no_server(
    autojump_clock: MockClock,
) -> None:
    class Never:
        async def accept(self, *args: Any) -> AcceptedConnection | Metadata:
            await trio.sleep_forever()
            raise AssertionError

    async with (
        serving("memory://a", TEXT, on_connection=Never()),
        stay_connected("memory://a") as session,
    ):
        await wait_all_tasks_blocked()
        for reopen in (False, True):
            with trio.move_on_after(1) as scope:
                async with session.open(Bank, reopen=reopen) as client:
                    await client.balance()
            assert scope.cancelled_caught
            (endpoint,) = state(session).endpoints
            assert endpoint.calls == 0
