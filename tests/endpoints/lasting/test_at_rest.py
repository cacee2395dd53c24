"""What a lasting client costs: an endpoint with nothing to do, and a call."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock

from roam_trio import (
    Session,
    connect,
    dispatcher,
    service,
    serving,
    state,
    stay_connected,
    u32,
)


@service
class Bank(Protocol):
    async def balance(self, account: u32) -> u32: ...


class BankImpl:
    async def balance(self, account: int) -> int:
        return account


BANK = dispatcher(Bank, BankImpl())


# ------------------------------------------------------------ an endpoint


@pytest.mark.parametrize("sessions", [1, 3])
async def test_an_endpoint_with_nothing_to_do_is_one_idle_session(
    autojump_clock: MockClock, sessions: int
) -> None:
    urls = ["memory://a", "memory://b"]
    async with (
        serving(urls[0], BANK, reflection=True) as a,
        serving(urls[1], BANK) as b,
        stay_connected(urls, Bank, sessions=sessions) as client,
    ):
        await trio.sleep(10)
        begun = [each for server in (a, b) for each in server.sessions]
        assert len(begun) == 2 * sessions
        before = [bytes_of(each) for each in begun]
        await trio.sleep(3600)
        # The same sessions, which send a ping now and then.
        assert [each for server in (a, b) for each in server.sessions] == begun
        sent = [bytes_of(each) - was for each, was in zip(begun, before, strict=True)]
        # The health that is followed is a call in flight, so that keepalive notices a
        # server that is gone.
        assert all(0 < each < 1500 for each in sent[:sessions])
        assert all(each < 150 for each in sent[sessions:])
        assert {each.phase.value for each in state(client).endpoints} == {"ready"}


def bytes_of(session: Session) -> int:
    now = session.statistics()
    return now.sent.payload_bytes + now.received.payload_bytes


@asynccontextmanager
async def plain(url: str, count: int) -> AsyncIterator[None]:
    """Have sessions that have opened a connection once, and have nothing to do."""
    async with trio.open_nursery() as nursery:

        async def one() -> None:
            async with connect(url) as session:
                async with session.open(Bank, "bank") as bank:
                    await bank.balance(1)
                await session.closed()

        for _ in range(count):
            nursery.start_soon(one)
        yield
        nursery.cancel_scope.cancel()


async def bytes_of_each(
    hold: Callable[[str, int], Any], reflection: bool, count: int = 10
) -> float:
    """Return the bytes that a session takes at both sides together."""
    handlers = {"bank": BANK}
    async with serving("memory://rest", handlers, reflection=reflection) as server:
        async with hold(server.url, 2):
            await trio.sleep(60)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        async with hold(server.url, count):
            await trio.sleep(60)
            assert len(server.sessions) == count
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / count


def lasting(url: str, count: int) -> Any:
    return stay_connected(url, Bank, name="bank", sessions=count)


async def test_its_bytes_are_those_of_an_idle_session_and_of_what_keeps_it(
    autojump_clock: MockClock,
) -> None:
    tracemalloc.start()
    try:
        idle = await bytes_of_each(plain, False)
        kept = await bytes_of_each(lasting, False)
        watched = await bytes_of_each(lasting, True)
    finally:
        tracemalloc.stop()
    print(f"idle {idle:.0f}, kept {kept:.0f}, with health {watched:.0f}")
    assert kept <= idle * 1.35
    assert watched <= idle * 2.1


# ------------------------------------------------------------ a call


async def calls_in_a_call(bank: Bank, count: int = 100) -> float:
    """Return the number of functions that run in a call: those of both sides, of trio
    and of C, and steps of coroutines."""
    entered = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal entered
        entered += event in ("call", "c_call")

    for number in range(20):  # what is cached is cached then
        await bank.balance(number)
    previous = sys.getprofile()
    sys.setprofile(profile)
    try:
        for number in range(count):
            await bank.balance(number)
    finally:
        sys.setprofile(previous)
    return entered / count


async def test_a_call_of_a_lasting_client_runs_few_functions_more() -> None:
    url = "tcp://127.0.0.1:0"
    async with (
        serving(url, BANK) as server,
        connect(server.url, Bank) as once,
        stay_connected(server.url, Bank) as lasting,
        stay_connected(server.url, Bank, balance="round robin") as balanced,
    ):
        plain = await calls_in_a_call(once)
        for bank in (lasting, balanced):
            ratio = await calls_in_a_call(bank) / plain
            print(f"{plain:.0f} functions, times {ratio:.3f}")
            assert ratio <= 1.05
