"""A server with `resume`, and clients that should not get the sessions of others."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Backoff,
    ConnectionLost,
    LimitExceeded,
    Limits,
    Link,
    LinkDead,
    LinkError,
    MessageFamily,
    RedialingSource,
    Server,
    Session,
    SessionError,
    SessionKeepaliveConfig,
    StableConduit,
    client,
    connect,
    dispatcher,
    initiator,
    serve,
    service,
)
from roam_trio.links import sockets
from roam_trio.links.resuming.acceptor import _Returns
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.peers import Credentials
from roam_trio.transports import LinkOptions, dialer

from .schemes import authority
from .test_resume import (
    SOON,
    Counter,
    CounterImpl,
    cut_link,
    links_of,
    resuming_of,
    start,
)

Dial = Callable[[], Awaitable[Link]]


async def greet(dial: Dial, hello: ClientHello) -> ServerHello:
    """Say hello on a new link, and be gone with the answer."""
    link = await dial()
    tx, rx = link.split()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        (await tx.reserve()).send((hello.encode(),))
        answer = await rx.recv()
        nursery.cancel_scope.cancel()
    await tx.abort()
    await rx.close()
    assert answer is not None
    return ServerHello.decode(answer)


async def come_and_go(dial: Dial) -> None:
    """Begin a session, and be gone without another word."""
    assert not (await greet(dial, ClientHello())).rejected


async def set_up_and_go(dial: Dial) -> None:
    """Set a session up, and be gone without a goodbye."""
    links = iter([dial])

    async def dial_once() -> Link:
        for again in links:
            return await again()
        raise OSError("a stranger does not return")

    backoff = Backoff(initial=0.001, longest=0.001, give_up_after=0.001)
    conduit = StableConduit(RedialingSource(dial_once, backoff), MessageFamily())
    with suppress(SessionError, LinkError, LinkDead):
        async with initiator(conduit).open() as session:
            cut_link(session)
            await session.closed()


@pytest.mark.parametrize("visit", [come_and_go, set_up_and_go])
async def test_300_strangers_do_not_end_the_session_of_a_lost_client(
    visit: Callable[[Dial], Awaitable[None]],
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    impl = CounterImpl()
    server = await start(nursery, impl, "memory://strangers")
    returning = trio.Event()

    async def dial() -> Link:
        if links:
            await returning.wait()
        links.append(await dialer(server.url)())
        return links[-1]

    links: list[Link] = []
    conduit = StableConduit(RedialingSource(dial, SOON), MessageFamily())
    async with initiator(conduit).open() as session:
        counter = client(Counter, session.caller)
        assert await counter.count() == 1
        (of_server,) = server.sessions
        cut_link(session)
        for _ in range(300):
            await visit(dialer(server.url))
        await wait_all_tasks_blocked()
        assert resuming_of(of_server).link is None
        returning.set()
        assert await counter.count() == 2
        assert of_server in server.sessions
        assert of_server.ended_because is None


@pytest.mark.parametrize("keepalive", [None, SessionKeepaliveConfig()])
async def test_handshake_of_a_session_is_not_work_and_a_call_is(
    keepalive: SessionKeepaliveConfig | None,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    server = await start(nursery, CounterImpl(), "memory://work")
    async with connect(server.url, resume=SOON, keepalive=keepalive) as session:
        await trio.sleep(1)
        (of_server,) = server.sessions
        source = resuming_of(of_server)._source
        assert isinstance(source, _Returns)
        assert not source._record().messages
        await client(Counter, session.caller).count()
        assert source._record().messages == 1


async def count_and_go(dial: Dial) -> None:
    """Make a call, and be gone without a goodbye."""
    conduit = StableConduit(
        RedialingSource(dial, SOON, first=await dial()), MessageFamily()
    )
    async with initiator(conduit).open() as session:
        await client(Counter, session.caller).count()
        await resuming_of(session).abort()


@pytest.mark.parametrize("visit", [come_and_go, count_and_go])
async def test_strangers_that_fill_a_server_do_not_keep_new_clients_out(
    visit: Callable[[Dial], Awaitable[None]],
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    server = await start(nursery, CounterImpl(), "memory://full", max_sessions=20)
    for _ in range(50):
        await visit(dialer(server.url))
        await wait_all_tasks_blocked()
    async with connect(server.url, Counter, resume=SOON) as counter:
        assert await counter.count() == (1 if visit is come_and_go else 51)


async def test_client_returns_although_silent_links_have_all_places(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = await start(nursery, CounterImpl(), "memory://silent", max_sessions=2)
    async with connect(server.url, resume=SOON) as session:
        counter = client(Counter, session.caller)
        assert await counter.count() == 1
        silent = [await dialer(server.url)() for _ in range(10)]
        await wait_all_tasks_blocked()
        cut_link(session)
        with trio.fail_after(Limits().handshake_seconds / 2):
            assert await counter.count() == 2
        assert links_of(session) == 2
        for link in silent:
            tx, _ = link.split()
            await tx.abort()


# ------------------------------------------------------------ stolen keys


@functools.cache
def server_context() -> ssl.SSLContext:
    """TLS of a server that asks clients for a certificate, and does not insist."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def context_of(name: str | None) -> ssl.SSLContext:
    """Return the TLS of a client with a new certificate of this name, or with none."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if name is not None:
        certificate = authority().issue_cert(
            f"{name}.example.org",
            common_name=name,
            organization_name="example",
            organization_unit_name="clients",
        )
        certificate.configure_cert(context)
    return context


async def is_refused(session: Session, dial: Dial) -> bool:
    """Return True if the server refuses a client that knows all that this one knows."""
    hello = resuming_of(session).conversation.client_hello()
    assert hello.resume_key is not None
    answer = await greet(dial, hello)
    unknown = await greet(dial, attrs.evolve(hello, resume_key=bytes(range(16))))
    assert unknown == ServerHello(rejected=True)
    return answer == unknown


@pytest.mark.parametrize("url", ["tls://127.0.0.1:0", "wss://127.0.0.1:0/roam"])
@pytest.mark.parametrize("thief", ["bob", None])
async def test_key_is_refused_under_another_certificate_or_none(
    url: str, thief: str | None, nursery: trio.Nursery
) -> None:
    impl = CounterImpl()
    server = await start(nursery, impl, url, ssl_context=server_context())
    contexts = [context_of("ada"), context_of("ada")]  # the second is a renewed one
    returning = trio.Event()
    dialed = 0

    async def dial() -> Link:
        nonlocal dialed
        dialed += 1
        if dialed > 1:
            await returning.wait()
        return await dialer(server.url, LinkOptions(ssl_context=contexts[dialed - 1]))()

    conduit = StableConduit(RedialingSource(dial, SOON), MessageFamily())
    with trio.fail_after(30):
        async with initiator(conduit).open() as session:
            counter = client(Counter, session.caller)
            assert await counter.count() == 1
            (of_server,) = server.sessions
            of_thief = dialer(server.url, LinkOptions(ssl_context=context_of(thief)))
            assert await is_refused(session, of_thief)
            assert await counter.count() == 2
            cut_link(session)
            assert await is_refused(session, of_thief)
            assert of_server.ended_because is None
            returning.set()
            assert await counter.count() == 3
            assert of_server.peer.certificate is not None
            assert of_server.peer.certificate.common_name == "ada"


async def test_key_is_refused_to_another_user_of_the_machine(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = 1000
    monkeypatch.setattr(sockets, "_credentials", lambda _: Credentials(1, user, 1))
    server = await start(nursery, CounterImpl(), f"unix://{tmp_path}/server")
    with trio.fail_after(30):
        async with connect(server.url, resume=SOON) as session:
            counter = client(Counter, session.caller)
            assert await counter.count() == 1
            user = 1001
            assert await is_refused(session, dialer(server.url))
            user = 1000
            cut_link(session)
            assert await counter.count() == 2
            assert links_of(session) == 2


async def test_1000_guessed_keys_cost_others_nothing_and_fill_no_log(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(server_log_records=10, server_log_records_per_second=1)
    server = await start(
        nursery, CounterImpl(), "memory://guesses", limits=limits, max_sessions=2
    )
    async with connect(server.url, resume=SOON) as session:
        counter = client(Counter, session.caller)
        assert await counter.count() == 1
        caplog.clear()
        for number in range(1000):
            hello = ClientHello(number.to_bytes(16, "big"), number)
            assert await greet(dialer(server.url), hello) == ServerHello(rejected=True)
        refusals = [
            record for record in caplog.records if "was refused" in record.message
        ]
        assert 0 < len(refusals) <= 11  # the last one counts the others
        cut_link(session)
        assert await counter.count() == 2
        async with connect(server.url, Counter, resume=SOON) as another:
            assert await another.count() == 3
    assert "(this process)" in refusals[0].message


# ------------------------------------------------------------ memory


@service
class Copying(Protocol):
    async def blob(self, size: int) -> bytes: ...


class CopyingImpl:
    async def blob(self, size: int) -> bytes:
        await trio.sleep(1)
        return bytes(size)


def unacknowledged_bytes(server: Server) -> int:
    return sum(
        resuming_of(session).conversation.exchange.replay.size
        for session in server.sessions
    )


async def call_and_go(dial: Dial, size: int) -> None:
    """Make a call, and be gone before the server answers."""
    link = await dial()
    conduit = StableConduit(RedialingSource(dial, SOON, first=link), MessageFamily())
    async with initiator(conduit).open() as session, trio.open_nursery() as nursery:
        nursery.start_soon(client(Copying, session.caller).blob, size)
        await trio.sleep(0.5)
        await resuming_of(session).abort()


async def test_messages_for_lost_clients_count_against_the_memory_of_a_server(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    memory = 4_000_000
    run = functools.partial(serve, resume=True, memory=memory)
    handler = dispatcher(Copying, CopyingImpl())
    server: Server = await nursery.start(run, "memory://memory", handler)
    async with connect(server.url, Copying, resume=SOON) as honest:
        (of_honest,) = server.sessions
        largest = 0
        for _ in range(60):
            with suppress(SessionError, BaseExceptionGroup):
                await call_and_go(dialer(server.url), 300_000)
            assert len(await honest.blob(1000)) == 1000
            largest = max(largest, unacknowledged_bytes(server))
        assert memory // 2 < largest <= memory
        assert of_honest.ended_because is None


async def test_client_that_is_still_there_is_told_of_the_memory(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    run = functools.partial(serve, resume=True, memory=1_000_000)
    handler = dispatcher(Copying, CopyingImpl())
    server: Server = await nursery.start(run, "memory://told", handler)
    async with connect(server.url, resume=SOON) as session:
        (of_server,) = server.sessions
        with pytest.raises(ConnectionLost, match="limit: memory"):
            await client(Copying, session.caller).blob(2_000_000)
        await of_server.closed()
    assert isinstance(of_server.ended_because, LimitExceeded)
    assert of_server.ended_because.limit == "memory"
