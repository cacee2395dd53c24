"""Bounds of budgets, and the reasons why a budget has no room."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import attrs

from ..errors import LimitExceeded, Overloaded
from ..limits import Limits

__all__ = ["MESSAGE_BYTES", "Bound", "Bounds", "Demand", "Excess"]

MESSAGE_BYTES: Final = 256
"""Memory of a message beyond its encoded size, in bytes."""


class Demand(Enum):
    """The kinds of demands, by their end if there is no room."""

    WORK = auto()
    """It is refused, and early, so that there is room for other demands."""
    RESPONSE = auto()
    """It is given up, as early as work, and its caller is told."""
    REST = auto()
    """It cannot be refused, so its session ends."""


@attrs.frozen
class Excess:
    """The reason why a budget has no room.

    Attributes:
        limit: the name of the limit.
        description: what is held.
        of_server: whether all sessions of a server hold too much together.
    """

    limit: str
    description: str
    of_server: bool = False

    def as_refusal(self, *, was_begun: bool = False) -> Overloaded:
        """Return the error for the caller of a call that is not taken up, or whose
        response cannot wait."""
        text = f"{self.description} (limit: {self.limit})"
        return Overloaded(text=text, was_begun=was_begun)

    def as_end(self) -> LimitExceeded:
        """Return the error that ends the session."""
        return LimitExceeded(self.limit, self.description, of_server=self.of_server)


@attrs.frozen
class Bound:
    """A bound on bytes or tasks.

    Attributes:
        limit: the name of the limit.
        unit: what is bounded, in words; for bytes and tasks the name in `Budget`.
        most: how many may be held.
        refuse_from: how many may be held before new work is refused, and responses
            that would have to wait. The rest is for work that is not the peer's choice,
            or other peers'.
    """

    limit: str
    unit: str
    most: int
    refuse_from: int

    @property
    def most_for_now(self) -> int:
        """Number that may be held if sessions that end are counted, too. Beyond it, no
        new work is taken up."""
        return self.most + self.most // 8

    @property
    def most_ever(self) -> int:
        """The same number for demands that cannot be refused, if a larger holder can
        end instead."""
        return self.most + self.most // 4

    @property
    def trifle(self) -> int:
        """Number that a holder may have however much sessions that end hold."""
        return self.most // 512

    @property
    def calm_below(self) -> int:
        """Number below which holders are not compared any more."""
        return self.most - self.most // 4

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
            of_server=True,
        )


@attrs.frozen
class Bounds:
    """The bounds of a budget.

    Attributes:
        bytes: of the memory that is held.
        tasks: of the tasks.
        metadata: of the part of the memory that is metadata of calls.
        early: of the part of the memory that is messages for channels that are not
            bound yet.
    """

    bytes: Bound
    tasks: Bound
    metadata: Bound
    early: Bound

    @classmethod
    def of_session(cls, limits: Limits) -> Bounds:
        """Return the bounds of a session, which are fields of `Limits`."""
        size, tasks = limits.session_bytes, limits.session_tasks
        metadata = limits.call_metadata_bytes
        early = limits.early_bytes + limits.early_items * MESSAGE_BYTES
        return cls(
            # Items for which the peer has credit cannot be refused.
            Bound("session_bytes", "bytes", size, _most_of(size)),
            Bound("session_tasks", "tasks", tasks, tasks),
            Bound("call_metadata_bytes", "bytes of metadata", metadata, metadata),
            Bound("early_bytes", "bytes of early messages", early, early),
        )

    @classmethod
    def of_server(cls, memory: int, tasks: int) -> Bounds:
        """Return the bounds of all sessions of a server together."""
        of_memory = Bound("memory", "bytes", memory, _most_of(memory))
        of_tasks = Bound("tasks", "tasks", tasks, _most_of(tasks))
        return cls(of_memory, of_tasks, of_memory, of_memory)


def _most_of(number: int) -> int:
    return number - number // 8
