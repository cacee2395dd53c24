"""Frames: payloads that are sent and received together, in Rust and in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.errors import LinkError
from roam_trio.links.framing import FrameDecoder, FrameEncoder
from roam_trio.wire.envelope import functions
from roam_trio.wire.frames import (
    PASSED_BY_REFERENCE,
    Frames,
    PayloadRun,
    cut_in_python,
    framed,
)
from roam_trio.wire.messages import Message
from roam_trio.wire.runs import ItemRun

from .extension import EXTENSION
from .test_runs import messages, payload_of

native = pytest.mark.skipif(EXTENSION is None, reason="the extension is not there")

_Cut = Callable[[bytes, int, int, list[bytes]], int]


def received(cut: _Cut, chunks: list[bytes], most: int) -> tuple[Any, ...]:
    """Return all that a decoder tells of chunks, with the error that ends it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roam_trio.links.framing.cut_frames", cut)
        decoder = FrameDecoder(most)
        error = None
        try:
            for chunk in chunks:
                decoder.feed(chunk)
        except LinkError as raised:
            error = (type(raised), str(raised))
    counts = (decoder.count, decoder.payload_bytes, decoder.begun)
    return decoder.payloads, *counts, error


def stream_of(sent: list[Message]) -> bytes:
    frames = FrameEncoder()
    for message in sent:
        payload = payload_of(message)
        frames.add([payload], len(payload))
    return b"".join(frames.take())


@native
@given(st.lists(messages, min_size=1, max_size=8))
def test_streams_cut_at_every_byte_bring_the_same_messages(sent: list[Message]) -> None:
    stream = stream_of(sent)
    gather_in_python, gather = functions(None).gather, functions(EXTENSION).gather
    for at in range(min(len(stream), 150)):
        chunks = [stream[:at], stream[at:]]
        of_python = received(cut_in_python, chunks, 10**6)
        of_native = received(EXTENSION.cut_frames, chunks, 10**6)
        assert of_native == of_python
    payloads = of_python[0]
    assert payloads == list(map(payload_of, sent))
    assert list(map(told, gather(payloads))) == list(
        map(told, gather_in_python(payloads))
    )


def told(gathered: Any) -> Any:
    if isinstance(gathered, ItemRun):
        return gathered.connection_id, gathered.channel_id, list(gathered.items)
    return gathered


@native
@given(st.lists(st.binary(max_size=12)), st.integers(0, 8), st.binary(max_size=8))
def test_payloads_that_are_too_long_are_refused_alike(
    payloads: list[bytes], most: int, rest: bytes
) -> None:
    frames = framed(b"", [[each] for each in payloads] or [[b""]])
    assert frames is not None
    for stream in (frames.data + rest, rest + frames.data):
        of_python = received(cut_in_python, [stream], most)
        assert received(EXTENSION.cut_frames, [stream], most) == of_python


@native
def test_memory_that_can_change_is_cut_to_bytes() -> None:
    payloads: list[bytes] = []
    stream = bytearray(b"\x01\0\0\0a\x02\0\0\0bc\x01")
    assert EXTENSION.cut_frames(stream, 0, 10, payloads) == 11
    stream[4] = 0
    assert payloads == [b"a", b"bc"]
    assert EXTENSION.cut_frames(stream, 100, 10, payloads) == len(stream)


def plain_run(values: list[Any]) -> PayloadRun:
    return PayloadRun(b"head", values)


def test_run_of_payloads_is_a_sequence_of_their_pieces() -> None:
    run = plain_run([[b"a", b"b"], b"c", memoryview(b"d"), [b"e", b"f"]])
    joined = [b"".join(pieces) for pieces in run]
    assert joined == [b"headab", b"headc", b"headd", b"headef"]
    assert [b"".join(pieces) for pieces in run[1:3]] == joined[1:3]
    assert b"".join(run[-1]) == joined[-1]
    assert repr(run) == "<PayloadRun of 4>"


@pytest.mark.parametrize("values", [[[b"a"], [b"b", b"c"]], [b"a", [b"bc"]]])
def test_frames_are_the_payloads_after_their_lengths(values: list[Any]) -> None:
    frames = plain_run(values).framed()
    assert frames is not None
    assert frames.data == b"\x05\0\0\0heada\x06\0\0\0headbc"
    assert (len(frames), frames.longest, frames.last) == (2, 6, 6)
    assert frames.payloads() == [b"heada", b"headbc"]
    assert (list(frames), frames[0], frames[1:]) == ([b"a", b"bc"], b"a", [b"bc"])
    assert repr(frames) == "<Frames of 2 payloads (19 bytes)>"


def test_run_of_frames_has_them_already() -> None:
    frames = Frames(b"\x02\0\0\0ha\x02\0\0\0hb", 2, 2, 2, 1)
    run = PayloadRun(b"h", frames)
    assert run.framed() is frames
    assert list(run) == [[b"h", b"a"], [b"h", b"b"]]


def test_long_pieces_are_not_framed() -> None:
    assert plain_run([[b"a"], [bytes(PASSED_BY_REFERENCE)]]).framed() is None
    assert plain_run([b"a", bytes(PASSED_BY_REFERENCE)]).framed() is None
    assert plain_run([[bytes(PASSED_BY_REFERENCE - 1), b"a"]]).framed() is not None
