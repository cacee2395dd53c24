"""The replay buffer: sent messages that may have to be sent again."""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import inf
from typing import Final

from ..base import ByteBudget
from .counted import CountedMemory
from .sequence import HALF, MASK

__all__ = ["MESSAGE_BYTES", "STEP", "ReplayBuffer"]

MESSAGE_BYTES: Final = 64
"""Memory of a message beside its bytes: the object, and its place in the buffer."""

STEP: Final = 4096
"""Number of bytes by which the messages grow or shrink before they are counted again,
so that most messages change no count."""


class ReplayBuffer:
    """The messages that the peer has not acknowledged, with their numbers, in order.

    Some of them were sent on the present link; the others are the *backlog*. Numbers
    are consecutive (`stable.seq`), so that only the first must be stored.

    Args:
        first: the number of the first message; not 0 only in tests.
    """

    __slots__ = (
        "_counted",
        "_first",
        "_handed",
        "_has_trimmed",
        "_least",
        "_most",
        "_taken",
        "bodies",
        "size",
    )

    def __init__(self, first: int = 0) -> None:
        self.bodies: deque[bytes] = deque()
        """The messages; read-only for other classes."""
        self._first = first
        self._taken = 0
        # Number of messages that were ever sent on a link, and may have arrived.
        self._handed = 0
        self._has_trimmed = False
        self.size = 0
        """Number of bytes of all messages."""
        self._counted: CountedMemory | None = None
        # The sizes up to which the count need not change.
        self._least: float = 0
        self._most: float = inf

    @property
    def next_seq(self) -> int:
        """The number of the next message."""
        return (self._first + len(self.bodies)) & MASK

    @property
    def backlog(self) -> int:
        """Number of messages that have not been sent on the present link."""
        return len(self.bodies) - self._taken

    @property
    def backlog_size(self) -> int:
        """Number of bytes of these messages."""
        return sum(map(len, islice(self.bodies, self._taken, None)))

    def add(self, body: bytes) -> None:
        """Keep a message until it is acknowledged; it joins the backlog.

        If there is no room for it, drop it: the session is about to end.
        """
        size = self.size + len(body)
        if size > self._most and not self._count(size, len(self.bodies) + 1):
            return
        self.bodies.append(body)
        self.size = size

    def take(self) -> tuple[int, bytes]:
        """Return the oldest message of the backlog and its number, as sent on the
        present link.
        """
        index = self._taken
        self._taken = taken = index + 1
        if taken > self._handed:
            self._handed = taken
        return (self._first + index) & MASK, self.bodies[index]

    def rewind(self) -> None:
        """Make all messages the backlog again, in order, for another link."""
        self._taken = 0

    def can_be_acknowledged(self, seq: int) -> bool:
        """Return True if a peer can have received and acknowledged this message."""
        ahead = (seq - self._first) & MASK
        return ahead < self._handed or (self._has_trimmed and ahead >= HALF)

    def can_replay_after(self, seq: int | None) -> bool:
        """Return True if this can be the last number that a peer has received.

        None means that the peer has received nothing. False for less than the peer has
        acknowledged, because these messages are no longer kept.
        """
        if seq is None:
            return not self._has_trimmed
        count = (seq - self._first + 1) & MASK
        return count <= self._handed and (count > 0 or self._has_trimmed)

    def trim(self, seq: int) -> None:
        """Remove all messages up to this number (`stable.ack.trim`).

        A number that was already acknowledged has no effect.

        Args:
            seq: a number that `can_be_acknowledged`.
        """
        count = (seq - self._first + 1) & MASK
        if not 0 < count <= HALF:
            return
        bodies = self.bodies
        for _ in range(count):
            self.size -= len(bodies.popleft())
        self._first = (self._first + count) & MASK
        self._taken = max(self._taken - count, 0)
        self._handed -= count
        self._has_trimmed = True
        if self.size < self._least:
            self._count(self.size, len(self.bodies))

    def count_in(self, budget: ByteBudget) -> None:
        """Count the memory of the messages in `budget` until `forget`."""
        self._counted = CountedMemory(budget)
        self._most = STEP

    def forget(self) -> None:
        """Remove all messages, as if the peer had acknowledged them."""
        if self.bodies:
            self._handed = len(self.bodies)
            self.trim((self.next_seq - 1) & MASK)
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
            f"<ReplayBuffer of {len(self.bodies)} from {self._first}, "
            f"{self.backlog} to be sent>"
        )
