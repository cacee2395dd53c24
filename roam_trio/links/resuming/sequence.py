"""Sequence numbers, and the header that carries them in front of every message.

    frame = seq, 00 | 01 ack, the message's own bytes

Both numbers are 32-bit varints. They wrap around, so one is *ahead* of another if the
distance upwards to it is the shorter one (`stable.seq`, `stable.seq.monotonic`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ...errors import DecodeError
from ...wire.backing import Backing
from ...wire.varint import BYTE, read_varint, varint

__all__ = [
    "CONTINUED",
    "HALF",
    "LONGEST_HEADER",
    "MASK",
    "first_after",
    "read_header",
    "rest_and_ack",
    "rest_of",
    "write_header",
    "write_headers",
]

MASK: Final = 0xFFFF_FFFF
"""The mask that reduces a sum or difference to a sequence number."""

HALF: Final = 0x8000_0000
"""Bound on a masked difference: if it is below, the first number is not behind."""

LONGEST_HEADER: Final = 11
"""Length in bytes of the longest header: two varints of five, and a byte between them.
"""

CONTINUED: Final = BYTE[128:]
"""First bytes of the varints of 128 or more, by the lowest seven bits."""


@lru_cache(maxsize=1024)
def rest_of(higher: int) -> bytes:
    """Return the bytes of a varint after the first, for numbers of 128 or more.

    They are the same for 128 numbers, and so cached: a number of any length is written
    and compared in two steps.

    Args:
        higher: the number without its lowest seven bits.
    """
    return varint(higher)


@lru_cache(maxsize=1024)
def rest_and_ack(higher: int) -> bytes:
    """As `rest_of`, with the byte which says that an acknowledgement follows."""
    return varint(higher) + b"\1"


def write_header(seq: int, ack: int | None) -> bytes:
    """Return the bytes in front of a message.

    Args:
        seq: the number of the frame.
        ack: the number of the last frame received, if one was.
    """
    if ack is None:
        return varint(seq) + b"\0"
    return b"%b\1%b" % (varint(seq), varint(ack))


def write_headers(first: int, count: int, ack: int | None) -> list[bytes]:
    """Return the headers of frames with numbers that follow each other.

    Args:
        first: the number of the first frame.
        count: how many frames there are.
        ack: as for `write_header`, the same in all of them.
    """
    end = first + count
    if ack is None or first < 128 or end > MASK:
        return [write_header(seq & MASK, ack) for seq in range(first, end)]
    same = b"\1" + varint(ack)
    return [
        CONTINUED[seq & 127] + rest_of(seq >> 7) + same for seq in range(first, end)
    ]


def first_after(ack: int, first: int, handed: int, start: int) -> int | None:
    """Return the number of the first message that an acknowledgement leaves, without
    wrapping around. None if no peer can have received and acknowledged that frame.

    Args:
        ack: the number of the frame.
        first: the number of the first message that is not acknowledged.
        handed: the number of the first message that was never sent.
        start: the number of the first message of all.
    """
    ahead = (ack - first) & MASK
    if ahead < handed - first:
        return first + ahead + 1
    # Otherwise it must have been acknowledged before.
    return first if first > start and ahead >= HALF else None


def read_header(payload: Backing) -> tuple[int, int | None, int]:
    """Return the two numbers of a frame, and the position of its message.

    Raises:
        DecodeError: the payload does not start like a frame.
    """
    try:
        seq = payload[0]
        pos = 1
        if seq > 127:
            seq, pos = read_varint(payload, 0, MASK, "$.seq")
        has_ack = payload[pos]
        pos += 1
        if has_ack == 0:
            return seq, None, pos
        if has_ack != 1:
            raise DecodeError(f"expected 0 or 1, got {has_ack}", "$.ack")
        ack = payload[pos]
        pos += 1
        if ack > 127:
            ack, pos = read_varint(payload, pos - 1, MASK, "$.ack")
    except IndexError:
        raise DecodeError(
            f"expected a whole frame, but it ends after {len(payload)} bytes"
        ) from None
    return seq, ack, pos
