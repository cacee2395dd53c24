"""Ids: the numbers of connections, requests, channels and methods.

To type checkers, the id of a request is another type than that of a channel. At run
time all of them are plain `int` objects: the classes have no instances, so that reading
a message needs no conversions. `ConnectionId(3)` returns 3, like a `typing.NewType`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "ChannelId",
    "ConnectionId",
    "IdAllocator",
    "MethodId",
    "Parity",
    "RequestId",
]


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


class _Id(int):
    """The base of the ids; see the docstring of the module."""

    __slots__ = ()

    def __new__(cls, number: int) -> Self:
        return cast("Self", number)

    @staticmethod
    def has_parity(number: int, parity: Parity) -> bool:
        """Return True if an id is odd or even, as `parity` says.

        ``ChannelId.has_parity(message.channel_id, Parity.ODD)``: the id itself is an
        `int`, which has no such method. 0 is even, although no peer allocates it; see
        `Parity.owns`.
        """
        return (number % 2 == 1) is (parity is Parity.ODD)


class ConnectionId(_Id):
    """The number of a connection in its session; 0 is the root connection."""

    __slots__ = ()

    ROOT: ClassVar[ConnectionId]
    """The root connection: 0."""

    @staticmethod
    def is_root(number: int) -> bool:
        """Return True for the root connection."""
        return number == 0


class RequestId(_Id):
    """The number of a request on its connection, allocated by the caller."""

    __slots__ = ()


class ChannelId(_Id):
    """The number of a channel on its connection, allocated by the caller of its
    method."""

    __slots__ = ()

    RESERVED: ClassVar[ChannelId]
    """The number that no channel has: 0."""


class MethodId(_Id):
    """The 64-bit identity of a method: its service, name and signature."""

    __slots__ = ()


ConnectionId.ROOT = ConnectionId(0)
ChannelId.RESERVED = ChannelId(0)

N = TypeVar("N", bound=int)


class IdAllocator(Generic[N]):
    """Allocates the ids of one parity in order: 1, 3, 5, … or 2, 4, 6, …"""

    __slots__ = ("_next",)

    def __init__(self, parity: Parity) -> None:
        self._next: Any = 1 if parity is Parity.ODD else 2

    def allocate(self) -> N:
        """Return the next id; never the same twice."""
        number: N = self._next
        self._next = number + 2
        return number

    def has_allocated(self, number: int) -> bool:
        """Return True if `number` was allocated."""
        following: int = self._next
        return 0 < number < following and number % 2 == following % 2

    def __repr__(self) -> str:
        return f"<IdAllocator next={self._next}>"
