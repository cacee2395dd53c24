"""What a peer can make this side hold before the handshake is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from roam_trio import (
    Limits,
    Metadata,
    StreamLink,
    acceptor,
    initiator,
)
from roam_trio.conduits.stable import StableConduitAcceptor
from roam_trio.errors import LimitExceeded, StableHandshakeError
from roam_trio.links.resuming.handshake import greet, prepare_acceptor_attachment
from roam_trio.links.resuming.hello import ClientHello
from roam_trio.wire.envelope import MessageFamily, encode_message
from roam_trio.wire.ids import ConnectionId, Parity
from roam_trio.wire.messages import ConnectionSettings, Hello, HelloYourself, Message

SETTINGS = ConnectionSettings(Parity.ODD, 64)


def framed(payload: bytes) -> bytes:
    return announced(len(payload)) + payload


def announced(length: int) -> bytes:
    return length.to_bytes(4, "little")


@pytest.mark.parametrize("side", [acceptor, initiator])
async def test_large_payload_ends_the_session_by_its_length(
    side: Callable[..., Any], autojump_clock: MockClock
) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(announced(70_000))
    with pytest.raises(LimitExceeded, match="limit: metadata_bytes"):
        await side(StreamLink(ours)).run()


@pytest.mark.parametrize("side", [acceptor, initiator])
async def test_all_the_metadata_of_a_handshake_fits(
    side: Callable[..., Any], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    metadata = Metadata.of({"x": bytes(Limits().metadata_bytes - 20)})
    first: Message = Hello(ConnectionId(0), 7, SETTINGS, metadata)
    if side is initiator:
        first = HelloYourself(ConnectionId(0), SETTINGS, metadata)
    ours, theirs = memory_stream_pair()
    await theirs.send_all(framed(b"".join(encode_message(first))))
    session = await nursery.start(side(StreamLink(ours)).run)
    assert session.peer.metadata == metadata
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("length", [26, 70_000])
async def test_link_that_resumes_begins_with_a_hello_and_nothing_longer(
    length: int, autojump_clock: MockClock
) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(announced(length))
    with pytest.raises(StableHandshakeError, match="resume=True"):
        await prepare_acceptor_attachment(StreamLink(ours))
    ours, theirs = memory_stream_pair()
    tx, rx = StreamLink(ours).split()
    await theirs.send_all(announced(length))
    with pytest.raises(StableHandshakeError, match="resume=True"):
        await greet(tx, rx, ClientHello())


async def test_session_that_resumes_loses_a_link_that_begins_with_a_large_payload(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ours, theirs = memory_stream_pair()
    clients = StableConduitAcceptor(MessageFamily())

    async def run() -> None:
        conduit = await clients.conduit_of(StreamLink(ours))
        assert conduit is not None
        await acceptor(conduit).run()

    nursery.start_soon(run)
    await theirs.send_all(framed(ClientHello().encode()) + announced(70_000))
    await wait_all_tasks_blocked()
    await theirs.send_all(b"1")
    with trio.fail_after(1):
        while await theirs.receive_some():
            pass
    nursery.cancel_scope.cancel()
