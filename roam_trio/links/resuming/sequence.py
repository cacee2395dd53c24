"""Sequence numbers, and the header that carries them in front of every message.

    frame = seq, 00 | 01 ack, the message's own bytes

Both numbers are 32-bit varints. They wrap around, so one is *ahead* of another if the
distance upwards to it is the shorter one (`stable.seq`, `stable.seq.monotonic`).
"""

from __future__ import annotations

from typing import Final

from ...errors import DecodeError
from ...wire.backing import Backing
from ...wire.varint import read_varint, varint

__all__ = ["HALF", "LONGEST_HEADER", "MASK", "read_header", "write_header"]

MASK: Final = 0xFFFF_FFFF
"""The mask that reduces a sum or difference to a sequence number."""

HALF: Final = 0x8000_0000
"""Bound on a masked difference: if it is below, the first number is not behind."""

LONGEST_HEADER: Final = 11
"""Length in bytes of the longest header: two varints of five, and a byte between them.
"""


def write_header(seq: int, ack: int | None) -> bytes:
    """Return the bytes in front of a message.

    Args:
        seq: the number of the frame.
        ack: the number of the last frame received, if one was.
    """
    if ack is None:
        return varint(seq) + b"\0"
    return b"%b\1%b" % (varint(seq), varint(ack))


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
