"""What an implementation offers to be measured: a server, and a client for it.

Every implementation does the same works, in its own best way. A client checks each
answer it gets before it counts it, and raises `WrongAnswer` for one that is not right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, NamedTuple, TypeVar

__all__ = [
    "ADDEND",
    "IN_FLIGHT",
    "Adapter",
    "Client",
    "Receipt",
    "WrongAnswer",
    "mix",
    "receipt_for",
]

T = TypeVar("T")

ADDEND = 1000
"""Call number n adds n and this; both fit into 32 bits, and so does the answer."""

IN_FLIGHT = 64
"""How many calls are kept outstanding at once."""


class WrongAnswer(Exception):
    """An implementation did not do its work; what was measured means nothing."""


class Receipt(NamedTuple):
    """What the receiver of a stream of items says that it got."""

    received: int
    checksum: int


def mix(checksum: int, item: int) -> int:
    """The checksum after one more item. Order matters, so a swap shows."""
    return (checksum * 31 + item) & 0xFFFF_FFFF_FFFF_FFFF


def receipt_for(count: int) -> Receipt:
    """The receipt for the items 0, 1, 2 … `count` - 1, each once and in order."""
    checksum = 0
    for item in range(count):
        checksum = mix(checksum, item)
    return Receipt(count, checksum)


class Client(ABC):
    """A client that is connected to the server of its adapter."""

    @abstractmethod
    async def calls(self, count: int, *, can_wait: bool) -> None:
        """Have 0, 1, 2 … `count` - 1 each added to `ADDEND`, one call at a time.

        Args:
            count: how many.
            can_wait: whether the function that adds must be one that could wait for
                something, as most do, for implementations to which that matters.
        """

    @abstractmethod
    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        """The same with `IN_FLIGHT` calls outstanding on one connection."""

    @abstractmethod
    async def items(self, count: int, credit: int) -> Receipt:
        """Send the numbers 0, 1, 2 … `count` - 1 as items of 64 bits, one way.

        Args:
            count: how many.
            credit: how many items may be under way before the receiver takes some,
                for implementations that limit it.

        Returns:
            What the server has received, for the caller to check.
        """

    @abstractmethod
    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        """Send `count` byte strings, taken from `blocks` in turn, and get each back
        before the next."""


class Adapter(ABC):
    """One implementation: how to run its server, and how to get a client.

    Attributes:
        name: for tables and command lines.
    """

    name: ClassVar[str]

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """What it is made of: the version of each package."""

    @abstractmethod
    def serve(self, started: Callable[[str], None]) -> None:
        """Serve until the process ends.

        Args:
            started: to be called once, with the address for `run_client`.
        """

    @abstractmethod
    def run_client(self, address: str, use: Callable[[Client], Awaitable[T]]) -> T:
        """Run an event loop, connect, and return what `use` makes of the client."""
