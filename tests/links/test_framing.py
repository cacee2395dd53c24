"""Payloads in a byte stream, without any I/O."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.errors import PayloadTooLarge, TruncatedPayload
from roam_trio.links.base import Buffer
from roam_trio.links.fillable_bytes import FillableBytes
from roam_trio.links.framing import RECEIVE_AT_ONCE, FrameDecoder, FrameEncoder

MIB = 1024 * 1024


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + payload


def feed(decoder: FrameDecoder, data: bytes, at_most: int = 2**32) -> None:
    """Pass data in as a transport would, never more than `at_most` bytes at once."""
    while data:
        buffer = decoder.large_buffer
        if buffer is None:
            count = min(RECEIVE_AT_ONCE, len(data), at_most)
            decoder.feed(data[:count])
        else:
            count = min(len(buffer), len(data), at_most)
            buffer[:count] = data[:count]
            decoder.filled(count)
        data = data[count:]


PAYLOADS = st.lists(
    st.binary(max_size=40)
    | st.integers(0, 300_000).map(lambda n: (b"0123456789" * (n // 10 + 1))[:n]),
    max_size=8,
)


@pytest.mark.rule(
    "transport.stream", "zerocopy.framing.link", "zerocopy.framing.link.stream"
)
def test_length_is_four_bytes_little_endian_before_the_payload() -> None:
    encoder = FrameEncoder()
    encoder.add((b"ro", b"am"), 4)
    encoder.add((), 0)
    encoder.add((bytes(258),), 258)
    assert b"".join(encoder.take()) == (
        b"\x04\0\0\0roam" + b"\0\0\0\0" + b"\x02\x01\0\0" + bytes(258)
    )
    assert encoder.take() == []


@pytest.mark.rule("link.message", "zerocopy.recv.stream")
@given(payloads=PAYLOADS, data=st.data())
def test_payloads_come_out_however_the_stream_is_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    decoder = FrameDecoder(MIB)
    stream = b"".join(map(frame, payloads))
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        feed(decoder, stream[:cut])
        stream = stream[cut:]
    decoder.ended()
    assert list(decoder.payloads) == payloads


@pytest.mark.parametrize("payload", [b"", b"x", b"roam", b"z" * 70_000])
def test_payloads_come_out_byte_by_byte(payload: bytes) -> None:
    decoder = FrameDecoder(MIB)
    feed(decoder, frame(payload) + frame(b"next"), at_most=1)
    decoder.ended()
    assert list(decoder.payloads) == [payload, b"next"]


def test_payloads_come_out_when_cut_at_every_offset() -> None:
    payloads = [b"one", b"", b"three" * 5]
    stream = b"".join(map(frame, payloads))
    for cut in range(len(stream) + 1):
        decoder = FrameDecoder(MIB)
        feed(decoder, stream[:cut])
        feed(decoder, stream[cut:])
        decoder.ended()
        assert list(decoder.payloads) == payloads


def test_all_payloads_of_one_chunk_come_out_at_once() -> None:
    decoder = FrameDecoder(MIB)
    stream = frame(b"abc") * 1000
    decoder.feed(stream)
    assert list(decoder.payloads) == [b"abc"] * 1000


@pytest.mark.parametrize("length", range(65_530, 65_540))
def test_payloads_about_the_size_of_the_receive_buffer_come_out(length: int) -> None:
    decoder = FrameDecoder(MIB)
    stream = frame(b"p" * length)
    feed(decoder, frame(b"before") + stream + stream + frame(b"after"))
    assert list(decoder.payloads) == [b"before", b"p" * length, b"p" * length, b"after"]


def test_truncation_anywhere_but_between_payloads_is_an_error() -> None:
    stream = frame(b"ab") + frame(b"cdefg")
    whole = {0, 6, len(stream)}
    for cut in range(len(stream) + 1):
        decoder = FrameDecoder(MIB)
        feed(decoder, stream[:cut])
        if cut in whole:
            decoder.ended()
        else:
            with pytest.raises(TruncatedPayload):
                decoder.ended()


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"\x01\0", "inside a length prefix: 2 of 4 bytes had arrived"),
        (frame(b"roam")[:-1], "inside a payload: 3 of 4 bytes had arrived"),
        (
            frame(bytes(90_000))[:-1],
            "inside a payload: 89999 of 90000 bytes had arrived",
        ),
    ],
)
def test_truncation_says_what_was_missing(stream: bytes, said: str) -> None:
    decoder = FrameDecoder(MIB)
    feed(decoder, stream)
    with pytest.raises(TruncatedPayload, match=said):
        decoder.ended()


def test_oversize_length_is_refused_before_memory_is_set_aside() -> None:
    decoder = FrameDecoder(1000)
    feed(decoder, frame(b"fine") + frame(bytes(1000)))
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge, match=r"max_payload") as caught:
            feed(decoder, b"\xff\xff\xff\xff")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000
    assert (caught.value.size, caught.value.limit) == (2**32 - 1, 1000)
    assert list(decoder.payloads) == [b"fine", bytes(1000)]


def test_memory_follows_what_has_come_not_what_was_announced() -> None:
    length = 12 * MIB
    decoder = FrameDecoder(length)
    chunk = bytes(MIB // 2)
    tracemalloc.start()
    try:
        feed(decoder, length.to_bytes(4, "little"))
        come = 0
        while come < length:
            held, _ = tracemalloc.get_traced_memory()
            assert held < max(MIB + 65_536, 2 * come) + 20_000
            feed(decoder, chunk)
            come += len(chunk)
    finally:
        tracemalloc.stop()
    assert decoder.payloads.pop() == bytes(length)


@pytest.mark.rule("zerocopy.copies", "zerocopy.recv.stream", "zerocopy.backing.boxed")
def test_large_payload_is_received_where_it_stays() -> None:
    decoder = FrameDecoder(MIB)
    feed(decoder, MIB.to_bytes(4, "little"))
    assert decoder.large_buffer is not None  # and now it is there
    tracemalloc.start()
    try:
        while not decoder.payloads:
            buffer = decoder.large_buffer
            assert buffer is not None
            count = min(1000, len(buffer))
            buffer[:count] = b"r" * count
            del buffer  # whoever keeps it makes the decoder copy
            decoder.filled(count)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000  # no second copy was made, not even to finish it
    assert decoder.payloads.pop() == b"r" * MIB


@pytest.mark.rule("zerocopy.send.stream", "zerocopy.framing.single-pass")
def test_small_pieces_are_gathered_in_one_buffer() -> None:
    encoder = FrameEncoder()
    for n in range(100):
        encoder.add((b"piece", b"%d" % n), 5 + len(b"%d" % n))
    assert len(encoder.take()) == 1


@pytest.mark.rule("zerocopy.copies", "zerocopy.send.borrowed")
def test_large_pieces_are_passed_on_without_a_copy() -> None:
    encoder = FrameEncoder()
    large, view = bytes(100_000), memoryview(bytes(50_000))
    encoder.add((b"head", large, view, b"tail"), 150_008)
    encoder.add((b"next",), 4)
    buffers = encoder.take()
    assert buffers[1] is large
    assert any(buffer is view for buffer in buffers)
    assert b"".join(buffers) == (
        (150_008).to_bytes(4, "little") + b"head" + bytes(150_000) + b"tail"
    ) + frame(b"next")


def test_large_bytearray_is_copied_as_its_owner_may_change_it() -> None:
    encoder = FrameEncoder()
    mutable = bytearray(b"m" * 100_000)
    encoder.add((mutable,), len(mutable))
    mutable[:] = bytes(len(mutable))
    assert b"".join(encoder.take()) == frame(b"m" * 100_000)


@given(payloads=st.lists(st.lists(st.binary(max_size=9), max_size=4), max_size=9))
def test_decoder_reads_what_the_encoder_wrote(payloads: list[list[bytes]]) -> None:
    encoder, decoder = FrameEncoder(), FrameDecoder(MIB)
    for pieces in payloads:
        wrapped: list[Buffer] = [memoryview(piece) for piece in pieces]
        encoder.add(wrapped, sum(map(len, pieces)))
    feed(decoder, b"".join(encoder.take()))
    assert list(decoder.payloads) == [b"".join(pieces) for pieces in payloads]


@pytest.mark.rule("zerocopy.backing")
@pytest.mark.parametrize("length", [0, 1, 2, 300])
def test_finished_bytes_never_change(length: int) -> None:
    storage = FillableBytes(length)
    storage.view[:] = b"a" * length
    kept = storage.view[:]
    finished = storage.finish()
    kept[:] = b"z" * length
    assert finished == b"a" * length
    assert bytes(length) == b"\0" * length  # nobody else's bytes were written to


def test_unfinished_bytes_go_to_the_collector_without_a_complaint() -> None:
    """Releases of Python that report this always, do so in the middle of whatever the
    program does then; the others report it in development mode."""
    program = """
import gc
from roam_trio.links.fillable_bytes import FillableBytes

class Holder:
    pass

for _ in range(10):
    holder = Holder()
    holder.itself, holder.storage = holder, FillableBytes(3)
    holder.part = holder.storage.view[1:]
del holder
assert gc.collect()
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_payloads_before_an_error_in_the_same_chunk_are_counted() -> None:
    decoder = FrameDecoder(10)
    with pytest.raises(PayloadTooLarge):
        decoder.feed(frame(b"one") + frame(b"three") + frame(bytes(11)))
    assert decoder.payloads == [b"one", b"three"]
    assert (decoder.count, decoder.payload_bytes) == (2, 8)
