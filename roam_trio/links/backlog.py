"""The payloads that a stream link has to write, counted: is there room for another?"""

from __future__ import annotations

from collections.abc import Sequence

from .framing import HEADER_LENGTH

__all__ = ["Backlog"]


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
        room_up_to_payloads: number of committed payloads from which there is no room.
        room_up_to_size: their size from which there is no room.
        written_payloads: number of written payloads.
        written_size: their size.
    """

    __slots__ = (
        "_last_length",
        "_most_bytes",
        "_most_payloads",
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
        self._last_length = 0
        self.payloads = 0
        self.size = 0
        self.written_payloads = 0
        self.written_size = 0

    def add(self, length: int) -> None:
        """Count a committed payload of so many bytes."""
        self._last_length = length
        self.payloads += 1
        self.size += HEADER_LENGTH + length

    def add_all(self, lengths: Sequence[int], permits: int) -> bool:
        """Count several committed payloads at once, if each of them finds room.

        Args:
            lengths: their lengths, in bytes; at least one.
            permits: number of permits beside them.

        Returns:
            False if not every payload would find room; then nothing was counted.
        """
        count = len(lengths)
        size = sum(lengths) + HEADER_LENGTH * count
        last = lengths[-1]
        # What is asked of the last payload is asked of those before it as well.
        before = self.size + size - HEADER_LENGTH - last + permits * max(lengths)
        if (
            self.payloads + permits + count > self.room_up_to_payloads
            or before >= self.room_up_to_size
        ):
            return False
        self.payloads += count
        self.size += size
        self._last_length = last
        return True

    def has_room(self, permits: int) -> bool:
        """Return True if there is room for another payload beside so many permits."""
        payloads, size = self.payloads, self.size
        if permits:
            payloads += permits
            size += permits * self._last_length
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
