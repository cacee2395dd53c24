"""A peer that accepts no calls: whoever makes one is told so, and does not wait."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from roam_trio import CallRefused, acceptor, channel, client, connect, initiator
from roam_trio.codec import CANCELLED
from roam_trio.endpoints.proxying import ProxyAcceptor
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.tcp import tcp_link
from roam_trio.metadata import Metadata
from roam_trio.session import (
    AcceptedConnection,
    ConnectionHandle,
    Session,
)
from roam_trio.session.proxy import proxy_connections
from roam_trio.wire.envelope import decode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionSettings,
    Message,
    RequestCall,
    RequestResponse,
)
from tests.peer import Peer, link_to_peer

from .joined import METHOD
from .running import (
    Streams,
    Task,
    WithPeer,
    call_of,
    caller_of,
    idle,
    response,
    run_of,
    streams,
)

NONE_ODD = ConnectionSettings(Parity.ODD, 0)
NONE_EVEN = ConnectionSettings(Parity.EVEN, 0)

refused = pytest.raises(CallRefused, match=r"told max_concurrent_requests=0")


async def hear_any(peer: Peer) -> Message:
    payload = await peer.rx.recv()
    assert payload is not None
    return decode_message(payload)


async def test_on_the_root_connection_of_the_initiator() -> None:
    async with WithPeer(most=0) as (session, peer):
        for _ in range(3):
            with refused:
                await caller_of(session).add(1, 2)
        assert await peer.heard_nothing_more()
        assert idle(session)


async def test_on_the_root_connection_of_the_acceptor(nursery: trio.Nursery) -> None:
    link, peer = link_to_peer()
    nursery.start_soon(peer.initiate, 0)
    session: Session = await nursery.start(acceptor(link).run)
    with refused:
        await caller_of(session).add(1, 2)
    await peer.leave()


async def test_channels_of_the_call_are_not_opened() -> None:
    async with WithPeer(most=0) as (session, peer):
        _, rx = channel[int]()
        with refused:
            await caller_of(session).take(rx)
        assert run_of(session).channels.open == 0
        assert await peer.heard_nothing_more()


async def test_calls_of_such_a_peer_are_answered() -> None:
    async def add(left: int, right: int) -> int:
        return left + right

    async with WithPeer(streams(add=add), most=0) as (_, peer):
        await peer.say(call_of("add", 2, 1, 2))
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x03")


async def test_a_session_on_which_none_is_accepted_ends_as_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with WithPeer(most=0) as (session, peer):
        with refused:
            await caller_of(session).add(1, 2)
        await peer.leave()
        await session.shutdown(grace=5)
        assert trio.current_time() == pytest.approx(0)


async def test_on_a_connection_that_this_side_has_opened(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        opening = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionAccept(1, NONE_EVEN))
        connection = await opening.result()
        with refused:
            await client(Streams, connection.caller).add(1, 2)
        assert await peer.heard_nothing_more()


async def test_on_a_connection_that_the_peer_has_opened(nursery: trio.Nursery) -> None:
    handles: list[ConnectionHandle] = []

    async def set_up(connection: ConnectionHandle) -> None:
        handles.append(connection)

    class Accepting:
        async def accept(self, *args: object) -> AcceptedConnection:
            return AcceptedConnection(setup=set_up)

    async with WithPeer(on_connection=Accepting()) as (_, peer):
        await peer.say(ConnectionOpen(2, NONE_EVEN))
        await peer.hear(ConnectionAccept)
        await peer.heard_nothing_more()
        with refused:
            await client(Streams, handles[0].caller).add(1, 2)


async def test_with_session_open(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):

        async def call() -> None:
            async with session.open(Streams) as there:
                await there.add(1, 2)

        calling = Task(nursery, call)
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionAccept(1, NONE_EVEN))
        with refused:
            await calling.result()
        await peer.hear(ConnectionClose)


async def test_with_connect(nursery: trio.Nursery) -> None:
    async def be_the_peer(stream: trio.SocketStream) -> None:
        link: Link = tcp_link(stream)
        peer = Peer(link)
        async with trio.open_nursery() as pumping:
            pumping.start_soon(peer.tx.pump)
            await peer.accept(0)
            await peer.hear_end()
            await peer.leave()

    serve = partial(trio.serve_tcp, host="127.0.0.1")
    (listener,) = await nursery.start(serve, be_the_peer, 0)
    port = listener.socket.getsockname()[1]
    with refused:
        async with connect(f"tcp://127.0.0.1:{port}", Streams) as there:
            await there.add(1, 2)
    nursery.cancel_scope.cancel()


# ------------------------------------------------------------ through a proxy


class Chain:
    """``async with Chain() as chain:`` a session, a proxy, and a scripted far peer."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def __aenter__(self) -> Chain:
        far_link, self.far = link_to_peer()
        self._nursery.start_soon(self.far.accept)
        self.upstream: Session = await self._nursery.start(initiator(far_link).run)
        left, right = memory_link_pair(64)
        builder = acceptor(right, on_connection=ProxyAcceptor(self.upstream))
        self._nursery.start_soon(builder.run)
        self.near: Session = await self._nursery.start(initiator(left).run)
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.far.leave()
        self._nursery.cancel_scope.cancel()


async def test_through_a_proxy(nursery: trio.Nursery) -> None:
    async with Chain(nursery) as chain:
        opening = Task(nursery, chain.near.open_connection)
        await chain.far.hear(ConnectionOpen)
        await chain.far.say(ConnectionAccept(1, NONE_EVEN))
        connection = await opening.result()
        assert connection.peer_settings.max_concurrent_requests == 0
        with refused:
            await client(Streams, connection.caller).add(1, 2)
        # The far peer can call.
        call = call_of("add", 2, 1, 2)
        call.connection_id = 1
        await chain.far.say(call)
        answer = await chain.far.hear(RequestResponse)
        assert (answer.connection_id, answer.request_id) == (1, 2)


async def test_a_proxy_passes_on_that_the_near_peer_accepts_none(
    nursery: trio.Nursery,
) -> None:
    far_link, far = link_to_peer()
    nursery.start_soon(far.accept)
    upstream: Session = await nursery.start(initiator(far_link).run)
    near_link, near = link_to_peer()
    nursery.start_soon(acceptor(near_link, on_connection=ProxyAcceptor(upstream)).run)
    await near.initiate()
    await near.say(ConnectionOpen(1, NONE_ODD))
    opened = await far.hear(ConnectionOpen)
    assert opened.settings.max_concurrent_requests == 0
    await far.say(ConnectionAccept(1, ConnectionSettings(Parity.EVEN)))
    assert (await near.hear(ConnectionAccept)).settings.max_concurrent_requests == 64
    await near.say(RequestCall(1, 1, METHOD, (), Metadata(), b""))
    assert (await far.hear(RequestCall)).request_id == 1
    await near.leave()
    await far.leave()


async def test_a_call_that_a_proxy_cannot_make_is_answered_and_logged_in_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        WithPeer() as (near, peer),
        WithPeer(most=0) as (far, _),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(proxy_connections, near.root, far.root)
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(RequestCall(0, 2, METHOD, (2,), Metadata(), b""))
        answer = await hear_any(peer)
        while isinstance(answer, ChannelClose):
            answer = await hear_any(peer)
        assert isinstance(answer, RequestResponse)
        assert answer.ret == CANCELLED
        assert "max_concurrent_requests=0" in str(answer.metadata.get("error"))
        assert run_of(near).channels.open == 0
        (record,) = caplog.records
        assert record.exc_info is None
        assert "max_concurrent_requests=0" in record.getMessage()
        nursery.cancel_scope.cancel()
