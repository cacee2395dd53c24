"""Clients that outlive their servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    AnySession,
    ConnectionLost,
    Observer,
    Overloaded,
    Proceed,
    Refused,
    Rx,
    Server,
    SessionRejected,
    Tx,
    current_call,
    dispatcher,
    idempotent,
    open_call,
    service,
    serving,
    u32,
    with_metadata,
)
from roam_trio.endpoints.lasting.balancing import Address, Phase
from roam_trio.endpoints.lasting.resolving import Resolver
from roam_trio.endpoints.lasting.retry import Retry
from roam_trio.endpoints.lasting.staying import state, stay_connected
from roam_trio.endpoints.lasting.subset import MOST_ADDRESSES


@service
class Bank(Protocol):
    @idempotent(read_only=True)
    async def balance(self, account: u32) -> u32: ...
    async def pay(self, amount: u32) -> str: ...
    async def total(self, amounts: Rx[u32], *, start: u32 = 0) -> u32: ...
    async def tail(self, out: Tx[u32]) -> None: ...


class BankImpl:
    """A server; `before` runs in each call."""

    def __init__(
        self, name: str = "", before: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.name = name
        self.before = before
        self.calls: list[str] = []
        self.tails = 0

    async def balance(self, account: int) -> int:
        self.calls.append("balance")
        if self.before is not None:
            await self.before()
        return account + 1

    async def pay(self, amount: int) -> str:
        self.calls.append("pay")
        if self.before is not None:
            await self.before()
        call = current_call()
        call.response_metadata = {"from": self.name}
        return f"{self.name}{amount} {call.metadata.get('user')}"

    async def total(self, amounts: Rx[int], *, start: int = 0) -> int:
        return start + sum([each async for each in amounts])

    async def tail(self, out: Tx[int]) -> None:
        self.tails += 1
        await out.send(1)
        await trio.sleep_forever()


def bank(url: str, impl: BankImpl, **options: Any) -> Any:
    return serving(url, dispatcher(Bank, impl), **options)


async def test_a_call_waits_for_its_server_within_the_deadline(
    autojump_clock: MockClock,
) -> None:
    async with stay_connected("memory://late", Bank) as client:
        assert state(client).phase == "connecting"
        with pytest.raises(trio.TooSlowError), trio.fail_after(3):
            await client.balance(1)
        assert state(client).phase == "down"
        (endpoint,) = state(client).endpoints
        assert isinstance(endpoint.error, ConnectionRefusedError)
        async with bank("memory://late", BankImpl()), trio.open_nursery() as nursery:
            nursery.start_soon(client.balance, 1)
            assert await client.balance(2) == 3
            assert state(client).phase == "ready"
            assert repr(client) == "<BankLastingClient ready>"
            (endpoint,) = state(client).endpoints
            assert (endpoint.url, endpoint.phase) == ("memory://late", Phase.READY)
            assert endpoint.error is None


async def test_a_client_outlives_a_restart(autojump_clock: MockClock) -> None:
    async with stay_connected("memory://again", Bank) as client:
        for name in ("a", "b"):
            async with bank("memory://again", BankImpl(name)):
                assert await client.pay(1) == f"{name}1 None"


@asynccontextmanager
async def servers(*impls: BankImpl) -> AsyncIterator[list[Server]]:
    """Have a server for each, at ``memory://`` and its name."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(bank(f"memory://{impl.name}", impl))
            for impl in impls
        ]


def urls(*impls: BankImpl) -> list[str]:
    return [f"memory://{impl.name}" for impl in impls]


async def test_an_idempotent_call_that_was_begun_is_made_again_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            nursery.start_soon(running[0].sessions[0].shutdown)
            await trio.sleep_forever()

        a, b = BankImpl("a", end), BankImpl("b")
        async with (
            servers(a, b) as running,
            stay_connected(urls(a, b), Bank) as client,
        ):
            await wait_all_tasks_blocked()
            assert await client.balance(1) == 2
            assert (a.calls, b.calls) == (["balance"], ["balance"])
            await trio.sleep(1)
            with pytest.raises(ConnectionLost) as caught:
                await client.pay(1)
            assert caught.value.was_begun is None
            assert b.calls == ["balance"]


