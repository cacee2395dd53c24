"""Sequence numbers and acknowledgements of two peers, independent of their links.

This module does no I/O and does not wait. `Exchange` interprets received frames,
determines what to send on a new link, and checks what a peer claims to have received.
"""

from __future__ import annotations

from ...errors import DecodeError
from ...wire.backing import Backing
from .replay import ReplayBuffer
from .sequence import HALF, MASK, read_header, write_header

__all__ = ["DUPLICATE", "Exchange"]

DUPLICATE = -1
"""The start of the message in a frame that must be ignored."""


class Exchange:
    """Both directions of a resuming link, each with its own sequence numbers.

    Args:
        first_sent: the number of the first frame to send; not 0 only in tests.
        first_received: the number of the first frame to receive; not 0 only in tests.
    """

    __slots__ = ("_expected", "has_received", "owed", "owed_bytes", "replay")

    def __init__(self, *, first_sent: int = 0, first_received: int = 0) -> None:
        self.replay = ReplayBuffer(first_sent)
        """Messages that are sent and not acknowledged, and the backlog."""
        self._expected = first_received
        self.has_received = False
        self.owed = 0
        """Number of frames received since the last sent frame, which acknowledged all
        before.
        """
        self.owed_bytes = 0
        """Their size in bytes."""

    @property
    def last_received(self) -> int | None:
        """The number of the last frame received; None before the first."""
        return (self._expected - 1) & MASK if self.has_received else None

    # ------------------------------------------------ sending

    def next_frame(self) -> tuple[bytes, bytes]:
        """Return the next frame for the present link: its header and the message.

        The header is made now, so it acknowledges everything received, even if the
        message is sent again (`stable.replay-buffer`).
        """
        seq, body = self.replay.take()
        self.owed = self.owed_bytes = 0
        # This inlines the property `last_received`, because it runs for every message.
        ack = (self._expected - 1) & MASK if self.has_received else None
        return write_header(seq, ack), body

    def last_frame(self) -> tuple[bytes, bytes]:
        """Return the last frame again, without its message and with a new header.

        The peer ignores it, but for the acknowledgement.
        """
        self.owed = self.owed_bytes = 0
        return write_header((self.replay.next_seq - 1) & MASK, self.last_received), b""

    # ------------------------------------------------ receiving

    def receive(self, payload: Backing) -> int:
        """Accept a frame; return the start of its message, or `DUPLICATE`.

        The acknowledgement of a duplicate is used. Gaps in the numbers are allowed.

        Raises:
            DecodeError: it is not a frame, or it acknowledges a frame that was not
                sent.
        """
        seq, ack, pos = read_header(payload)
        if ack is not None:
            self.acknowledged(ack)
        if (seq - self._expected) & MASK >= HALF:
            return DUPLICATE
        self._expected = (seq + 1) & MASK
        self.has_received = True
        self.owed += 1
        self.owed_bytes += len(payload)
        return pos

    def acknowledged(self, seq: int) -> None:
        """Handle an acknowledgement of everything up to this number (`stable.ack`).

        Raises:
            DecodeError: the number was never sent.
        """
        replay = self.replay
        if not replay.can_be_acknowledged(seq):
            raise DecodeError(
                f"expected the number of a frame that was sent, got {seq}", "$.ack"
            )
        replay.trim(seq)

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
            self.replay.trim(last_received)
        self.replay.rewind()

    def __repr__(self) -> str:
        return f"<Exchange received {self.last_received}, {self.replay!r}>"
