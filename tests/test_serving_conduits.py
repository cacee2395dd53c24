"""`serve` with a `ConduitAcceptor` in place of a URL."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    BareConduit,
    BareConduitAcceptor,
    Conduit,
    ConduitAcceptor,
    ConnectionLost,
    Link,
    Message,
    MessageFamily,
    Overloaded,
    Server,
    Session,
    SessionError,
    StableConduit,
    StableConduitAcceptor,
    client,
    dispatcher,
    initiator,
    memory_link_pair,
    serve,
    service,
    u32,
)
from roam_trio.conduits.attaching import AttachingAcceptor
from roam_trio.links.resuming.source import Attachment, LinkSource
from tests.session.running import Task


@service
class Counter(Protocol):
    async def count(self) -> u32: ...


class CounterImpl:
    def __init__(self) -> None:
        self._count = 0

    async def count(self) -> int:
        self._count += 1
        return self._count


class OwnAcceptor(ConduitAcceptor[Message]):
    """Takes links out of a channel, as a program's own acceptor may."""

    def __init__(self, links: trio.MemoryReceiveChannel[Link]) -> None:
        self._links = links

    async def accept(self) -> Conduit[Message]:
        return BareConduit(await self._links.receive(), MessageFamily())


def serving(acceptor: Any, **options: Any) -> Callable[..., Awaitable[None]]:
    counter = dispatcher(Counter, CounterImpl())
    return partial(serve, acceptor, counter, **options)


async def test_serve_accepts_from_an_acceptor_of_the_program_s_own(
    nursery: trio.Nursery,
) -> None:
    incoming, links = trio.open_memory_channel[Link](0)
    server: Server = await nursery.start(serving(OwnAcceptor(links)))
    for expected in (1, 2):
        near, far = memory_link_pair(16)
        await incoming.send(far)
        async with initiator(near).open() as session:
            assert await client(Counter, session.caller).count() == expected
            assert len(server.sessions) == 1
    assert server.urls == ()
    assert repr(server).startswith("<Server on conduits, ")
    with pytest.raises(ValueError, match="listens at no URL"):
        assert server.url


async def test_serve_returns_when_there_are_no_more_clients_and_sessions(
    nursery: trio.Nursery,
) -> None:
    incoming, links = trio.open_memory_channel[Link](0)
    running = Task(nursery, serving(OwnAcceptor(links)))
    near, far = memory_link_pair(16)
    await incoming.send(far)
    incoming.close()
    async with initiator(near).open() as session:
        assert await client(Counter, session.caller).count() == 1
        await wait_all_tasks_blocked()
        assert not running.is_done
    await running.result()


