"""`connect` and `serve` with `resume`: links come and go, and sessions stay."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Backoff,
    ConnectionLost,
    Limits,
    Link,
    LinkDead,
    MessageFamily,
    RedialingSource,
    RemoteProtocolError,
    Server,
    Session,
    SessionIoError,
    SessionKeepaliveConfig,
    SessionLost,
    SessionProtocolError,
    StableConduit,
    StableTxStatistics,
    client,
    connect,
    dispatcher,
    initiator,
    serve,
    service,
)
from roam_trio.links.base import LinkRx
from roam_trio.links.resuming.resuming import Resuming
from roam_trio.transports import dialer

from .schemes import SCHEMES, Scheme

SOON = Backoff(initial=0.001, longest=0.01)


@service
class Counter(Protocol):
    async def count(self) -> int: ...

    async def wait(self) -> int: ...


class CounterImpl:
    def __init__(self) -> None:
        self.counted = 0
        self.waiting = 0
        self.go_on = trio.Event()

    async def count(self) -> int:
        self.counted += 1
        return self.counted

    async def wait(self) -> int:
        self.waiting += 1
        try:
            await self.go_on.wait()
        finally:
            self.waiting -= 1
        return self.counted


async def start(
    nursery: trio.Nursery, impl: CounterImpl, url: str, **options: Any
) -> Server:
    run = partial(serve, resume=True, **options)
    server: Server = await nursery.start(run, url, dispatcher(Counter, impl))
    return server


def resuming_of(session: Session) -> Resuming:
    """What is behind a session; its links are cut in these tests."""
    return session._run.tx.carrier._port  # type: ignore[attr-defined,no-any-return]


def cut_link(session: Session) -> None:
    """Lose the link of a session, as it does when the link fails."""
    resuming = resuming_of(session)
    assert resuming.link is not None
    resuming.lose(resuming.link, "the test says so")


def links_of(session: Session) -> int:
    sent = session.statistics().sent
    assert isinstance(sent, StableTxStatistics)
    return sent.links


over_every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=str)


@pytest.mark.rule("stable", "conduit.stable", "stable.reconnect")
@over_every_scheme
async def test_session_outlives_its_links_over_every_scheme(
    scheme: Scheme, nursery: trio.Nursery, tmp_path: Path
) -> None:
    impl = CounterImpl()
    server = await start(nursery, impl, scheme.url(tmp_path), **scheme.to_serve())
    with trio.fail_after(30):
        async with connect(server.url, resume=SOON, **scheme.to_connect()) as session:
            counter = client(Counter, session.caller)
            for number in range(1, 6):
                assert await counter.count() == number
                (at_server,) = server.sessions
                cut_link(session if number % 2 else at_server)
            assert await counter.count() == 6
            assert links_of(session) == 6
    assert impl.counted == 6


async def test_call_in_flight_is_answered_on_the_next_link(
    nursery: trio.Nursery,
) -> None:
    impl = CounterImpl()
    server = await start(nursery, impl, "memory://counter")
    answers: list[int] = []
    async with connect(server.url, resume=SOON) as session:
        counter = client(Counter, session.caller)
        async with trio.open_nursery() as calling:

            async def wait() -> None:
                answers.append(await counter.wait())

            calling.start_soon(wait)
            await wait_all_tasks_blocked()
            cut_link(session)
            impl.go_on.set()
        assert answers == [0]


async def test_leaving_the_block_tells_the_server_which_keeps_nothing(
    nursery: trio.Nursery,
) -> None:
    server = await start(nursery, CounterImpl(), "tcp://127.0.0.1:0")
    async with connect(server.url, Counter, resume=True) as counter:
        await counter.count()
        (session,) = server.sessions
    with trio.fail_after(5):
        await session.closed()
    await wait_all_tasks_blocked()
    assert server.sessions == ()
    assert "has closed" in str(session.ended_because)


async def test_shutdown_of_the_server_tells_the_client(nursery: trio.Nursery) -> None:
    server = await start(nursery, CounterImpl(), "tcp://127.0.0.1:0")
    async with connect(server.url, resume=True) as session:
        with trio.fail_after(5):
            await server.shutdown()
            await session.closed()
    assert "has closed" in str(session.ended_because)


async def test_session_that_a_side_ends_with_an_error_is_over_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Both say goodbye then, and neither waits for `Limits.close_seconds`."""
    for at_server in (True, False):
        server = await start(nursery, CounterImpl(), f"memory://error-{at_server}")
        async with connect(server.url, resume=SOON) as session:
            sides = (session, *server.sessions)
            sides[at_server]._run.end(RemoteProtocolError("the test says so"))
            for side in sides:
                await side.closed()
        assert "the test says so" in str(sides[not at_server].ended_because)
    assert trio.current_time() == 0


