"""Frames in Python and in Rust: the same messages, numbers, bytes and errors."""

from __future__ import annotations

from typing import Any

import pytest

from roam_trio.errors import DecodeError
from roam_trio.links.resuming.exchange import Exchange
from roam_trio.links.resuming.frames import (
    FRAMED_BELOW,
    frame_in_python,
    frames_in_python,
    take_in_python,
)
from roam_trio.links.resuming.replay import Body, LongBody
from roam_trio.links.resuming.sequence import MASK, write_header
from roam_trio.wire.backing import Backing
from tests.extension import EXTENSION

_PYTHON = (take_in_python, frame_in_python, frames_in_python)
_BOTH: list[Any] = [pytest.param(_PYTHON, id="python")]
if EXTENSION is not None:
    _RUST = (
        EXTENSION.take_lasting,
        EXTENSION.frame_lasting,
        EXTENSION.frames_lasting,
    )
    _BOTH.append(pytest.param(_RUST, id="rust"))

both = pytest.mark.parametrize("functions", _BOTH)


def with_sent(count: int, *, first: int = 0) -> Exchange:
    exchange = Exchange(first_sent=first, first_received=first)
    for number in range(count):
        exchange.replay.add(b"%d" % number)
        exchange.replay.take()
    return exchange


@both
@pytest.mark.rule("stable.seq", "stable.seq.monotonic", "stable.ack.trim")
@pytest.mark.parametrize("first", [0, 126, 16_383, 2**31 - 2, MASK - 2])
def test_read_brings_messages_and_acknowledgements(functions: Any, first: int) -> None:
    exchange, messages = with_sent(5, first=first), list[Backing]()
    numbers = [first + number & MASK for number in range(5)]
    frames = [
        write_header(numbers[0], None) + b"a",
        write_header(numbers[1], numbers[0]) + b"bb",
        write_header(numbers[0], numbers[2]) + b"again",
        write_header(numbers[3], numbers[2]) + b"d",
    ]
    exchange.receive(frames, messages, functions[0])
    assert messages == [b"a", b"bb", b"d"]
    assert exchange.last_received == numbers[3]
    assert (exchange.owed, exchange.replay.bodies) == (3, [b"3", b"4"])
    assert exchange.owed_bytes == exchange.received_size == 4
    assert (exchange.replay.size, exchange.replay.backlog) == (2, 0)


@both
@pytest.mark.rule("stable.seq")
def test_hundreds_of_frames_are_read_together(functions: Any) -> None:
    exchange, messages = with_sent(0, first=200), list[Backing]()
    bodies = [b"%d" % number for number in range(300)]
    frames = [
        write_header(200 + number, None) + body for number, body in enumerate(bodies)
    ]
    exchange.receive(frames, messages, functions[0])
    assert messages == bodies
    assert (exchange.last_received, exchange.received) == (499, 300)
    assert exchange.received_size == exchange.owed_bytes == sum(map(len, bodies))


@both
def test_long_message_is_a_view_and_a_view_is_read_as_well(functions: Any) -> None:
    exchange, messages = Exchange(), list[Backing]()
    bodies = [bytes(2047), bytes(2048), b"c", b"d"]
    frames: list[Backing] = [
        write_header(seq, None) + body for seq, body in enumerate(bodies)
    ]
    frames[2] = memoryview(frames[2])
    exchange.receive(frames, messages, functions[0])
    assert messages == bodies
    assert [type(message) for message in messages] == [
        *(bytes, memoryview),
        *(memoryview, bytes),
    ]


@both
def test_nothing_after_a_goodbye_counts(functions: Any) -> None:
    exchange, messages = with_sent(1), list[Backing]()
    exchange.receive([b"\0\0a", b"\1\0", b"\2\1\0b", b"?"], messages, functions[0])
    assert messages == [b"a", b""]
    assert (exchange.last_received, exchange.owed) == (1, 2)
    assert exchange.replay.bodies == [b"0"]


@both
@pytest.mark.rule("stable.ack.trim")
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"\1\1\2b", r"of 4 bytes .* that was sent, got 2 - at \$\.ack"),
        (b"\1\1\2", r"of 3 bytes .* that was sent, got 2 - at \$\.ack"),
        (b"\1\2b", r"of 3 bytes is not a frame: expected 0 or 1, got 2 - at \$\.ack"),
        (b"\1", "of 1 bytes .* expected a whole frame, but it ends after 1 bytes"),
        (b"", "of 0 bytes .* expected a whole frame, but it ends after 0 bytes"),
        (b"\x80" * 5 + b"\0\0b", r"a varint of at most 5 bytes - at \$\.seq"),
        (b"\x80" * 4 + b"\x10\0b", r"up to 4294967295, got one of 33 bits - at \$"),
    ],
)
def test_what_came_before_a_wrong_frame_counts(
    functions: Any, wrong: bytes, why: str
) -> None:
    exchange, messages = with_sent(2), list[Backing]()
    with pytest.raises(DecodeError, match=why):
        exchange.receive([b"\0\1\0a", wrong, b"\2\0c"], messages, functions[0])
    assert messages == [b"a"]
    assert (exchange.last_received, exchange.replay.bodies) == (0, [b"1"])


@both
@pytest.mark.rule("stable.framing.encoding")
@pytest.mark.parametrize("ack", [None, 0, 127, 128, MASK])
@pytest.mark.parametrize("seq", [0, 127, 16_384, MASK])
def test_frames_are_header_and_message_after_their_length(
    functions: Any, seq: int, ack: int | None
) -> None:
    _, frame, frames = functions
    bodies = [b"a", b"", bytes(200)]
    payloads = [
        write_header(seq + number & MASK, ack) + body
        for number, body in enumerate(bodies)
    ]
    framed = [len(each).to_bytes(4, "little") + each for each in payloads]
    for number, body in enumerate(bodies):
        assert frame(seq + number & MASK, ack, body) == framed[number]
    lengths = list(map(len, payloads))
    assert frames(seq, ack, bodies) == (b"".join(framed), max(lengths), lengths[-1])


@both
@pytest.mark.parametrize("long", [LongBody((b"a", b"b"), 2), bytes(32 * 1024)])
def test_long_messages_are_not_copied_into_frames(functions: Any, long: Body) -> None:
    assert functions[2](0, None, [b"a", long]) is None


@pytest.mark.parametrize("seq", [0, 200])
def test_next_frame_for_a_byte_stream_has_its_length_unless_it_is_long(
    seq: int,
) -> None:
    exchange = Exchange(first_sent=seq, first_received=seq)
    exchange.receive([write_header(seq, None) + b"x"], [])
    large = bytes(FRAMED_BELOW)
    for body in (b"small", large[1:], large, LongBody((b"head", large), 4)):
        exchange.replay.add(body)
    header = write_header(seq, seq)
    length = len(header) + 5
    assert (
        exchange.next_frame_with_length()
        == length.to_bytes(4, "little") + header + b"small"
    )
    assert exchange.owed == exchange.owed_bytes == 0
    assert len(exchange.next_frame_with_length()) == len(header) + FRAMED_BELOW + 3
    assert exchange.next_frame_with_length() == (write_header(seq + 2, seq), large)
    assert exchange.next_frame_with_length() == (
        write_header(seq + 3, seq),
        b"head",
        large,
    )
