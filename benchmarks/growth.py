"""What a step costs when there is more of something, and where that stops being linear.

python -m benchmarks.growth [--quick] [--rounds N] [--only NAME] [--write]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from .adapters import FLOOR, ROAM
from .lines import Chart, Curve, draw_lines
from .machine import describe_machine
from .markdown import table
from .options import at_least
from .processes import Pair
from .results import Summary, summarize
from .rounds import Plan, placements, run
from .scales import SCALES, Scale
from .writing import ROOT, fill, to_json

__all__ = ["Growth", "Point", "main", "measure_growth", "verdict", "write_growth"]

_TOLERANCE = 1.5
"""A cost that differs by less than this factor counts as the same: runs differ by as
much when other programs are busy."""


class Point(msgspec.Struct, frozen=True):
    """What a step costs at one size.

    Attributes:
        scale: the name of what grows.
        adapter: the implementation's name.
        size: how much there is of it.
        seconds: for a step, over the rounds.
    """

    scale: str
    adapter: str
    size: int
    seconds: Summary


class Growth(msgspec.Struct, frozen=True):
    """All of one run."""

    machine: dict[str, str]
    points: list[Point]

    def of(self, scale: str, adapter: str) -> list[Point]:
        """The points of one curve, by size."""
        return [p for p in self.points if (p.scale, p.adapter) == (scale, adapter)]


class _Options(argparse.Namespace):
    quick: bool
    rounds: int | None
    only: list[str] | None
    write: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description="What a step costs when there is more of something.",
    )
    parser.add_argument("--quick", action="store_true", help="short measurements")
    parser.add_argument("--rounds", type=at_least(1), metavar="N", help="default 5")
    parser.add_argument(
        "--only", action="append", choices=[scale.name for scale in SCALES]
    )
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/results and docs"
    )
    options = parser.parse_args(arguments, namespace=_Options())
    scales = [s for s in SCALES if options.only is None or s.name in options.only]
    rounds = options.rounds or (1 if options.quick else 5)
    growth = measure_growth(rounds, 0.05 if options.quick else 0.3, scales)
    print("\n\n".join(_sections(growth)))
    if options.write:
        write_growth(growth)


def measure_growth(
    rounds: int, seconds: float, scales: Sequence[Scale] = SCALES
) -> Growth:
    """Measure every size of every scale, round by round, pinned to one CPU.

    Args:
        rounds: how many.
        seconds: how long each measurement is to take, about.
        scales: what grows.
    """
    machine = describe_machine()
    points: list[Point] = []
    where = placements(_progress)[:1]
    with contextlib.ExitStack() as stack:
        pairs = {name: stack.enter_context(Pair(name)) for name in (FLOOR, ROAM)}
        for scale in scales:
            works = {scale.at(size).name: size for size in scale.sizes}
            plan = Plan(rounds, seconds, [scale.at(size) for size in scale.sizes], ())
            contestants = [pairs[name] for name in scale.adapters]
            samples = list(run(plan, contestants, where, _progress))
            for adapter in scale.adapters:
                for work, size in works.items():
                    taken = [
                        1 / s.rate
                        for s in samples
                        if (s.adapter, s.work) == (adapter, work)
                    ]
                    points.append(Point(scale.name, adapter, size, summarize(taken)))
    return Growth(machine, points)


def verdict(points: Sequence[Point], is_flat: bool) -> str:
    """Where the cost stops being linear, in a sentence."""
    return _verdict_on_flat(points) if is_flat else _verdict_on_proportional(points)


def _verdict_on_flat(points: Sequence[Point]) -> str:
    """A step should cost the same, so that all of them are linear in their number."""
    cheapest = points[0]
    for before, point in itertools.pairwise(points):
        factor = point.seconds.median / cheapest.seconds.median
        if factor > _TOLERANCE:
            said = (
                f"linear up to {before.size:,}; compared with {cheapest.size:,}, a "
                f"step costs {factor:.2f} times as much at {point.size:,}"
            )
            if point is points[-1]:
                return f"{said}."
            last = points[-1].seconds.median / cheapest.seconds.median
            return f"{said}, and {last:.2f} times at {points[-1].size:,}."
        if factor < 1:
            cheapest = point
    factor = points[-1].seconds.median / points[0].seconds.median
    return (
        f"linear all the way: a step costs {factor:.2f} times as much at "
        f"{points[-1].size:,} as at {points[0].size:,}."
    )


def _verdict_on_proportional(points: Sequence[Point]) -> str:
    """Beside a fixed cost, a step should cost in proportion to the size."""
    fixed = points[0].seconds.median
    per_byte = [
        (point.size, (point.seconds.median - fixed) / point.size)
        for point in points[1:]
        if point.seconds.median > 2 * fixed
    ]
    if not per_byte:
        return "the fixed cost of a step is most of it at every size."
    cheapest = min(cost for _, cost in per_byte)
    best = next(size for size, cost in per_byte if cost == cheapest)
    starts = next(
        (size for size, cost in per_byte if cost <= cheapest * _TOLERANCE), best
    )
    after = [(size, cost) for size, cost in per_byte if size > best]
    stops = next((pair for pair in after if pair[1] > cheapest * _TOLERANCE), None)
    said = (
        f"the fixed cost is {fixed * 1e6:,.0f} µs; from {in_bytes(starts)} on a step "
        f"costs in proportion, {cheapest * 1e9 * 1024:,.0f} ns a KiB at "
        f"{in_bytes(best)}"
    )
    if stops is None:
        return f"{said}, and linear up to the largest, {in_bytes(points[-1].size)}."
    return (
        f"{said}; at {in_bytes(stops[0])} it stops being linear: a KiB costs "
        f"{stops[1] / cheapest:.2f} times that."
    )


def in_bytes(size: int) -> str:
    """A size in bytes, with a unit."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024 or unit == "MiB":
            return f"{size:,} {unit}"
        size //= 1024
    raise AssertionError("the last unit returns")


