"""How the calls of ten clients are divided among three servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock

from roam_trio import (
    Address,
    Backoff,
    ConnectionLost,
    Resolver,
    Retry,
    Server,
    dispatcher,
    service,
    serving,
    stay_connected,
)
from roam_trio.endpoints.lasting.balancing import Balance
from tests.endpoints.lasting.fleet import Load, fleet
from tests.endpoints.lasting.fleet_server import Bank

CLIENTS = 10

BALANCES: list[Balance] = ["first", "round robin", "least busy"]


@service
class Work(Protocol):
    async def do(self) -> None: ...


class WorkImpl:
    """A server, and when it was called.

    Args:
        name: its name, in ``memory://``.
        seconds: the time that each call takes.
    """

    def __init__(self, name: str, seconds: float = 0.1) -> None:
        self.url = f"memory://{name}"
        self.seconds = seconds
        self.called: list[float] = []
        self.dies: Callable[[], Awaitable[None]] | None = None

    async def do(self) -> None:
        self.called.append(trio.current_time())
        if self.dies is not None:
            await self.dies()
        await trio.sleep(self.seconds)

    def calls_after(self, time: float) -> int:
        return sum(each >= time for each in self.called)


@asynccontextmanager
async def servers(*impls: WorkImpl) -> AsyncIterator[list[Server]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                serving(each.url, dispatcher(Work, each), reflection=True)
            )
            for each in impls
        ]


@asynccontextmanager
async def load(
    target: Sequence[str] | Resolver,
    *,
    clients: int = CLIENTS,
    at_once: int = 1,
    **options: Any,
) -> AsyncIterator[None]:
    """Have some clients call all the time, each so many times at once."""

    async def calls(client: Work) -> None:
        while True:
            with suppress(ConnectionLost):
                await client.do()

    async def client() -> None:
        async with (
            stay_connected(target, Work, **options) as made,
            trio.open_nursery() as nursery,
        ):
            for _ in range(at_once):
                nursery.start_soon(calls, made)

    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(client)
        yield
        nursery.cancel_scope.cancel()


def shares(impls: Sequence[WorkImpl], since: float = 0.0) -> list[float]:
    counts = [each.calls_after(since) for each in impls]
    return [count / sum(counts) for count in counts]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_least_busy_spares_a_slow_server(
    at_once: int, autojump_clock: MockClock
) -> None:
    impls = WorkImpl("a"), WorkImpl("b"), WorkImpl("c", seconds=1.0)
    urls = [each.url for each in impls]
    async with servers(*impls), load(urls, at_once=at_once, balance="least busy"):
        await trio.sleep(10)
    a, b, slow = shares(impls)
    assert slow < 1 / 3 / 2
    assert a == pytest.approx(b, rel=0.2)


async def test_round_robin_does_not_spare_it(autojump_clock: MockClock) -> None:
    impls = WorkImpl("a"), WorkImpl("b"), WorkImpl("c", seconds=1.0)
    urls = [each.url for each in impls]
    async with servers(*impls), load(urls, balance="round robin"):
        await trio.sleep(10)
    assert shares(impls) == pytest.approx([1 / 3] * 3, rel=0.1)


@pytest.mark.parametrize("balance", BALANCES)
async def test_a_dead_server_is_not_called_until_its_pause_is_over(
    balance: Balance, autojump_clock: MockClock
) -> None:
    retry = Retry(backoff=Backoff(initial=1.0, factor=2.0, longest=8.0, jitter=0.0))
    dead, *others = impls = WorkImpl("a"), WorkImpl("b"), WorkImpl("c")
    urls = [each.url for each in impls]
    async with servers(*impls) as running, trio.open_nursery() as nursery:

        async def end_sessions() -> None:
            for session in running[0].sessions:
                nursery.start_soon(session.shutdown)
            await trio.sleep_forever()

        dead.dies = end_sessions
        async with load(urls, retry=retry, balance=balance, clients=1, at_once=3):
            await trio.sleep(20)
    # It is tried again only when a pause is over, by those that call at that moment.
    pauses = [later - each for each, later in pairwise(dead.called)]
    long = [each for each in pauses if each > 0.5]
    assert [pause // 1 for pause in long] == [1, 2, 4, 8]
    assert len(pauses) - len(long) <= 2 * (len(long) + 1)
    assert sum(len(each.called) for each in others) > 400


class Growing(Resolver):
    """A target that grows when it is told to."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.grown = trio.Event()

    async def resolve(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return [Address(url) for url in self.urls]

    async def changed(self) -> None:
        await self.grown.wait()
        self.grown = trio.Event()


@pytest.mark.parametrize(
    ("balance", "share"),
    [("first", 1.0), ("round robin", 1 / 3), ("least busy", 1 / 3)],
)
async def test_a_new_server_has_its_share_within_two_seconds(
    balance: Balance, share: float, autojump_clock: MockClock
) -> None:
    new, *old = impls = WorkImpl("a"), WorkImpl("b"), WorkImpl("c")
    target = Growing([each.url for each in old])
    async with servers(*impls), load(target, balance=balance):
        await trio.sleep(1)
        assert new.called == []
        target.urls = [each.url for each in impls]
        target.grown.set()
        await trio.sleep(2)
        soon = trio.current_time()
        await trio.sleep(3)
    assert shares(impls, soon)[0] == pytest.approx(share, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("balance", BALANCES)
async def test_the_shares_of_real_servers(balance: Balance, tmp_path: Path) -> None:
    calls = Load(3000)
    calls.goes_on = False
    async with (
        fleet(tmp_path, seconds=(0.0, 0.0, 0.05)) as running,
        trio.open_nursery() as nursery,
    ):

        async def client() -> None:
            urls = [each.url for each in running]
            async with stay_connected(urls, Bank, balance=balance) as bank:
                await calls.run(bank)

        for _ in range(CLIENTS):
            nursery.start_soon(client)
    calls.check(running)
    counts = [len(each.paid) for each in running]
    a, b, slow = [count / sum(counts) for count in counts]
    print(f"{balance}: {a:.1%}, {b:.1%}, the slow one {slow:.1%}")
    most = {"first": 0.1, "round robin": 0.4, "least busy": 1 / 6}
    assert slow < most[balance]
    if balance == "round robin":
        assert slow > 0.25
