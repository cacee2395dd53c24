"""Messages that were sent and may have to be sent again."""

from __future__ import annotations

from collections import deque
from itertools import islice

from .sequence import HALF, MASK

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """The messages that the peer has not acknowledged, with their numbers, in order.

    Some of them are on their way on the present link; the others are the *backlog*.
    Numbers are given in order and without gaps (`stable.seq`), so that only the first
    has to be kept.

    Args:
        first: the number of the first message; other than 0 in tests alone.
    """

    __slots__ = ("_first", "_handed", "_has_trimmed", "_taken", "bodies", "size")

    def __init__(self, first: int = 0) -> None:
        self.bodies: deque[bytes] = deque()
        """The messages themselves; for others to look at, not to change."""
        self._first = first
        self._taken = 0
        # How many of them were ever given to a link: the peer can have got those.
        self._handed = 0
        self._has_trimmed = False
        self.size = 0
        """Number of bytes in all of them."""

    @property
    def next_seq(self) -> int:
        """The number that the next message will get."""
        return (self._first + len(self.bodies)) & MASK

    @property
    def backlog(self) -> int:
        """Number of messages that have not been given to the present link."""
        return len(self.bodies) - self._taken

    @property
    def backlog_size(self) -> int:
        """The same in bytes."""
        return sum(map(len, islice(self.bodies, self._taken, None)))

    def add(self, body: bytes) -> None:
        """Keep a message until it is acknowledged; it joins the backlog."""
        self.bodies.append(body)
        self.size += len(body)

    def take(self) -> tuple[int, bytes]:
        """Take the oldest message of the backlog, with its number, for the present
        link."""
        index = self._taken
        self._taken = taken = index + 1
        if taken > self._handed:
            self._handed = taken
        return (self._first + index) & MASK, self.bodies[index]

    def rewind(self) -> None:
        """There is another link: everything is backlog again, in its order."""
        self._taken = 0

    def can_be_acknowledged(self, seq: int) -> bool:
        """Return True if a peer can have got, and acknowledged, this message."""
        ahead = (seq - self._first) & MASK
        return ahead < self._handed or (self._has_trimmed and ahead >= HALF)

    def can_replay_after(self, seq: int | None) -> bool:
        """Return True if this can be the last number that a peer has got.

        None stands for a peer that has got nothing. A peer that has got less than it
        acknowledged once has lost something that is kept no more.
        """
        if seq is None:
            return not self._has_trimmed
        count = (seq - self._first + 1) & MASK
        return count <= self._handed and (count > 0 or self._has_trimmed)

    def trim(self, seq: int) -> None:
        """Let go of everything up to this number (`stable.ack.trim`).

        One that was acknowledged before changes nothing.

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

    def __repr__(self) -> str:
        return (
            f"<ReplayBuffer of {len(self.bodies)} from {self._first}, "
            f"{self.backlog} to be sent>"
        )
