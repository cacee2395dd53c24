"""Wherever a text of a peer enters an error, a repr or a log, it is legible there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from websockets.frames import Close

from roam_trio import serve
from roam_trio.errors import (
    ConnectionClosed,
    LinkError,
    LocalProtocolError,
    RemoteProtocolError,
    RoamTrioError,
    SessionRejected,
    UserError,
)
from roam_trio.links.websocket_framing import WebSocketDecoder
from roam_trio.metadata import Metadata, MetadataEntry
from roam_trio.session.offering import OfferedServices
from roam_trio.transports import LinkOptions, transport_for
from roam_trio.wire.messages import (
    ChannelItem,
    ConnectionOpen,
    ConnectionReject,
    Message,
    ProtocolError,
    RequestCall,
)
from tests.peer import Peer
from tests.session.connecting import ODD
from tests.session.running import Task, WithPeer, streams

LINES = "a\r\n\x1b[2J\u202e\u2028\u200b\ud800" + "b" * 100
LONG = ("\n\x9b" + "x" * 98) * 10_000
MOST = 2100

TEXTS = pytest.mark.parametrize("text", [LINES, LONG], ids=["lines", "long"])


def is_legible(text: str) -> bool:
    return text.isprintable() and len(text) <= MOST


ERRORS: list[Callable[[str], RoamTrioError]] = [
    lambda text: LocalProtocolError(text),
    lambda text: ConnectionClosed("peer", Metadata([MetadataEntry(text, text)])),
    lambda text: ConnectionClosed("peer", Metadata([MetadataEntry("a", text)] * 999)),
    lambda text: SessionRejected(text, Metadata()),
    LinkError,
    UserError,
]


@TEXTS
@pytest.mark.parametrize("make", ERRORS)
def test_an_error_says_it_on_one_line(
    make: Callable[[str], RoamTrioError], text: str
) -> None:
    error = make(text)
    assert is_legible(str(error))
    assert is_legible(repr(error))


@TEXTS
def test_the_attributes_of_an_error_have_it_as_it_came(text: str) -> None:
    assert RemoteProtocolError(text).description == text


REPRS: list[Callable[[str], Any]] = [
    lambda text: MetadataEntry(text, text),
    lambda text: MetadataEntry("key", text.encode("utf-8", "surrogatepass")),
    lambda text: Metadata([MetadataEntry("key", "value")] * len(text)),
    lambda text: ProtocolError(0, text),
    lambda text: ChannelItem(0, 1, text.encode("utf-8", "surrogatepass")),
    lambda text: RequestCall(0, 1, 2, (), Metadata(), [b"\n" * len(text)]),
]


@TEXTS
@pytest.mark.parametrize("make", REPRS)
def test_a_repr_is_on_one_line(make: Callable[[str], Any], text: str) -> None:
    assert is_legible(repr(make(text)))


@pytest.mark.parametrize("reason", ["no\n\x1b[2J", "\u202eno\u2028", "\x9b" * 50])
def test_the_reason_of_a_websocket_that_is_closed_is_on_one_line(reason: str) -> None:
    payload = Close(1011, reason).serialize()
    frame = bytes([0x88, len(payload)]) + payload
    decoder = WebSocketDecoder(1000, masked=False, on_ping=lambda _: None)
    with pytest.raises(LinkError) as caught:
        decoder.feed(frame)
    assert is_legible(str(caught.value))
    assert "1011" in str(caught.value)


@TEXTS
async def test_the_name_of_a_service_that_is_not_there_is_refused_on_one_line(
    text: str,
) -> None:
    offered = OfferedServices({"counter": streams()})
    metadata = Metadata([MetadataEntry("service", text)])
    refused = await offered.accept(1, ODD, metadata)
    assert isinstance(refused, Metadata)
    assert is_legible(str(refused.get("error")))


def sendable(text: str) -> str:
    return text.replace("\ud800", "")


@TEXTS
async def test_a_rejection_is_told_on_one_line(
    text: str, nursery: trio.Nursery
) -> None:
    text = sendable(text)
    async with WithPeer() as (session, peer):
        opening = Task(nursery, session.open_connection)
        message = await peer.hear(ConnectionOpen)
        why = Metadata.of({text: text, "error": text})
        await peer.say(ConnectionReject(message.connection_id, why))
        await trio.testing.wait_all_tasks_blocked()
    assert is_legible(str(opening.error))


@TEXTS
async def test_what_is_said_instead_of_a_handshake_is_logged_on_one_line(
    text: str,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    await said_at_once(nursery, ProtocolError(0, sendable(text)))
    assert caplog.records
    for record in caplog.records:
        assert is_legible(record.getMessage())


async def said_at_once(nursery: trio.Nursery, message: Message) -> None:
    """Say something to a server, and wait until it has made of it what it makes."""
    server = await nursery.start(serve, "memory://texts", streams())
    link = await transport_for(server.url).to_connect(server.url, LinkOptions())()
    peer = Peer(link)
    await peer.say(message)
    await trio.testing.wait_all_tasks_blocked()
    await peer.leave()
    await trio.testing.wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
