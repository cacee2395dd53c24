"""Ids of connections, requests, channels and methods, and their parities."""

from __future__ import annotations

import enum
from typing import NewType

__all__ = [
    "ChannelId",
    "ConnectionId",
    "IdAllocator",
    "MethodId",
    "Parity",
    "RequestId",
]

ConnectionId = NewType("ConnectionId", int)
"""Id of a connection within its session; 0 is the root connection."""

RequestId = NewType("RequestId", int)
"""Id of a request within its connection, allocated by the caller."""

ChannelId = NewType("ChannelId", int)
"""Id of a channel within its connection, allocated by the caller of its method."""

MethodId = NewType("MethodId", int)
"""The 64-bit identity of a method: its service, name and signature."""


class Parity(enum.IntEnum):
    """The half of an id space from which a peer allocates (`session.parity`)."""

    ODD = 0
    EVEN = 1

    def other(self) -> Parity:
        """Return the parity of the counterpart."""
        return Parity.EVEN if self is Parity.ODD else Parity.ODD

    def owns(self, number: int) -> bool:
        """Return True if a peer of this parity may allocate `number`."""
        return number > 0 and number % 2 == (1 if self is Parity.ODD else 0)


class IdAllocator:
    """Allocates the ids of one parity in order: 1, 3, 5, … or 2, 4, 6, …"""

    __slots__ = ("_next",)

    def __init__(self, parity: Parity) -> None:
        self._next = 1 if parity is Parity.ODD else 2

    def allocate(self) -> int:
        """Return the next id; never the same twice."""
        number = self._next
        self._next = number + 2
        return number

    def has_allocated(self, number: int) -> bool:
        """Return True if `number` was allocated."""
        return 0 < number < self._next and number % 2 == self._next % 2

    def __repr__(self) -> str:
        return f"<IdAllocator next={self._next}>"
