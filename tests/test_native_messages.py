"""Messages are the same bytes, and the same errors, in Rust and in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.errors import CodecError
from roam_trio.metadata import (
    NO_METADATA,
    REQUEST_DEADLINE,
    Metadata,
    MetadataEntry,
    MetadataFlags,
)
from roam_trio.wire.envelope import (
    decode_in_python,
    encode_frame_in_python,
    encode_in_python,
    functions,
)
from roam_trio.wire.frames import PASSED_BY_REFERENCE
from roam_trio.wire.messages import (
    ChannelGrantCredit,
    ChannelItem,
    Message,
    RequestCall,
    RequestResponse,
)
from roam_trio.wire.runs import BORROW_FROM, gather_in_python

from .test_envelope import corruptions, encoded, messages, plain

LONG = PASSED_BY_REFERENCE

encode, encode_frame, decode, _ = functions(pytest.importorskip("roam_trio._native"))


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except CodecError as error:
        return type(error), str(error)


def agree(payload: bytes) -> None:
    expected = outcome(lambda: plain(decode_in_python(payload)))
    assert outcome(lambda: plain(decode(payload))) == expected
    assert outcome(lambda: plain(decode(memoryview(payload)))) == expected


@given(messages)
def test_messages_are_encoded_and_decoded_alike(message: Message) -> None:
    pieces = encode(message)
    assert pieces == encode_in_python(message)
    assert encode_frame(message) == encode_frame_in_python(message)
    payload = b"".join(pieces)
    assert plain(decode(payload)) == plain(message)
    for damaged in corruptions(payload[:40]):
        agree(damaged)
    for length in range(min(len(payload), 40)):
        agree(payload[:length])


@given(st.binary(max_size=30))
def test_any_bytes_are_decoded_alike(payload: bytes) -> None:
    agree(payload)
    agree(b"\x00\x07\x05\x01\x00\x00" + payload)
    agree(b"\x00\x08\x05\x00" + payload)


DEADLINE = Metadata([MetadataEntry(REQUEST_DEADLINE, 5_000_000, 2)])
ENTRIES = Metadata(
    [
        MetadataEntry("trace-parent", f"00-{1:032x}-{1:016x}-00"),
        MetadataEntry("", "", 2**64 - 1),
        MetadataEntry("\N{SNOWMAN}" * 50, "\N{SNOWMAN}" * 50),
        MetadataEntry("auth", b"\xff\0", 3),
        MetadataEntry("auth", bytes(5000), 3),
        MetadataEntry(REQUEST_DEADLINE, 2**64 - 1),
        MetadataEntry("attempt", 0),
    ]
)

FREQUENT: list[Message] = [
    RequestCall(0, 1, 2**64 - 1, (), NO_METADATA, b"args"),
    RequestCall(0, 1, 2**64 - 1, (), DEADLINE, b"args"),
    RequestCall(0, 1, 2**64 - 1, (), ENTRIES, b"args"),
    RequestResponse(300, 2**40, (), NO_METADATA, b"ret"),
    RequestResponse(300, 2**40, (), ENTRIES, b"ret"),
    ChannelItem(0, 1, b""),
    ChannelGrantCredit(0, 1, 2**32 - 1),
]


@pytest.mark.parametrize("message", FREQUENT, ids=lambda each: type(each).__name__)
def test_frequent_messages_need_no_python(
    message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = encoded(message)
    for name in ("encode_in_python", "encode_frame_in_python", "decode_in_python"):
        monkeypatch.setattr(f"roam_trio.wire.envelope.{name}", None)
    encode, encode_frame, decode, _ = functions(
        pytest.importorskip("roam_trio._native")
    )
    assert b"".join(encode(message)) == payload
    assert encode_frame(message) == len(payload).to_bytes(4, "little") + payload
    assert decode(payload) == message


@pytest.mark.parametrize("kind", [RequestCall, RequestResponse, ChannelItem])
def test_values_of_large_payloads_are_views(kind: Any) -> None:
    value = bytes(BORROW_FROM)
    given_ = {RequestCall: (0, 1, 2, (), NO_METADATA), ChannelItem: (0, 1)}
    message = kind(*given_.get(kind, (0, 1, (), NO_METADATA)), [value[:1], value[1:]])
    payload = b"".join(encode(message))
    received = decode(payload)
    view = received.__struct_fields__[-1]
    assert getattr(received, view).obj is payload
    assert getattr(received, view) == value


@pytest.mark.parametrize(
    "message",
    [
        RequestCall(0, -1, 2, (), NO_METADATA, b""),
        RequestResponse(2**64, 1, (), NO_METADATA, b""),
        ChannelItem(0, 2**64, b""),
        ChannelGrantCredit(0, 1, 2**32),
    ],
)
def test_numbers_that_do_not_fit_raise_the_errors_of_python(message: Any) -> None:
    expected = outcome(lambda: encode_in_python(message))
    assert isinstance(expected, tuple)
    assert outcome(lambda: encode(message)) == expected
    assert outcome(lambda: encode_frame(message)) == expected


class _Text(str):
    """A text of a derived class: the bytes are those of its contents."""

    def encode(self, *_: object) -> bytes:
        return b"other"


_ODD_METADATA: list[Any] = [
    Metadata([MetadataEntry(_Text("key"), _Text("value"))]),
    Metadata([MetadataEntry("key", True, MetadataFlags.SENSITIVE)]),
    Metadata([MetadataEntry("key", memoryview(b"value"))]),  # type: ignore[arg-type]
    Metadata([MetadataEntry("\ud800", 1)]),
    Metadata([MetadataEntry("key", "\ud800")]),
    Metadata([MetadataEntry("key", 2**64)]),
    Metadata([MetadataEntry("key", -1)]),
    Metadata([MetadataEntry("key", 1, -1)]),
    Metadata([MetadataEntry("key", 1.5)]),  # type: ignore[arg-type]
    [MetadataEntry("key", 1)],
    Metadata(),
    (),
]


@pytest.mark.parametrize("metadata", _ODD_METADATA)
def test_odd_metadata_is_encoded_or_refused_as_in_python(metadata: Any) -> None:
    message = RequestResponse(0, 1, (), metadata, b"ret")
    expected = outcome(lambda: encode_in_python(message))
    assert outcome(lambda: encode(message)) == expected
    expected = outcome(lambda: encode_frame_in_python(message))
    assert outcome(lambda: encode_frame(message)) == expected


@pytest.mark.parametrize("value", [b"", []], ids=repr)
def test_metadata_that_is_too_long_to_copy_is_framed_alike(value: Any) -> None:
    metadata = Metadata([MetadataEntry("key", bytes(LONG))])
    message = RequestCall(0, 1, 2, (), metadata, value)
    assert encode_frame(message) == encode_frame_in_python(message)


_RESPONSE = "00 07 05 01 00"
"""A response without channels, up to its metadata."""


@pytest.mark.parametrize(
    "entries",
    [
        "81 00  01 6b 00 01 76 00",  # longer numbers than necessary
        "01  81 00 6b 82 80 00 05 80 00",
        "01  01 6b 02 ff ff ff ff ff ff ff ff ff 01 00",
        "01  01 6b 02 ff ff ff ff ff ff ff ff ff 02 00",
        "01  01 6b 02 80 80 80 80 80 80 80 80 80 80 00 00",
        "01  01 ff 00 01 76 00",
        "01  01 6b 00 01 ff 00",
        "01  01 6b 00 03 ed a0 80 00",
        "01  01 6b 03 01 76 00",
        "01  01 6b 01 05 76 00",
        "01  ff ff ff ff ff ff ff ff ff 01 6b",
        "02  01 6b 02 01 00",
        "ff ff ff ff ff ff ff ff ff 01  01 6b 02 01 00",
        "81 08" + "00 02 00 00" * 1025,
        "80 08" + "00 02 00 00" * 1024,
        "ff 07" + "00 02 00 00" * 1023,
    ],
    ids=lambda entries: entries[:20],
)
def test_entries_are_accepted_and_refused_as_in_python(entries: str) -> None:
    agree(bytes.fromhex(_RESPONSE + entries) + b"ret")
    agree(bytes.fromhex(_RESPONSE + entries))


@pytest.mark.parametrize(("characters", "is_cached"), [(4096, True), (4097, False)])
def test_encoding_of_a_long_text_is_not_kept_with_it(
    characters: int, is_cached: bool
) -> None:
    text = "\u00e9" * characters
    size = sys.getsizeof(text)
    metadata = Metadata([MetadataEntry("key", text)])
    message = RequestCall(0, 1, 2, (), metadata, b"")
    assert encode(message) == encode_in_python(message)
    assert (sys.getsizeof(text) > size) is is_cached


def test_deadlines_that_come_share_one_key() -> None:
    message = decode(encoded(RequestCall(0, 1, 2, (), DEADLINE, b"args")))
    assert message.metadata[0].key is REQUEST_DEADLINE


def test_without_the_extension_messages_are_encoded_in_python() -> None:
    assert functions(None) == (
        encode_in_python,
        encode_frame_in_python,
        decode_in_python,
        gather_in_python,
    )


@pytest.mark.parametrize(
    "value",
    [
        bytes(LONG - 10),
        bytes(LONG),
        [bytes(LONG // 2)] * 3,
        [b"a", memoryview(b"b")],
        memoryview(b"ab"),
        bytearray(b"ab"),
    ],
)
def test_messages_with_every_value_are_framed_alike(value: Any) -> None:
    message = ChannelItem(0, 1, value)
    payload = b"".join(encode_in_python(message))
    for frame in (encode_frame(message), encode_frame_in_python(message)):
        if len(payload) < LONG:
            assert frame == len(payload).to_bytes(4, "little") + payload
        else:
            assert frame == encode_in_python(message)
