"""Drawing of times and choices."""

from __future__ import annotations

from random import Random
from typing import TypeVar

from .clockwork import TICK

__all__ = ["Drawing"]

T = TypeVar("T")


class Drawing:
    """Draws the steps of one script.

    Args:
        chance: draws.
        pause: longest time between two steps, most often.
        rest: longest time between two steps, now and then.
    """

    def __init__(self, chance: Random, pause: float, rest: float = 3600) -> None:
        self._chance = chance
        self._pause = pause
        self._rest = rest

    def _seconds(self, longest: float) -> float:
        """Return a time in ticks, more often a short one."""
        return int(longest * self._chance.random() ** 3 / TICK) * TICK

    def _after(self) -> float:
        if self._chance.random() < 0.4:
            return 0.0
        if self._chance.random() < 0.02:
            return self._seconds(self._rest)
        return self._seconds(self._pause)

    def _seldom(self, value: T, one_in: int) -> T | None:
        return value if self._chance.randrange(one_in) == 0 else None
