"""Payloads in a byte stream: a length of four bytes, little-endian, before each.

No I/O happens here. `FrameDecoder` turns bytes as they come into payloads;
`FrameEncoder` gathers what a writer is to send next. `StreamLink` moves the bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Final

from ..errors import PayloadTooLarge, TruncatedPayload
from .base import Buffer
from .storage import FillableBytes

__all__ = ["HEADER_LENGTH", "LARGEST_LENGTH", "FrameDecoder", "FrameEncoder"]

HEADER_LENGTH: Final = 4
LARGEST_LENGTH: Final = 2**32 - 1
"""The longest payload that the length prefix can express, in bytes."""

_read_length = Struct("<I").unpack_from

_RECEIVE_BUFFER: Final = 64 * 1024
"""Frames up to this size, prefix included, are cut out of one receive buffer."""

# A byte string of 1 MiB, with what is around it, is received without a copy.
_ALLOCATED_AHEAD: Final = 1024 * 1024 + 64 * 1024
"""How much memory an announced length alone can make us allocate, in bytes."""

_PASSED_BY_REFERENCE: Final = 32 * 1024
"""From this length on a piece is passed to the writer as it is, and not copied."""


class FrameDecoder:
    """Bytes in, payloads out.

    Receive into `receive_buffer()`, say with `received(count)` how much came, and take
    the payloads that it completed from `payloads`. Call `ended()` at the end of the
    stream. After an error the decoder must not be used again, except for the payloads
    that came before it.

    A small payload is copied once, out of the receive buffer. A large one is received
    where it stays (`zerocopy.recv.stream`).

    Args:
        max_payload: the longest payload to accept, in bytes.
    """

    __slots__ = (
        "_buffer",
        "_filled",
        "_large",
        "_max_payload",
        "_view",
        "count",
        "payload_bytes",
        "payloads",
    )

    def __init__(self, max_payload: int) -> None:
        self.payloads: deque[bytes] = deque()
        self.count = 0
        """How many payloads have come so far."""
        self.payload_bytes = 0
        """Their length in all."""
        self._max_payload = max_payload
        self._buffer = bytearray(_RECEIVE_BUFFER)
        self._view = memoryview(self._buffer)
        # Between calls the buffer holds the start of one incomplete frame, if anything.
        self._filled = 0
        self._large: _LargePayload | None = None

    def receive_buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._large is not None:
            return self._large.receive_buffer()
        return self._view[self._filled :] if self._filled else self._view

    def received(self, count: int) -> None:
        """Take note of `count` bytes at the start of the receive buffer.

        Raises:
            PayloadTooLarge: a length over `max_payload` was announced.
        """
        if self._large is None:
            self._cut_frames(self._filled + count)
        elif self._large.received(count):
            self.payloads.append(self._large.finish())
            self.count += 1
            self.payload_bytes += self._large.length
            self._large = None

    def ended(self) -> None:
        """Take note of the end of the stream.

        Raises:
            TruncatedPayload: it is not at the end of a payload.
        """
        if self._large is not None:
            raise _truncated_body(self._large.filled, self._large.length)
        if self._filled >= HEADER_LENGTH:
            (length,) = _read_length(self._buffer)
            raise _truncated_body(self._filled - HEADER_LENGTH, length)
        if self._filled:
            raise TruncatedPayload(
                "the stream ended inside a length prefix: "
                f"{self._filled} of {HEADER_LENGTH} bytes had come"
            )

    def _cut_frames(self, end: int) -> None:
        start = 0
        while end - start >= HEADER_LENGTH:
            (length,) = _read_length(self._buffer, start)
            if length > self._max_payload:
                raise PayloadTooLarge(length, self._max_payload, inbound=True)
            body = start + HEADER_LENGTH
            stop = body + length
            if stop > end:
                if stop - start > _RECEIVE_BUFFER:
                    self._large = _LargePayload(length, self._view[body:end])
                    start = end
                break
            self.payloads.append(self._view[body:stop].tobytes())
            self.count += 1
            self.payload_bytes += length
            start = stop
        if start and start < end:
            self._buffer[: end - start] = self._view[start:end].tobytes()
        self._filled = end - start


class _LargePayload:
    """A payload that is too long for the receive buffer, while it arrives.

    Its storage grows with what has come: it is never much larger than 1 MiB, or
    than twice what has come.
    """

    __slots__ = ("_storage", "filled", "length")

    def __init__(self, length: int, start: memoryview) -> None:
        self.length = length
        self._storage = FillableBytes(min(length, _ALLOCATED_AHEAD))
        self._storage.view[: len(start)] = start
        self.filled = len(start)

    def receive_buffer(self) -> memoryview:
        return self._storage.view[self.filled :]

    def received(self, count: int) -> bool:
        """Whether the payload is complete."""
        self.filled += count
        if self.filled == self.length:
            return True
        if self.filled == len(self._storage.view):
            self._grow()
        return False

    def _grow(self) -> None:
        larger = FillableBytes(min(self.length, 2 * self.filled))
        larger.view[: self.filled] = self._storage.view
        self._storage = larger

    def finish(self) -> bytes:
        return self._storage.finish()


def _truncated_body(come: int, length: int) -> TruncatedPayload:
    return TruncatedPayload(
        f"the stream ended inside a payload: {come} of {length} bytes had come"
    )


class FrameEncoder:
    """Payloads in, buffers to write out.

    Small pieces are copied at once into one write buffer, so that everything added
    since the last `take` goes out in one write (`zerocopy.send.stream`). A large piece
    of bytes or memoryview stands in the output as it is.
    """

    __slots__ = ("_complete", "_open")

    def __init__(self) -> None:
        self._complete: list[Buffer] = []
        self._open = bytearray()

    def add(self, pieces: Sequence[Buffer], length: int) -> None:
        """Add one payload: the concatenation of `pieces`, of `length` bytes in all."""
        self._open += length.to_bytes(HEADER_LENGTH, "little")
        if length < _PASSED_BY_REFERENCE:
            for piece in pieces:
                self._open += piece
        else:
            for piece in pieces:
                self._add_piece(piece)

    def _add_piece(self, piece: Buffer) -> None:
        # A bytearray may be changed by its owner before it is written.
        if len(piece) < _PASSED_BY_REFERENCE or isinstance(piece, bytearray):
            self._open += piece
        else:
            self._complete += (self._open, piece)
            self._open = bytearray()

    def take(self) -> list[Buffer]:
        """Everything added since the last call, in order; empty if nothing was."""
        taken = self._complete
        if self._open:
            taken.append(self._open)
            self._open = bytearray()
        self._complete = []
        return taken

    def give_back(self, buffers: list[Buffer]) -> None:
        """What `take` returned last and could not be written, the end of it maybe."""
        self._complete = buffers
