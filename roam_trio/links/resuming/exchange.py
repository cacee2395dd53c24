"""The numbers that two peers exchange, whatever link they take.

No I/O happens here, and nothing waits. `Exchange` says what a frame that came means,
what has to be sent on a new link, and whether a peer can have got what it says.
"""

from __future__ import annotations

from ...errors import DecodeError
from ...wire.backing import Backing
from .replay import ReplayBuffer
from .sequence import HALF, MASK, read_header, write_header

__all__ = ["DUPLICATE", "Exchange"]

DUPLICATE = -1
"""The start of the message in a frame that is to be ignored."""


class Exchange:
    """Both directions of a conduit, of which each has its own numbers.

    Args:
        first_sent: the number of the first frame to send; other than 0 in tests alone.
        first_received: the same for the first frame to receive.
    """

    __slots__ = ("_expected", "has_received", "owed", "owed_bytes", "replay")

    def __init__(self, *, first_sent: int = 0, first_received: int = 0) -> None:
        self.replay = ReplayBuffer(first_sent)
        """Messages that are sent and not acknowledged, and those still to be sent."""
        self._expected = first_received
        self.has_received = False
        self.owed = 0
        """Number of frames received since the last that could acknowledge them."""
        self.owed_bytes = 0
        """The same in bytes."""

    @property
    def last_received(self) -> int | None:
        """The number of the last frame received; None before the first."""
        return (self._expected - 1) & MASK if self.has_received else None

    # ------------------------------------------------ sending

    def next_frame(self) -> tuple[bytes, bytes]:
        """Return the next frame for the present link: its header and the message.

        The header is made now, and so it acknowledges everything that has come, also
        in front of a message that is sent again (`stable.replay-buffer`).
        """
        seq, body = self.replay.take()
        self.owed = self.owed_bytes = 0
        # The property, spelt out: this is done for every message.
        ack = (self._expected - 1) & MASK if self.has_received else None
        return write_header(seq, ack), body

    # ------------------------------------------------ receiving

    def receive(self, payload: Backing) -> int:
        """Take note of a frame: where its message begins, or `DUPLICATE`.

        A duplicate acknowledges all the same. Numbers may be left out.

        Raises:
            DecodeError: it is not a frame, or it acknowledges what was not sent.
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
        """The peer has got everything up to this number (`stable.ack`).

        Raises:
            DecodeError: it was never sent.
        """
        replay = self.replay
        if not replay.can_be_acknowledged(seq):
            raise DecodeError(
                f"expected the number of a frame that was sent, got {seq}", "$.ack"
            )
        replay.trim(seq)

    # ------------------------------------------------ another link

    def can_resume(self, last_received: int | None) -> bool:
        """Return True if the peer can have got this last, and can be sent the rest."""
        return self.replay.can_replay_after(last_received)

    def resume(self, last_received: int | None) -> None:
        """There is another link, on which everything that the peer lacks comes first.

        Args:
            last_received: what the peer has got last; one that `can_resume`.
        """
        if last_received is not None:
            self.replay.trim(last_received)
        self.replay.rewind()

    def __repr__(self) -> str:
        return f"<Exchange received {self.last_received}, {self.replay!r}>"
