"""The payloads that a stream link has to write, counted: is there room for another?"""

from __future__ import annotations

from math import inf
from typing import Final

from ..wire.frames import HEADER_LENGTH, Frames
from .base import ByteBudget

__all__ = ["Backlog"]

_STEP: Final = 64 * 1024
"""Number of unwritten bytes that do not count in the budget, and by which they grow
before they are counted again."""


class Backlog:
    """Counts the payloads that were committed, and those that are written.

    All counts are totals since the start. Sizes are in bytes and include the framing of
    the link.

    Args:
        most_payloads: number of unwritten payloads, and of permits, from which there is
            no room.
        most_bytes: their size from which there is no room. A permit counts as the
            length of the last payload.

    Attributes:
        payloads: number of committed payloads.
        size: their size.
        last_length: the length of the last one.
        room_up_to_payloads: number of committed payloads from which there is no room.
        room_up_to_size: their size from which there is no room.
        written_payloads: number of written payloads.
        written_size: their size.
        counted: number of unwritten bytes that are counted in the budget.
        count_from: the size from which `count` must be called, while the pump writes.
    """

    __slots__ = (
        "_budget",
        "_most_bytes",
        "_most_payloads",
        "count_from",
        "counted",
        "last_length",
        "payloads",
        "room_up_to_payloads",
        "room_up_to_size",
        "size",
        "written_payloads",
        "written_size",
    )

    def __init__(self, most_payloads: int, most_bytes: int) -> None:
        self._most_payloads = most_payloads
        self._most_bytes = most_bytes
        self.room_up_to_payloads = most_payloads
        self.room_up_to_size = most_bytes
        self.last_length = 0
        self.payloads = 0
        self.size = 0
        self.written_payloads = 0
        self.written_size = 0
        self._budget: ByteBudget | None = None
        self.counted = 0
        self.count_from: float = inf

    def count_in(self, budget: ByteBudget) -> None:
        """Count unwritten bytes in a budget from now on."""
        self._budget = budget
        self.count_from = 0

    @property
    def is_long(self) -> bool:
        """True if so much is unwritten that it counts in the budget."""
        return self.size - self.written_size > _STEP

    def count(self) -> bool:
        """Count the bytes that are unwritten now, if they are many.

        Returns:
            False if there is no room for them: the session is about to end.
        """
        budget, size = self._budget, self.size - self.written_size
        if budget is None:
            return True
        if size <= _STEP:
            size = 0
        if size < self.counted:
            budget.go_on(self.counted - size)
        elif size > self.counted and not budget.wait(size - self.counted):
            return False
        self.counted = size
        self.count_from = self.written_size + size + _STEP
        return True

    def add(self, length: int) -> bool:
        """Count a committed payload of so many bytes. Return False if there is no room
        for another, without any permits.
        """
        self.last_length = length
        self.payloads = payloads = self.payloads + 1
        self.size = size = self.size + HEADER_LENGTH + length
        return payloads < self.room_up_to_payloads and size < self.room_up_to_size

    def add_all(self, frames: Frames, permits: int) -> bool:
        """Count several committed payloads at once, if each of them finds room.

        Args:
            frames: the payloads.
            permits: number of permits beside them.

        Returns:
            False if not every payload would find room; then nothing was counted.
        """
        count, size, last = len(frames), len(frames.data), frames.last
        # What is asked of the last payload is asked of those before it as well.
        before = self.size + size - HEADER_LENGTH - last + permits * frames.longest
        if (
            self.payloads + permits + count > self.room_up_to_payloads
            or before >= self.room_up_to_size
        ):
            return False
        self.payloads += count
        self.size += size
        self.last_length = last
        return True

    def has_room(self, permits: int) -> bool:
        """Return True if there is room for another payload beside so many permits."""
        payloads, size = self.payloads, self.size
        if permits:
            payloads += permits
            size += permits * self.last_length
        return payloads < self.room_up_to_payloads and size < self.room_up_to_size

    def written(self, payloads: int, size: int) -> None:
        """Note that everything up to these totals is written."""
        self.written_payloads = payloads
        self.written_size = size
        self.room_up_to_payloads = payloads + self._most_payloads
        self.room_up_to_size = size + self._most_bytes

    def count_beside(self, payloads: int, size: int) -> None:
        """Count something else that is to be written, for which there is always room.

        Args:
            payloads: the number of additional writes; negative to take some back.
            size: their size.
        """
        self.written_payloads -= payloads
        self.written_size -= size

    @property
    def unwritten_payloads(self) -> int:
        """Number of committed payloads that are not written."""
        return self.payloads - self.written_payloads

    @property
    def unwritten_size(self) -> int:
        """Their size."""
        return self.size - self.written_size

    @property
    def payload_bytes(self) -> int:
        """Total length of the committed payloads, without framing."""
        return self.size - HEADER_LENGTH * self.payloads

    def __repr__(self) -> str:
        return (
            f"<Backlog of {self.unwritten_payloads} payloads "
            f"({self.unwritten_size} bytes)>"
        )
