"""What an implementation offers to be measured: a server, and a client for it.

Every implementation does the same works, in its own best way. A client checks each
answer it gets before it counts it, and raises `WrongAnswer` for one that is not right.
"""

from __future__ import annotations

import enum
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from typing import ClassVar, Final, NamedTuple, TypeVar

__all__ = [
    "ADDEND",
    "CONNECTIONS",
    "IN_FLIGHT",
    "RECORDS",
    "TRACE",
    "Adapter",
    "CallsWith",
    "Client",
    "Connect",
    "Receipt",
    "Row",
    "Send",
    "WrongAnswer",
    "check_echo",
    "check_sum",
    "make_rows",
    "mix",
    "receipt_for",
    "receipt_of",
]

T = TypeVar("T")

ADDEND = 1000
"""Call number n adds n and this; both fit into 32 bits, and so does the answer."""

IN_FLIGHT = 64
"""How many calls are kept outstanding at once."""

RECORDS = 1000
"""How many records a list of them holds."""

CONNECTIONS = "idle-connections"
"""The work that needs virtual connections; `Adapter.lacks` names it."""


class WrongAnswer(Exception):
    """An implementation did not do its work; what was measured means nothing."""


class Receipt(NamedTuple):
    """What the receiver of a stream of items says that it got."""

    received: int
    checksum: int


class Row(NamedTuple):
    """The five fields of a record, whatever class an implementation has for it."""

    number: int
    name: str
    score: float
    active: bool
    note: str


def mix(checksum: int, item: int) -> int:
    """The checksum after one more item. Order matters, so a swap shows."""
    return (checksum * 31 + item) & 0xFFFF_FFFF_FFFF_FFFF


def receipt_of(items: Iterable[int]) -> Receipt:
    """The receipt for some items."""
    count = checksum = 0
    for item in items:
        count += 1
        checksum = mix(checksum, item)
    return Receipt(count, checksum)


def receipt_for(count: int) -> Receipt:
    """The receipt for the items 0, 1, 2 … `count` - 1, each once and in order."""
    return receipt_of(range(count))


def make_rows(seed: int) -> list[Row]:
    """`RECORDS` records that look like those of an application: a number of 32 bits, a
    short name, a float, a bool, and text of up to forty characters."""
    numbers = random.Random(seed)
    return [
        Row(
            number=numbers.randrange(2**32),
            name=f"customer {numbers.randrange(100_000)}",
            score=numbers.random() * 100,
            active=numbers.random() < 0.5,
            note="".join(numbers.choices("abcdefg hij", k=numbers.randrange(41))),
        )
        for _ in range(RECORDS)
    ]


def check_sum(answer: int, number: int) -> None:
    """Raises:
    WrongAnswer: to call number `number`.
    """
    if answer != number + ADDEND:
        raise WrongAnswer(f"{number} + {ADDEND}: got {answer}")


def check_echo(answer: bytes | memoryview, block: bytes, turn: int) -> None:
    """Raises:
    WrongAnswer: what came back is not what was sent.
    """
    if answer != block:
        raise WrongAnswer(f"echo {turn} came back changed")


class CallsWith(enum.Enum):
    """What calls can have that costs something."""

    ONE_ENTRY = "an entry of metadata"
    THREE_ENTRIES = "three entries of metadata"
    SCOPE = "a scope with a deadline around it, on a session that sends none"
    DEADLINE = "a deadline"
    MIDDLEWARE = "middleware that does nothing, on both sides"
    MIDDLEWARE_ENTRY = "the same, and an entry of metadata as long as that of a trace"
    RECORDED = "spans of OpenTelemetry, on both sides"
    UNSAMPLED = "the middleware for spans, in a trace that is not sampled"
    VERSION = "another version of the service on this side, which translates"


TRACE: Final = {"trace-parent": f"00-{1:032x}-{1:016x}-00"}
"""Metadata as long as those of a trace."""


