"""The member with the largest amount, found in few steps while amounts change."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

__all__ = ["Ranking"]

T = TypeVar("T")


class Ranking(Generic[T]):
    """Finds the member with the largest amount.

    A change of an amount takes as many steps as the logarithm of the number of members,
    and so does finding the largest, apart from what changes have put off. An amount
    that has become smaller is looked at only when its member seems to be the largest.

    Args:
        amount: returns the amount of a member.
    """

    __slots__ = ("_amount", "_heap", "_known", "_serial")

    def __init__(self, amount: Callable[[T], int]) -> None:
        self._amount = amount
        self._known: dict[T, int] = {}  # by member; its amount is no larger
        # An entry that does not agree with `_known` is out of date.
        self._heap: list[tuple[int, int, T]] = []
        self._serial = 0

    def note(self, member: T) -> None:
        """Note that a member is new, or that its amount is another one."""
        amount = self._amount(member)
        if amount <= self._known.get(member, 0):
            return
        self._known[member] = amount
        if len(self._heap) > 2 * len(self._known):
            self._heap = [self._entry(*each) for each in self._known.items()]
            heapify(self._heap)
        else:
            heappush(self._heap, self._entry(member, amount))

    def remove(self, member: T) -> None:
        """Remove a member, if it is here."""
        self._known.pop(member, None)

    def largest(self) -> T | None:
        """Return the member with the largest amount, of several the one that was noted
        first; None if there is no amount above zero."""
        heap, known = self._heap, self._known
        while heap:
            negative, _, member = heap[0]
            if known.get(member) != -negative:
                heappop(heap)
                continue
            amount = self._amount(member)
            if amount == -negative:
                return member
            if amount > 0:
                known[member] = amount
                heapreplace(heap, self._entry(member, amount))
            else:
                del known[member]
                heappop(heap)
        return None

    def _entry(self, member: T, amount: int) -> tuple[int, int, T]:
        self._serial += 1  # members are not compared with each other
        return -amount, self._serial, member
