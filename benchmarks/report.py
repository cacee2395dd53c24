"""The tables: throughputs, their spread, and the ratio against its target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .adapters import FLOOR, ROAM
from .results import Results, Summary, ratios, summarize
from .works import Work, find_work

__all__ = ["report"]

_ROW = "{:<14} {:>18} {:>18} {:>20} {:>7}"


def report(results: Results) -> str:
    """All the results as text."""
    return "\n".join(_lines(results))


def _lines(results: Results) -> Iterator[str]:
    for name, value in results.machine.items():
        yield f"{name}: {value}"
    for adapter, versions in results.versions.items():
        yield f"{adapter}: {_joined(versions)}"
    yield ""
    works = [find_work(name) for name in _distinct(s.work for s in results.samples)]
    for work in works:
        yield f"{work.name}: {work.about}"
    for placement in _distinct(s.placement for s in results.samples):
        yield ""
        yield from _table(results, placement, works)
    yield ""
    yield "Steps per second: the median of the rounds, and half the way from the lowest"
    yield "to the highest. The ratio is that of the throughputs in one round, 1 being"
    yield "as fast as the floor: the median of the rounds, the lowest and the highest."


def _table(results: Results, placement: str, works: Sequence[Work]) -> Iterator[str]:
    yield f"{placement}; over TCP on loopback (TCP_NODELAY)"
    yield _ROW.format("work", FLOOR, ROAM, "ratio", "target")
    for work in works:
        ours = results.of(placement, work.name, ROAM)
        floor = results.of(placement, work.name, FLOOR)
        yield _ROW.format(
            work.name,
            _throughput(summarize([sample.rate for sample in floor])),
            _throughput(summarize([sample.rate for sample in ours])),
            _ratio(summarize(ratios(ours, floor))),
            "-" if work.target is None else f"{work.target:.2f}",
        )


def _throughput(rate: Summary) -> str:
    return f"{rate.median:,.0f} ±{rate.spread / 2:4.0%}"


def _ratio(ratio: Summary) -> str:
    return f"{ratio.median:.3f} ({ratio.lowest:.3f}-{ratio.highest:.3f})"


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _joined(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())
