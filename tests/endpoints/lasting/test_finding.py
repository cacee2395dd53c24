"""How often, and when, clients ask for the servers of their target."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import pytest
import trio
from trio.testing import MockClock

from roam_trio import (
    Address,
    Backoff,
    Resolver,
    Retry,
    dispatcher,
    service,
    serving,
    state,
    stay_connected,
)


@service
class Echo(Protocol):
    async def echo(self, text: str) -> str: ...


class EchoImpl:
    async def echo(self, text: str) -> str:
        return text


ECHO = dispatcher(Echo, EchoImpl())


class Asked(Resolver):
    """Notes when it is asked."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.why_not_watched: Exception | None = None

    async def resolve(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        return [Address("memory://echo")]

    async def changed(self) -> None:
        if self.why_not_watched is not None:
            raise self.why_not_watched
        await trio.sleep_forever()


async def test_clients_that_lose_a_server_together_do_not_ask_together(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    target, count = Asked(), 60
    chance = random.Random(7).random
    retry = Retry(backoff=Backoff(initial=0.05, longest=5.0, chance=chance))

    async def stay() -> None:
        async with stay_connected(target, Echo, retry=retry):
            await trio.sleep_forever()

    async with serving("memory://echo", ECHO):
        for _ in range(count):
            nursery.start_soon(stay)
        await trio.sleep(60)
        assert len(target.times) == count  # nothing has changed
        target.times.clear()
    lost = trio.current_time()
    await trio.sleep(1.1)
    asked = Counter(int((time - lost) * 10) for time in target.times)
    # Some in nearly each tenth of the first second.
    assert len(asked) >= 8
    assert max(asked.values()) <= count / 3
    # A server that stays away makes them ask less and less often.
    await trio.sleep(20)
    target.times.clear()
    await trio.sleep(20)
    assert len(target.times) <= count * 20 / 2
    asked = Counter(int(time * 10) for time in target.times)
    assert max(asked.values()) <= count / 3
    nursery.cancel_scope.cancel()


async def test_what_cannot_be_watched_is_asked_with_pauses_that_grow(
    autojump_clock: MockClock,
) -> None:
    target = Asked()
    target.why_not_watched = RuntimeError("the registry is away")
    retry = Retry(backoff=Backoff(initial=0.1, longest=10.0, jitter=0.0))
    async with (
        serving("memory://echo", ECHO),
        stay_connected(target, Echo, retry=retry) as client,
    ):
        await trio.sleep(60)
        assert 8 <= len(target.times) <= 14
        assert state(client).phase == "ready"
        target.why_not_watched = None
        await trio.sleep(60)
        target.times.clear()
        await trio.sleep(60)
        assert target.times == []


@pytest.mark.parametrize("kind", [TypeError, ValueError])
async def test_a_resolver_with_a_bug_in_its_watch_ends_the_block_with_its_error(
    autojump_clock: MockClock, kind: type[Exception]
) -> None:
    target = Asked()
    target.why_not_watched = kind("a bug")
    with pytest.raises(kind, match="a bug"):
        async with stay_connected(target, Echo):
            await trio.sleep_forever()


class Empty(Asked):
    """Finds nothing until it hears of a server."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = trio.Event()

    async def resolve(self) -> Sequence[Address]:
        found = await super().resolve()
        return found if self.heard.is_set() else ()

    async def changed(self) -> None:
        await (super().changed() if self.why_not_watched else self.heard.wait())


@pytest.mark.parametrize("why_not_watched", [None, RuntimeError("it is away")])
async def test_a_target_without_servers_is_asked_with_pauses_that_grow(
    autojump_clock: MockClock, why_not_watched: Exception | None
) -> None:
    target = Empty()
    target.why_not_watched = why_not_watched
    retry = Retry(backoff=Backoff(initial=0.1, longest=10.0, jitter=0.0))
    async with stay_connected(target, Echo, retry=retry):
        await trio.sleep(60)
        assert 8 <= len(target.times) <= 14


async def test_a_target_that_hears_of_its_first_server_is_asked_at_once(
    autojump_clock: MockClock,
) -> None:
    target = Empty()
    retry = Retry(backoff=Backoff(initial=0.1, longest=1000.0, jitter=0.0))
    async with stay_connected(target, Echo, retry=retry):
        await trio.sleep(600)
        before = len(target.times)
        target.heard.set()
        await trio.sleep(0.1)
        assert len(target.times) == before + 1


@pytest.mark.parametrize("kind", [TypeError, ValueError])
async def test_a_bug_in_the_watch_of_a_target_without_servers_ends_the_block(
    autojump_clock: MockClock, kind: type[Exception]
) -> None:
    target = Empty()
    target.why_not_watched = kind("a bug")
    with pytest.raises(kind, match="a bug"):
        async with stay_connected(target, Echo):
            await trio.sleep_forever()
