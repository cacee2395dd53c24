"""Drawing of times and choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, TypeVar

from .clockwork import TICK

__all__ = ["Drawing"]

S = TypeVar("S")
T = TypeVar("T")


class Drawing(Generic[S]):
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
        self._kinds: list[Callable[[], S]] = []
        self._weights: list[int] = []

    def _use(
        self,
        always: Sequence[tuple[Callable[[], S], int]],
        perhaps: Sequence[tuple[Callable[[], S], int]],
    ) -> None:
        """Choose the kinds of steps of this script.

        Args:
            always: kinds that every script has, each with its weight.
            perhaps: kinds of which each script has about half.
        """
        used = [each for each in perhaps if self._chance.random() < 0.5]
        used += always
        self._kinds = [kind for kind, _ in used]
        self._weights = [weight for _, weight in used]

    def draw(self, count: int) -> tuple[S, ...]:
        """Draw this many steps."""
        kinds = self._chance.choices(self._kinds, self._weights, k=count)
        return tuple(kind() for kind in kinds)

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
