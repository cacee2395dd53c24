"""Messages of a peer that bring no work, counted by their kind.

Each kind has a budget that is refilled as time passes. A peer that exceeds it floods
this side, and its session ends. The messages that do the work (calls, responses, items
and the credit for them) are not counted, so that they cost nothing here.

Two kinds also come from honest peers that work a lot: cancellations, from clients whose
deadlines are short, and Pongs, which acknowledge messages. Messages of this side refill
their budgets too.

Nothing here waits. The clock is given, so nothing here needs a run of trio.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from ..errors import LimitExceeded
from ..limits import Limits

__all__ = ["EXCUSED_SECONDS", "Futile", "FutileMessages"]

EXCUSED_SECONDS: Final = 30.0
"""Number of seconds after which the peer has learnt what this side has ended."""


class Futile(enum.Enum):
    """Kinds of messages that bring no work."""

    PING = "pings"
    PONG = "pongs"
    CANCEL = "cancellations of calls that had just begun, or that were over"
    OPEN = "virtual connections that were rejected, or that the peer closed"
    RESET = "resets of channels on which no item was under way"
    CREDIT = "credit for no item"
    REFUSED = "calls that were refused: of unknown methods, or with wrong arguments"
    STRAY = "messages for calls, channels or connections that are not open"


class _Left:
    """The rest of the budget of one kind.

    Attributes:
        number: of messages that may still come.
        at: the time of that.
        counted: number of messages that have come.
        of_use: number of messages of this side that have refilled the budget.
    """

    __slots__ = ("at", "counted", "number", "of_use")

    def __init__(self, number: float, at: float) -> None:
        self.number = number
        self.at = at
        self.counted = 0
        self.of_use = 0


class FutileMessages:
    """Counts the messages of one session that bring no work.

    Args:
        limits: the budget of each kind.
        now: returns the time, in seconds.
    """

    __slots__ = (
        "_excused",
        "_excused_at",
        "_excused_before",
        "_left",
        "_limits",
        "_now",
    )

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._left: dict[Futile, _Left] | None = None
        # Those since a time, and those of as long before it: one expires later than
        # `EXCUSED_SECONDS`, and before twice that.
        self._excused = self._excused_before = 0
        self._excused_at = now()

    def count(self, kind: Futile, sent: int = 0) -> None:
        """Count a message.

        Args:
            kind: its kind.
            sent: number of messages that this side has sent, for a kind whose budget
                they refill.

        Raises:
            LimitExceeded: too many of its kind have come.
        """
        if kind is Futile.STRAY and self._is_excused():
            return
        most, now = self._limits.futile_messages, self._now()
        if self._left is None:
            self._left = {}
        left = self._left.get(kind)
        if left is None:
            left = self._left[kind] = _Left(most, now)
        refilled = (now - left.at) * self._limits.futile_messages_per_second
        # A call that is cancelled gets a response too, which was of no use.
        of_use = sent - left.counted if kind is Futile.CANCEL else sent
        if of_use > left.of_use:
            refilled += of_use - left.of_use
            left.of_use = of_use
        left.number = min(left.number + refilled, most) - 1
        left.at = now
        left.counted += 1
        if left.number < 0:
            raise LimitExceeded(
                "futile_messages",
                f"the peer has sent too many messages that bring no work: {kind.value}",
            )

    def excuse(self, number: int) -> None:
        """Do not count so many strays, which may be under way already."""
        self._expire()
        self._excused += number

    def _is_excused(self) -> bool:
        self._expire()
        if self._excused_before:
            self._excused_before -= 1
        elif self._excused:
            self._excused -= 1
        else:
            return False
        return True

    def _expire(self) -> None:
        now = self._now()
        age = now - self._excused_at
        if age >= EXCUSED_SECONDS:
            self._excused_before = self._excused if age < 2 * EXCUSED_SECONDS else 0
            self._excused = 0
            self._excused_at = now

    def __repr__(self) -> str:
        left = ", ".join(
            f"{kind.name}: {left.number:.0f}"
            for kind, left in (self._left or {}).items()
        )
        return f"<FutileMessages that may still come: {left or 'all'}>"