async def test_a_call_that_a_server_does_not_take_goes_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async def full(call: AnyCall, proceed: Proceed) -> Any:
        raise Overloaded(text="full")

    a, b = BankImpl("a"), BankImpl("b")
    full_handler = dispatcher(Bank, a, middleware=[full])
    async with (
        serving("memory://a", full_handler),
        servers(b),
        stay_connected(urls(a, b), Bank) as client,
    ):
        await wait_all_tasks_blocked()
        assert await client.pay(1) == "b1 None"
        assert a.calls == []


async def test_a_server_that_asks_for_a_pause_does_not_hold_up_the_others(
    autojump_clock: MockClock,
) -> None:
    async def full(call: AnyCall, proceed: Proceed) -> Any:
        raise Overloaded(text="full", retry_after=3600.0)

    a, b = BankImpl("a"), BankImpl("b")
    async with (
        serving("memory://a", dispatcher(Bank, a, middleware=[full])),
        servers(b),
        stay_connected(urls(a, b), Bank) as client,
    ):
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert await client.pay(1) == "b1 None"
        assert trio.current_time() - began < 1


async def test_a_server_that_ends_each_session_at_once_is_left_alone_for_longer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    count = 0

    class Ends(Observer):
        def session_opened(self, session: AnySession) -> None:
            nonlocal count
            count += 1
            nursery.start_soon(session.shutdown)

    impl = BankImpl("short")
    async with (
        bank("memory://short", impl, observer=Ends()),
        stay_connected(urls(impl), Bank),
    ):
        await trio.sleep(60)
    assert 10 <= count <= 40


async def test_a_pause_beyond_the_deadline_is_not_waited_for(
    autojump_clock: MockClock,
) -> None:
    async def full(call: AnyCall, proceed: Proceed) -> Any:
        raise Overloaded(text="full", retry_after=10.0)

    handler = dispatcher(Bank, BankImpl(), middleware=[full])
    async with (
        serving("memory://full", handler),
        stay_connected("memory://full", Bank) as client,
    ):
        began = trio.current_time()
        with pytest.raises(Overloaded), trio.fail_after(5):
            await client.pay(1)
        assert trio.current_time() - began < 1
        with pytest.raises(Overloaded), trio.fail_after(15):
            await client.pay(1)
        assert trio.current_time() - began < 11


async def test_attempts_and_budget_bound_what_is_made_again(
    autojump_clock: MockClock,
) -> None:
    count = 0

    async def full(call: AnyCall, proceed: Proceed) -> Any:
        nonlocal count
        count += 1
        raise Overloaded(text="full", retry_after=2.0)

    handler = dispatcher(Bank, BankImpl(), middleware=[full])
    retry = Retry(attempts=4, budget=0.0, reserve=5.0)
    async with (
        serving("memory://full", handler),
        stay_connected("memory://full", Bank, retry=retry) as client,
    ):
        began = trio.current_time()
        for attempts in (4, 3, 1):
            count = 0
            with pytest.raises(Overloaded):
                await client.pay(1)
            assert count == attempts
        assert trio.current_time() - began == pytest.approx(2.0 * 5, rel=0.1)


async def test_a_call_with_channels_is_made_once(autojump_clock: MockClock) -> None:
    impl = BankImpl("streams")
    async with (
        servers(impl),
        stay_connected(urls(impl), Bank) as client,
        open_call(client.total, start=1) as call,
    ):
        await call.tx.send(5)
        call.tx.close()
        assert await call.result() == 6
    async with servers(impl) as running, stay_connected(urls(impl), Bank) as client:
        await client.balance(1)
        with pytest.raises(ConnectionLost):
            await follow(client, running[0].sessions[0].shutdown)
        assert impl.tails == 1


