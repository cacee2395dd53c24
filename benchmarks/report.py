"""The results as text: throughputs, their spread, and the ratio against its target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .adapters import ROAM
from .figures import Figure, figures_of
from .results import Results, Summary
from .works import find_work

__all__ = ["report"]

_ROW = "{:<15} {:<19} {:>14} {:>20} {:>20} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8}"
_HEAD = (
    "work",
    "",
    "per second",
    "of the floor",
    "of raw trio",
    "target",
    "client",
    "server",
    "p50",
    "p99",
    "held",
)


def report(results: Results) -> str:
    """All the results as text."""
    return "\n".join(line.rstrip() for line in _lines(results))


def _lines(results: Results) -> Iterator[str]:
    for name, value in results.machine.items():
        yield f"{name}: {value}"
    for name, contestant in results.contestants.items():
        yield f"{name}: {_joined(contestant.versions)}"
    for name, reason in results.missing.items():
        yield f"{name}: {reason}"
    yield ""
    for name in dict.fromkeys(s.work for s in results.samples):
        yield f"{name}: {find_work(name).about}"
    figures = figures_of(results)
    for placement in results.placements:
        yield ""
        yield f"{placement}; over TCP on loopback (TCP_NODELAY)"
        here = [f for f in figures if f.placement == placement]
        yield from _table(here)
        yield from _beside(here)
    yield ""
    yield "Steps per second: the median of the rounds, and half the way from the lowest"
    yield "to the highest. The ratios are those of the throughputs in one round, to the"
    yield "floor and to trio with sockets of the standard library, 1 being as fast: the"
    yield "median of the rounds, the lowest and the highest."
    yield "Microseconds: processor time for one step in the client's process and in the"
    yield "server's; what half and 99 of 100 steps take at most. Held: KB of the"
    yield "server's memory for one."


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    yield _ROW.format(*_HEAD)
    for figure in figures:
        target = find_work(figure.work).target_at(figure.placement)
        yield _ROW.format(
            figure.work,
            figure.adapter,
            _throughput(figure.rate),
            _ratio(figure.ratio),
            _ratio(figure.of_raw_trio),
            "-" if target is None or figure.adapter != ROAM else f"{target:.2f}",
            _micros(figure.client_cpu),
            _micros(figure.server_cpu),
            _micros(figure.p50),
            _micros(figure.p99),
            "-" if figure.held is None else f"{figure.held.median / 1000:,.1f}",
        )


def _beside(figures: Sequence[Figure]) -> Iterator[str]:
    for figure in figures:
        for other, ratio in figure.beside.items():
            yield (
                f"processor time of {figure.work} to that of {other}: {_ratio(ratio)}"
            )


def _throughput(rate: Summary) -> str:
    return f"{rate.median:,.0f} ±{rate.spread / 2:4.0%}"


def _ratio(ratio: Summary | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio.median:.3f} ({ratio.lowest:.3f}-{ratio.highest:.3f})"


def _micros(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:,.1f}"


def _joined(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())
