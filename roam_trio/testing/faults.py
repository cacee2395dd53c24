"""Faults of a connection, and the amount of data before them.

It is up to a count and to trio's clock, never to chance: a test that fails does so
again.
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
        cut_after: when so many have passed, the connection breaks, in both directions.
        stall_after: when so many have passed, nothing more does until `heal`.
        lose_after: when so many have passed, the others vanish, and nobody is told. In
            one direction alone, this is a connection that is half open.
        seconds_each: how long each takes.
        duplicates: which payloads come twice, counted from 0. Bytes never do.
    """

    cut_after: float = math.inf
    stall_after: float = math.inf
    lose_after: float = math.inf
    seconds_each: float = 0.0
    duplicates: frozenset[int] = attrs.field(default=frozenset(), converter=frozenset)


NO_FAULTS = Faults()
"""Everything passes."""


class Way:
    """One direction: how much has passed, and what happens to what comes next."""

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
        """True if what comes next vanishes."""
        return self.passed >= self.lose_at

    def until_next_fault(self) -> float:
        """Return the amount that passes before the next fault; 0 if there is one
        now."""
        next_at = min(at for at in (self.cut_at, self.stall_at, self.lose_at))
        return max(next_at - self.passed, 0)

    async def wait_while_stalled(self) -> None:
        """Wait until something can pass, or the connection is cut."""
        while self.passed >= self.stall_at and not self.is_cut:
            await self.changed.park()

    def cut(self) -> None:
        """Break off here."""
        self.cut_at = 0
        self.changed.unpark_all()

    def heal(self) -> None:
        """Let everything pass from now on."""
        self.cut_at = self.stall_at = self.lose_at = math.inf
        self.changed.unpark_all()