async def follow(client: Bank, end: Callable[[], Awaitable[None]]) -> None:
    async with open_call(client.tail) as call:
        assert await call.rx.recv() == 1
        await end()
        await call.result()


async def test_metadata_and_middleware_are_those_of_a_client(
    autojump_clock: MockClock,
) -> None:
    seen: list[Any] = []

    async def note(call: AnyCall, proceed: Proceed) -> Any:
        before = call.peer.address
        value = await proceed()
        seen.append((before, call.peer.address, call.args, call.response_metadata))
        return value

    async def refuse(call: AnyCall, proceed: Proceed) -> Any:
        if call.args == (9,):
            raise Refused("denied")
        return await proceed()

    impl = BankImpl("mid")
    async with (
        servers(impl),
        stay_connected(
            urls(impl),
            Bank,
            middleware=[note, refuse],
            metadata_for_calls={"user": "Ada"},
        ) as client,
    ):
        assert await client.pay(1) == "mid1 Ada"
        parts = await with_metadata(client.pay, {"user": "Bob"})(amount=2)
        assert parts.value == "mid2 Bob"
        assert parts.metadata.get("from") == "mid"
        with pytest.raises(Refused) as caught:
            await client.pay(amount=9)
        assert caught.value.was_begun is False
    (first, then, args, metadata), (second, *_) = seen
    assert (first, args) == ("no server yet", (1,))
    assert then == "this process"
    assert metadata.get("from") == "mid"
    assert second == "no server yet"


async def test_an_application_that_refuses_a_client_is_told_at_each_call(
    autojump_clock: MockClock,
) -> None:
    async def refuse(peer: Any) -> None:
        raise Refused("denied", "unknown token")

    impl = BankImpl("strict")
    async with (
        bank("memory://strict", impl, on_session=refuse),
        stay_connected(urls(impl), Bank) as client,
    ):
        for _ in range(2):
            with pytest.raises(Refused, match="unknown token"):
                await client.pay(1)
        assert state(client).phase == "down"


async def test_calls_fail_when_the_block_has_ended(autojump_clock: MockClock) -> None:
    async with stay_connected("memory://gone", Bank) as client:
        await trio.sleep(0.01)
    with pytest.raises(ConnectionLost, match="stay_connected has ended") as caught:
        await client.pay(1)
    assert caught.value.was_begun is False
    assert state(client).phase == "down"


async def test_a_client_that_was_ready_is_down_when_its_block_has_ended(
    autojump_clock: MockClock,
) -> None:
    impl = BankImpl("short")
    async with servers(impl):
        async with stay_connected(urls(impl), Bank) as client:
            assert await client.balance(1) == 2
        assert state(client).phase == "down"
        with pytest.raises(ConnectionLost) as caught:
            await client.balance(1)
        assert caught.value.was_begun is False
        assert impl.calls == ["balance"]


async def test_a_service_can_be_one_that_servers_offer_by_name(
    autojump_clock: MockClock,
) -> None:
    url = "memory://named"
    async with stay_connected(url, Bank, name="bank") as client:
        for name in ("a", "b"):
            offered = {"bank": dispatcher(Bank, BankImpl(name))}
            async with serving(url, offered, reflection=True, grace=5):
                assert await client.pay(1) == f"{name}1 None"


async def test_a_service_that_no_server_offers_is_told_at_each_call(
    autojump_clock: MockClock,
) -> None:
    impl = BankImpl("other")
    async with (
        serving("memory://other", {"other": dispatcher(Bank, impl)}),
        stay_connected(urls(impl), Bank, name="bank") as client,
    ):
        for _ in range(2):
            with pytest.raises(SessionRejected):
                await client.pay(1)


