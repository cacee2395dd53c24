"""Budgets of the bytes and the tasks that peers make this side hold.

Budgets nest: what a session holds counts against its own budget, and against that of
its server, for all sessions together. Where the server has no room, the peer that holds
the most has to give way: new work of its largest session is refused, or this session
ends. The other sessions notice nothing.

Nothing here waits, and nothing needs a run of trio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import LimitExceeded
from ..peers import Peer
from ..rpc.handler import LIGHT_BYTES, RequestMemory
from .bounds import Bounds, Demand, Excess
from .server_budget import ServerBudget

__all__ = [
    "CHANNEL_BYTES",
    "CONNECTION_BYTES",
    "TASK_BYTES",
    "Budget",
    "CountedMemory",
    "EarlyMemory",
]

TASK_BYTES: Final = 8 * 1024 + LIGHT_BYTES
"""Memory of a task that answers a call, in bytes: the task and its scope, and the
frames of a small handler with small arguments."""

CONNECTION_BYTES: Final = 2560
"""Memory of a virtual connection without metadata, in bytes."""

CHANNEL_BYTES: Final = 4096
"""Memory of a channel that a call has brought, in bytes, both of its ends and their
handles included."""

_FOR_A_MOMENT: Final = 2
"""Number of times the bytes of a session that may be used for a moment."""


class Budget:
    """Counts the bytes and the tasks of a session, and counts them for its server too.

    Args:
        bounds: the bounds of the session.
        server: counts for all sessions of the server; None if there is none.
        peer: the peer of the session; see `Part`.
    """

    __slots__ = (
        "_bounds",
        "_server",
        "_waiting",
        "bytes",
        "early",
        "metadata",
        "peer",
        "tasks",
        "to_end",
    )

    def __init__(
        self,
        bounds: Bounds,
        server: ServerBudget | None = None,
        peer: Peer | None = None,
    ) -> None:
        self._bounds = bounds
        self._server = server
        self._waiting = 0  # the part of `bytes` that `wait` has counted
        self.peer = peer
        self.to_end: Callable[[LimitExceeded], None] | None = None
        """See `Part`. None also while the session is not set up."""
        self.bytes = 0
        """Number of bytes that are held."""
        self.tasks = 0
        """Number of tasks that are held."""
        self.metadata = 0
        """Number of bytes of the metadata of calls; a part of `bytes`."""
        self.early = 0
        """Number of bytes of early messages; a part of `bytes`."""

    # ------------------------------------------------------------ its session

    def begin(self, end: Callable[[LimitExceeded], None]) -> None:
        """Begin to count for a session that is set up.

        Args:
            end: ends the session if it has to give way where the server has no room
                left. It must call `stop`, and not wait.
        """
        self._become(end)

    def end(self, because: LimitExceeded) -> None:
        """End the session, unless it ends already."""
        if self.to_end is not None:
            self.to_end(because)

    def stop(self) -> None:
        """Note that the session ends: what it holds will be given back soon."""
        self._become(None)

    def _become(self, to_end: Callable[[LimitExceeded], None] | None) -> None:
        server = self._server
        if server is None or not (self.bytes or self.tasks):
            self.to_end = to_end
        else:
            server.leave(self)
            self.to_end = to_end
            server.enter(self)

    def close(self) -> None:
        """Give back what is left: the session is over.

        What its program holds still, such as items that it has not received, counts no
        longer for the server.
        """
        if self.bytes or self.tasks:
            self.give(self.bytes, self.tasks)
        self._waiting = 0
        self._server = None

    # ------------------------------------------------------------ what is held

    def take(self, size: int, tasks: int = 0) -> None:
        """Count new work, which can be refused.

        Args:
            size: number of bytes that it takes.
            tasks: number of tasks that it takes.

        Raises:
            Overloaded: there is no room, and nothing is counted.
        """
        bounds = self._bounds
        excess = None
        if self.bytes + size > bounds.bytes.refuse_from:
            excess = bounds.bytes.excess(self.bytes + size, bounds.bytes.refuse_from)
        elif self.tasks + tasks > bounds.tasks.refuse_from:
            excess = bounds.tasks.excess(self.tasks + tasks, bounds.tasks.most)
        elif self._server is not None:
            excess = self._server.excess_of(self, size, tasks, Demand.WORK)
        if excess is not None:
            raise excess.as_refusal()
        self._add(size, tasks)

    def take_metadata(self, size: int) -> None:
        """Count the metadata of a call, which can be refused.

        Its share of the memory is small: most calls have little or none, and a peer
        chooses how long it stays.

        Raises:
            Overloaded: there is no room, and nothing is counted.
        """
        bound, held = self._bounds.metadata, self.metadata + size
        if held > bound.most:
            raise bound.excess(held, bound.most).as_refusal()
        self.take(size)
        self.metadata = held

    def hold(self, size: int) -> None:
        """Count bytes that cannot be refused.

        Raises:
            LimitExceeded: there is no room, and nothing is counted.
        """
        excess = self.excess_of(size)
        if excess is not None:
            raise excess.as_end()
        self._add(size, 0)

    def hold_early(self, size: int) -> None:
        """Count a message for a channel that is not bound yet; as `hold`.

        Most channels are bound in the moment after their call has come.
        """
        bound, held = self._bounds.early, self.early + size
        if held > bound.most:
            raise bound.excess(held, bound.most).as_end()
        self.hold(size)
        self.early = held

    def give_early(self, size: int) -> None:
        """Stop counting early messages."""
        self.early -= size
        self.give(size)

    def excess_of(self, size: int) -> Excess | None:
        """Return the reason why `hold` would raise an error; None if it would not."""
        bound, held = self._bounds.bytes, self.bytes - self._waiting + size
        if held > bound.most:
            return bound.excess(held, bound.most)
        if self._server is not None:
            return self._server.excess_of(self, size, 0, Demand.REST)
        return None

    def note(self, size: int) -> None:
        """Count bytes whether or not there is room."""
        self._add(size, 0)

    def wait(self, size: int) -> Excess | None:
        """Count a response that waits until the peer has read others.

        A peer that reads may have made all these calls at once. So the bytes keep new
        work out, but never end this session by its own bound.

        Returns:
            The reason why the server has no room, and nothing is counted; or None.
        """
        return self._wait(size, Demand.RESPONSE)

    def wait_committed(self, size: int) -> Excess | None:
        """Count what is committed and waits until the peer reads; as `wait`, but it can
        no longer be refused.

        Returns:
            The reason why the session has to end, and nothing is counted; or None.
        """
        return self._wait(size, Demand.REST)

    def _wait(self, size: int, demand: Demand) -> Excess | None:
        if self._server is not None:
            excess = self._server.excess_of(self, size, 0, demand)
            if excess is not None:
                return excess
        self._waiting += size
        self._add(size, 0)
        return None

    def go_on(self, size: int) -> None:
        """Stop counting what `wait` or `wait_committed` has counted."""
        self._waiting -= size
        self.give(size)

    def foresee(self, size: int) -> Excess | None:
        """Return the reason why bytes may not be used for a moment, to decode what has
        come; None if they may."""
        bound, server = self._bounds.bytes, self._server
        if size > _FOR_A_MOMENT * bound.most:
            return Excess(
                bound.limit,
                f"a value could take {size} bytes when decoded, at most "
                f"{_FOR_A_MOMENT} times the limit of {bound.most} may be",
            )
        return None if server is None else server.foresee(self, size)

    def give(self, size: int, tasks: int = 0) -> None:
        """Stop counting bytes and tasks."""
        self.bytes -= size
        self.tasks -= tasks
        if self._server is not None:
            self._server.give(self, size, tasks)

    def _add(self, size: int, tasks: int) -> None:
        self.bytes += size
        self.tasks += tasks
        if self._server is not None:
            self._server.add(self, size, tasks)

    def __repr__(self) -> str:
        return f"<Budget: {self.bytes} bytes, {self.tasks} tasks>"


class EarlyMemory:
    """Counts the memory of early messages against the budget of their session."""

    __slots__ = ("give", "hold")

    def __init__(self, budget: Budget) -> None:
        self.hold = budget.hold_early
        self.give = budget.give_early


class CountedMemory(RequestMemory):
    """Counts the memory of one request against the budget of its session.

    Args:
        budget: the budget of the session.

    Attributes:
        waiting: number of bytes of the response, while it waits to be sent.
    """

    __slots__ = ("_budget", "_held", "_metadata", "waiting")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0
        self._metadata = 0
        self.waiting = 0

    def foresee(self, size: int) -> None:
        excess = self._budget.foresee(size)
        if excess is not None:
            raise excess.as_refusal()

    def hold(self, size: int) -> None:
        self._budget.take(size)
        self._held += size

    def hold_metadata(self, size: int) -> None:
        """Count the metadata of the request, once.

        Raises:
            Overloaded: there is no room, and nothing is counted.
        """
        self._budget.take_metadata(size)
        self._held += size
        self._metadata = size

    def wait(self, size: int) -> Excess | None:
        """Count the response, which waits to be sent; see `Budget.wait`."""
        excess = self._budget.wait(size)
        if excess is None:
            self.waiting = size
        return excess

    def go_on(self) -> None:
        """Stop counting the response."""
        size, self.waiting = self.waiting, 0
        self._budget.go_on(size)

    def let_go(self) -> None:
        """Stop counting."""
        if self.waiting:
            self.go_on()
        budget, held = self._budget, self._held
        budget.metadata -= self._metadata
        self._held = self._metadata = 0
        if held:
            budget.give(held)
