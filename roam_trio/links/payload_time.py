"""The time that a payload may take to arrive, once it has begun.

Decides without a clock of its own. Nothing here is used for a payload that one read of
the stream brings whole.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PayloadTime"]

_MIB: Final = 1024 * 1024

_HELD_UP: Final = 0.1
"""Number of seconds by which a check must be late for this program to be held up."""


class PayloadTime:
    """Time for the payload that is arriving.

    A payload has a number of seconds for each MiB of it that has begun to arrive. So a
    peer that announces much gets no more time than one that sends as much.

    Args:
        seconds: that number.
    """

    __slots__ = ("_counted", "_number", "deadline", "more_from", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._number = -1
        self._counted = 0
        self.deadline = 0.0
        """The time at which the payload must have made progress, in seconds."""
        self.more_from = 0
        """Number of bytes of the payload from which it has more time."""

    def note(self, number: int, begun: int, now: float) -> None:
        """Note how much of a payload has arrived.

        Args:
            number: identifies the payload.
            begun: number of bytes that have arrived.
            now: the time.
        """
        if number != self._number:
            self._number = number
            self._counted = 0
            self.deadline = now
        counted = 1 + begun // _MIB
        if counted != self._counted:  # infinite seconds, times 0, are no number
            self.deadline += self.seconds * (counted - self._counted)
            self._counted = counted
            self.more_from = counted * _MIB

    def pause(self, seconds: float) -> None:
        """Note that this side has not read for so many seconds."""
        self.deadline += seconds

    def is_up(self, now: float) -> bool:
        """Return True if the deadline has passed.

        If this program was held up, the payload may have arrived meanwhile, so the time
        that was lost is added.
        """
        late = now - self.deadline
        if late <= _HELD_UP:
            return True
        self.deadline = now + late
        return False

    def __repr__(self) -> str:
        return f"<PayloadTime until {self.deadline}>"
