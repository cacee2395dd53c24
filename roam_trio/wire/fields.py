"""Numbers, bytes and texts: the fields that messages and metadata consist of.

A number below 128 is one byte, and nearly all numbers are; callers on the hot path
handle that case themselves and come here for the others.
"""

from __future__ import annotations

from typing import NoReturn, TypeAlias

from ..errors import DecodeError, EncodeError
from .varint import BYTE, U64_MAX, long_varint, read_varint

__all__ = ["Payload", "bad", "number", "read_bytes", "read_text", "read_u64"]

Payload: TypeAlias = bytes | memoryview
"""Types of received payloads."""


def number(value: int, maximum: int = U64_MAX) -> bytes:
    """Encode a number.

    Raises:
        EncodeError: it is negative, or larger than `maximum`.
    """
    if 0 <= value < 128:
        return BYTE[value]
    if not 0 <= value <= maximum:
        raise EncodeError(f"expected a number from 0 to {maximum}, got {value}")
    return long_varint(value)


def read_u64(payload: Payload, pos: int, where: str) -> tuple[int, int]:
    """Read the number at `pos`, and return it with the position after it.

    Raises:
        IndexError: the payload ends before the number does.
        DecodeError: the number has more than 64 bits; the error names `where`.
    """
    byte = payload[pos]
    if byte < 128:
        return byte, pos + 1
    second = payload[pos + 1]
    if second < 128:
        return byte + (second << 7) - 128, pos + 2
    # The remaining time of a call, in microseconds, has three or four bytes.
    third = payload[pos + 2]
    if third < 128:
        return (byte & 127) + ((second & 127) << 7) + (third << 14), pos + 3
    fourth = payload[pos + 3]
    if fourth < 128:
        low = (byte & 127) + ((second & 127) << 7) + ((third & 127) << 14)
        return low + (fourth << 21), pos + 4
    return read_varint(payload, pos, U64_MAX, where)


def read_bytes(payload: Payload, pos: int, where: str) -> tuple[Payload, int]:
    """Read bytes with their length before them; see `read_u64`."""
    length, pos = read_u64(payload, pos, where)
    end = pos + length
    if end > len(payload):
        bad(where, f"{length} bytes, but {len(payload) - pos} remain")
    return payload[pos:end], end


def read_text(payload: Payload, pos: int, where: str) -> tuple[str, int]:
    """Read a text in UTF-8 with its length before it; see `read_u64`."""
    data, pos = read_bytes(payload, pos, where)
    try:
        return str(data, "utf-8"), pos
    except UnicodeDecodeError as error:
        raise DecodeError(f"expected UTF-8 text: {error.reason}", where) from None


def bad(where: str, expected: str) -> NoReturn:
    """Raise a `DecodeError` that says what was expected, and where."""
    raise DecodeError(f"expected {expected}", where)
