"""Lasting clients whose sessions resume when they lose their link."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Address,
    AnySession,
    Backoff,
    Connection,
    ConnectionLost,
    Limits,
    Observer,
    Server,
    dispatcher,
    serving,
)
from roam_trio.endpoints.lasting.balancing import Phase
from roam_trio.endpoints.lasting.staying import state, stay_connected
from tests.endpoints.lasting.test_stay_connected import (
    Bank,
    BankImpl,
    Changing,
    bank,
    urls,
)
from tests.test_resume import cut_link

PAUSE = 5.0

RESUME = Backoff(initial=PAUSE, longest=PAUSE, jitter=0.0)


def resuming_bank(impl: BankImpl, **options: Any) -> Any:
    return bank(f"memory://{impl.name}", impl, resume=True, **options)


async def lose_link(server: Server) -> None:
    """Keep the client of a server without a link for the length of a pause."""
    for _ in range(2):  # another link is had at once if the last one has lasted
        cut_link(server.sessions[0])
        await wait_all_tasks_blocked()


async def test_calls_go_elsewhere_while_a_session_has_no_link(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    async with (
        resuming_bank(a) as server,
        resuming_bank(b),
        stay_connected(urls(a, b), Bank, resume=RESUME) as client,
    ):
        assert await client.pay(1) == "a1 None"
        await lose_link(server)
        assert [each.phase for each in state(client).endpoints] == [
            Phase.RESUMING,
            Phase.READY,
        ]
        began = trio.current_time()
        assert await client.pay(2) == "b2 None"
        assert trio.current_time() == began
        await trio.sleep(PAUSE + 1)
        assert await client.pay(3) == "a3 None"
        assert len(server.sessions) == 1


async def test_calls_wait_for_the_session_if_there_is_no_other(
    autojump_clock: MockClock,
) -> None:
    a = BankImpl("a")
    async with (
        resuming_bank(a) as server,
        stay_connected("memory://a", Bank, resume=RESUME) as client,
    ):
        await client.pay(1)
        (session,) = server.sessions
        await lose_link(server)
        assert state(client).phase == "connecting"
        with pytest.raises(trio.TooSlowError), trio.fail_after(PAUSE / 2):
            await client.pay(2)
        assert await client.pay(3) == "a3 None"
        assert a.calls == ["pay", "pay"]
        assert server.sessions == (session,)


async def test_calls_without_a_link_are_made_in_a_fresh_session_if_that_is_lost(
    autojump_clock: MockClock,
) -> None:
    """As behind a balancer, when the server has died or another one answers."""
    a = BankImpl("a")
    forgetful = Limits(resume_seconds=PAUSE / 5)
    async with (
        resuming_bank(a, limits=forgetful) as server,
        stay_connected("memory://a", Bank, resume=RESUME) as client,
        trio.open_nursery() as nursery,
    ):
        await client.pay(1)
        a.before = trio.sleep_forever
        outcomes: list[str] = []

        async def pay_in_vain() -> None:
            with pytest.raises(ConnectionLost) as caught:
                await client.pay(2)
            assert caught.value.was_begun is None
            outcomes.append("unsure")

        async def look() -> None:
            assert await client.balance(1) == 2
            outcomes.append("looked")

        nursery.start_soon(pay_in_vain)
        nursery.start_soon(look)
        await wait_all_tasks_blocked()
        await lose_link(server)
        a.before = None
        began = trio.current_time()
        assert await client.pay(3) == "a3 None"
        assert trio.current_time() - began < PAUSE + 0.1
    assert sorted(outcomes) == ["looked", "unsure"]
    assert sorted(a.calls) == ["balance", "balance", "pay", "pay", "pay"]


async def test_a_server_that_is_gone_is_left_without_its_link(
    autojump_clock: MockClock,
) -> None:
    a, b = BankImpl("a"), BankImpl("b")
    target = Changing(Address("memory://a"))
    async with (
        resuming_bank(a) as server,
        resuming_bank(b),
        stay_connected(target, Bank, resume=RESUME) as client,
    ):
        await client.pay(1)
        asked = target.asked
        target.addresses = [Address("memory://b")]
        await lose_link(server)  # which is a reason to ask
        assert await client.pay(2) == "b2 None"
        assert target.asked > asked
        await trio.sleep(PAUSE + 1)
        assert [each.url for each in state(client).endpoints] == ["memory://b"]


class Noting(Observer):
    def __init__(self) -> None:
        self.events: list[str] = []

    def session_opened(self, session: AnySession) -> None:
        self.events.append("session_opened")

    def session_closed(self, session: AnySession, because: Exception) -> None:
        self.events.append("session_closed")

    def connection_opened(self, connection: Connection) -> None:
        self.events.append("connection_opened")

    def connection_closed(self, connection: Connection, because: BaseException) -> None:
        self.events.append("connection_closed")

    def link_lost(self, session: AnySession, because: Exception) -> None:
        self.events.append("link_lost")

    def link_resumed(self, session: AnySession) -> None:
        self.events.append("link_resumed")


@pytest.mark.parametrize("is_resumed", [True, False])
async def test_a_connection_stays_with_its_server_until_the_session_is_lost(
    is_resumed: bool, autojump_clock: MockClock
) -> None:
    a, b, noting = BankImpl("a"), BankImpl("b"), Noting()
    offered = [{"bank": dispatcher(Bank, each)} for each in (a, b)]
    limits = Limits(resume_seconds=PAUSE * 2 if is_resumed else PAUSE / 2)
    async with (
        serving(
            "memory://a", offered[0], resume=True, limits=limits, observer=noting
        ) as server,
        serving("memory://b", offered[1], resume=True),
        stay_connected(urls(a, b), resume=RESUME) as session,
        session.open(Bank, "bank", reopen=True) as client,
    ):
        assert await client.pay(1) == "a1 None"
        await lose_link(server)
        began = trio.current_time()
        assert await client.pay(2) == ("a2 None" if is_resumed else "b2 None")
        assert trio.current_time() - began == pytest.approx(PAUSE, abs=0.1)
        assert noting.events.count("connection_opened") == 1


async def test_the_observer_of_the_application_is_told_too(
    autojump_clock: MockClock,
) -> None:
    a, observer = BankImpl("a"), Noting()
    handler = dispatcher(Bank, a)
    async with serving("memory://a", {"bank": handler}, resume=True) as server:
        staying = stay_connected(
            "memory://a", Bank, name="bank", resume=True, observer=observer
        )
        async with staying as client:
            await client.pay(1)
            cut_link(server.sessions[0])
            await wait_all_tasks_blocked()
            await client.pay(2)
    assert observer.events == [
        "session_opened",
        "connection_opened",
        "link_lost",
        "link_resumed",
        "connection_closed",
        "session_closed",
    ]
