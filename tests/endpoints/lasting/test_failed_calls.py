"""Calls that fail, and what the choice of a server makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    ConnectionLost,
    DeadlineExceeded,
    Fallible,
    HandlerFailed,
    Overloaded,
    Proceed,
    Retry,
    RoamError,
    Rx,
    Unavailable,
    UserError,
    dispatcher,
    open_call,
    service,
    serving,
    stay_connected,
    u32,
)
from roam_trio.endpoints.lasting.retry import LONGEST_PAUSE, time_of_failed
from tests.endpoints.lasting.test_stay_connected import Bank, BankImpl
from tests.session.test_garbage import left_behind


@attrs.define
class Poor(Exception):
    """A declared error."""

    missing: u32 = 1


@service
class Shop(Protocol):
    async def buy(self) -> Fallible[u32, Poor]: ...


class ShopImpl:
    def __init__(self, name: str, before: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.before = before

    async def buy(self) -> int:
        found[self.name] += 1
        await self.before()
        return 1


found: Counter[str] = Counter()


async def fail(error: Exception, seconds: float) -> None:
    await trio.sleep(seconds)
    raise error


async def calls_of(error: Exception, seconds: float) -> Counter[str]:
    """Return the calls that two servers get: one works in 10 ms.

    Args:
        error: what the other raises.
        seconds: the time that it takes for it.
    """
    found.clear()
    failing = ShopImpl("failing", partial(fail, error, seconds))
    working = ShopImpl("working", partial(trio.sleep, 0.01))
    async with (
        serving("memory://failing", dispatcher(Shop, failing)),
        serving("memory://working", dispatcher(Shop, working)),
        stay_connected(
            ["memory://failing", "memory://working"], Shop, balance="least busy"
        ) as client,
    ):
        await wait_all_tasks_blocked()
        for _ in range(100):
            with suppress(HandlerFailed, Poor):
                await client.buy()
    return found


async def test_a_server_whose_calls_fail_at_once_does_not_seem_fast(
    autojump_clock: MockClock,
) -> None:
    calls = await calls_of(ZeroDivisionError("a bug"), 0.001)
    assert 1 <= calls["failing"] <= 3
    assert calls["working"] >= 97


@pytest.mark.parametrize(("seconds", "more"), [(0.1, "working"), (0.001, "failing")])
async def test_declared_errors_are_answers_that_count_for_their_time(
    autojump_clock: MockClock, seconds: float, more: str
) -> None:
    calls = await calls_of(Poor(), seconds)
    assert calls[more] >= 90


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (HandlerFailed(was_begun=True), 1.0),
        (Overloaded(was_begun=False), 1.0),
        (DeadlineExceeded(was_begun=True), 1.0),
        (UserError(1), 0.5),
        (ConnectionLost("gone"), None),
        (Unavailable(was_begun=False), None),
    ],
)
def test_a_failed_call_counts_if_its_server_may_get_the_next(
    error: RoamError, seconds: float | None
) -> None:
    assert time_of_failed(error, 0.5) == seconds
    assert time_of_failed(error, 7.0) == (None if seconds is None else 7.0)


@pytest.mark.parametrize("wanted", [LONGEST_PAUSE, LONGEST_PAUSE + 1])
async def test_a_server_holds_up_a_call_for_a_bounded_time(
    autojump_clock: MockClock, wanted: float
) -> None:
    count = 0

    async def full(call: AnyCall, proceed: Proceed) -> Any:
        nonlocal count
        count += 1
        raise Overloaded(text="full", retry_after=wanted)

    handler = dispatcher(Bank, BankImpl(), middleware=[full])
    async with (
        serving("memory://full", handler),
        stay_connected("memory://full", Bank, retry=Retry(attempts=2)) as client,
    ):
        began = trio.current_time()
        with pytest.raises(Overloaded) as caught:
            await client.pay(1)
        assert caught.value.retry_after == wanted
        is_bounded = wanted > LONGEST_PAUSE
        assert count == (1 if is_bounded else 2)
        waited = trio.current_time() - began
        assert waited < 1 if is_bounded else waited >= LONGEST_PAUSE


@service
class Stream(Protocol):
    async def take(self, items: Rx[u32]) -> Fallible[u32, Poor]: ...


class StreamImpl:
    async def take(self, items: Rx[u32]) -> int:
        raise Poor


async def test_a_call_that_fails_leaves_nothing_to_the_garbage_collector() -> None:
    async def run() -> None:
        async with (
            serving("memory://stream", dispatcher(Stream, StreamImpl())),
            stay_connected("memory://stream", Stream) as client,
        ):
            with suppress(Poor):
                async with open_call(client.take):
                    await wait_all_tasks_blocked()

    assert await left_behind(run) == {}
