"""Varints: seven bits per byte, low bits first, the high bit set if more bytes follow.

All varints on the wire are read and written here, except short ones, which generated
codecs read and write inline.
"""

from __future__ import annotations

import struct
from typing import Final

from ..errors import DecodeError

__all__ = ["BYTE", "U32_MAX", "U64_MAX", "long_varint", "read_varint", "varint"]

U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1

BYTE: Final = tuple(bytes((number,)) for number in range(256))
"""Every one-byte string. The first half are the varints below 128."""

_MORE: Final = BYTE[128:]
_pack_3: Final = struct.Struct("3B").pack
_pack_4: Final = struct.Struct("4B").pack
_pack_5: Final = struct.Struct("5B").pack


def varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    return BYTE[number] if number < 0x80 else long_varint(number)


def long_varint(number: int) -> bytes:
    """Encode a number of 128 or more."""
    if number < 0x4000:
        return _MORE[number & 0x7F] + BYTE[number >> 7]
    # CPython shifts numbers of up to 30 bits, its digit size, much faster than larger
    # ones.
    low, high = number & 0xFFF_FFFF, number >> 28
    first, second = low & 0x7F | 0x80, low >> 7 & 0x7F | 0x80
    if high:
        third, fourth = low >> 14 & 0x7F | 0x80, low >> 21 | 0x80
        if high < 0x80:
            return _pack_5(first, second, third, fourth, high)
        return _pack_4(first, second, third, fourth) + long_varint(high)
    if low < 0x20_0000:
        return _pack_3(first, second, low >> 14)
    return _pack_4(first, second, low >> 14 & 0x7F | 0x80, low >> 21)


def read_varint(
    payload: bytes | memoryview, pos: int, maximum: int, where: str
) -> tuple[int, int]:
    """Read the number at `pos`, and return it with the position after it.

    Args:
        payload: the bytes to read from.
        pos: the position of the first byte of the number.
        maximum: the largest number that is accepted.
        where: the path of the number, for the error.

    Raises:
        IndexError: the payload ends before the number does.
        DecodeError: the number is larger, or has more bytes than `maximum` needs.
    """
    byte = payload[pos]
    pos += 1
    if byte < 128:
        number = byte
    else:
        number = byte & 127
        shift = 7
        longest = -(-maximum.bit_length() // 7)
        while byte > 127:
            if shift == 7 * longest:
                raise DecodeError(
                    f"expected a varint of at most {longest} bytes", where
                )
            byte = payload[pos]
            pos += 1
            number |= (byte & 127) << shift
            shift += 7
    if number > maximum:
        # The error leaves the number out: as a metadata value it may be secret.
        raise DecodeError(
            f"expected a number up to {maximum}, got one of {number.bit_length()} bits",
            where,
        )
    return number, pos
