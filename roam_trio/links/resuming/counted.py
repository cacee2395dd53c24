"""The memory of a replay buffer, as a budget counts it."""

from __future__ import annotations

from ..base import ByteBudget

__all__ = ["CountedMemory"]


class CountedMemory:
    """Counts in a budget what a replay buffer holds.

    Args:
        budget: has the count.
    """

    __slots__ = ("_budget", "_counted")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._counted = 0

    def update(self, size: int) -> bool:
        """Count `size` bytes in all. Return False if there is no room for so many."""
        more = size - self._counted
        if more < 0:
            self._budget.give(-more)
        elif not self._budget.hold(more):
            return False
        self._counted = size
        return True