class Client(ABC):
    """A client that is connected to the server of its adapter.

    What an implementation has nothing for is left as it is here, and never called:
    `Adapter.lacks` and `Adapter.only` say so, and `Pair.does` asks them.
    """

    async def calls(self, count: int, *, can_wait: bool) -> None:
        """Have 0, 1, 2 … `count` - 1 each added to `ADDEND`, one call at a time.

        Args:
            count: how many.
            can_wait: whether the function that adds must be one that could wait for
                something, as most do, for implementations to which that matters.
        """
        raise NotImplementedError

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        """The same with `IN_FLIGHT` calls outstanding on one connection."""
        raise NotImplementedError

    def calling_with(self, what: CallsWith) -> AbstractAsyncContextManager[Client]:
        """A client whose `calls` have something more."""
        raise NotImplementedError

    async def items(self, count: int, credit: int) -> Receipt:
        """Send the numbers 0, 1, 2 … `count` - 1 as items of 64 bits, one way.

        Args:
            count: how many.
            credit: how many items may be under way before the receiver takes some,
                for implementations that limit it.

        Returns:
            What the server has received, for the caller to check.
        """
        raise NotImplementedError

    async def items_many(self, count: int, credit: int) -> Receipt:
        """As `items`, with as many in one step as there are, 64 at most."""
        raise NotImplementedError

    async def items_back(self, count: int, credit: int) -> Receipt:
        """Have the server send the same numbers, one way.

        Returns:
            What has come, for the caller to check.
        """
        raise NotImplementedError

    async def items_both(self, count: int, credit: int) -> Receipt:
        """Send the same numbers, and have the server send each back as it comes.

        Returns:
            What has come back, for the caller to check.
        """
        raise NotImplementedError

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        """Send `count` byte strings, taken from `blocks` in turn, and get each back
        before the next."""
        raise NotImplementedError

    @abstractmethod
    def records_of(self, rows: Sequence[Row]) -> object:
        """The records as the implementation's user would have them before a call."""

    @abstractmethod
    async def swap(self, records: object) -> object:
        """Send records and get them back.

        Values of Python's are in all their fields, at both ends: where an
        implementation decodes a field when it is read, both ends read all of them.
        """

    @abstractmethod
    def rows_of(self, answer: object) -> Sequence[Row]:
        """What `swap` has returned, in a form that can be compared."""

    def session(self) -> AbstractAsyncContextManager[Connect]:
        """A session of its own, for clients on virtual connections inside it.

        Returns:
            What opens such a connection.
        """
        raise NotImplementedError

    def channels(self, count: int) -> AbstractAsyncContextManager[Sequence[Send]]:
        """Channels to the server that are open at the same time.

        When the block is left they are closed, and it is checked that the items 0, 1,
        2 … have come on each of them, as many as were sent.

        Returns:
            What sends an item on each.
        """
        raise NotImplementedError


Send = Callable[[int], Awaitable[None]]
"""Sends an item on a channel."""

Connect = Callable[[], AbstractAsyncContextManager[Client]]
"""Makes a client with a connection of its own, to be entered."""


class Adapter(ABC):
    """One implementation: how to run its server, and how to get a client.

    Attributes:
        name: for tables and command lines.
        packages: what it is made of, as a package index names them.
        only: the works it is there for; None for all of them.
        lacks: of these, the works it has nothing for, with the reason.
        remarks: what else has to be known about a work, by its name.
    """

    name: ClassVar[str]
    packages: ClassVar[Sequence[str]] = ()
    only: ClassVar[Sequence[str] | None] = None
    lacks: ClassVar[Mapping[str, str]] = {CONNECTIONS: "no virtual connections"}
    remarks: ClassVar[Mapping[str, str]] = {}

    def versions(self) -> dict[str, str]:
        """The version of each package."""
        return {package: _version(package) for package in self.packages}

    @abstractmethod
    def serve(self, started: Callable[[str], None]) -> None:
        """Serve until the process ends.

        Args:
            started: to be called once, with the address for `connect`.
        """

    @abstractmethod
    def connect(self, address: str) -> AbstractAsyncContextManager[Client]:
        """A client with a connection of its own."""

    @abstractmethod
    def run(self, use: Callable[[], Awaitable[T]]) -> T:
        """Run the event loop that clients need, if any, for as long as `use` does."""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "run from its sources"