async def test_lost_client_is_given_up_and_its_handlers_end(
    nursery: trio.Nursery,
) -> None:
    impl = CounterImpl()
    limits = Limits(resume_seconds=0.05, close_seconds=1)
    server = await start(nursery, impl, "tcp://127.0.0.1:0", limits=limits)
    async with trio.open_nursery() as client_nursery:

        async def be_client() -> None:
            with suppress(ConnectionLost):
                await wait_for_an_answer()

        async def wait_for_an_answer() -> None:
            async with connect(server.url, Counter, resume=SOON) as counter:
                await counter.wait()

        client_nursery.start_soon(be_client)
        while not impl.waiting:
            await wait_all_tasks_blocked()
        (session,) = server.sessions
        resuming = resuming_of(session)
        # The client is not recognised any more.
        resuming.conversation.forget_keys()
        cut_link(session)
        with trio.fail_after(5):
            await session.closed()
        client_nursery.cancel_scope.cancel()
    assert impl.waiting == 0
    assert isinstance(session.ended_because, SessionIoError)
    assert isinstance(session.ended_because.__cause__, LinkDead)
    assert "resume_seconds" in str(session.ended_because)


async def test_client_that_does_not_resume_is_told_what_is_wrong(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start(nursery, CounterImpl(), "tcp://127.0.0.1:0")
    told = "the server serves with resume=True, and this client does not resume"
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(SessionProtocolError, match=told) as caught,
    ):
        async with connect(server.url, Counter):
            pass
    assert "give both sides resume=True, or neither" in str(caught.value)
    assert "tag" not in str(caught.value)
    assert "the client connects without resume=True, and this server" in caplog.text


async def test_server_that_does_not_resume_is_told_of(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    handler = dispatcher(Counter, CounterImpl())
    server = await nursery.start(serve, "tcp://127.0.0.1:0", handler)
    told = "the server serves without resume=True, and this client connects with it"
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(SessionProtocolError, match=told),
    ):
        async with connect(server.url, Counter, resume=True):
            pass
    await wait_all_tasks_blocked()
    assert "the client connects with resume=True, and this server" in caplog.text
    assert "tag" not in caplog.text


async def test_new_client_beyond_the_most_sessions_is_refused_but_not_a_returning_one(
    nursery: trio.Nursery,
) -> None:
    impl = CounterImpl()
    server = await start(nursery, impl, "tcp://127.0.0.1:0", max_sessions=1)
    async with connect(server.url, resume=SOON) as session:
        counter = client(Counter, session.caller)
        with pytest.raises(SessionLost, match="rejected a new session"):
            async with connect(server.url, Counter, resume=SOON):
                pass
        cut_link(session)
        assert await counter.count() == 1
    async with connect(server.url, Counter, resume=SOON) as another:
        assert await another.count() == 2


async def test_client_that_is_led_to_another_server_is_told_of_the_balancer(
    nursery: trio.Nursery,
) -> None:
    limits = Limits(close_seconds=0.1)
    server, other = [
        await start(nursery, CounterImpl(), "tcp://127.0.0.1:0", limits=limits)
        for _ in range(2)
    ]
    balanced = iter([server.url, other.url])

    async def dial() -> Link:
        return await dialer(next(balanced))()

    conduit = StableConduit(RedialingSource(dial, SOON), MessageFamily())
    async with initiator(conduit).open() as session:
        assert await client(Counter, session.caller).count() == 1
        cut_link(session)
        with pytest.raises(ConnectionLost, match="or this is another server, as"):
            await client(Counter, session.caller).count()


async def test_keepalive_replaces_a_silent_link_instead_of_ending_the_session(
    nursery: trio.Nursery,
) -> None:
    server = await start(nursery, CounterImpl(), "tcp://127.0.0.1:0")
    keepalive = SessionKeepaliveConfig(
        ping_interval=0.01, pong_timeout=0.02, while_idle=True
    )
    async with connect(server.url, resume=SOON, keepalive=keepalive) as session:
        counter = client(Counter, session.caller)
        assert await counter.count() == 1
        silence(session)
        with trio.fail_after(10):
            assert await counter.count() == 2
            while links_of(session) < 2:
                await resuming_of(session).changed.park()
            assert await counter.count() == 3
        assert session.ended_because is None


def silence(session: Session) -> None:
    """Drop everything that arrives on the present link."""
    link = resuming_of(session).link
    assert link is not None
    heard = link.rx

    class Deaf(LinkRx):
        async def recv(self) -> bytes | None:
            while await heard.recv() is not None:
                pass
            return None

        def recv_nowait(self) -> bytes | None:
            raise trio.WouldBlock

        close: Callable[..., Any] = heard.close
        statistics: Callable[..., Any] = heard.statistics
        count_in: Callable[..., Any] = heard.count_in

    link.rx = Deaf()


async def test_calls_fail_with_the_loss_of_the_session_in_their_chain(
    nursery: trio.Nursery,
) -> None:
    limits = Limits(close_seconds=0.1)
    server = await start(nursery, CounterImpl(), "memory://lost", limits=limits)
    backoff = Backoff(initial=0.001, longest=0.001, give_up_after=0.05)
    async with connect(server.url, resume=backoff) as session:
        counter = client(Counter, session.caller)
        await counter.count()
        for resuming in [resuming_of(each) for each in server.sessions]:
            resuming.conversation.forget_keys()
        cut_link(session)
        with pytest.raises(ConnectionLost) as caught:
            await counter.wait()
    causes = [repr(cause) for cause in chain_of(caught.value)]
    assert any("SessionLost" in cause for cause in causes)


def chain_of(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None:
        chain.append(error)
        error = error.__cause__
    return chain
