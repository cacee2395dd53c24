"""Faults of a connection, and the amount of data before them.

Faults depend on counts and on trio's clock, never on chance, so a test that fails is
reproducible.
"""

from __future__ import annotations

import math

import attrs
import trio

__all__ = ["NO_FAULTS", "Faults", "Way"]


@attrs.frozen(kw_only=True)
class Faults:
    """Faults of the data that passes in one direction.

    It is counted in bytes on a `FaultyStream`, and in payloads on a `FaultyLink`.

    Attributes:
        cut_after: number after which the connection breaks, in both directions.
        stall_after: number after which nothing passes until `heal`.
        lose_after: number after which the rest is silently lost. In one direction only,
            this is a half-open connection.
        seconds_each: number of seconds that each takes.
        duplicates: indices, from 0, of payloads that arrive twice; bytes never do.
    """

    cut_after: float = math.inf
    stall_after: float = math.inf
    lose_after: float = math.inf
    seconds_each: float = 0.0
    duplicates: frozenset[int] = attrs.field(default=frozenset(), converter=frozenset)


NO_FAULTS = Faults()
"""Everything passes."""


class Way:
    """One direction: the amount that has passed, and the faults to come."""

    def __init__(self, faults: Faults) -> None:
        self.passed = 0
        self.cut_at = faults.cut_after
        self.stall_at = faults.stall_after
        self.lose_at = faults.lose_after
        self.seconds_each = faults.seconds_each
        self.duplicates = faults.duplicates
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def is_cut(self) -> bool:
        """True if the connection breaks here."""
        return self.passed >= self.cut_at

    @property
    def is_lost(self) -> bool:
        """True if further data is lost."""
        return self.passed >= self.lose_at

    def until_next_fault(self) -> float:
        """Return the amount that passes before the next fault; 0 if there is one
        now."""
        next_at = min(at for at in (self.cut_at, self.stall_at, self.lose_at))
        return max(next_at - self.passed, 0)

    async def wait_while_stalled(self) -> None:
        """Wait until data can pass, or the connection is cut."""
        while self.passed >= self.stall_at and not self.is_cut:
            await self.changed.park()

    def cut(self) -> None:
        """Break the connection now."""
        self.cut_at = 0
        self.changed.unpark_all()

    def heal(self) -> None:
        """Remove all faults except a cut."""
        self.cut_at = self.stall_at = self.lose_at = math.inf
        self.changed.unpark_all()
