"""The entries of the extension for frames of lasting sessions, beside those in Python.

Frames are received by an `Exchange` of each, and what these then hold is framed by
both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from roam_trio.errors import DecodeError
from roam_trio.links.resuming.exchange import Exchange
from roam_trio.links.resuming.frames import (
    Take,
    frame_in_python,
    frame_message,
    frame_messages,
    frames_in_python,
    take_frames,
    take_in_python,
)
from roam_trio.links.resuming.replay import Body, LongBody
from roam_trio.links.resuming.sequence import MASK, write_header

from .checks import require
from .target import Target

__all__ = ["NATIVE_LASTING", "check_frames", "check_received", "frames_by_chance"]

_FIRST = (0, 100, 127, 128, 16_380, 2**21 - 2, 2**31 - 2, MASK - 3)
"""Numbers to begin with."""


def native_lasting(data: bytes) -> None:
    """Receive frames, and send some.

    The first three bytes choose the numbers of both directions, and how many messages
    wait for an acknowledgement. Then come frames, each after a byte with its length.
    """
    if len(data) < 3:
        return
    first_sent, first_received = (_FIRST[each % len(_FIRST)] for each in data[:2])
    payloads, left = [], data[3:]
    while left:
        payloads.append(left[1 : 1 + left[0]])
        left = left[1 + left[0] :]
    check_received(payloads, first_sent, first_received, data[2] % 16)
    check_frames(first_sent, first_received, payloads)
    check_frames(first_sent, None, payloads)


def check_received(
    payloads: list[Any], first_sent: int, first_received: int, sent: int
) -> None:
    """Receive frames with both, together and one by one."""
    together = [
        _received(take, [payloads], first_sent, first_received, sent)
        for take in (take_in_python, take_frames)
    ]
    require(together[0] == together[1], "received otherwise", together)
    one_by_one = [
        _received(take, [[each] for each in payloads], first_sent, first_received, sent)
        for take in (take_in_python, take_frames)
    ]
    require(one_by_one[0] == one_by_one[1], "received otherwise", one_by_one)


def _received(
    take: Take, reads: list[list[Any]], first_sent: int, first_received: int, sent: int
) -> Any:
    """Return all that has become of an exchange."""
    exchange = Exchange(first_sent=first_sent, first_received=first_received)
    for number in range(sent + 2):
        exchange.replay.add(b"%d" % number)
    for _ in range(sent):
        exchange.replay.take()
    messages: list[Any] = []
    error = None
    try:
        for payloads in reads:
            exchange.receive(payloads, messages, take)
    except DecodeError as caught:
        error = str(caught), str(caught.__cause__)
    return (
        [(type(message), bytes(message)) for message in messages],
        error,
        (exchange.last_received, exchange.owed, exchange.owed_bytes),
        (exchange.replay.bodies, exchange.replay.size, exchange.replay.backlog),
    )


def check_frames(seq: int, ack: int | None, bodies: list[Body]) -> None:
    """Frame messages with both, together and one by one."""
    for body in bodies:
        if isinstance(body, bytes):
            frame, other = (
                frame_in_python(seq, ack, body),
                frame_message(seq, ack, body),
            )
            require(frame == other, "another frame", (frame, other))
    if bodies:
        together = frames_in_python(seq, ack, bodies)
        others = frame_messages(seq, ack, bodies)
        require(together == others, "other frames", (together, others))


def frames_by_chance(chance: random.Random, changed: Any) -> None:
    """Check frames of which most are right.

    Args:
        chance: chooses them.
        changed: returns bytes with a few changes.
    """
    first_sent, first_received = chance.choice(_FIRST), chance.choice(_FIRST)
    sent = chance.randrange(20)
    seq, payloads, bodies = first_received, [], []
    acks = (None, *(first_sent + number & MASK for number in range(sent)))
    ack = chance.choice(acks)
    while len(payloads) < 4 or chance.random() < 0.9:
        body = chance.randbytes(chance.choice((0, 1, 1, 9, 9, 9, 130, 2047, 2048)))
        payload = write_header(seq, ack) + (body or b"1")
        wrong = chance.random()
        if wrong < 0.02:
            payload = changed(chance, payload)
        payloads.append(memoryview(payload) if 0.02 < wrong < 0.03 else payload)
        bodies.append(LongBody((body,), len(body)) if wrong > 0.998 else body)
        seq = seq + chance.choice((1, 1, 1, 1, 1, 1, 1, 0, 2)) & MASK
        if chance.random() < 0.1:
            ack = chance.choice(acks)
    check_received(payloads, first_sent, first_received, sent)
    check_frames(first_sent, ack, bodies)
    check_frames(chance.choice(_FIRST), ack, bodies)


def _seeds() -> Iterator[bytes]:
    for one, other in ((0, 0), (2, 3), (7, 6)):
        first_sent, seq = _FIRST[one], _FIRST[other]
        frames = [
            write_header(seq, None) + b"a",
            write_header(seq + 1 & MASK, first_sent) + b"bc",
            write_header(seq + 1 & MASK, first_sent + 1 & MASK) + b"bc",
            write_header(seq + 2 & MASK, first_sent + 1 & MASK) + b"d",
            write_header(seq + 3 & MASK, first_sent + 1 & MASK),
        ]
        sized = [bytes((len(frame),)) + frame for frame in frames]
        yield bytes((one, other, 4)) + b"".join(sized)


NATIVE_LASTING = (Target("native_lasting", native_lasting, _seeds, 1024),)
