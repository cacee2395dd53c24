"""Framing of payloads in a byte stream: four bytes of length, little-endian, and a
payload.

This module does no I/O. `FrameDecoder` converts received bytes to payloads, and
`FrameEncoder` gathers the buffers for the next write. `StreamLink` moves the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import ClassVar, Final, NamedTuple, Protocol

from ..errors import AnnouncedTooLarge, ForeignProtocol, TruncatedPayload
from ..wire.frames import (
    HEADER_LENGTH,
    PASSED_BY_REFERENCE,
    Frames,
    cut_frames,
    frame,
)
from .base import Buffer, PayloadBound
from .fillable_bytes import FillableBytes
from .foreign import NAMED_UP_TO, named, unmistakable

__all__ = [
    "ALLOCATED_AHEAD",
    "HEADER_LENGTH",
    "LARGEST_LENGTH",
    "RECEIVE_AT_ONCE",
    "FrameDecoder",
    "FrameEncoder",
    "PayloadDecoder",
]

LARGEST_LENGTH: Final = 2**32 - 1
"""The longest payload that the length prefix can express, in bytes."""

_read_length = Struct("<I").unpack_from

RECEIVE_AT_ONCE: Final = 64 * 1024
"""Number of bytes to receive at a time. Longer frames, prefix included, count as large.
"""

# A payload with 1 MiB of data and its envelope is received without a copy.
ALLOCATED_AHEAD: Final = 1024 * 1024 + 64 * 1024
"""Number of bytes that are allocated for an announced length alone, at most."""


class PayloadDecoder(Protocol):
    """The interface of decoders for a receiving half; see `FrameDecoder`."""

    payloads: list[bytes]
    count: int
    payload_bytes: int
    begun: int
    ahead: int

    @property
    def at_end(self) -> bool: ...
    @property
    def number(self) -> int: ...
    @property
    def announced(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def large_buffer(self) -> memoryview | None: ...
    def filled(self, count: int) -> None: ...
    def feed(self, chunk: bytes) -> None: ...
    def accept_up_to(self, bound: PayloadBound | None) -> None: ...
    def ended(self) -> None: ...
    def named(self) -> str | None: ...


class _BoundedPayload(NamedTuple):
    bound: PayloadBound
    number: int


class FrameDecoder:
    """Converts received bytes to payloads.

    Pass received bytes to `feed`, in chunks of at most `RECEIVE_AT_ONCE` bytes, and
    take the completed payloads from `payloads`. While `large_buffer` is not None,
    receive into it instead, and pass the number of bytes to `filled`. Call `ended` at
    the end of the stream. After an error the decoder must not be used again, but
    payloads before the error can be taken.

    A small payload is copied once, out of its chunk. A large one is received into its
    final memory (`zerocopy.recv.stream`). Between chunks only the start of an
    incomplete frame is held.

    Args:
        max_payload: length of the longest payload to accept, in bytes.
    """

    at_end = False
    """True if the peer has said that nothing follows, which frames cannot."""

    __slots__ = (
        "_bounded",
        "_large",
        "_max_payload",
        "_most",
        "_start",
        "ahead",
        "begun",
        "count",
        "payload_bytes",
        "payloads",
    )

    def __init__(self, max_payload: int) -> None:
        self.payloads: list[bytes] = []
        self.count = 0
        """Number of payloads received so far."""
        self.payload_bytes = 0
        """Their total length."""
        self.begun = 0
        """Number of bytes received of a frame that is not complete; 0 for none."""
        self.ahead = ALLOCATED_AHEAD
        """Number of bytes to allocate at most for an announced length alone."""
        self._max_payload = max_payload
        self._most = max_payload  # perhaps less for the first payload
        self._bounded: _BoundedPayload | None = None
        self._start: bytes = b""  # of an incomplete frame
        self._large: _LargePayload | None = None

    def accept_up_to(self, bound: PayloadBound | None) -> None:
        """Refuse a longer next payload, even if it has begun; see `LinkRx.count_in`."""
        self._most, self._bounded = self._max_payload, None
        if bound is not None and bound.length < self._max_payload:
            self._most = bound.length
            self._bounded = _BoundedPayload(bound, self.count)
            if self._large is not None and self._large.length > bound.length:
                self._start, self._large = self._large.start(RECEIVE_AT_ONCE), None

    @property
    def number(self) -> int:
        """A number of the frame that is not complete; each has another."""
        return self.count

    @property
    def large_buffer(self) -> memoryview | None:
        """The buffer for the next bytes of a large payload; None if there is none,
        never empty.
        """
        return None if self._large is None else self._large.receive_buffer(self.ahead)

    @property
    def announced(self) -> int:
        """Length of the large payload that is not complete; 0 if there is none."""
        return 0 if self._large is None else self._large.length

    @property
    def memory(self) -> int:
        """Number of bytes of memory for what is not complete, with the next
        `large_buffer`."""
        return self.begun if self._large is None else self._large.memory(self.ahead)

    def filled(self, count: int) -> None:
        """Accept `count` bytes at the start of `large_buffer`.

        Raises:
            ForeignProtocol: the first bytes are of another protocol.
        """
        large = self._large
        assert large is not None, "only what large_buffer has returned can be filled"
        if large.received(count):
            self.payloads.append(large.finish())
            self.count += 1
            self.payload_bytes += large.length
            self.begun = 0
            self._large = None
            return
        self.begun += count
        if not self.count and unmistakable(first := self._first()):
            _refuse_foreign(first)

    def only(self, chunk: bytes) -> bytes | None:
        """Return the payload of a chunk that is one whole frame, and nothing else; None
        for any other. Nothing must have begun; pass the chunk to `feed` as well.
        """
        length = len(chunk) - HEADER_LENGTH
        if not 0 <= length <= self._most or _read_length(chunk)[0] != length:
            return None
        return chunk[HEADER_LENGTH:]

    def feed(self, chunk: bytes) -> None:
        """Divide a received chunk into payloads.

        Raises:
            PayloadTooLarge: a length above `max_payload` was announced, or above the
                bound of `accept_up_to`.
            ForeignProtocol: the first bytes are of another protocol.
        """
        if self._start:
            chunk = self._start + chunk
        payloads, most = self.payloads, self._most
        if len(chunk) >= HEADER_LENGTH:
            length = _read_length(chunk)[0]
            if length + HEADER_LENGTH == len(chunk) and length <= most:
                # One whole frame, as with one call at a time, and in fewer steps.
                payloads.append(chunk[HEADER_LENGTH:])
                self.count += 1
                self.payload_bytes += length
                self.begun, self._start = 0, b""
                return
        before = len(payloads)
        start, end = 0, len(chunk)
        while True:
            start = cut_frames(chunk, start, most, payloads)
            body = start + HEADER_LENGTH
            if body > end:
                break
            length = _read_length(chunk, start)[0]
            if length <= most:  # it is not whole
                if not start and not self.count and unmistakable(chunk):
                    _refuse_foreign(chunk)
                if HEADER_LENGTH + length > RECEIVE_AT_ONCE:
                    self._large = _LargePayload(length, memoryview(chunk)[body:])
                break
            if not start and not self.count:
                _refuse_foreign(chunk)
            taken = len(payloads) - before
            try:
                self._check_length(length, self.count + taken)
            except AnnouncedTooLarge:
                self._add_to_totals(taken, start)
                raise
            most = self._most
        self._add_to_totals(len(payloads) - before, start)
        self.begun = end - start
        self._start = b"" if self._large is not None else chunk[start:]

    def _check_length(self, length: int, number: int) -> None:
        """Check a length above the present limit, which can be that of a payload before
        this one.

        Raises:
            AnnouncedTooLarge: the length is above the limit of this payload as well.
        """
        if length > self._max_payload:
            raise AnnouncedTooLarge(length, self._max_payload)
        bounded = self._bounded
        if bounded is not None and bounded.number == number:
            raise AnnouncedTooLarge(length, self._most, bounded.bound.limit)
        self._most, self._bounded = self._max_payload, None
        return None

    def _add_to_totals(self, payloads: int, size: int) -> None:
        """Count payloads whose frames have `size` bytes in all."""
        self.count += payloads
        self.payload_bytes += size - payloads * HEADER_LENGTH

    def ended(self) -> None:
        """Accept the end of the stream.

        Raises:
            TruncatedPayload: the stream ended inside a payload or its length.
            ForeignProtocol: the received bytes are of another protocol.
        """
        if (told := self.named()) is not None:
            raise ForeignProtocol(told)
        come = len(self._start)
        if self._large is not None:
            raise _truncated_body(self._large.filled, self._large.length)
        if come >= HEADER_LENGTH:
            (length,) = _read_length(self._start)
            raise _truncated_body(come - HEADER_LENGTH, length)
        if come:
            raise TruncatedPayload(
                "the stream ended inside a length prefix: "
                f"{come} of {HEADER_LENGTH} bytes had arrived"
            )

    def named(self) -> str | None:
        """Return an error text with the protocol of the peer, if no payload has
        arrived. For the end and for failures of the stream.
        """
        return None if self.count else named(self._first())

    def _first(self) -> bytes:
        """Return the first bytes, as long as no payload is complete."""
        if self._large is None:
            return self._start
        return self._large.start(NAMED_UP_TO)


def _refuse_foreign(first: bytes) -> None:
    if (told := named(first)) is not None:
        raise ForeignProtocol(told)


class _LargePayload:
    """A payload that is too long for one chunk, while it arrives.

    Its buffer grows with the received bytes: it is never much larger than 1 MiB, or
    than twice the number of received bytes. There is none before the second read.
    """

    __slots__ = ("_start", "_storage", "filled", "length")

    def __init__(self, length: int, start: memoryview) -> None:
        self.length = length
        self._start = start
        self._storage: FillableBytes | None = None
        self.filled = len(start)

    def start(self, most: int) -> bytes:
        """Return the start of the frame, with `most` bytes of the payload at most."""
        header = self.length.to_bytes(HEADER_LENGTH, "little")
        come = self._start if self._storage is None else self._storage.view
        return header + come[: min(self.filled, most)]

    def memory(self, ahead: int) -> int:
        """Return the size of the buffer for the next bytes."""
        size = 0 if self._storage is None else len(self._storage.view)
        if size > self.filled:
            return size
        return min(self.length, max(2 * self.filled, ahead))

    def receive_buffer(self, ahead: int) -> memoryview:
        storage = self._storage
        if storage is None or len(storage.view) == self.filled:
            storage = self._grown(self.memory(ahead))
        return storage.view[self.filled :]

    def received(self, count: int) -> bool:
        """Accept received bytes. Return True if the payload is complete."""
        self.filled += count
        return self.filled == self.length

    def _grown(self, size: int) -> FillableBytes:
        come = self._start if self._storage is None else self._storage.view
        larger = FillableBytes(size)
        larger.view[: self.filled] = come
        self._start, self._storage = _NOTHING, larger
        return larger

    def finish(self) -> bytes:
        assert self._storage is not None, "it has been filled"
        return self._storage.finish()


_NOTHING: Final = memoryview(b"")


def _truncated_body(come: int, length: int) -> TruncatedPayload:
    return TruncatedPayload(
        f"the stream ended inside a payload: {come} of {length} bytes had arrived"
    )


class FrameEncoder:
    """Converts payloads to buffers to write.

    Small payloads are gathered, so that everything added since the last `take` is one
    write (`zerocopy.send.stream`). A large piece, bytes or memoryview, becomes a buffer
    without a copy.

    Attributes:
        small: the frames that are gathered; more can be appended.
    """

    __slots__ = ("_complete", "small")

    takes_frames: ClassVar[bool] = True
    """True if `small` takes frames that others have made."""

    def __init__(self) -> None:
        self._complete: list[Buffer] = []
        self.small: list[bytes] = []

    def add(self, pieces: Sequence[Buffer], length: int) -> None:
        """Add one payload: the concatenation of `pieces`, `length` bytes in all."""
        if length < PASSED_BY_REFERENCE:
            self.small.append(frame(pieces, length))
        else:
            self.small.append(length.to_bytes(HEADER_LENGTH, "little"))
            for piece in pieces:
                self._add_piece(piece)

    def add_frames(self, frames: Frames) -> None:
        """Add payloads that are framed already."""
        self.small.append(frames.data)

    def _add_piece(self, piece: Buffer) -> None:
        # The owner of a bytearray may change it before it is written.
        if len(piece) < PASSED_BY_REFERENCE or isinstance(piece, bytearray):
            self.small.append(bytes(piece))
        else:
            self._complete = [*self.take(), piece]

    def take(self) -> list[Buffer]:
        """Return everything added since the last call, in order."""
        taken, self._complete = self._complete, []
        small = self.small
        if small:
            taken.append(b"".join(small))  # no copy of a single one
            self.small = []
        return taken

    def give_back(self, buffers: list[Buffer]) -> None:
        """Put back the unwritten rest of what `take` returned last."""
        self._complete = buffers
