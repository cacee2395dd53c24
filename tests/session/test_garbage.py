"""Ended sessions and connections leave nothing to the garbage collector: what they held
is gone as soon as nobody else holds it."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from roam_trio import (
    ConnectionLost,
    Limits,
    Rx,
    SessionError,
    SessionRejected,
    TxError,
    acceptor,
    channel,
    client,
    connect,
    initiator,
    serve,
)
from roam_trio.endpoints.proxying import ProxyAcceptor
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import Metadata
from roam_trio.session import (
    AcceptedConnection,
    ConnectionAcceptor,
    Session,
    SessionKeepaliveConfig,
)
from roam_trio.wire.messages import Message, ProtocolError
from tests.peer import link_to_peer
from tests.schemes import SCHEMES, Scheme

from .running import Streams, WithPeer, caller_of, response, streams

Scenario = Callable[[], Awaitable[None]]


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before_is_left_out() -> None:
    """The collections below would look at all of it, again and again."""
    gc.collect()
    gc.freeze()


async def left_behind(scenario: Scenario) -> Counter[str]:
    """Run a scenario twice, the second time with the collector off: the classes of the
    package's whose instances only the collector could free."""
    await scenario()
    gc.collect()
    gc.disable()
    try:
        await scenario()
        await trio.testing.wait_all_tasks_blocked()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(
            type(one).__qualname__
            for one in gc.garbage
            if type(one).__module__.startswith("roam_trio.")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()


async def add(left: int, right: int) -> int:
    return left + right


async def take(numbers: Rx[int]) -> int:
    return sum([number async for number in numbers])


HANDLER = streams(add=add, take=take)


async def use(there: Streams) -> None:
    assert await there.add(1, 2) == 3
    tx, rx = channel[int]()

    async def send() -> None:
        async with tx:
            for number in range(40):
                await tx.send(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await there.take(rx)


async def hang(*args: object) -> Any:
    await trio.sleep_forever()


HANGING = streams(add=hang, take=hang)


async def send_until_lost(there: Streams) -> None:
    tx, rx = channel[int]()

    async def call() -> None:
        with contextlib.suppress(ConnectionLost):
            await there.take(rx)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        with contextlib.suppress(TxError):
            while True:
                await tx.send(1)


class Accepting:
    """Accepts every connection, or rejects it."""

    def __init__(self, verdict: AcceptedConnection | Metadata) -> None:
        self._verdict = verdict

    async def accept(self, *args: object) -> AcceptedConnection | Metadata:
        return self._verdict


ACCEPTING = Accepting(AcceptedConnection(handler=HANDLER))


@contextlib.asynccontextmanager
async def joined(**options: Any) -> Any:
    """A session with one that has `HANDLER`, or other options."""
    left, right = memory_link_pair(64)
    handler = options.pop("handler", HANDLER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(right, **options).run, handler)
        async with initiator(left).open() as session:
            yield session


# ------------------------------------------------------------ sessions


async def closed_by_the_block() -> None:
    async with joined() as session:
        await use(caller_of(session))


async def closed_by_the_peer() -> None:
    async with WithPeer(metadata={"x": bytes(1000)}):
        pass


async def shut_down_with_grace() -> None:
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(session.shutdown, 1)
        await trio.testing.wait_all_tasks_blocked()
        await peer.leave()


async def left_by_an_exception() -> None:
    with contextlib.suppress(KeyError):
        async with WithPeer():
            raise KeyError


async def cancelled() -> None:
    # Not with `joined`: contextlib keeps what passes through it in some releases.
    left, right = memory_link_pair(64)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acceptor(right).run, HANDLER)
            async with initiator(left).open() as session:
                await use(caller_of(session))
                scope.cancel()
                await trio.sleep_forever()


async def breaks_the_protocol() -> None:
    async with WithPeer() as (session, peer):
        await peer.say(response(99))
        await session.closed()


async def is_told_that_we_break_it() -> None:
    async with WithPeer() as (session, peer):
        await peer.say(ProtocolError(0, "you did"))
        await session.closed()


async def sends_no_message() -> None:
    async with WithPeer() as (session, peer):
        await peer.say_bytes(b"\xff\xff")
        await session.closed()


async def is_lost_to_keepalive() -> None:
    config = SessionKeepaliveConfig(ping_interval=1, pong_timeout=1, while_idle=True)
    limits = Limits(close_seconds=1)
    async with WithPeer(keepalive=config, limits=limits) as (session, _):
        await session.closed()


async def is_lost_with_calls_in_flight() -> None:
    async with trio.open_nursery() as nursery, joined(handler=HANGING) as session:
        for _ in range(3):
            nursery.start_soon(send_until_lost, caller_of(session))
        await trio.testing.wait_all_tasks_blocked()


async def refuse(first: Message | None, **options: Any) -> None:
    link, peer = link_to_peer()
    if first is not None:
        await peer.say(first)
        await peer.tx.close()
    with contextlib.suppress(SessionError):
        async with initiator(link, **options).open():
            pass
    await peer.leave()


async def accepts_nobody() -> None:
    link, peer = link_to_peer()
    await peer.leave()
    with contextlib.suppress(SessionError):
        async with acceptor(link).open():
            pass


SESSIONS: list[Scenario] = [
    closed_by_the_block,
    closed_by_the_peer,
    shut_down_with_grace,
    left_by_an_exception,
    cancelled,
    breaks_the_protocol,
    is_told_that_we_break_it,
    sends_no_message,
    is_lost_to_keepalive,
    is_lost_with_calls_in_flight,
]
NOT_ESTABLISHED: list[Scenario] = [
    partial(refuse, ProtocolError(0, "no")),
    partial(refuse, response(1)),
    partial(refuse, None, limits=Limits(handshake_seconds=1, close_seconds=1)),
    accepts_nobody,
]


@pytest.mark.parametrize("scenario", [*SESSIONS, *NOT_ESTABLISHED])
async def test_ended_sessions_are_gone_at_once(
    scenario: Scenario, autojump_clock: trio.testing.MockClock
) -> None:
    assert await left_behind(scenario) == Counter()


# ------------------------------------------------------------ connections


async def opened_and_closed() -> None:
    async with joined(on_connection=ACCEPTING) as session:
        async with session.open(Streams) as there:
            await use(there)
        async with await session.open_connection() as connection:
            await use(client(Streams, connection.caller))
        await session.open_connection()  # and dropped


async def rejected() -> None:
    no = Accepting(Metadata.of({"why": bytes(1000)}))
    async with joined(on_connection=no) as session:
        with contextlib.suppress(SessionRejected):
            await session.open_connection()


class MoreCalls:
    """Accepts more calls than the far side, so that some wait in the proxy."""

    def __init__(self, upstream: Session) -> None:
        self._inner: ConnectionAcceptor = ProxyAcceptor(upstream)

    async def accept(self, *args: Any) -> AcceptedConnection | Metadata:
        accepted = await self._inner.accept(*args)
        assert isinstance(accepted, AcceptedConnection)
        return attrs.evolve(accepted, max_concurrent_requests=9)


async def proxied() -> None:
    async with (
        joined(on_connection=ACCEPTING) as upstream,
        joined(on_connection=ProxyAcceptor(upstream)) as session,
        session.open(Streams) as there,
    ):
        await use(there)


async def proxied_with_calls_in_flight() -> None:
    slow = AcceptedConnection(handler=HANGING, max_concurrent_requests=2)
    async with (
        joined(on_connection=Accepting(slow)) as upstream,
        joined(on_connection=MoreCalls(upstream)) as session,
        trio.open_nursery() as nursery,
        session.open(Streams) as there,
    ):
        for _ in range(5):
            nursery.start_soon(send_until_lost, there)
        await trio.testing.wait_all_tasks_blocked()


CONNECTIONS: list[Scenario] = [
    opened_and_closed,
    rejected,
    proxied,
    proxied_with_calls_in_flight,
]


@pytest.mark.parametrize("scenario", CONNECTIONS)
async def test_ended_connections_are_gone_at_once(scenario: Scenario) -> None:
    assert await left_behind(scenario) == Counter()


async def test_ended_connections_are_gone_while_their_session_goes_on() -> None:
    async with (
        joined(on_connection=ACCEPTING) as upstream,
        joined(on_connection=ProxyAcceptor(upstream)) as session,
    ):

        async def open_one() -> None:
            async with session.open(Streams) as there:
                await use(there)
            with trio.move_on_after(1):
                await trio.testing.wait_all_tasks_blocked()

        assert await left_behind(open_one) == Counter()


# ------------------------------------------------------------ every scheme


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
async def test_ended_sessions_over_every_scheme_are_gone_at_once(
    scheme: Scheme, resume: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            options = {**scheme.to_serve(), "resume": resume}
            url = scheme.url(tmp_path)
            server = await nursery.start(partial(serve, url, HANDLER, **options))
            options = {**scheme.to_connect(), "resume": resume}
            async with connect(server.urls[0], Streams, **options) as there:
                await use(there)
            await server.shutdown()

    assert await left_behind(scenario) == Counter()
