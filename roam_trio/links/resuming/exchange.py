"""Sequence numbers and acknowledgements of two peers, independent of their links.

This module does no I/O and does not wait. `Exchange` interprets received frames,
determines what to send on a new link, and checks what a peer claims to have received.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import DecodeError
from ...wire.backing import Backing
from ...wire.frames import Frames, PayloadRun
from ..base import Buffer
from .frames import (
    FRAMED_BELOW,
    Take,
    frame_message,
    frame_messages,
    take_frames,
    take_in_python,
)
from .replay import Body, ReplayBuffer
from .sequence import MASK, read_header, write_header, write_headers

__all__ = ["Exchange"]


class Exchange:
    """Both directions of a resuming link, each with its own sequence numbers.

    Args:
        first_sent: the number of the first frame to send; not 0 only in tests.
        first_received: the number of the first frame to receive; not 0 only in tests.
    """

    __slots__ = (
        "_expected",
        "owed",
        "owed_bytes",
        "received",
        "received_size",
        "replay",
    )

    def __init__(self, *, first_sent: int = 0, first_received: int = 0) -> None:
        self.replay = ReplayBuffer(first_sent)
        """Messages that are sent and not acknowledged, and the backlog."""
        self._expected = first_received
        self.received = 0
        """Number of messages received so far."""
        self.received_size = 0
        """Number of bytes of these."""
        self.owed = 0
        """Number of frames received since the last sent frame, which acknowledged all
        before.
        """
        self.owed_bytes = 0
        """Their size in bytes."""

    @property
    def last_received(self) -> int | None:
        """The number of the last frame received; None before the first."""
        return (self._expected - 1) & MASK if self.received else None

    # ------------------------------------------------ sending

    def next_frame(self) -> tuple[bytes, ...]:
        """Return the next frame for the present link: its header and the message, in
        pieces if it is long.

        The header is made now, so it acknowledges everything received, even if the
        message is sent again (`stable.replay-buffer`).
        """
        seq, body = self.replay.take()
        self.owed = self.owed_bytes = 0
        return _frame(write_header(seq, self.last_received), body)

    def next_frame_with_length(self) -> bytes | tuple[bytes, ...]:
        """Return the next frame as `next_frame` does, or, if it is not so long that its
        message is passed on without a copy, after its length: for `takes_frames`.
        """
        seq, body = self.replay.take()
        ack = self.last_received
        self.owed = self.owed_bytes = 0
        if type(body) is bytes and len(body) < FRAMED_BELOW:
            return frame_message(seq, ack, body)
        return _frame(write_header(seq, ack), body)

    def next_frames(self, most: int) -> Sequence[Sequence[Buffer]]:
        """Return the next frames, as `next_frame` does for one; `were_sent` tells how
        many of them the link took.
        """
        first, bodies = self.replay.next_of_backlog(most)
        ack = self.last_received
        framed = frame_messages(first, ack, bodies)
        if framed is not None:
            data, longest, last = framed
            return PayloadRun(b"", Frames(data, len(bodies), longest, last, 0))
        return list(map(_frame, write_headers(first, len(bodies), ack), bodies))

    def were_sent(self, count: int) -> None:
        """Note that the link has taken so many of `next_frames`."""
        self.replay.take_many(count)
        self.owed = self.owed_bytes = 0

    def last_frame(self) -> tuple[bytes, bytes]:
        """Return the last frame again, without its message and with a new header.

        The peer ignores it, but for the acknowledgement.
        """
        self.owed = self.owed_bytes = 0
        return write_header((self.replay.next_seq - 1) & MASK, self.last_received), b""

    # ------------------------------------------------ receiving

    def receive(
        self,
        payloads: Sequence[Backing],
        messages: list[Backing],
        take: Take = take_frames,
    ) -> None:
        """Accept frames, up to a goodbye, which is an empty message; see
        `take_in_python`.

        Args:
            payloads: what was received together, in order.
            messages: gets the messages of the frames.
            take: takes the messages out of the frames.

        Raises:
            DecodeError: one is not a frame, or acknowledges a frame that was not sent.
                Those before it are accepted.
        """
        replay = self.replay
        left, count, size, self._expected, first = take(
            payloads,
            messages,
            self._expected,
            replay.first,
            replay.handed,
            replay.start,
        )
        if first != replay.first:
            replay.trim(first)
        if count:
            self.received += count
            self.received_size += size
            self.owed += count
            self.owed_bytes += size
        if left and not (count and not messages[-1]):
            if take is take_in_python:
                raise _refusal_of(payloads[-left])
            self.receive(payloads[-left:], messages, take_in_python)

    # ------------------------------------------------ another link

    def can_resume(self, last_received: int | None) -> bool:
        """Return True if this can be the last frame that the peer received, and the
        rest is kept.
        """
        return self.replay.can_replay_after(last_received)

    def resume(self, last_received: int | None) -> None:
        """Put everything that the peer lacks into the backlog, for another link.

        Args:
            last_received: the last frame that the peer received, which `can_resume`.
        """
        if last_received is not None:
            self.replay.acknowledge(last_received)
        self.replay.rewind()

    def __repr__(self) -> str:
        return f"<Exchange received {self.last_received}, {self.replay!r}>"


def _frame(header: bytes, body: Body) -> tuple[bytes, ...]:
    return (header, body) if isinstance(body, bytes) else (header, *body.pieces)


def _refusal_of(payload: Backing) -> DecodeError:
    """Return the error for a payload that `take_in_python` has not accepted."""
    try:
        _, ack, _ = read_header(payload)
    except DecodeError as error:
        refusal = _not_a_frame(payload, error)
        refusal.__cause__ = error
        return refusal
    why = f"expected the number of a frame that was sent, got {ack}"
    return _not_a_frame(payload, DecodeError(why, "$.ack"))


def _not_a_frame(payload: Backing, error: DecodeError) -> DecodeError:
    return DecodeError(f"a payload of {len(payload)} bytes is not a frame: {error}")
