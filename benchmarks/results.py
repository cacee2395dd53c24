"""What was measured, and the arithmetic on it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

__all__ = ["Results", "Sample", "Summary", "ratios", "summarize"]


class Sample(msgspec.Struct, frozen=True):
    """One measurement.

    Attributes:
        placement: where the processes ran.
        round: in which round, from 0.
        work: the work's name.
        adapter: the implementation's name.
        count: how many steps were done.
        seconds: what they took.
    """

    placement: str
    round: int
    work: str
    adapter: str
    count: int
    seconds: float

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.count / self.seconds


class Results(msgspec.Struct, frozen=True):
    """All of one run.

    Attributes:
        machine: what it ran on.
        versions: of the packages, for each adapter.
        samples: every measurement, in the order in which they were made.
    """

    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    samples: list[Sample]

    def of(self, placement: str, work: str, adapter: str) -> list[Sample]:
        """The measurements of one kind, round by round."""
        wanted = (placement, work, adapter)
        return [s for s in self.samples if (s.placement, s.work, s.adapter) == wanted]


class Summary(msgspec.Struct, frozen=True):
    """Several figures in three."""

    median: float
    lowest: float
    highest: float

    @property
    def spread(self) -> float:
        """From the lowest to the highest, as a part of the median."""
        return (self.highest - self.lowest) / self.median


def summarize(figures: Sequence[float]) -> Summary:
    """The median of some figures, and how far they go apart.

    Raises:
        ValueError: there are none.
    """
    if not figures:
        raise ValueError("expected at least one figure")
    return Summary(statistics.median(figures), min(figures), max(figures))


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """Our throughput as a part of theirs, round by round.

    The two were measured side by side in each round, so what slows the machine down
    for a while slows both, and their ratio little.

    Raises:
        ValueError: they are not of the same rounds.
    """
    if [s.round for s in ours] != [s.round for s in theirs]:
        raise ValueError("expected measurements of the same rounds")
    return [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
