"""The bytes that the link of a session keeps, in the budget of the session."""

from __future__ import annotations

import trio

from ..errors import LimitExceeded
from ..links.arrivals import Arrivals
from ..links.base import PayloadBound
from .budgets import Budget

__all__ = ["LinkBytes"]


class LinkBytes:
    """Counts what the link of a session keeps until its peer acknowledges it, or has
    sent all of it.

    Args:
        budget: the budget of the session.
        first: the bound of the next payload; None once the handshake is done.
        arrivals: the large payloads on their way to this server; None for no server.
    """

    __slots__ = ("_budget", "arrivals", "first")

    def __init__(
        self,
        budget: Budget,
        first: PayloadBound | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        self._budget = budget
        self.arrivals = arrivals
        self.first = first

    def hold(self, size: int) -> bool:
        """See `ByteBudget`."""
        try:
            self._budget.hold(size)
        except LimitExceeded as error:
            self._end_soon(error)
            return False
        return True

    def wait(self, size: int) -> bool:
        """See `ByteBudget`."""
        excess = self._budget.wait_committed(size)
        if excess is not None:
            self._end_soon(excess.as_end())
        return excess is None

    def go_on(self, size: int) -> None:
        """See `ByteBudget`."""
        self._budget.go_on(size)

    def _end_soon(self, because: LimitExceeded) -> None:
        # Not now: the session sends, or its link reads.
        token = trio.lowlevel.current_trio_token()
        token.run_sync_soon(self._budget.end, because)

    def give(self, size: int) -> None:
        """See `ByteBudget`."""
        self._budget.give(size)
