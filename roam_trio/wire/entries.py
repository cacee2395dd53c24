"""The bytes of metadata: the number of entries, and the key, value and flags of each.

A call with a deadline or a trace has one or two entries, so a fast path writes and
reads the usual entry: a short key in ASCII, a short text or a number as its value, and
flags of one byte. The general path handles every other entry, and raises the errors.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ..errors import DecodeError, EncodeError
from ..metadata import (
    NO_METADATA,
    REQUEST_DEADLINE,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    plain_value,
)
from .fields import Payload, bad, number, read_bytes, read_text, read_u64
from .varint import BYTE, U64_MAX, long_varint, varint

__all__ = ["EntryParts", "decode_metadata", "encode_metadata"]

_MOST_ENTRIES: Final = 1024
"""Bound on the entries of a message, since each costs far more than its bytes."""


class EntryParts:
    """Parts of metadata that the extension in Rust uses, and its bound on entries."""

    none = NO_METADATA
    metadata = Metadata
    entry = MetadataEntry
    deadline = REQUEST_DEADLINE
    most = _MOST_ENTRIES


_SHORT: Final = 64
"""Length in bytes up to which a key is cached: the caches are bounded in bytes too."""


_DEADLINE: Final = b"\1\x10request-deadline\2"
"""The start of metadata with a deadline only, up to the number."""

_USUAL_DEADLINE: Final = len(_DEADLINE) + 5
"""The length in bytes of metadata with a deadline of 2 to 268 seconds only: a number
has four bytes, and the flags have one."""

_NO_PROPAGATE: Final = MetadataFlags.NO_PROPAGATE.value


def encode_metadata(metadata: Iterable[MetadataEntry]) -> bytes:
    """Encode metadata.

    Raises:
        EncodeError: an entry has no encoding; the error names the entry, and does not
            show its value, which may be a secret.
    """
    entries = tuple(metadata)
    if len(entries) == 1:
        # Any call may have a deadline, usually without other entries.
        entry = entries[0]
        value, flags = entry.value, entry.flags
        if (
            entry.key is REQUEST_DEADLINE
            and flags is _NO_PROPAGATE
            and type(value) is int
            and 0 <= value <= U64_MAX
        ):
            return _deadline(value)
        return b"\1" + (_usual(entry) or _entry(entry, 0))
    pieces = [varint(len(entries))]
    for index, entry in enumerate(entries):
        pieces.append(_usual(entry) or _entry(entry, index))
    return b"".join(pieces)


@lru_cache(maxsize=64)
def _deadline(microseconds: int) -> bytes:
    """Encode metadata with a deadline only; cached, as calls in a row have the same."""
    return _DEADLINE + varint(microseconds) + BYTE[_NO_PROPAGATE]


def _usual(entry: MetadataEntry) -> bytes | None:
    """Encode a usual entry; return None for any other entry."""
    key, value, flags = entry.key, entry.value, entry.flags
    # The types are compared, as a derived class may be equal to a text and have other
    # bytes. `isascii` excludes what UTF-8 has no bytes for.
    if type(key) is not str or len(key) > _SHORT:
        return None
    if type(flags) is not int or not 0 <= flags < 128:
        return None
    if type(value) is int and 0 <= value <= U64_MAX:
        head = _head(key, 2)
        rest = BYTE[value] if value < 128 else long_varint(value)
        return head and head + rest + BYTE[flags]
    if type(value) is str and len(value) < 128 and value.isascii():
        head = _head(key, 0)
        return head and head + BYTE[len(value)] + value.encode() + BYTE[flags]
    if type(value) is bytes and len(value) < 128:
        head = _head(key, 1)
        return head and head + BYTE[len(value)] + value + BYTE[flags]
    return None


@lru_cache(maxsize=256)
def _head(key: str, tag: int) -> bytes | None:
    """Return the start of an entry with an ASCII key; None for any other key.

    The result is cached, because a program uses few keys.
    """
    if not key.isascii():
        return None
    return BYTE[len(key)] + key.encode() + BYTE[tag]


def _entry(entry: MetadataEntry, index: int) -> bytes:
    where = f"$.metadata[{index}]"
    key = _text(entry.key, f"{where}.key")
    value = _value(entry.value, f"{where}.value")
    return key + value + number(operator.index(entry.flags))


def _value(given: object, where: str) -> bytes:
    try:
        value = plain_value(given)
    except TypeError as error:
        raise EncodeError(str(error), where) from None
    if isinstance(value, str):
        return b"\0" + _text(value, where)
    if isinstance(value, bytes):
        return b"\1" + number(len(value)) + value
    if not 0 <= value <= U64_MAX:
        raise EncodeError("expected a number from 0 to 2**64 - 1", where)
    return b"\2" + number(value)


def _text(text: str, where: str) -> bytes:
    try:
        data = str.encode(text)
    except UnicodeEncodeError as error:
        raise EncodeError(f"expected text for UTF-8: {error.reason}", where) from None
    return number(len(data)) + data


def decode_metadata(payload: Payload, pos: int) -> tuple[Metadata, int]:
    """Read the metadata at `pos`, and return it with the position after it.

    Raises:
        IndexError: the payload ends before the metadata does.
        DecodeError: the bytes are not metadata; the error says where.
    """
    if payload[pos] == 1:
        end = pos + _USUAL_DEADLINE
        if (deadline := _read_deadline(bytes(payload[pos:end]))) is not None:
            return deadline, end
        entry, pos = _read_usual(payload, pos + 1) or _read_entry(payload, pos + 1, 0)
        return Metadata((entry,)), pos
    count, pos = read_u64(payload, pos, "$.metadata")
    if not count:
        return NO_METADATA, pos
    if count * 4 > len(payload) - pos:  # the shortest entry: "", tag, value, flags
        bad("$.metadata", f"{count} entries, but {len(payload) - pos} bytes remain")
    if count > _MOST_ENTRIES:
        bad("$.metadata", f"at most {_MOST_ENTRIES} entries, got {count}")
    entries: list[MetadataEntry] = []
    for index in range(count):
        entry, pos = _read_usual(payload, pos) or _read_entry(payload, pos, index)
        entries.append(entry)
    return Metadata(entries), pos


@lru_cache(maxsize=64)
def _read_deadline(data: bytes) -> Metadata | None:
    """Read metadata with a usual deadline only; None for any other, and for its start.

    Cached, as calls in a row have equal deadlines.
    """
    if len(data) < _USUAL_DEADLINE or not data.startswith(_DEADLINE):
        return None
    number, flags = data[len(_DEADLINE) : -1], data[-1]
    if min(number[:3]) < 128 or number[3] > 127 or flags > 127:
        return None
    value, _ = read_u64(number, 0, "")
    return Metadata((MetadataEntry(REQUEST_DEADLINE, value, flags),))


def _read_usual(payload: Payload, pos: int) -> tuple[MetadataEntry, int] | None:
    """Read a usual entry; return None for any other entry, and for invalid bytes."""
    size, length = payload[pos], len(payload)
    tag_at = pos + size + 1
    if size > _SHORT or tag_at + 1 >= length:
        return None
    key = _known_key(bytes(payload[pos + 1 : tag_at]))
    tag, size = payload[tag_at], payload[tag_at + 1]
    value: str | bytes | int = size
    end = tag_at + 2
    try:
        if tag == 2:
            if size > 127:
                value, end = read_u64(payload, tag_at + 1, "")
        elif tag > 1 or size > 127:
            return None
        else:
            end += size
            data = payload[tag_at + 2 : end]
            value = bytes(data) if tag else str(data, "utf-8")
    except (UnicodeDecodeError, DecodeError):
        return None
    if key is None or end >= length or payload[end] > 127:
        return None
    return MetadataEntry(key, value, payload[end]), end + 1


@lru_cache(maxsize=256)
def _known_key(data: bytes) -> str | None:
    """Return a key that a peer has sent; None if it is not UTF-8.

    A peer uses few keys. The entries with one key share one text.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return None


def _read_entry(payload: Payload, pos: int, index: int) -> tuple[MetadataEntry, int]:
    where = f"$.metadata[{index}]"
    key, pos = read_text(payload, pos, f"{where}.key")
    tag = payload[pos]
    value: str | bytes | int
    if tag == 0:
        value, pos = read_text(payload, pos + 1, f"{where}.value")
    elif tag == 1:
        data, pos = read_bytes(payload, pos + 1, f"{where}.value")
        value = bytes(data)
    elif tag == 2:
        value, pos = read_u64(payload, pos + 1, f"{where}.value")
    else:
        bad(f"{where}.value", f"one of the tags 0 to 2, got {tag}")
    flags, pos = read_u64(payload, pos, f"{where}.flags")
    return MetadataEntry(key, value, flags), pos