def write_growth(growth: Growth, root: Path = ROOT) -> list[Path]:
    """Write the tables, the plot and the figures, and fill the block of the docs."""
    places = root / "benchmarks" / "results"
    places.mkdir(exist_ok=True)
    charts = [
        Chart(
            scale.title,
            "µs for one, by " + scale.name,
            [
                Curve(
                    adapter,
                    [
                        (point.size, point.seconds.median * 1e6)
                        for point in growth.of(scale.name, adapter)
                    ],
                )
                for adapter in scale.adapters
            ],
        )
        for scale in SCALES
        if growth.of(scale.name, ROAM)
    ]
    sections = "\n\n".join(_sections(growth))
    written = {
        places / "growth.json": to_json(growth),
        places / "growth.svg": draw_lines(
            "What a step costs when there is more of something",
            "Both processes pinned to one CPU; both axes are logarithmic",
            charts,
        ),
    }
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    plot = "![A curve for each thing that grows](../benchmarks/results/growth.svg)"
    docs = root / "docs" / "benchmarks.md"
    fill(docs, "growth", f"{plot}\n\n{sections}")
    return [*written, docs]


def _sections(growth: Growth) -> Iterator[str]:
    for scale in SCALES:
        if not growth.of(scale.name, ROAM):
            continue
        yield f"**{scale.name}**: {scale.about}."
        yield _table(growth, scale)
        yield "\n".join(
            f"- {adapter}: {verdict(growth.of(scale.name, adapter), scale.is_flat)}"
            for adapter in scale.adapters
        )


def _table(growth: Growth, scale: Scale) -> str:
    head = [scale.name]
    columns: list[list[str]] = []
    for adapter in scale.adapters:
        points = growth.of(scale.name, adapter)
        head.append(f"{adapter}, µs")
        columns.append([f"{point.seconds.median * 1e6:,.1f}" for point in points])
        if scale.is_flat:
            first = points[0].seconds.median
            head.append("to the first")
            columns.append([f"{p.seconds.median / first:.2f}" for p in points])
        else:
            head.append("MB/s each way")
            columns.append([f"{p.size / p.seconds.median / 1e6:,.2f}" for p in points])
    sizes = [point.size for point in growth.of(scale.name, scale.adapters[0])]
    names = [f"{n:,}" if scale.is_flat else in_bytes(n) for n in sizes]
    return table(head, [list(row) for row in zip(names, *columns, strict=True)])


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
