"""A session outlives its connections, and both processes' troubles, but no restart."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from roam_trio import (
    Backoff,
    ConnectionLost,
    LinkDead,
    Rx,
    Session,
    SessionKeepaliveConfig,
    SessionLost,
    Tx,
    channel,
    client,
    connect,
)

from .processes import ServerProcess, within
from .relay import Relay
from .resuming_server import Ledger

SOON = Backoff(initial=0.01, longest=0.05, give_up_after=50)


class ResumingServer(ServerProcess):
    def __init__(self, url: str = "tcp://127.0.0.1:0") -> None:
        super().__init__()
        self._arguments = ("tests.two_processes.resuming_server", url)


class Following:
    """A call with a channel each way, which goes on for as long as it is fed."""

    def __init__(self, ledger: Ledger, nursery: trio.Nursery) -> None:
        self._tx: Tx[int]
        self._rx: Rx[int]
        self._tx, up = channel[int]()
        down, self._rx = channel[int]()
        self._next = 0
        self._count = -1
        self._has_ended = trio.Event()
        nursery.start_soon(self._follow, ledger, up, down)

    async def _follow(self, ledger: Ledger, up: Rx[int], down: Tx[int]) -> None:
        self._count = await ledger.follow(up, down)
        self._has_ended.set()

    async def step(self) -> None:
        """Send a number and get it back."""
        await self._tx.send(self._next)
        assert await self._rx.recv() == self._next
        self._next += 1

    async def end(self) -> None:
        """Nothing came twice, and nothing is missing."""
        self._tx.close()
        assert [number async for number in self._rx] == []
        await self._has_ended.wait()
        assert self._count == self._next


@asynccontextmanager
async def at_work() -> AsyncIterator[tuple[ServerProcess, Relay, Ledger]]:
    """A client that is connected through a relay."""
    async with (
        ResumingServer() as server,
        Relay.to(server.url) as relay,
        connect(relay.url, Ledger, resume=SOON) as ledger,
    ):
        yield server, relay, ledger


@pytest.mark.rule("stable", "stable.reconnect", "stable.link-source")
@within(60)
async def test_session_outlives_a_dropped_connection() -> None:
    async with at_work() as (_, relay, ledger), trio.open_nursery() as nursery:
        following = Following(ledger, nursery)
        for number in range(5):
            assert await ledger.enter(number) == list(range(number + 1))
            await following.step()
            relay.drop()
            await following.step()
            await relay.until_connected(number + 2)
        await following.end()


@pytest.mark.rule("stable.reconnect.server-replay", "stable.reconnect.client-replay")
@within(60)
async def test_answers_of_calls_in_flight_arrive_after_the_connection_was_dropped() -> (
    None
):
    async with at_work() as (_, relay, ledger), trio.open_nursery() as nursery:
        answers: list[int] = []

        async def hold() -> None:
            answers.append(await ledger.hold())

        nursery.start_soon(hold)
        await ledger.enter(0)  # it may come before the other call
        relay.drop()
        await relay.until_connected(2)
        number = 1
        while not answers:
            assert await ledger.enter(number) == list(range(number + 1))
            number += 1


@pytest.mark.slow
@within(60)
async def test_client_may_come_back_from_another_address() -> None:
    async with at_work() as (_, relay, ledger), trio.open_nursery() as nursery:
        following = Following(ledger, nursery)
        await following.step()
        relay.source = "127.0.0.2"
        relay.drop()
        await following.step()
        assert relay.connections == 2
        assert await ledger.enter(1) == [1]
        await following.end()


@pytest.mark.slow
@within(60)
async def test_session_outlives_a_server_that_is_stopped_for_a_while() -> None:
    async with at_work() as (server, relay, ledger), trio.open_nursery() as nursery:
        following = Following(ledger, nursery)
        await following.step()
        server.process.send_signal(signal.SIGSTOP)
        entered: list[list[int]] = []

        async def enter() -> None:
            entered.append(await ledger.enter(1))

        nursery.start_soon(enter)
        relay.drop()  # and it does not even notice that
        await relay.until_connected(2)
        assert entered == []
        server.process.send_signal(signal.SIGCONT)
        await following.step()
        assert await ledger.enter(2) == [1, 2]
        await following.end()
    assert entered == [[1]]


@pytest.mark.slow
@within(60)
async def test_keepalive_gets_another_connection_to_a_server_that_was_stopped() -> None:
    keepalive = SessionKeepaliveConfig(
        ping_interval=0.1, pong_timeout=0.1, while_idle=True
    )
    async with (
        ResumingServer() as server,
        Relay.to(server.url) as relay,
        connect(relay.url, Ledger, resume=SOON, keepalive=keepalive) as ledger,
    ):
        assert await ledger.enter(1) == [1]
        server.process.send_signal(signal.SIGSTOP)
        await relay.until_connected(2)  # taken for dead, and dialled again
        server.process.send_signal(signal.SIGCONT)
        assert await ledger.enter(2) == [1, 2]


@pytest.mark.rule("stable.reconnect.failure")
@within(60)
async def test_restart_of_the_server_is_the_loss_of_the_session() -> None:
    async with ResumingServer() as server:
        url = server.url
        async with connect(url, resume=SOON) as session:
            ledger = client(Ledger, session.caller)
            assert await ledger.enter(1) == [1]
            await server.kill()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_loss, ledger)
                async with ResumingServer(url):
                    await session.closed()
            assert has_lost(session)
            with pytest.raises(ConnectionLost) as caught:
                await ledger.enter(2)
            assert isinstance(root_cause(caught.value), SessionLost)


async def expect_loss(ledger: Ledger) -> None:
    with pytest.raises(ConnectionLost) as caught:
        await ledger.hold()
    assert isinstance(root_cause(caught.value), SessionLost)


def root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def has_lost(session: Session) -> bool:
    because = session.ended_because
    return isinstance(because, SessionLost)


@pytest.mark.slow
@within(60)
async def test_server_that_does_not_come_back_is_given_up() -> None:
    backoff = Backoff(initial=0.01, longest=0.05, give_up_after=0.3)
    async with (
        ResumingServer() as server,
        connect(server.url, resume=backoff) as session,
    ):
        await server.kill()
        await session.closed()
        because = session.ended_because
    assert because is not None
    assert isinstance(because.__cause__, LinkDead)
    assert "give_up_after" in str(because)


@pytest.mark.slow
@within(60)
async def test_end_of_a_server_is_told_and_no_reason_to_dial_again() -> None:
    async with ResumingServer() as server, Relay.to(server.url) as relay:
        async with connect(relay.url, resume=SOON) as session:
            ledger = client(Ledger, session.caller)
            assert await ledger.enter(1) == [1]
            await server.end()
            await session.closed()
        assert relay.connections == 1
        assert "closed" in str(session.ended_because)
