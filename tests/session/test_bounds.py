"""Bounds on what a peer can make this side hold or do, beyond credit."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from roam_trio import DecodeError, LimitExceeded, Limits, channel
from roam_trio.metadata import Metadata, MetadataEntry
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.messages import (
    ChannelItem,
    ConnectionClose,
    ProtocolError,
    RequestCall,
)
from tests.session.running import Task, WithPeer, caller_of


async def test_items_that_wait_unread_are_bounded_in_bytes(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    item = ChannelItem(0, 1, b"\xfe\xff\x03")
    async with WithPeer(limits=Limits(unread_bytes=210)) as (session, peer):
        Task(nursery, caller_of(session).give, 9, tx)
        await peer.hear(RequestCall)
        await peer.say(item, item, item)
        await rx.recv()
        await peer.say(item)
        await trio.testing.wait_all_tasks_blocked()
        assert session.ended_because is None
        await peer.say(item)
        await peer.hear(ProtocolError)
    assert isinstance(session.ended_because, LimitExceeded)
    assert "limit: unread_bytes" in str(session.ended_because)


def test_a_message_with_too_many_entries_is_refused_before_they_are_made() -> None:
    entries = Metadata([MetadataEntry("", "")] * 1025)
    payload = b"".join(encode_message(ConnectionClose(1, entries)))
    with pytest.raises(DecodeError, match="at most 1024 entries, got 1025"):
        decode_message(payload)


def test_a_message_with_too_many_channels_is_refused_before_they_are_made() -> None:
    call = RequestCall(0, 1, 2**63, tuple([1] * 65_537), Metadata(), b"")
    with pytest.raises(DecodeError, match="at most 65536 ids, got 65537"):
        decode_message(b"".join(encode_message(call)))
