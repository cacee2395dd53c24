"""The bytes that the link of a session keeps, in the budget of the session."""

from __future__ import annotations

import trio

from ..errors import LimitExceeded
from ..links.base import PayloadBound
from .budgets import Budget

__all__ = ["LinkBytes"]


class LinkBytes:
    """Counts what the link of a session keeps until its peer acknowledges it, or has
    sent all of it.

    Args:
        budget: the budget of the session.
        first: the bound of the next payload; None once the handshake is done.
    """

    __slots__ = ("_budget", "first")

    def __init__(self, budget: Budget, first: PayloadBound | None = None) -> None:
        self._budget = budget
        self.first = first

    def hold(self, size: int) -> bool:
        """See `ByteBudget`."""
        try:
            self._budget.hold(size)
        except LimitExceeded as error:
            # Not now: this is called while the session sends, or its link reads.
            token = trio.lowlevel.current_trio_token()
            token.run_sync_soon(self._budget.end, error)
            return False
        return True

    def give(self, size: int) -> None:
        """See `ByteBudget`."""
        self._budget.give(size)
