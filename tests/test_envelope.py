"""The bytes of messages: one table for writer and reader, and everything malformed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roam_trio.errors import DecodeError, EncodeError
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry
from roam_trio.wire.envelope import MessageFamily, decode_message, encode_message
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
    Encoded,
    Hello,
    HelloYourself,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
    joined,
)

U32 = (1 << 32) - 1
U64 = (1 << 64) - 1

MD = Metadata(
    [
        MetadataEntry("trace-id", "abc123"),
        MetadataEntry("auth", b"\xde\xad\xbe\xef", 3),
        MetadataEntry("attempt", 2),
    ]
)
MD_HEX = (
    "03 08 74726163652d6964 00 06 616263313233 00 04 61757468 01 04 deadbeef 03"
    "07 617474656d7074 02 02 00"
)
ODD, EVEN = Parity.ODD, Parity.EVEN

GOLDEN: list[tuple[str, Message, str]] = [
    ("hello", Hello(0, 7, ConnectionSettings(ODD, 64), MD), "00 00 07 00 40" + MD_HEX),
    (
        "hello_yourself",
        HelloYourself(0, ConnectionSettings(EVEN, 32), MD),
        "00 01 01 20" + MD_HEX,
    ),
    (
        "protocol_error",
        ProtocolError(0, "bad frame sequence"),
        "00 02 12 626164206672616d652073657175656e6365",
    ),
    (
        "connection_open",
        ConnectionOpen(2, ConnectionSettings(ODD, 64), MD),
        "02 03 00 40" + MD_HEX,
    ),
    (
        "connection_accept",
        ConnectionAccept(2, ConnectionSettings(EVEN, 96), MD),
        "02 04 01 60" + MD_HEX,
    ),
    ("connection_reject", ConnectionReject(4, MD), "04 05" + MD_HEX),
    ("connection_close", ConnectionClose(2, MD), "02 06" + MD_HEX),
    (
        "request_call",
        RequestCall(2, 11, 0xE5A1D6B2C390F001, (3, 5), MD, bytes.fromhex("f8acd19101")),
        "02 07 0b 00 81e0c39cacd6f5d0e501 02 03 05" + MD_HEX + "f8acd19101",
    ),
    (
        "request_response",
        RequestResponse(2, 11, (7,), MD, bytes.fromhex("8ce0bad60f")),
        "02 07 0b 01 01 07" + MD_HEX + "8ce0bad60f",
    ),
    ("request_cancel", RequestCancel(2, 11, MD), "02 07 0b 02" + MD_HEX),
    ("channel_item", ChannelItem(2, 3, b"\x4d"), "02 08 03 00 4d"),
    ("channel_close", ChannelClose(2, 3, MD), "02 08 03 01" + MD_HEX),
    ("channel_reset", ChannelReset(2, 3, MD), "02 08 03 02" + MD_HEX),
    ("channel_grant_credit", ChannelGrantCredit(2, 3, 1024), "02 08 03 03 80 08"),
]
"""The reference vectors: their name, the message, its bytes."""

SENT: list[tuple[str, Message, str]] = [
    ("session start", Hello(0, 7, ConnectionSettings(ODD, 64)), "00 00 07 00 40 00"),
    ("its answer", HelloYourself(0, ConnectionSettings(EVEN, 64)), "00 01 01 40 00"),
    (
        "echo hello",
        RequestCall(0, 1, 0x9AABC4BA61FD5DF3, (), NO_METADATA, b"\5hello"),
        "00 07 01 00 f3bbf58fa697f1d59a01 00 00 0568656c6c6f",
    ),
    (
        "echo answered",
        RequestResponse(0, 1, (), NO_METADATA, b"\0\5hello"),
        "00 07 01 01 00 00 00 0568656c6c6f",
    ),
    ("item 1", ChannelItem(0, 1, b"\2"), "00 08 01 00 02"),
    ("close", ChannelClose(0, 1), "00 08 01 01 00"),
    ("reset", ChannelReset(0, 3), "00 08 03 02 00"),
    ("credit", ChannelGrantCredit(0, 1, 8), "00 08 01 03 08"),
    ("cancel", RequestCancel(0, 3), "00 07 03 02 00"),
    ("ping", Ping(0, 1), "00 09 01"),
    ("pong", Pong(0, 300), "00 0a ac02"),
    ("open", ConnectionOpen(1, ConnectionSettings(ODD, 64)), "01 03 00 40 00"),
    ("accept", ConnectionAccept(1, ConnectionSettings(EVEN, 64)), "01 04 01 40 00"),
    ("reject", ConnectionReject(1), "01 05 00"),
    ("close connection", ConnectionClose(1), "01 06 00"),
]
"""What is sent when."""

EDGES: list[tuple[str, Message, str]] = [
    ("no value", ChannelItem(0, 0, b""), "00 08 00 00"),
    (
        "no arguments",
        RequestCall(0, 0, 0, (), NO_METADATA, b""),
        "00 07 00 00 00 00 00",
    ),
    ("one-byte number", Ping(0, 127), "00 09 7f"),
    ("two-byte number", Ping(0, 128), "00 09 80 01"),
    ("largest of two bytes", Ping(0, 16383), "00 09 ff 7f"),
    ("three-byte number", Ping(0, 16384), "00 09 80 80 01"),
    ("largest of three bytes", Ping(0, 2097151), "00 09 ff ff 7f"),
    ("four-byte number", Ping(0, 2097152), "00 09 80 80 80 01"),
    ("largest nonce", Ping(0, U64), "00 09 ffffffffffffffffff01"),
    ("largest connection", Pong(U64, 0), "ffffffffffffffffff01 0a 00"),
    (
        "largest ids",
        ChannelGrantCredit(300, U64, U32),
        "ac02 08 ffffffffffffffffff01 03 ffffffff0f",
    ),
    (
        "largest call",
        RequestCall(128, U64, U64, (0, U64), NO_METADATA, b"\7"),
        "8001 07 ffffffffffffffffff01 00 ffffffffffffffffff01 "
        "02 00 ffffffffffffffffff01 00 07",
    ),
    (
        "largest settings",
        Hello(0, U32, ConnectionSettings(EVEN, U32)),
        "00 00 ffffffff0f 01 ffffffff0f 00",
    ),
    (
        "empty and largest metadata",
        RequestCancel(
            0,
            1,
            Metadata(
                [
                    MetadataEntry("", "", U64),
                    MetadataEntry("", b""),
                    MetadataEntry("", U64),
                ]
            ),
        ),
        "00 07 01 02 03  00 00 00 ffffffffffffffffff01  00 01 00 00"
        "00 02 ffffffffffffffffff01 00",
    ),
    ("text beyond ASCII", ProtocolError(0, "nö ✗"), "00 02 07 6ec3b620e29c97"),
]

TABLE = [*GOLDEN, *SENT, *EDGES]


def rows(table: list[tuple[str, Message, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("message", "expected"),
        [
            pytest.param(message, bytes.fromhex(text), id=name)
            for name, message, text in table
        ],
    )


def encoded(message: Message) -> bytes:
    return b"".join(encode_message(message))


# ------------------------------------------------------------ the table


@pytest.mark.rule(
    "session.message", "session.message.connection-id", "session.message.payloads"
)
class TestTable:
    @rows(TABLE)
    def test_writer_gives_the_bytes(self, message: Message, expected: bytes) -> None:
        assert encoded(message) == expected

    @rows(TABLE)
    def test_reader_gives_the_message(self, message: Message, expected: bytes) -> None:
        assert decode_message(expected) == message

    @rows(TABLE)
    def test_reader_takes_a_view(self, message: Message, expected: bytes) -> None:
        assert plain(decode_message(memoryview(expected))) == message

    @rows(TABLE)
    def test_family_is_the_same_codec(self, message: Message, expected: bytes) -> None:
        family = MessageFamily()
        assert b"".join(family.encode(message)) == expected
        assert family.decode(expected) == message

    def test_table_has_every_kind(self) -> None:
        kinds = {type(message) for _, message, _ in TABLE}
        assert kinds == set(get_args(Message))


VECTORS = Path(__file__).parent / "data" / "golden-vectors" / "wire-v7"


@pytest.mark.rule(
    "session.message",
    "session.connection-settings",
    "rpc.metadata",
    "rpc.metadata.value",
)
@pytest.mark.parametrize(
    "path", sorted(VECTORS.glob("*.bin")), ids=lambda path: path.stem
)
def test_reference_vector_is_read_and_written_to_the_byte(path: Path) -> None:
    vector = path.read_bytes()
    message = {f"message_{name}": message for name, message, _ in GOLDEN}[path.stem]
    assert decode_message(vector) == message
    assert encoded(message) == vector


def test_every_message_of_the_table_has_its_reference_vector() -> None:
    names = {f"message_{name}" for name, _, _ in GOLDEN}
    assert {path.stem for path in VECTORS.glob("*.bin")} == names


# ------------------------------------------------------------ any message

edges = st.sampled_from([0, 127, 128, 16383, 16384, 2097151, 2097152, U32])
u32s = st.integers(0, 127) | edges | st.integers(0, U32)
u64s = st.integers(0, 127) | edges | st.integers(0, U64)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.binary(max_size=8) | st.binary(min_size=2046, max_size=2050)
ids = st.lists(u64s, max_size=3).map(tuple)
settings = st.builds(ConnectionSettings, st.sampled_from(Parity), u32s)
metadata = st.lists(
    st.builds(MetadataEntry, texts, texts | st.binary(max_size=8) | u64s, u64s),
    max_size=3,
).map(Metadata)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, u64s, u32s, settings, metadata),
    st.builds(HelloYourself, u64s, settings, metadata),
    st.builds(ProtocolError, u64s, texts),
    st.builds(ConnectionOpen, u64s, settings, metadata),
    st.builds(ConnectionAccept, u64s, settings, metadata),
    st.builds(ConnectionReject, u64s, metadata),
    st.builds(ConnectionClose, u64s, metadata),
    st.builds(RequestCall, u64s, u64s, u64s, ids, metadata, values),
    st.builds(RequestResponse, u64s, u64s, ids, metadata, values),
    st.builds(RequestCancel, u64s, u64s, metadata),
    st.builds(ChannelItem, u64s, u64s, values),
    st.builds(ChannelClose, u64s, u64s, metadata),
    st.builds(ChannelReset, u64s, u64s, metadata),
    st.builds(ChannelGrantCredit, u64s, u64s, u32s),
    st.builds(Ping, u64s, u64s),
    st.builds(Pong, u64s, u64s),
)


def plain(message: Message) -> Message:
    """`message` with the value it carries in one piece of bytes."""
    if isinstance(message, RequestCall):
        message.args = bytes(joined(message.args))
    elif isinstance(message, RequestResponse):
        message.ret = bytes(joined(message.ret))
    elif isinstance(message, ChannelItem):
        message.item = bytes(joined(message.item))
    return message


@pytest.mark.rule(
    "session.message",
    "session.message.payloads",
    "rpc.metadata",
    "rpc.metadata.duplicates",
)
@given(messages)
def test_any_message_survives_the_journey(message: Message) -> None:
    payload = encoded(message)
    for received in (payload, memoryview(payload)):
        assert plain(decode_message(received)) == message
    assert encoded(decode_message(payload)) == payload


def without_value(message: Message) -> bytes:
    """The bytes of `message` up to its value, which has no end of its own."""
    payload = encoded(message)
    value: Encoded = b""
    if isinstance(message, RequestCall):
        value = message.args
    elif isinstance(message, RequestResponse):
        value = message.ret
    elif isinstance(message, ChannelItem):
        value = message.item
    return payload[: len(payload) - len(joined(value))]


@given(messages)
def test_every_truncation_is_refused(message: Message) -> None:
    whole = without_value(message)
    for length in range(len(whole)):
        with pytest.raises(DecodeError):
            decode_message(whole[:length])
        with pytest.raises(DecodeError):
            decode_message(memoryview(whole)[:length])


def corruptions(payload: bytes) -> Iterator[bytes]:
    for place in range(min(len(payload), 120)):
        for flip in (0x01, 0x02, 0x0F, 0x10, 0x7F, 0x80, 0xFF):
            damaged = bytearray(payload)
            damaged[place] ^= flip
            yield bytes(damaged)


@given(messages)
def test_every_corrupted_byte_gives_a_message_or_a_decode_error(
    message: Message,
) -> None:
    for damaged in corruptions(encoded(message)):
        try:
            received = decode_message(damaged)
        except DecodeError:
            continue
        # What was read can be written again, and reads as the same.
        assert plain(decode_message(encoded(received))) == plain(received)


@given(st.binary(max_size=64))
@example(b"")
def test_any_bytes_give_a_message_or_a_decode_error(payload: bytes) -> None:
    try:
        received = decode_message(payload)
    except DecodeError:
        return
    assert plain(decode_message(encoded(received))) == plain(received)


# ------------------------------------------------------------ malformed

TOO_LONG = "80808080808080808080 01"  # eleven bytes
TOO_LARGE = "ffffffffffffffffff02"  # 65 bits and more
TOO_LONG_32 = "8080808080 01"
TOO_LARGE_32 = "ffffffff10"

MALFORMED: list[tuple[str, str, str, str]] = [
    # what is wrong, the bytes, where, and a part of what the error says
    ("nothing", "", "$", "a whole message, but it ends after 0 bytes"),
    ("no tag", "00", "$", "a whole message, but it ends after 1 bytes"),
    ("unknown tag 11", "00 0b 00", "$.payload", "message tags 0 to 10, got 11"),
    ("unknown tag 255", "00 ff 01", "$.payload", "message tags 0 to 10, got 255"),
    ("unknown request", "00 07 01 03 00", "$.request.body", "tags 0 to 2, got 3"),
    ("unknown channel tag", "00 08 01 04 00", "$.channel.body", "tags 0 to 3, got 4"),
    (
        "parity 2",
        "00 00 07 02 40 00",
        "$.settings.parity",
        "0 (odd) or 1 (even), got 2",
    ),
    (
        "value tag 3",
        "00 05 01 00 03 00 00",
        "$.metadata[0].value",
        "tags 0 to 2, got 3",
    ),
    ("long connection", TOO_LONG + "09 00", "$.connection_id", "at most 10 bytes"),
    ("large connection", TOO_LARGE + "09 00", "$.connection_id", f"up to {U64}, got"),
    ("long version", f"00 00 {TOO_LONG_32} 00 40 00", "$.version", "at most 5 bytes"),
    (
        "large version",
        f"00 00 {TOO_LARGE_32} 00 40 00",
        "$.version",
        f"up to {U32}, got",
    ),
    (
        "large settings",
        f"00 01 00 {TOO_LARGE_32} 00",
        "$.settings.max_concurrent_requests",
        f"up to {U32}, got",
    ),
    ("long request id", f"00 07 {TOO_LONG} 02 00", "$.request.id", "at most 10 bytes"),
    ("large request id", f"00 07 {TOO_LARGE} 02 00", "$.request.id", "got one of 65"),
    ("large method", f"00 07 01 00 {TOO_LARGE} 00 00", "$.request.method_id", "up to"),
    ("long channel id", f"00 08 {TOO_LONG} 00", "$.channel.id", "at most 10 bytes"),
    ("large channel id", f"00 08 {TOO_LARGE} 00", "$.channel.id", "up to"),
    ("large credit", f"00 08 01 03 {TOO_LARGE_32}", "$.channel.additional", f"{U32}"),
    ("long credit", f"00 08 01 03 {TOO_LONG_32}", "$.channel.additional", "5 bytes"),
    ("large nonce", f"00 09 {TOO_LARGE}", "$.nonce", "up to"),
    ("long flags", f"00 05 01 00 02 00 {TOO_LONG}", "$.metadata[0].flags", "10 bytes"),
    ("bad description", "00 02 02 c328", "$.description", "UTF-8"),
    ("bad key", "00 05 01 01 ff 02 00 00", "$.metadata[0].key", "UTF-8"),
    ("bad text", "00 05 01 01 6b 00 01 ff 00", "$.metadata[0].value", "UTF-8"),
    ("surrogate", "00 02 03 eda080", "$.description", "UTF-8"),
    ("short description", "00 02 05 6162", "$.description", "5 bytes, but 2 remain"),
    ("short value", "00 05 01 00 01 09 00 00", "$.metadata[0].value", "9 bytes, but 2"),
    (
        "endless description",
        "00 02 ffffffffffffffffff01 61",
        "$.description",
        f"{U64} bytes, but 1 remain",
    ),
    ("endless metadata", "00 05 ffffffffffffffffff01", "$.metadata", "but 0 bytes"),
    (
        "metadata over the end",
        "00 05 02 00 02 00 00 00",
        "$.metadata",
        "2 entries, but 5",
    ),
    (
        "endless channels",
        "00 07 01 01 ffffffffffffffffff01 00 00",
        "$.channels",
        f"{U64} ids, but 2 bytes remain",
    ),
    ("large channel", f"00 07 01 01 01 {TOO_LARGE} 00", "$.channels[0]", "up to"),
    (
        "more after Hello",
        "00 00 07 00 40 00 00",
        "$",
        "end of Hello after 6 bytes, but 1",
    ),
    ("more after Ping", "00 09 01 02 03", "$", "end of Ping after 3 bytes, but 2 more"),
    ("more after Cancel", "00 07 01 02 00 00", "$", "end of RequestCancel"),
    ("more after Close", "00 08 01 01 00 00", "$", "end of ChannelClose"),
    ("more after Reset", "00 08 01 02 00 00", "$", "end of ChannelReset"),
    ("more after credit", "00 08 01 03 08 00", "$", "end of ChannelGrantCredit"),
    ("more after text", "00 02 00 00", "$", "end of ProtocolError"),
]


@pytest.mark.rule("session.message")
@pytest.mark.parametrize(
    ("payload", "path", "problem"),
    [
        pytest.param(bytes.fromhex(text), path, problem, id=name)
        for name, text, path, problem in MALFORMED
    ],
)
def test_malformed_bytes_are_refused_saying_where(
    payload: bytes, path: str, problem: str
) -> None:
    for received in (payload, memoryview(payload)):
        with pytest.raises(DecodeError) as caught:
            decode_message(received)
        assert problem in caught.value.problem
        assert caught.value.path == path


def test_a_count_is_checked_before_anything_is_made_of_it() -> None:
    """A few bytes cannot announce more entries than they could hold."""
    entries = b"\0\2\0\0" * 1000
    count = b"\xe9\7"  # 1001
    with pytest.raises(DecodeError, match="1001 entries, but 4000 bytes remain"):
        decode_message(b"\0\5" + count + entries)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        pytest.param("8000 09 8100", Ping(0, 1), id="ping"),
        pytest.param("00 07 8100 02 8000", RequestCancel(0, 1), id="cancel"),
        pytest.param("00 08 8100 03 8800", ChannelGrantCredit(0, 1, 8), id="credit"),
        pytest.param(
            "00 07 8100 01 8000 8000 aa",
            RequestResponse(0, 1, (), NO_METADATA, b"\xaa"),
            id="response",
        ),
        pytest.param(
            "00 09 80808080808080808000", Ping(0, 0), id="ten bytes that say zero"
        ),
    ],
)
def test_numbers_longer_than_need_be_are_understood(
    payload: str, message: Message
) -> None:
    assert decode_message(bytes.fromhex(payload)) == message


# ------------------------------------------------------------ values carried along

CARRIERS: list[Any] = [
    lambda value: RequestCall(0, 1, 2, (), NO_METADATA, value),
    lambda value: RequestCall(0, 1, 2, (3,), MD, value),
    lambda value: RequestResponse(0, 1, (), NO_METADATA, value),
    lambda value: RequestResponse(0, 1, (3,), MD, value),
    lambda value: ChannelItem(0, 1, value),
]


@pytest.mark.rule("zerocopy.framing.value.opaque")
@pytest.mark.parametrize("carry", CARRIERS)
def test_a_value_goes_into_the_pieces_uncopied(carry: Any) -> None:
    value = bytes(100)
    view = memoryview(bytes(5000))
    assert encode_message(carry(value))[-1] is value
    assert encode_message(carry(view))[-1] is view
    pieces = encode_message(carry([b"ab", view, value]))
    assert pieces[-3:] == [b"ab", view, value]
    assert pieces[-1] is value
    assert pieces[-2] is view


@pytest.mark.parametrize("carry", CARRIERS)
def test_pieces_and_the_whole_have_the_same_bytes(carry: Any) -> None:
    assert encoded(carry([b"ab", memoryview(b"cd"), b""])) == encoded(carry(b"abcd"))


def value_of(message: Message) -> Encoded:
    if isinstance(message, RequestCall):
        return message.args
    if isinstance(message, RequestResponse):
        return message.ret
    assert isinstance(message, ChannelItem)
    return message.item


@pytest.mark.rule("zerocopy.framing.value.opaque")
@pytest.mark.parametrize("carry", CARRIERS)
def test_a_large_value_is_borrowed_from_the_payload(carry: Any) -> None:
    payload = encoded(carry(bytes(range(256)) * 16))
    value = value_of(decode_message(payload))
    assert isinstance(value, memoryview)
    assert value.obj is payload
    assert value == bytes(range(256)) * 16


@pytest.mark.parametrize("carry", CARRIERS)
def test_a_small_value_does_not_keep_the_payload(carry: Any) -> None:
    value = value_of(decode_message(encoded(carry(b"small"))))
    assert value == b"small"
    assert isinstance(value, bytes)


# ------------------------------------------------------------ numbers of this side's


@pytest.mark.rule("session.message")
@pytest.mark.parametrize(
    "message",
    [
        Ping(-1, 0),
        Ping(U64 + 1, 0),
        Ping(0, U64 + 1),
        Pong(0, -1),
        Hello(0, U32 + 1, ConnectionSettings(ODD)),
        Hello(0, 7, ConnectionSettings(ODD, U32 + 1)),
        HelloYourself(0, ConnectionSettings(ODD, -1)),
        ChannelGrantCredit(0, 1, U32 + 1),
        ChannelGrantCredit(0, U64 + 1, 1),
        ChannelItem(0, -1, b""),
        ChannelClose(0, U64 + 1),
        ChannelReset(-1, 1),
        RequestCall(0, U64 + 1, 0, (), NO_METADATA, b""),
        RequestCall(0, 1, U64 + 1, (), NO_METADATA, b""),
        RequestCall(0, 1, -1, (), NO_METADATA, b""),
        RequestCall(0, 1, 2, (U64 + 1,), NO_METADATA, b""),
        RequestResponse(0, -1, (), NO_METADATA, b""),
        RequestCancel(0, 1, Metadata([MetadataEntry("k", 1, U64 + 1)])),
        RequestCancel(0, 1, Metadata([MetadataEntry("k", U64 + 1)])),
        ConnectionClose(-1),
    ],
    ids=repr,
)
def test_a_number_out_of_range_is_not_sent(message: Message) -> None:
    with pytest.raises(EncodeError, match="expected a number from 0 to"):
        encode_message(message)


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (MetadataEntry("\ud800", 1), "$.metadata[0].key"),
        (MetadataEntry("k", "\ud800"), "$.metadata[0].value"),
    ],
)
def test_text_that_utf8_cannot_say_is_not_sent(entry: MetadataEntry, path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_message(ConnectionReject(1, Metadata([entry])))
    assert caught.value.path == path


def test_a_description_is_sent_whatever_it_quotes() -> None:
    payload = encoded(ProtocolError(0, "bad key '\ud800'"))
    assert decode_message(payload) == ProtocolError(0, "bad key '?'")
