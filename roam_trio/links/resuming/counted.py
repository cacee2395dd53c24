"""The memory of a replay buffer, as a budget counts it."""

from __future__ import annotations

from typing import Final

from ..base import ByteBudget

__all__ = ["STEP", "CountedMemory"]

STEP: Final = 16 * 1024
"""Number of bytes that are counted at a time, so that most messages change no count."""


class CountedMemory:
    """Counts the memory of a replay buffer, in steps of `STEP` bytes.

    Args:
        budget: has the count.

    Attributes:
        least: number of bytes below which `update` must be called.
        most: number of bytes above which `update` must be called.
    """

    __slots__ = ("_budget", "_counted", "least", "most")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._counted = 0
        self.least, self.most = 0, STEP

    def update(self, size: int) -> bool:
        """Count the memory, which is `size` bytes but for a part of a step.

        Returns:
            False if there is no room for so much.
        """
        counted = size // STEP * STEP
        if counted < self._counted:
            self._budget.give(self._counted - counted)
        elif not self._budget.hold(counted - self._counted):
            return False
        self._counted = counted
        self.least, self.most = counted - STEP, counted + STEP
        return True
