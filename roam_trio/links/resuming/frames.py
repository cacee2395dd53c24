"""Frames with their numbers, many in one step: in Python, or in Rust if the extension
is used.

Both do the same. The extension stops before what it does not handle; the functions here
continue from there. See `Exchange.receive`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeAlias

from ...errors import DecodeError
from ...native import NATIVE
from ...wire.backing import Backing
from ...wire.frames import PASSED_BY_REFERENCE, SHORT_HEADERS, frame, framed
from ...wire.runs import BORROW_FROM
from .replay import Body, LongBody
from .sequence import (
    CONTINUED,
    HALF,
    LONGEST_HEADER,
    MASK,
    first_after,
    read_header,
    rest_and_ack,
    rest_of,
    write_header,
    write_headers,
)

__all__ = [
    "FRAMED_BELOW",
    "Take",
    "frame_in_python",
    "frame_message",
    "frame_messages",
    "frames_in_python",
    "take_frames",
    "take_in_python",
]

FRAMED_BELOW: Final = PASSED_BY_REFERENCE - LONGEST_HEADER
"""Length of a message, in bytes, from which it is not copied into its frame."""

_Taken: TypeAlias = tuple[int, int, int, int, int]
_Framed: TypeAlias = tuple[bytes, int, int]


def take_in_python(
    payloads: Sequence[Backing],
    messages: list[Backing],
    expected: int,
    first: int,
    handed: int,
    start: int,
) -> _Taken:
    """Append the messages of frames to a list, up to a goodbye, which is empty, or up
    to a payload that is not a frame, or acknowledges what was not sent.

    A duplicate has no message, but its acknowledgement is used. Gaps in the numbers are
    allowed.

    Args:
        payloads: what was received together, in order.
        messages: the list.
        expected: the number of the next frame.
        first: the number of the first sent message that is not acknowledged, without
            wrapping around; as are the others.
        handed: the number of the first message that was never sent.
        start: the number of the first message of all.

    Returns:
        How many payloads were not accepted, the number of messages and their size, and
        `expected` and `first` after them.
    """
    place, count, size = 0, 0, 0
    total = len(payloads)
    while place < total:
        payload = payloads[place]
        # The number is nearly always the expected one, and the acknowledgement near
        # the one before: all bytes but the first of each are known.
        begin = CONTINUED[expected & 127] + rest_and_ack(expected >> 7)
        before = first - 1 & MASK
        rest = rest_of(before >> 7)
        low_at = len(begin)
        pos = low_at + 1 + len(rest)
        ack: int | None
        if (
            payload[:low_at] == begin
            and payload[low_at + 1 : pos] == rest
            and (low := payload[low_at]) > 127
        ):
            seq, ack = expected, before & ~127 | low & 127
        else:
            try:
                seq, ack, pos = read_header(payload)
            except DecodeError:
                break
        if ack is not None:
            after = first_after(ack, first, handed, start)
            if after is None:
                break
            first = after
        place += 1
        if (seq - expected) & MASK >= HALF:
            continue
        expected = (seq + 1) & MASK
        count += 1
        size += len(payload) - pos
        if len(payload) - pos < BORROW_FROM:
            message = payload[pos:]
        else:
            message = memoryview(payload)[pos:]
        messages.append(message)
        if not message:
            break
        if place < total and seq > 127:
            run = _run_from(payloads, place, pos, expected)
            messages += run
            place += len(run)
            count += len(run)
            size += sum(map(len, run))
            expected = (expected + len(run)) & MASK
    return total - place, count, size, expected, first


def _run_from(
    payloads: Sequence[Backing], start: int, header: int, expected: int
) -> list[bytes]:
    """Return the messages of frames that follow the last accepted one: each has the
    next number, and the same acknowledgement. They end before the first frame that is
    another, or has a long message or none.

    Args:
        payloads: frames that were received together.
        start: the place of the first of them; the last accepted one is before it, and
            its number has several bytes.
        header: the length of the header of the last one.
        expected: the number of the first of them.
    """
    messages: list[bytes] = []
    low = expected & 127
    if not low:  # more than the first byte of the number is another
        return messages
    same = bytes(payloads[start - 1][1:header])
    for number, payload in zip(
        CONTINUED[low:], islice(payloads, start, None), strict=False
    ):
        if type(payload) is not bytes or len(payload) >= BORROW_FROM:
            break
        message = payload.removeprefix(number + same)
        if not message or len(message) == len(payload):
            break
        messages.append(message)
    return messages


def frame_in_python(seq: int, ack: int | None, body: bytes) -> bytes:
    """Return the frame of a message, after its length, as byte streams need it.

    Args:
        seq: the number of the frame.
        ack: the number of the last frame received, if one was.
        body: the message.
    """
    if seq > 127 and ack is not None and ack > 127:
        # Most often: as `write_header` does, and two calls less.
        head = CONTINUED[seq & 127] + rest_and_ack(seq >> 7)
        header = head + CONTINUED[ack & 127] + rest_of(ack >> 7)
    else:
        header = write_header(seq, ack)
    length = len(header) + len(body)
    if length < len(SHORT_HEADERS):  # as `frame` does, and a call less
        return SHORT_HEADERS[length] + header + body
    return frame((header, body), length)


def frames_in_python(seq: int, ack: int | None, bodies: list[Body]) -> _Framed | None:
    """Return the frames of messages with numbers that follow each other.

    Args:
        seq: the number of the first frame.
        ack: as for `frame_in_python`, the same in all of them.
        bodies: the messages; at least one.

    Returns:
        The frames, the length of the longest payload, and that of the last one. None if
        a message is too long to be copied.
    """
    if LongBody in set(map(type, bodies)):
        return None
    headers = write_headers(seq, len(bodies), ack)
    frames = framed(b"", list(zip(headers, bodies, strict=True)))
    return None if frames is None else (frames.data, frames.longest, frames.last)


Take: TypeAlias = Callable[
    [Sequence[Backing], list[Backing], int, int, int, int], _Taken
]

take_frames: Final[Take] = take_in_python if NATIVE is None else NATIVE.take_lasting
"""Does what `take_in_python` does, in Rust if the extension is used. That stops as well
before a goodbye, and before a payload that is not `bytes`."""

frame_message: Final[Callable[[int, int | None, bytes], bytes]] = (
    frame_in_python if NATIVE is None else NATIVE.frame_lasting
)
"""Does what `frame_in_python` does, in Rust if the extension is used."""

frame_messages: Final[Callable[[int, int | None, list[Body]], _Framed | None]] = (
    frames_in_python if NATIVE is None else NATIVE.frames_lasting
)
"""Does what `frames_in_python` does, in Rust if the extension is used."""
