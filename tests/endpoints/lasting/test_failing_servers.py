"""Servers that fail: how they are noticed, and how long they are left alone."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Backoff,
    ConnectionLost,
    Observer,
    Retry,
    SessionKeepaliveConfig,
    dispatcher,
    idempotent,
    service,
    serving,
    state,
    stay_connected,
)
from roam_trio.endpoints.lasting.balancing import Phase
from roam_trio.links.base import Link
from roam_trio.testing.faulty_link import FaultyLink
from roam_trio.transports import registry
from roam_trio.transports.base import LinkFactory, LinkOptions
from roam_trio.transports.memory import MemoryTransport


@service
class Bank(Protocol):
    @idempotent
    async def balance(self) -> str: ...
    async def pay(self) -> str: ...


class BankImpl:
    def __init__(self, name: str) -> None:
        self.name = name

    async def balance(self) -> str:
        return self.name

    async def pay(self) -> str:
        return self.name


def bank(name: str, **options: Any) -> Any:
    return serving(f"memory://{name}", dispatcher(Bank, BankImpl(name)), **options)


class FaultyTransport(MemoryTransport):
    """Connects to servers in memory, with links that can fail."""

    def __init__(self) -> None:
        self.links: list[FaultyLink] = []

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        return partial(self._connect, super().to_connect(url, options))

    async def _connect(self, connect: LinkFactory) -> Link:
        link = FaultyLink(await connect())
        self.links.append(link)
        return link


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> FaultyTransport:
    """Makes the links of ``faulty://name``."""
    transport = FaultyTransport()
    monkeypatch.setitem(registry._transports, "faulty", transport)
    return transport


KEEPALIVE = SessionKeepaliveConfig(ping_interval=5.0, pong_timeout=2.0)


async def test_a_server_that_falls_silent_is_noticed_by_a_call(
    autojump_clock: MockClock, faulty: FaultyTransport
) -> None:
    async with (
        bank("a"),
        bank("b"),
        stay_connected(
            ["faulty://a", "memory://b"], Bank, keepalive=KEEPALIVE
        ) as client,
    ):
        await wait_all_tasks_blocked()
        assert await client.balance() == "a"
        faulty.links[0].lose()
        began = trio.current_time()
        assert await client.balance() == "b"  # made again, since it may be
        assert trio.current_time() - began <= 2 * 5.0 + 2.0 + 0.1
        assert await client.pay() == "b"
        assert state(client).endpoints[0].phase is not Phase.READY


async def test_a_call_that_must_not_be_made_again_fails_with_a_silent_server(
    autojump_clock: MockClock, faulty: FaultyTransport
) -> None:
    async with (
        bank("a"),
        stay_connected("faulty://a", Bank, keepalive=KEEPALIVE) as client,
    ):
        assert await client.pay() == "a"
        faulty.links[0].lose()
        with pytest.raises(ConnectionLost) as caught:
            await client.pay()
        assert caught.value.was_begun is None
        assert await client.pay() == "a"  # on a session of its own
        assert len(faulty.links) == 2


@pytest.mark.parametrize("noticed_by", ["health", "pings while idle"])
async def test_a_server_that_falls_silent_is_noticed_before_the_next_call(
    autojump_clock: MockClock, faulty: FaultyTransport, noticed_by: str
) -> None:
    idle = SessionKeepaliveConfig(
        ping_interval=5.0, pong_timeout=2.0, idle_interval=5.0, while_idle=True
    )
    keepalive = KEEPALIVE if noticed_by == "health" else idle
    async with (
        bank("a", reflection=noticed_by == "health"),
        bank("b"),
        stay_connected(
            ["faulty://a", "memory://b"], Bank, keepalive=keepalive
        ) as client,
    ):
        await trio.sleep(1)
        faulty.links[0].lose()
        await trio.sleep(2 * 5.0 + 2.0 + 0.1)
        began = trio.current_time()
        assert await client.pay() == "a"
        assert trio.current_time() == began
        assert len(faulty.links) == 2  # on a session that has begun meanwhile


async def test_a_server_that_fails_is_left_alone_for_a_growing_time(
    autojump_clock: MockClock,
) -> None:
    pauses: list[float] = []
    attempts: list[float] = []

    class Noting(Observer):
        def server_connecting(self, url: str) -> None:
            attempts.append(trio.current_time())

        def server_lost(self, url: str, because: Exception, pause: float) -> None:
            pauses.append(pause)

    backoff = Backoff(initial=0.5, longest=8.0, jitter=0.0)
    retry = Retry(backoff=backoff)
    async with stay_connected(
        "memory://none", Bank, retry=retry, observer=Noting()
    ) as client:
        await trio.sleep(40)
        (endpoint,) = state(client).endpoints
        assert endpoint.phase is Phase.RESTING
        assert isinstance(endpoint.error, ConnectionRefusedError)
        assert pauses[:8] == pytest.approx([0.5, 1, 2, 4, 8, 8, 8, 8])
        gaps = [b - a for a, b in pairwise(attempts)]
        assert gaps[:7] == pytest.approx(pauses[:7], abs=0.01)
        # Once it is there for a while, the next failure is the first again.
        async with bank("none"):
            assert await client.pay() == "none"
            await trio.sleep(10)
            pauses.clear()
        await trio.sleep(1)
        assert pauses[:2] == pytest.approx([0.0, 0.5])
