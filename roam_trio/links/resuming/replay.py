"""The replay buffer: sent messages that may have to be sent again."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from math import inf
from typing import Final, TypeAlias

from ..base import ByteBudget
from .counted import CountedMemory
from .sequence import MASK, first_after

__all__ = ["MESSAGE_BYTES", "STEP", "Body", "LongBody", "ReplayBuffer"]

MESSAGE_BYTES: Final = 64
"""Memory of a message beside its bytes: the object, and its place in the buffer."""

STEP: Final = 4096
"""Number of bytes by which the messages grow or shrink before they are counted again,
so that most messages change no count."""

_MOST_BYTES_AT_ONCE: Final = 64 * 1024
"""Number of bytes of messages that are returned together, so that few frames are made
that a link does not take."""


class LongBody:
    """A long message in pieces, so that its bytes are not copied.

    Args:
        pieces: the pieces, which do not change.
        length: their length in all, in bytes.
    """

    __slots__ = ("_length", "pieces")

    def __init__(self, pieces: tuple[bytes, ...], length: int) -> None:
        self.pieces = pieces
        self._length = length

    def __len__(self) -> int:
        return self._length


Body: TypeAlias = bytes | LongBody
"""A message that is kept."""


class ReplayBuffer:
    """The messages that the peer has not acknowledged, with their numbers, in order.

    Some of them were sent on the present link; the others are the *backlog*. Numbers
    are consecutive (`stable.seq`), so that only the first must be stored. They are
    stored without wrapping around, so that they can be compared. Other classes only
    read the attributes.

    Args:
        first: the number of the first message; not 0 only in tests.
    """

    __slots__ = (
        "_counted",
        "_least",
        "_most",
        "_taken",
        "bodies",
        "dropped",
        "first",
        "handed",
        "size",
        "start",
        "trimmed",
    )

    def __init__(self, first: int = 0) -> None:
        self.bodies: list[Body] = []
        """The messages."""
        self.start = first
        """The number of the first message of all."""
        self.first = first
        """The number of the first of `bodies`."""
        self.handed = first
        """The number of the first message that was never sent on a link. All before it
        may have arrived."""
        self._taken = first  # the number of the first of the backlog
        self.size = 0
        """Number of bytes of all messages."""
        self.dropped = 0
        """Number of messages that there was no room for."""
        self.trimmed = 0
        """Number of bytes of the messages that were removed or dropped."""
        self._counted: CountedMemory | None = None
        # The sizes up to which the count need not change.
        self._least: float = 0
        self._most: float = inf

    @property
    def next_seq(self) -> int:
        """The number of the next message."""
        return (self.first + len(self.bodies)) & MASK

    @property
    def total(self) -> int:
        """Number of messages that were added so far; dropped ones count as well."""
        return self.first - self.start + len(self.bodies) + self.dropped

    @property
    def total_size(self) -> int:
        """Number of bytes of these."""
        return self.trimmed + self.size

    @property
    def backlog(self) -> int:
        """Number of messages that have not been sent on the present link."""
        return self.first + len(self.bodies) - self._taken

    @property
    def backlog_size(self) -> int:
        """Number of bytes of these messages."""
        return sum(map(len, self.bodies[self._taken - self.first :]))

    def add(self, body: Body) -> None:
        """Keep a message until it is acknowledged; it joins the backlog.

        If there is no room for it, drop it: the session is about to end.
        """
        size = self.size + len(body)
        if size > self._most and not self._count(size, len(self.bodies) + 1):
            self._drop(1, len(body))
            return
        self.bodies.append(body)
        self.size = size

    def add_all(self, bodies: list[bytes], size: int) -> None:
        """As `add`, for several messages, of `size` bytes in all."""
        after = self.size + size
        if after > self._most and not self._count(
            after, len(self.bodies) + len(bodies)
        ):
            self._drop(len(bodies), size)
            return
        self.bodies += bodies
        self.size = after

    def _drop(self, count: int, size: int) -> None:
        self.dropped += count
        self.trimmed += size

    def next_of_backlog(self, most: int) -> tuple[int, list[Body]]:
        """Return the oldest messages of the backlog, `most` of them and 64 KiB at
        most, but at least one; and the number of the first.
        """
        place = self._taken - self.first
        bodies = self.bodies[place : place + most]
        if self.size > _MOST_BYTES_AT_ONCE:
            sizes = list(accumulate(map(len, bodies)))
            del bodies[max(bisect(sizes, _MOST_BYTES_AT_ONCE), 1) :]
        return self._taken & MASK, bodies

    def take(self) -> tuple[int, Body]:
        """Return the oldest message of the backlog and its number, as sent on the
        present link.
        """
        seq = self._taken
        self._taken = taken = seq + 1
        if taken > self.handed:
            self.handed = taken
        return seq & MASK, self.bodies[seq - self.first]

    def take_many(self, count: int) -> None:
        """Note that as many of `next_of_backlog` were sent on the present link."""
        self._taken += count
        self.handed = max(self.handed, self._taken)

    def rewind(self) -> None:
        """Make all messages the backlog again, in order, for another link."""
        self._taken = self.first

    def acknowledge(self, seq: int) -> None:
        """Remove all messages up to this number (`stable.ack.trim`).

        A number that was acknowledged before, or that no peer can have received, has no
        effect.
        """
        first = first_after(seq, self.first, self.handed, self.start)
        if first is not None and first != self.first:
            self.trim(first)

    def trim(self, first: int) -> None:
        """Remove all messages before this number, which is not below `first`."""
        bodies, count = self.bodies, first - self.first
        if count == len(bodies):  # most often
            size = self.size
            bodies.clear()
        else:
            size = sum(map(len, bodies[:count]))
            del bodies[:count]
        self.size -= size
        self.trimmed += size
        self.first = first
        if self._taken < first:
            self._taken = first
        if self.size < self._least:
            self._count(self.size, len(bodies))

    def can_replay_after(self, seq: int | None) -> bool:
        """Return True if this can be the last number that a peer has received.

        None means that the peer has received nothing. False for less than the peer has
        acknowledged, because these messages are no longer kept.
        """
        has_removed = self.first > self.start
        if seq is None:
            return not has_removed
        count = (seq - self.first + 1) & MASK
        return count <= self.handed - self.first and (count > 0 or has_removed)

    def count_in(self, budget: ByteBudget) -> None:
        """Count the memory of the messages in `budget` until `forget`."""
        self._counted = CountedMemory(budget)
        self._most = STEP

    def forget(self) -> None:
        """Remove all messages, as if the peer had acknowledged them."""
        self.handed = end = self.first + len(self.bodies)
        self.trim(end)
        if self._counted is not None:
            self._counted.update(0)
            self._counted = None
        self._least, self._most = 0, inf

    def _count(self, size: int, messages: int) -> bool:
        """Count the memory of messages of `size` bytes in all."""
        assert self._counted is not None, "the bounds are infinite otherwise"
        if not self._counted.update(size + MESSAGE_BYTES * messages):
            return False
        # An empty buffer is always counted, as it may stay so.
        self._least, self._most = max(size - STEP, min(size, 1)), size + STEP
        return True

    def __repr__(self) -> str:
        return (
            f"<ReplayBuffer of {len(self.bodies)} from {self.first & MASK}, "
            f"{self.backlog} to be sent>"
        )
