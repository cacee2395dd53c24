"""What a peer makes this side hold is weighed, whatever kind of message brings it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Limits
from roam_trio.errors import LimitExceeded
from roam_trio.metadata import Metadata
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import AcceptedConnection
from roam_trio.wire.envelope import decode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestResponse,
)
from tests.peer import Peer

from .joined import METHOD, Joined
from .running import Custom, WithPeer, run_of

LARGE = Metadata.of({"x": bytes(1000)})
EVEN = ConnectionSettings(Parity.EVEN)

Kind = Callable[[int], ChannelMessage]

KINDS: dict[str, Kind] = {
    "item": lambda channel_id: ChannelItem(0, channel_id, bytes(1000)),
    "close": lambda channel_id: ChannelClose(0, channel_id, LARGE),
    "reset": lambda channel_id: ChannelReset(0, channel_id, LARGE),
}

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


# ------------------------------------------------------------ proxied messages


@every_kind
async def test_proxied_messages_are_weighed_whatever_their_kind(kind: Kind) -> None:
    limits = {"limits": Limits(proxied_bytes=4000)}
    async with Joined(far=1, far_options=limits) as joined:
        near, far = joined.near, joined.far
        channels = tuple(range(2, 20, 2))
        await near.say(near.call(2, channels=channels))
        await far.peer.hear(RequestCall)
        for channel_id in channels[:4]:  # one on the link, and three that wait
            message = kind(channel_id)
            message.connection_id = near.id
            await near.say(message)
        await near.hears_nothing_more()
        message = kind(channels[4])
        message.connection_id = near.id
        await near.say(message)
        close = await near.peer.hear(ConnectionClose)
        assert str(close.metadata.get("error")).endswith("(limit: proxied_bytes)")


async def test_messages_that_wait_with_their_request_are_weighed_too() -> None:
    limits = {"limits": Limits(proxied_bytes=4000)}
    async with Joined(far_most=1, near_accepts=64, far_options=limits) as joined:
        near, far = joined.near, joined.far
        await near.say(near.call(2))
        await far.hears(far.call(1))
        channels = (2, 4, 6, 8)
        await near.say(near.call(4, channels=channels))
        await near.say(*(near.close(channel_id, LARGE) for channel_id in channels[:3]))
        await near.hears_nothing_more()
        await near.say(near.close(channels[3], LARGE))
        close = await near.peer.hear(ConnectionClose)
        assert str(close.metadata.get("error")).endswith("(limit: proxied_bytes)")


async def test_responses_that_a_proxy_holds_are_weighed() -> None:
    limits = {"limits": Limits(request_bytes=35_000)}
    async with Joined(near=1, near_options=limits) as joined:
        near, far = joined.near, joined.far
        for number in (2, 4, 6, 8, 10):
            await near.say(near.call(number))
            await far.peer.hear(RequestCall)
        # One is on the link to the near peer, and three wait.
        await far.say(*(far.response(number, bytes(10_000)) for number in (1, 3, 5, 7)))
        await far.hears_nothing_more()
        assert joined.near_session.ended_because is None
        await far.say(far.response(9, bytes(10_000)))
        close = await far.peer.hear(ConnectionClose)
        assert str(close.metadata.get("error")).endswith("(limit: request_bytes)")
        await near.say(Ping(0, 1))
        for _ in range(9):
            heard = await hear_any(near.peer)
            if isinstance(heard, Pong):
                break
        assert isinstance(heard, Pong)  # all else goes on


async def hear_any(peer: Peer) -> Message:
    payload = await peer.rx.recv()
    assert payload is not None
    return decode_message(payload)


# ------------------------------------------------------------ requests


@pytest.mark.parametrize(
    ("metadata", "args"),
    [(Metadata(), bytes(10_000)), (Metadata.of({"x": bytes(10_000)}), b"")],
    ids=["args", "metadata"],
)
async def test_requests_in_flight_are_weighed(metadata: Metadata, args: bytes) -> None:
    gate = trio.Event()

    async def handle(call: RequestCall, reply: ReplySink) -> None:
        await gate.wait()
        await reply.send(b"")

    limits = Limits(request_bytes=35_000)
    async with WithPeer(Custom(handle), limits=limits) as (session, peer):

        async def call(number: int) -> None:
            await peer.say(RequestCall(0, number, METHOD, (), metadata, args))

        for number in (2, 4, 6):
            await call(number)
        await wait_all_tasks_blocked()
        gate.set()
        for _ in range(3):
            await peer.hear(RequestResponse)
        assert run_of(session).answering.bytes == 0
        gate = trio.Event()
        for number in (8, 10, 12):
            await call(number)
        assert await peer.heard_nothing_more()
        await call(14)
        error = await peer.hear(ProtocolError)
        assert error.description.endswith("(limit: request_bytes)")


# ------------------------------------------------------------ connections


class Deciding:
    """An acceptor that decides when told to."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.verdict: AcceptedConnection | Metadata = AcceptedConnection()

    async def accept(self, *args: object) -> AcceptedConnection | Metadata:
        await self.gate.wait()
        return self.verdict


# ------------------------------------------------------------ unsent replies


async def test_unsent_replies_are_weighed(nursery: trio.Nursery) -> None:
    limits = Limits(unsent_reply_bytes=3500, close_seconds=1)
    acceptor = Deciding()
    acceptor.verdict = LARGE
    acceptor.gate.set()
    async with WithPeer(buffer=1, on_connection=acceptor, limits=limits) as (
        session,
        peer,
    ):
        for number in (2, 4, 6, 8):  # one on the link, and three that wait
            await peer.say(ConnectionOpen(number, EVEN))
            await wait_all_tasks_blocked()
        assert session.ended_because is None
        await peer.say(ConnectionOpen(10, EVEN))
        await wait_all_tasks_blocked()
        reason = session.ended_because
        assert isinstance(reason, LimitExceeded)
        assert reason.limit == "unsent_reply_bytes"
        assert "(limit: unsent_reply_bytes)" in str(reason)
        for _ in range(4):
            await peer.hear(ConnectionReject)
        await peer.hear(ProtocolError)


async def test_what_has_been_sent_weighs_no_longer(nursery: trio.Nursery) -> None:
    acceptor = Deciding()
    acceptor.verdict = LARGE
    acceptor.gate.set()
    limits = Limits(unsent_reply_bytes=3500)
    async with WithPeer(buffer=1, on_connection=acceptor, limits=limits) as (
        session,
        peer,
    ):
        for first in range(2, 100, 8):
            for number in range(first, first + 8, 2):
                await peer.say(ConnectionOpen(number, EVEN))
                await wait_all_tasks_blocked()
            for _ in range(4):
                await peer.hear(ConnectionReject)
        assert session.ended_because is None