async def test_bare_acceptor_serves_the_links_it_is_given(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    with BareConduitAcceptor(MessageFamily()) as acceptor:
        await nursery.start(serving(acceptor))
        nursery.start_soon(acceptor.attach, far)
        async with initiator(near).open() as session:
            assert await client(Counter, session.caller).count() == 1


class Links(LinkSource):
    """A client's links to an acceptor, one after the other."""

    def __init__(
        self, acceptor: AttachingAcceptor[Message], nursery: trio.Nursery
    ) -> None:
        self._acceptor = acceptor
        self._nursery = nursery
        self.made: list[Link] = []

    async def next_link(self) -> Attachment:
        near, far = memory_link_pair(16)
        self.made.append(near)
        self._nursery.start_soon(self._acceptor.attach, far)
        return Attachment.to_server(near)


@pytest.mark.rule("stable.reconnect")
async def test_stable_acceptor_keeps_the_session_of_a_client_that_comes_back(
    nursery: trio.Nursery,
) -> None:
    acceptor = StableConduitAcceptor(MessageFamily())
    server: Server = await nursery.start(serving(acceptor))
    links = Links(acceptor, nursery)
    async with initiator(StableConduit(links, MessageFamily())).open() as session:
        counter = client(Counter, session.caller)
        assert await counter.count() == 1
        await links.made[0].split()[0].abort()
        assert await counter.count() == 2
        assert len(links.made) == 2
        assert len(server.sessions) == 1


async def test_shutdown_of_the_server_ends_sessions_and_accepts_no_more(
    nursery: trio.Nursery,
) -> None:
    incoming, links = trio.open_memory_channel[Link](0)
    server: Server = await nursery.start(serving(OwnAcceptor(links)))
    near, far = memory_link_pair(16)
    await incoming.send(far)
    async with initiator(near).open() as session:
        await server.shutdown()
        with pytest.raises(ConnectionLost):
            await client(Counter, session.caller).count()
    with pytest.raises(trio.WouldBlock):
        incoming.send_nowait(far)


async def test_clients_beyond_max_sessions_are_refused(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    acceptor = BareConduitAcceptor(MessageFamily())
    await nursery.start(serving(acceptor, max_sessions=1))

    async def establish() -> Session:
        near, far = memory_link_pair(16)
        nursery.start_soon(acceptor.attach, far)
        return await initiator(near).establish(spawn=nursery.start_soon)

    first = await establish()
    with pytest.raises(Overloaded, match=r"no place .*\(limit: max_sessions\)"):
        await establish()
    await first.shutdown()
    await (await establish()).shutdown()
    assert "BareConduitAcceptor: a client was refused: there is no" in caplog.text


# ------------------------------------------------------------ attaching


async def end_of(link: Link) -> None:
    """Wait for the end of a link on which nothing is said."""
    assert await link.split()[1].recv() is None


async def test_link_that_nobody_accepts_is_let_go_when_its_task_is_cancelled(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    attaching = Task(nursery, BareConduitAcceptor(MessageFamily()).attach, far)
    await wait_all_tasks_blocked()
    attaching.cancel()
    await end_of(near)


async def test_closing_an_acceptor_lets_go_of_what_waits_and_of_what_comes(
    nursery: trio.Nursery,
) -> None:
    acceptor = BareConduitAcceptor(MessageFamily())
    links = [memory_link_pair(16) for _ in range(2)]
    waiting = Task(nursery, acceptor.attach, links[0][1])
    await wait_all_tasks_blocked()
    acceptor.close()
    await waiting.result()
    await acceptor.attach(links[1][1])
    for near, _ in links:
        await end_of(near)
    with pytest.raises(trio.EndOfChannel):
        await acceptor.accept()


async def test_closing_an_acceptor_ends_a_server_that_waits_for_clients(
    nursery: trio.Nursery,
) -> None:
    acceptor = BareConduitAcceptor(MessageFamily())
    running = Task(nursery, serving(acceptor))
    await wait_all_tasks_blocked()
    acceptor.close()
    await running.result()


async def test_client_that_fails_in_its_handshake_leaves_a_warning_and_no_harm(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    acceptor = StableConduitAcceptor(MessageFamily())
    _, silent = memory_link_pair(16)
    with caplog.at_level(logging.WARNING):
        await acceptor.attach(silent)
    assert "a client was not accepted: " in caplog.text
    assert acceptor.is_idle


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "options", [{"resume": True}, {"origins": ["https://a.example"]}], ids=str
)
async def test_options_of_urls_are_refused_beside_an_acceptor(
    options: dict[str, Any],
) -> None:
    (name,) = options
    acceptor = BareConduitAcceptor(MessageFamily())
    with pytest.raises(ValueError, match=f"{name}: expected it only with URLs"):
        await serving(acceptor, **options)()


async def test_what_only_looks_like_an_acceptor_is_refused() -> None:
    class Looks:
        async def accept(self) -> None: ...

    with pytest.raises(TypeError, match="type Looks, which is not a subclass"):
        await serving(Looks())()


async def test_acceptor_that_returns_no_conduit_is_named(
    nursery: trio.Nursery,
) -> None:
    class Wrong(ConduitAcceptor[Any]):
        async def accept(self) -> Any:
            return memory_link_pair(1)[0]

    with pytest.RaisesGroup(
        pytest.RaisesGroup(
            pytest.RaisesExc(TypeError, match=r"Wrong\.accept\(\): .*type MemoryLink")
        )
    ):
        await serving(Wrong())()


async def test_server_that_shuts_down_as_a_client_is_accepted_lets_go_of_it(
    nursery: trio.Nursery,
) -> None:
    near, far = memory_link_pair(16)
    server: Server

    class ShutsDown(ConduitAcceptor[Message]):
        async def accept(self) -> Conduit[Message]:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                await server.shutdown()
            return BareConduit(far, MessageFamily())

    server = await nursery.start(serving(ShutsDown()))
    with pytest.raises(SessionError):
        await initiator(near).open().__aenter__()
