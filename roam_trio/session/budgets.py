"""Budgets of the bytes and the tasks that peers make this side hold.

Budgets nest: what a session holds counts against its own budget, and against that of
its server, for all sessions together. Where the server has no room, the session that
holds the most has to give way: its new work is refused, or it ends. The other sessions
notice nothing.

Nothing here waits, and nothing needs a run of trio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

import attrs

from ..errors import LimitExceeded, Overloaded
from ..limits import Limits
from ..rpc.handler import LIGHT_BYTES, RequestMemory

__all__ = [
    "CHANNEL_BYTES",
    "CONNECTION_BYTES",
    "MESSAGE_BYTES",
    "TASK_BYTES",
    "Bound",
    "Bounds",
    "Budget",
    "CountedMemory",
    "Excess",
]

TASK_BYTES: Final = 8 * 1024 + LIGHT_BYTES
"""Memory of a task that answers a call, in bytes: the task and its scope, and the
frames of a small handler with small arguments."""

CONNECTION_BYTES: Final = 2560
"""Memory of a virtual connection without metadata, in bytes."""

CHANNEL_BYTES: Final = 4096
"""Memory of a channel that a call has brought, in bytes, both of its ends and their
handles included."""

MESSAGE_BYTES: Final = 256
"""Memory of a message beyond its encoded size, in bytes."""

_FOR_A_MOMENT: Final = 2
"""Number of times the bytes of a session that may be used for a moment."""


@attrs.frozen
class Excess:
    """The reason why a budget has no room.

    Attributes:
        limit: the name of the limit.
        description: what is held.
    """

    limit: str
    description: str

    def as_refusal(self, *, was_begun: bool = False) -> Overloaded:
        """Return the error for the caller of a call that is not taken up, or whose
        response cannot wait."""
        text = f"{self.description} (limit: {self.limit})"
        return Overloaded(text=text, was_begun=was_begun)

    def as_end(self) -> LimitExceeded:
        """Return the error that ends the session."""
        return LimitExceeded(self.limit, self.description)


@attrs.frozen
class Bound:
    """A bound on bytes or tasks.

    Attributes:
        limit: the name of the limit.
        unit: what is bounded, in words; for bytes and tasks the name in `Budget`.
        most: how many may be held.
        refuse_from: how many may be held before new work is refused. The rest is for
            work that is not the peer's choice, or other peers'.
    """

    limit: str
    unit: str
    most: int
    refuse_from: int

    def excess(self, held: int, most: int) -> Excess:
        """Return the reason why a session may not hold so much, but `most`."""
        return Excess(
            self.limit,
            f"this session would hold {held} {self.unit}, at most {most} may be",
        )

    def excess_of_largest(self, held: int) -> Excess:
        """Return the reason why the session that holds the most has to give way."""
        return Excess(
            self.limit,
            "the sessions of this server hold together as much as they may, and this "
            f"one {held} {self.unit}",
        )


@attrs.frozen
class Bounds:
    """The bounds of a budget.

    Attributes:
        bytes: of the memory that is held.
        tasks: of the tasks.
        metadata: of the part of the memory that is metadata of calls.
    """

    bytes: Bound
    tasks: Bound
    metadata: Bound

    @classmethod
    def of_session(cls, limits: Limits) -> Bounds:
        """Return the bounds of a session: `Limits.session_bytes`,
        `Limits.session_tasks` and `Limits.call_metadata_bytes`."""
        size, tasks = limits.session_bytes, limits.session_tasks
        metadata = limits.call_metadata_bytes
        return cls(
            # Items for which the peer has credit cannot be refused.
            Bound("session_bytes", "bytes", size, _most_of(size)),
            Bound("session_tasks", "tasks", tasks, tasks),
            Bound("call_metadata_bytes", "bytes of metadata", metadata, metadata),
        )

    @classmethod
    def of_server(cls, memory: int, tasks: int) -> Bounds:
        """Return the bounds of all sessions of a server together."""
        of_memory = Bound("memory", "bytes", memory, _most_of(memory))
        of_tasks = Bound("tasks", "tasks", tasks, _most_of(tasks))
        return cls(of_memory, of_tasks, of_memory)


def _most_of(number: int) -> int:
    return number - number // 8


class Budget:
    """Counts bytes and tasks against bounds, and against the budget around it.

    Args:
        bounds: the bounds of this budget.
        parent: the budget of which this one is a part.
    """

    __slots__ = (
        "_bounds",
        "_end",
        "_holders",
        "_parent",
        "_waiting",
        "bytes",
        "metadata",
        "tasks",
    )

    def __init__(self, bounds: Bounds, parent: Budget | None = None) -> None:
        self._bounds = bounds
        self._parent = parent
        self._holders: dict[Budget, None] | None = None  # the parts that hold something
        self._end: Callable[[LimitExceeded], None] | None = None
        self._waiting = 0  # the part of `bytes` that `wait` has counted
        self.bytes = 0
        """Number of bytes that are held."""
        self.tasks = 0
        """Number of tasks that are held."""
        self.metadata = 0
        """Number of bytes of the metadata of calls; a part of `bytes`."""

    # ------------------------------------------------------------ its session

    def begin(self, end: Callable[[LimitExceeded], None]) -> None:
        """Begin to count for a session that is set up.

        Args:
            end: ends the session if it holds more than any other where there is no room
                left. It must call `stop`, and not wait.
        """
        self._end = end

    def end(self, because: LimitExceeded) -> None:
        """End the session, unless it ends already."""
        if self._end is not None:
            self._end(because)

    def stop(self) -> None:
        """Note that the session ends: what it holds will be given back soon."""
        self._end = None

    def close(self) -> None:
        """Give back what is left: the session is over.

        What its program holds still, such as items that it has not received, counts no
        longer for the server.
        """
        self.give(self.bytes, self.tasks)
        self._waiting = 0
        self._parent = None

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
        elif self._parent is not None:
            excess = self._parent._excess_in(self, size, tasks, can_refuse=True)
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

    def excess_of(self, size: int) -> Excess | None:
        """Return the reason why `hold` would raise an error; None if it would not."""
        bound, held = self._bounds.bytes, self.bytes - self._waiting + size
        if held > bound.most:
            return bound.excess(held, bound.most)
        if self._parent is not None:
            return self._parent._excess_in(self, size, 0, can_refuse=False)
        return None

    def note(self, size: int) -> None:
        """Count bytes whether or not there is room."""
        self._add(size, 0)

    def wait(self, size: int) -> None:
        """Count a response that waits until the peer has read others.

        A peer that reads may have made all these calls at once. So the bytes keep new
        work out, but never end this session by its own bound.

        Raises:
            Overloaded: the server has no room, and nothing is counted.
        """
        if self._parent is not None:
            excess = self._parent._excess_in(self, size, 0, can_refuse=False)
            if excess is not None:
                raise excess.as_refusal(was_begun=True)
        self._waiting += size
        self._add(size, 0)

    def go_on(self, size: int) -> None:
        """Stop counting a response that `wait` has counted."""
        self._waiting -= size
        self.give(size)

    def foresee(self, size: int) -> Excess | None:
        """Return the reason why bytes may not be used for a moment, to decode what has
        come; None if they may."""
        bound, parent = self._bounds.bytes, self._parent
        if size > _FOR_A_MOMENT * bound.most:
            return Excess(
                bound.limit,
                f"a value could take {size} bytes when decoded, at most "
                f"{_FOR_A_MOMENT} times the limit of {bound.most} may be",
            )
        if parent is not None and parent.bytes + size > parent._bounds.bytes.most:
            return parent._bounds.bytes.excess_of_largest(self.bytes + size)
        return None

    def give(self, size: int, tasks: int = 0) -> None:
        """Stop counting bytes and tasks."""
        self.bytes -= size
        self.tasks -= tasks
        parent = self._parent
        if parent is not None:
            parent.give(size, tasks)
            if not (self.bytes or self.tasks) and parent._holders is not None:
                parent._holders.pop(self, None)

    def _add(self, size: int, tasks: int) -> None:
        self.bytes += size
        self.tasks += tasks
        parent = self._parent
        if parent is not None:
            if parent._holders is None:
                parent._holders = {}
            parent._holders[self] = None
            parent._add(size, tasks)

    # ------------------------------------------------------------ who gives way

    def _excess_in(
        self, part: Budget, size: int, tasks: int, *, can_refuse: bool
    ) -> Excess | None:
        """Return the reason why `part` may not hold more; None if it may."""
        bounds = self._bounds
        excess = None
        if self.bytes + size > bounds.bytes.refuse_from:
            excess = self._make_room(part, bounds.bytes, size, can_refuse=can_refuse)
        if excess is None and self.tasks + tasks > bounds.tasks.refuse_from and tasks:
            excess = self._make_room(part, bounds.tasks, tasks, can_refuse=can_refuse)
        return excess

    def _make_room(
        self, part: Budget, bound: Bound, size: int, *, can_refuse: bool
    ) -> Excess | None:
        """End the part that holds the most where there is no room left for `part`.

        Returns:
            The reason why `part` may not hold more, if that is `part` itself; else
            None.
        """
        amount: Callable[[Budget], int] = attrgetter(bound.unit)
        held, of_part = amount(self) + size, amount(part) + size
        if held > bound.most + bound.most // 8:
            return bound.excess_of_largest(of_part)
        holders: Iterable[Budget] = self._holders or ()
        # What sessions hold that are ending already is as good as given back.
        held -= sum(amount(one) for one in holders if one._end is None)
        largest = max(
            (one for one in holders if one._end is not None and one is not part),
            key=amount,
            default=part,
        )
        if largest is part or of_part >= amount(largest):
            most = bound.refuse_from if can_refuse else bound.most
            return bound.excess_of_largest(of_part) if held > most else None
        if held > bound.most:
            assert largest._end is not None, "it is none of those that end"
            largest._end(bound.excess_of_largest(amount(largest)).as_end())
        return None

    def __repr__(self) -> str:
        return f"<Budget: {self.bytes} bytes, {self.tasks} tasks>"


class CountedMemory(RequestMemory):
    """Counts the memory of one request against the budget of its session."""

    __slots__ = ("_budget", "_held", "_metadata")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0
        self._metadata = 0

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

    def let_go(self) -> None:
        """Stop counting."""
        budget, held = self._budget, self._held
        budget.metadata -= self._metadata
        self._held = self._metadata = 0
        budget.give(held)
