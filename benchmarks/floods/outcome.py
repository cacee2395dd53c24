"""What a flood has cost, and what of that is too much."""

from __future__ import annotations

from collections import Counter
from typing import Final

import attrs

from .honest import Counted

__all__ = ["MIB", "MOST_MEDIAN", "MOST_MEMORY", "MOST_P99", "Outcome"]

MIB: Final = 1024 * 1024

MOST_MEMORY: Final = 64 * MIB
"""Number of bytes that the server may need beyond those it needs when idle."""

MOST_MEDIAN: Final = 0.005
"""Number of seconds that half of the calls of the honest client may take, in time of
the server's processor."""

MOST_P99: Final = 0.05
"""The same for 99 of 100."""


@attrs.frozen
class Outcome:
    """What a flood has cost.

    Attributes:
        flood: its name.
        memory: bytes of the server at most, beyond those when idle.
        honest: the calls of the honest client.
        ends: why the server has ended sessions of the flooder, with the number of each.
    """

    flood: str
    memory: int
    honest: Counted
    ends: Counter[str]

    @property
    def ended_by(self) -> str:
        """What has ended the flooder, most often first."""
        return ", ".join(
            why if times == 1 else f"{why} ({times} times)"
            for why, times in self.ends.most_common(2)
        )

    def faults(self, *, timed: bool = True) -> list[str]:
        """Return what is too much, in words.

        Args:
            timed: whether times count.
        """
        honest, served = self.honest, self.honest.served
        found = [
            (self.memory > MOST_MEMORY, f"{self.memory / MIB:.0f} MiB above idle"),
            (bool(honest.refused), f"honest calls refused: {honest.refused}"),
            (not honest.calls, "no honest call was answered"),
            (timed and served.median > MOST_MEDIAN, f"median {_ms(served.median)}"),
            (timed and served.p99 > MOST_P99, f"p99 {_ms(served.p99)}"),
        ]
        return [text for is_so, text in found if is_so]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
