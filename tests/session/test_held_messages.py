"""Held messages are counted by their size, against named limits."""

from __future__ import annotations

from typing import Any

import pytest

from roam_trio import Limits
from roam_trio.errors import LimitExceeded
from roam_trio.metadata import Metadata
from roam_trio.session.held_messages import (
    HeldMessages,
    encoded_size,
    payload_behind,
    weight_of,
)
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

METADATA = Metadata.of({"text": "a word", "number": 300, "bytes": bytes(200)})
EVEN = ConnectionSettings(Parity.EVEN)
NUMBERS = [0, 1, 127, 128, 16_383, 16_384, 2**32 - 1, 2**64 - 1]


def held(**limits: int) -> HeldMessages:
    return HeldMessages(
        Limits(**limits), "early_items", "early_bytes", "wait for a test"
    )


def item(channel_id: int = 2, size: int = 0) -> ChannelItem:
    return ChannelItem(0, channel_id, bytes(size))


# ------------------------------------------------------------ the unit


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", [ChannelItem, ChannelGrantCredit])
def test_size_counts_the_numbers_of_a_message_at_any_length(
    kind: Any, number: int
) -> None:
    payload = b"1234" if kind is ChannelItem else min(number, 2**32 - 1)
    message = kind(number, number, payload)
    assert encoded_size(message) == len(b"".join(encode_message(message)))


@pytest.mark.parametrize(
    "message",
    [
        ChannelItem(1, 2, b""),
        ChannelItem(1, 2, bytes(5000)),
        ChannelItem(1, 2, memoryview(bytes(5000))),
        ChannelItem(1, 2, [b"in", memoryview(b"pieces")]),
        ChannelGrantCredit(1, 2, 16),
        ChannelClose(1, 2),
        ChannelClose(1, 2, METADATA),
        ChannelReset(1, 2),
        ChannelReset(1, 2, METADATA),
        RequestCall(1, 2, 2**60, (4, 600), METADATA, b"args"),
        RequestResponse(1, 2, (), METADATA, [b"re", b"t"]),
        RequestCancel(1, 2, METADATA),
        ConnectionOpen(2, EVEN, METADATA),
        ConnectionAccept(2, EVEN, METADATA),
        ConnectionReject(2, METADATA),
        ConnectionClose(2, METADATA),
        ProtocolError(0, "wörds"),
        Ping(0, 2**40),
        Pong(0, 5),
    ],
    ids=lambda message: type(message).__name__,
)
def test_size_is_that_of_the_encoding_whatever_the_kind(message: Message) -> None:
    assert encoded_size(message) == len(b"".join(encode_message(message)))


def test_long_received_value_counts_with_the_payload_it_keeps() -> None:
    for size, behind in ((2, 0), (5000, True)):
        payload = b"".join(encode_message(RequestCall(0, 2, 1, (), METADATA, b"")))
        call = decode_message(payload + bytes(size))
        assert isinstance(call, RequestCall)
        expected = len(payload) + size if behind else 0
        assert payload_behind(call.args) == expected
    assert payload_behind([b"of", b"this side"]) == 0


# ------------------------------------------------------------ the two limits


def test_messages_up_to_the_limit_are_held() -> None:
    three = held(early_items=3)
    for _ in range(3):
        three.add(item())
    assert (three.count, three.bytes) == (3, 12)
    with pytest.raises(LimitExceeded) as caught:
        three.add(item(channel_id=8))
    assert caught.value.limit == "early_items"
    assert caught.value.description == (
        "channel 8: 4 messages wait for a test, at most 3 may (limit: early_items)"
    )
    assert (three.count, three.bytes) == (3, 12)


def test_bytes_up_to_the_limit_are_held() -> None:
    few = held(early_bytes=28)
    few.add(item(size=10))
    few.add(item(size=10))
    with pytest.raises(LimitExceeded) as caught:
        few.add(ChannelGrantCredit(0, 2, 1))
    assert caught.value.limit == "early_bytes"
    assert caught.value.description == (
        "channel 2: 33 bytes wait for a test, at most 28 may (limit: early_bytes)"
    )
    assert (few.count, few.bytes) == (2, 28)


@pytest.mark.parametrize(
    "message",
    [
        item(size=1000),
        ChannelClose(0, 2, METADATA),
        ChannelReset(0, 2, METADATA),
        ChannelGrantCredit(0, 2, 2**20),
    ],
    ids=["item", "close", "reset", "credit"],
)
def test_message_that_is_let_go_of_makes_room_for_another(
    message: ChannelItem | ChannelClose | ChannelReset | ChannelGrantCredit,
) -> None:
    metadata = getattr(message, "metadata", ())
    size = max(encoded_size(message), weight_of(metadata))
    one = held(early_items=1, early_bytes=size)
    for _ in range(3):
        one.add(message)
        with pytest.raises(LimitExceeded):
            one.add(message)
        one.remove(message)
        assert (one.count, one.bytes) == (0, 0)


@pytest.mark.parametrize("kind", [ChannelClose, ChannelReset])
def test_metadata_counts_with_the_memory_that_it_takes(kind: Any) -> None:
    many = Metadata.of({f"k{number}": number for number in range(1000)})
    one = held()
    one.add(kind(0, 2, many))
    assert one.bytes > 15 * encoded_size(kind(0, 2, many))


def test_clear_makes_room_for_all() -> None:
    two = held(early_items=2)
    for _ in range(2):
        two.add(item(size=3))
        two.add(item(size=4))
        assert repr(two) == "<HeldMessages: 2, of 15 bytes>"
        two.clear()
    assert (two.count, two.bytes) == (0, 0)