async def test_a_call_that_waits_fails_when_the_block_ends(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    failed = trio.Event()

    async def call(client: Bank) -> None:
        with pytest.raises(ConnectionLost, match="stay_connected has ended"):
            await client.pay(1)
        failed.set()

    async with stay_connected("memory://gone", Bank) as client:
        nursery.start_soon(call, client)
        await trio.sleep(1)
    await failed.wait()


class Changing(Resolver):
    """A target that changes when it is told to."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses: Sequence[Address] | Exception = addresses
        self.asked = 0
        self._change = trio.Event()

    def change(self, *addresses: Address) -> None:
        self.addresses = addresses
        self._change.set()

    async def resolve(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        self._change = trio.Event()
        if isinstance(self.addresses, Exception):
            raise self.addresses
        return self.addresses

    async def changed(self) -> None:
        await self._change.wait()


async def test_addresses_that_come_and_go_are_followed(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    target = Changing(Address("memory://a"))
    async with servers(a, b) as running, stay_connected(target, Bank) as client:
        assert await client.pay(1) == "a1 None"
        release = trio.Event()
        a.before = release.wait
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.pay, 2)
            await wait_all_tasks_blocked()
            target.change(Address("memory://b"))
            await trio.sleep(2)
            # The session with the old address stays until its last call has ended.
            assert await client.pay(3) == "b3 None"
            assert len(running[0].sessions) == 1
            release.set()
        await trio.sleep(1)
        assert len(running[0].sessions) == 0
        assert [each.url for each in state(client).endpoints] == ["memory://b"]


async def test_no_more_than_a_bounded_number_of_servers_are_used(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    target = Changing(*(Address(f"memory://{index}") for index in range(300)))
    async with stay_connected(target, Bank) as client:
        await trio.sleep(0.01)
        assert len(state(client).endpoints) == MOST_ADDRESSES
    assert "300 servers; only 256 are used (option: servers)" in caplog.text


async def test_nothing_is_kept_of_servers_that_have_failed_and_are_gone(
    autojump_clock: MockClock,
) -> None:
    target = Changing(Address("memory://none"))
    async with stay_connected(target, Bank) as client:
        for number in range(5):
            await trio.sleep(5)
            target.change(Address(f"memory://none{number}"))
        await trio.sleep(20)
        (endpoint,) = state(client).endpoints
        pool: Any = client
        errors = list(pool.__roam_pool__._errors)
        assert [each.address.url for each in errors] == [endpoint.url]


@pytest.mark.parametrize("unknown", [OSError("no such \x1b[31mname"), ()])
async def test_a_target_that_is_not_found_is_asked_again(
    autojump_clock: MockClock, unknown: Any, caplog: pytest.LogCaptureFixture
) -> None:
    target = Changing()
    target.addresses = unknown
    impl = BankImpl("found")
    async with servers(impl), stay_connected(target, Bank) as client:
        await trio.sleep(20)
        assert 5 <= target.asked <= 15
        assert state(client).phase == "down"
        (warning,) = caplog.records  # the first failure alone
        assert "\x1b" not in warning.getMessage()
        caplog.clear()
        target.addresses = [Address("memory://found")]
        assert await client.pay(1) == "found1 None"
        target.addresses = unknown
        target.change(*unknown) if unknown == () else target._change.set()
        await trio.sleep(5)
        assert await client.pay(2) == "found2 None"
    assert "found" in caplog.text or "no servers" in caplog.text


async def test_a_resolver_with_a_bug_ends_the_block_with_its_error(
    autojump_clock: MockClock,
) -> None:
    target = Changing()
    target.addresses = TypeError("a bug")
    with pytest.raises(TypeError, match="a bug"):
        async with stay_connected(target, Bank) as client:
            await client.pay(1)
    with pytest.raises(TypeError, match="a bug"):
        async with stay_connected(target, Bank):
            await trio.sleep_forever()


async def test_an_exception_of_the_block_passes_through(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(KeyError):
        async with stay_connected("memory://none", Bank):
            raise KeyError


async def test_it_is_entered_once() -> None:
    staying = stay_connected("memory://none", Bank)
    async with staying:
        with pytest.raises(RuntimeError, match="in use already"):
            await staying.__aenter__()


def test_options_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match="at least one URL"):
        stay_connected([], Bank)
    with pytest.raises(ValueError, match="nope"):
        stay_connected("nope", Bank)
    with pytest.raises(ValueError, match="sessions"):
        stay_connected("memory://a", Bank, sessions=0)
    three: Any = 3
    with pytest.raises(TypeError, match="retry: expected a Retry, got 3"):
        stay_connected("memory://a", Bank, retry=three)
    text: Any = "2"
    with pytest.raises(TypeError, match=r"sessions: expected a whole number .* '2'"):
        stay_connected("memory://a", Bank, sessions=text)
    with pytest.raises(TypeError, match=r"servers: expected a whole number .* '2'"):
        stay_connected("memory://a", Bank, servers=text)
    number: Any = 1
    with pytest.raises(TypeError, match="expected a URL as a str"):
        stay_connected(["memory://a", number], Bank)
    for url in ("dns+tcp://bank.test:1", "srv+tls://_bank._tcp.test"):
        with pytest.raises(ValueError, match="expected it alone, as a text, got it in"):
            stay_connected(["memory://a", url], Bank)
    wrong: Any = "random"
    with pytest.raises(ValueError, match="'least busy', got 'random'"):
        stay_connected("memory://a", Bank, balance=wrong)
    with pytest.raises(TypeError):
        stay_connected("memory://a", BankImpl)
    with pytest.raises(TypeError, match="client of stay_connected"):
        state(1)


async def test_a_server_that_drains_gets_no_more_calls_and_is_left_in_time(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    release = trio.Event()
    a.before = release.wait
    async with (
        bank("memory://a", a, reflection=True) as server,
        servers(b),
        stay_connected(urls(a, b), Bank) as client,
        trio.open_nursery() as nursery,
    ):
        await wait_all_tasks_blocked()
        nursery.start_soon(client.pay, 1)
        await wait_all_tasks_blocked()
        (session,) = server.sessions
        nursery.start_soon(session.shutdown, 60.0)
        await wait_all_tasks_blocked()
        assert state(client).endpoints[-1].phase is Phase.DRAINING
        assert await client.pay(2) == "b2 None"
        began = trio.current_time()
        a.before = None
        release.set()
        await session.closed()
        assert trio.current_time() - began < 1
        await trio.sleep(1)
        assert await client.pay(3) == "a3 None"


async def test_address_of_a_server_that_drains_is_tried_while_its_last_call_goes_on(
    autojump_clock: MockClock,
) -> None:
    """As behind a balancer, or with several processes, one of which is replaced."""
    a, release, paid = BankImpl("a"), trio.Event(), list[str]()
    a.before = release.wait
    async with (
        bank("memory://a", a, reflection=True) as server,
        stay_connected("memory://a", Bank) as client,
        trio.open_nursery() as nursery,
    ):

        async def pay() -> None:
            paid.append(await client.pay(1))

        await wait_all_tasks_blocked()
        nursery.start_soon(pay)
        await wait_all_tasks_blocked()
        (old,) = server.sessions
        nursery.start_soon(old.shutdown, 60.0)
        await wait_all_tasks_blocked()
        a.before = None
        began = trio.current_time()
        assert await client.pay(2) == "a2 None"
        assert trio.current_time() - began < 1
        phases = [each.phase for each in state(client).endpoints]
        assert phases == [Phase.READY, Phase.DRAINING]
        assert not paid
        release.set()
        await old.closed()
        await wait_all_tasks_blocked()
        assert paid == ["a1 None"]
        assert [each.phase for each in state(client).endpoints] == [Phase.READY]


async def test_a_server_that_drains_as_the_block_ends_is_not_followed() -> None:
    async with servers(a := BankImpl("a")):
        async with stay_connected("memory://a", Bank) as client:
            assert await client.pay(1) == "a1 None"
            known: Any = client
        pool = known.__roam_pool__
        (endpoint,) = pool.table.endpoints
        endpoint.calls = 1  # one that learns of it too late
        pool.leave(endpoint)
        assert pool.table.endpoints == (endpoint,)
    assert a.calls == ["pay"]
