"""The usual entry of metadata is written and read in place, with the same bytes."""

from __future__ import annotations

import itertools

import pytest

from roam_trio import DecodeError, EncodeError, Metadata, MetadataEntry
from roam_trio.wire.entries import decode_metadata, encode_metadata

KEYS = ("", "k", "é", "k" * 63, "k" * 64, "k" * 65, "é" * 32, "k" * 127, "k" * 128)
VALUES: tuple[str | bytes | int, ...] = (
    "",
    "text",
    "é",
    "v" * 127,
    "v" * 128,
    b"",
    b"\xff" * 128,
    0,
    127,
    128,
    2**14 - 1,
    2**14,
    2**21 - 1,
    2**21,
    2**28 - 1,
    2**28,
    2**64 - 1,
)
FLAGS = (0, 3, 127, 128, 2**40)
ENTRIES = [MetadataEntry(*each) for each in itertools.product(KEYS, VALUES, FLAGS)]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes((number,))


def with_length(data: bytes) -> bytes:
    return varint(len(data)) + data


def plainly(entry: MetadataEntry) -> bytes:
    """The encoding, as the specification has it."""
    match entry.value:
        case str(text):
            value = b"\0" + with_length(text.encode())
        case bytes(data):
            value = b"\1" + with_length(data)
        case number:
            value = b"\2" + varint(number)
    return with_length(entry.key.encode()) + value + varint(entry.flags)


def test_every_kind_of_entry_has_the_bytes_of_the_specification() -> None:
    for entry in ENTRIES:
        assert encode_metadata([entry]) == b"\1" + plainly(entry), entry


def test_every_kind_of_entry_is_read_back() -> None:
    for entry in ENTRIES:
        data = b"\1" + plainly(entry) + b"rest"
        assert decode_metadata(data, 0) == (Metadata([entry]), len(data) - 4), entry


def test_entries_of_every_kind_in_one_piece_are_read_back_in_order() -> None:
    data = encode_metadata(ENTRIES)

    assert data == varint(len(ENTRIES)) + b"".join(map(plainly, ENTRIES))
    assert decode_metadata(memoryview(data), 0) == (Metadata(ENTRIES), len(data))


def test_no_entry_is_read_from_a_part_of_its_bytes() -> None:
    for entry in ENTRIES:
        data = b"\1" + plainly(entry)
        # Of long ones the ends, where lengths and numbers are.
        for end in {*range(1, len(data))} & {*range(80), *range(len(data) - 20, 999)}:
            with pytest.raises((DecodeError, IndexError)):
                decode_metadata(data[:end], 0)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"\1\1\xff\0\0\0", r"\$.metadata\[0\].key"),
        (b"\1\1k\0\1\xff\0", r"\$.metadata\[0\].value"),
        (b"\1\1k\3\1\0\0", r"\$.metadata\[0\].value"),
        (b"\1\1k\2" + b"\xff" * 10 + b"\0\0", r"\$.metadata\[0\].value"),
        (b"\2\1k\0\0\0\1k\0\1\xff\0", r"\$.metadata\[1\].value"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_its_place(
    data: bytes, where: str
) -> None:
    with pytest.raises(DecodeError, match=where):
        decode_metadata(data, 0)


@pytest.mark.parametrize(
    "entry",
    [
        MetadataEntry("\ud800", "text"),
        MetadataEntry("k", "\ud800"),
        MetadataEntry("k", -1),
        MetadataEntry("k", 2**64),
        MetadataEntry("k", "text", -1),
        MetadataEntry("k", "text", 2**64),
    ],
)
def test_an_entry_without_an_encoding_is_refused(entry: MetadataEntry) -> None:
    with pytest.raises(EncodeError):
        encode_metadata([MetadataEntry("k", 1), entry])


def test_a_derived_text_is_written_as_the_text_it_holds() -> None:
    class Loud(str):
        __slots__ = ()

        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            return b"other bytes"

    plain = encode_metadata([MetadataEntry("key", "value")])

    assert encode_metadata([MetadataEntry(Loud("key"), Loud("value"))]) == plain


# ------------------------------------------------------------ a deadline alone


@pytest.mark.parametrize("flags", [0, 2, 127, 128, 2**32])
@pytest.mark.parametrize("value", [0, 127, 128, 2_000_000, 2**64 - 1, "soon", b"\1"])
def test_deadline_alone_has_the_bytes_of_any_entry(
    value: str | bytes | int, flags: int
) -> None:
    alone = Metadata([MetadataEntry("request-deadline", value, flags)])
    beside = encode_metadata([*alone, MetadataEntry("", 0)])
    data = encode_metadata(alone)
    assert data == b"\1" + beside[1 : -len(b"\0\2\0\0")]
    assert decode_metadata(b"x" + data + b"y", 1) == (alone, 1 + len(data))
    assert decode_metadata(memoryview(data), 0) == (alone, len(data))


@pytest.mark.parametrize("cut", range(1, 23))
def test_deadline_that_is_cut_off_is_no_metadata(cut: int) -> None:
    entry = MetadataEntry("request-deadline", 2_000_000, 2)
    data = encode_metadata([entry])
    assert len(data) == 23
    with pytest.raises((IndexError, DecodeError)):
        decode_metadata(data[:cut], 0)


def test_deadline_of_more_than_64_bits_is_refused_where_it_is() -> None:
    data = b"\1\x10request-deadline\2" + b"\xff" * 10 + b"\2"
    with pytest.raises(DecodeError, match=r"\$\.metadata\[0\]\.value"):
        decode_metadata(data, 0)
