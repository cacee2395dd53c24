"""What was measured, and the arithmetic on it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from .stopwatch import Done

__all__ = [
    "Contestant",
    "Results",
    "Sample",
    "Summary",
    "cpu_ratios",
    "ratios",
    "summarize",
]


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measurement.

    Attributes:
        placement: where the processes ran.
        round: in which round, from 0.
        work: the work's name.
        adapter: the implementation's name.
        count: how many steps were done.
        seconds: what they took; the others are as in `stopwatch.Done`.
    """

    placement: str
    round: int
    work: str
    adapter: str
    count: int
    seconds: float
    client_cpu: float = 0.0
    server_cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    held: int | None = None

    @classmethod
    def of(
        cls, placement: str, round: int, work: str, adapter: str, count: int, done: Done
    ) -> Sample:
        """The measurement of what was done in a place."""
        return cls(
            placement, round, work, adapter, count, **msgspec.structs.asdict(done)
        )

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.count / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds of processor time for one step, on both sides as far as is known."""
        return (self.client_cpu + (self.server_cpu or 0.0)) / self.count


class Contestant(msgspec.Struct, frozen=True):
    """What there is to know of an implementation.

    Attributes:
        versions: of its packages.
        only: the works it is there for; None for all of them.
        lacks: of these, the works it has nothing for, with the reason.
        remarks: on other works.
    """

    versions: dict[str, str]
    only: list[str] | None
    lacks: dict[str, str]
    remarks: dict[str, str]


class Results(msgspec.Struct, frozen=True):
    """All of one run.

    Attributes:
        machine: what it ran on.
        contestants: the implementations by name, in the order of the tables.
        samples: every measurement, in the order in which they were made.
        missing: the implementations that were left out by name, with the reason.
        effort: how much was measured, as a part of a sentence.
    """

    machine: dict[str, str]
    contestants: dict[str, Contestant]
    samples: list[Sample]
    missing: dict[str, str] = {}
    effort: str = ""

    def of(self, placement: str, work: str, adapter: str) -> list[Sample]:
        """The measurements of one kind, round by round."""
        wanted = (placement, work, adapter)
        return [s for s in self.samples if (s.placement, s.work, s.adapter) == wanted]

    @property
    def placements(self) -> list[str]:
        """Where anything was measured."""
        return list(dict.fromkeys(s.placement for s in self.samples))

    def works(self, placement: str) -> list[str]:
        """The works that were measured there."""
        return list(
            dict.fromkeys(s.work for s in self.samples if s.placement == placement)
        )


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


def cpu_ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """The processor time of our steps as a ratio to that of theirs, round by round.

    Raises:
        ValueError: they are not of the same rounds.
    """
    if [s.round for s in ours] != [s.round for s in theirs]:
        raise ValueError("expected measurements of the same rounds")
    return [a.cpu / b.cpu for a, b in zip(ours, theirs, strict=True)]
