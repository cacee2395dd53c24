"""The figures of the tables and plots: each kind of measurement, over its rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from .adapters import FLOOR, MSGSPEC, PEERS, RAW_TRIO, ROAM
from .results import Results, Sample, Summary, cpu_ratios, ratios, summarize
from .works import PINNED, Work, find_work

__all__ = ["Figure", "Verdict", "figures_of", "is_ours", "verdicts_on"]


RECORDS_WORK = "records"


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One implementation at one work in one place: medians of the rounds.

    Attributes:
        placement: where the processes ran.
        work: the work's name.
        adapter: the implementation's name.
        rounds: how many.
        rate: steps per second.
        ratio: of the rates in one round, to the floor's; None if it has no such work.
        of_raw_trio: the same, to those of trio with sockets of the standard library.
        client_cpu: seconds of processor time of the client's process for one step.
        server_cpu: the same of the server's.
        p50: seconds that half of the steps take at most.
        p99: the same for 99 of 100.
        beside: of the processor time on both sides in one round, to that of other works
            of the same implementation; by their names.
        held: bytes of the server's memory for one of the things that it holds.
    """

    placement: str
    work: str
    adapter: str
    rounds: int
    rate: Summary
    ratio: Summary | None = None
    of_raw_trio: Summary | None = None
    client_cpu: float = 0.0
    server_cpu: float | None = None
    p50: float | None = None
    p99: float | None = None
    beside: dict[str, Summary] = {}
    held: Summary | None = None


class Verdict(msgspec.Struct, frozen=True):
    """Whether roam_trio reaches a target.

    Attributes:
        what: the work, and where.
        reached: what was measured, in words.
        target: what is asked for, in words.
        is_met: whether it is reached.
    """

    what: str
    reached: str
    target: str
    is_met: bool


def is_ours(adapter: str) -> bool:
    """Whether it is roam_trio, in whatever way it is used."""
    return adapter.startswith(ROAM)


def figures_of(results: Results) -> list[Figure]:
    """All figures, in the order of the tables."""
    return [
        _figure(
            samples,
            results.of(placement, work, FLOOR),
            results.of(placement, work, RAW_TRIO),
            {
                other: results.of(placement, other, adapter)
                for other in find_work(work).beside
            },
        )
        for placement in results.placements
        for work in results.works(placement)
        for adapter in results.contestants
        if (samples := results.of(placement, work, adapter))
    ]


def _figure(
    samples: Sequence[Sample],
    floor: Sequence[Sample],
    raw_trio: Sequence[Sample],
    others: Mapping[str, Sequence[Sample]],
) -> Figure:
    held = [s.held / s.count for s in samples if s.held is not None]
    one = samples[0]
    return Figure(
        one.placement,
        one.work,
        one.adapter,
        len(samples),
        summarize([s.rate for s in samples]),
        summarize(ratios(samples, floor)) if floor else None,
        summarize(ratios(samples, raw_trio)) if raw_trio else None,
        statistics.median(s.client_cpu / s.count for s in samples),
        _median(samples, lambda s: s.server_cpu and s.server_cpu / s.count),
        _median(samples, lambda s: s.p50),
        _median(samples, lambda s: s.p99),
        {
            name: summarize(cpu_ratios(samples, other))
            for name, other in others.items()
            if other and all(sample.cpu for sample in other)
        },
        summarize(held) if held else None,
    )


def _median(
    samples: Sequence[Sample], part: Callable[[Sample], float | None]
) -> float | None:
    known = [figure for figure in map(part, samples) if figure is not None]
    return statistics.median(known) if known else None


def verdicts_on(figures: Sequence[Figure]) -> list[Verdict]:
    """How roam_trio stands against each target that it was measured for."""
    verdicts: list[Verdict] = []
    for figure in figures:
        if figure.adapter == ROAM:
            work = find_work(figure.work)
            verdicts += _on_ratio(work, figure)
            verdicts += _on_cpu(work, figure)
            verdicts += _on_memory(work, figure)
    return verdicts + _on_records(figures)


def _on_ratio(work: Work, figure: Figure) -> list[Verdict]:
    target = work.target_at(figure.placement)
    if target is None or figure.ratio is None:
        return []
    reached = figure.ratio.median
    return [
        Verdict(
            f"{work.name}, {_in_short(figure.placement)}",
            f"{reached:.2f} of the floor",
            f"{target:.2f}",
            reached >= target,
        )
    ]


def _on_cpu(work: Work, figure: Figure) -> list[Verdict]:
    if work.most_beside is None or work.beside[0] not in figure.beside:
        return []
    reached = figure.beside[work.beside[0]].median
    return [
        Verdict(
            f"{work.name}, {_in_short(figure.placement)}",
            f"{reached:.2f} times the processor time of {work.beside[0]}",
            f"at most {work.most_beside:.2f}",
            reached <= work.most_beside,
        )
    ]


def _on_memory(work: Work, figure: Figure) -> list[Verdict]:
    if work.most_held is None or figure.held is None:
        return []
    reached = figure.held.median
    return [
        Verdict(
            f"{work.name}, server memory each",
            f"{reached / 1000:.1f} KB",
            f"at most {work.most_held / 1000:g} KB",
            reached <= work.most_held,
        )
    ]


def _on_records(figures: Sequence[Figure]) -> list[Verdict]:
    """Against the fastest of the other libraries, and against msgspec by itself."""
    ratios = {
        figure.adapter: figure.ratio.median
        for figure in figures
        if (figure.work, figure.placement) == (RECORDS_WORK, PINNED)
        and figure.ratio is not None
    }
    ours = ratios.get(ROAM)
    peers = {name: ratio for name, ratio in ratios.items() if name in PEERS}
    verdicts: list[Verdict] = []
    if ours is not None and peers:
        fastest = max(peers, key=lambda name: peers[name])
        times = ours / peers[fastest]
        verdicts.append(
            Verdict(
                f"{RECORDS_WORK}, pinned",
                f"{times:.2f} times as fast as {fastest}, the fastest of the others",
                "ahead of all others",
                times > 1,
            )
        )
    if ours is not None and MSGSPEC in ratios:
        times = ratios[MSGSPEC] / ours
        verdicts.append(
            Verdict(
                f"{RECORDS_WORK}, pinned",
                f"{times:.2f} times what msgspec takes to encode and decode them",
                "at most 1.5",
                times <= 1.5,
            )
        )
    return verdicts


def _in_short(placement: str) -> str:
    return "pinned" if placement == PINNED else placement
