"""How long a call takes while another connection is as busy as it can be.

    python -m benchmarks.fairness [--quick] [--rounds N] [--write]

The probe makes one call at a time. The flood is on the next connection of the same
session, where it shares the link and both processes with the probe; or on a session of
another client's process, where it shares the server's process.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import msgspec

from .adapters import ROAM
from .busy import FLOODS, PROBE, flood_work, probe_beside
from .machine import describe_machine
from .markdown import table
from .options import at_least
from .processes import Pair
from .results import Summary, summarize
from .stopwatch import Done
from .writing import ROOT, fill, to_json

__all__ = ["Fairness", "Latency", "main", "measure_fairness", "write_fairness"]

_SETTLING = 0.3
"""How long another process may take to connect and start its flood, in seconds."""

_NOWHERE = "nowhere"
_SAME_SESSION = "the next connection"
_OTHER_SESSION = "a session of another process"


class Latency(msgspec.Struct, frozen=True):
    """How long calls of the probe took, over the rounds.

    Attributes:
        flood: the name of the flood, or "none".
        where: where the flood was.
        p50: seconds that half of the calls took at most.
        p99: the same for 99 of 100.
    """

    flood: str
    where: str
    p50: Summary
    p99: Summary


class Fairness(msgspec.Struct, frozen=True):
    """All of one run."""

    machine: dict[str, str]
    latencies: list[Latency]


@attrs.frozen
class _Case:
    flood: str
    where: str

    def measure(self, pair: Pair, count: int) -> Done:
        if self.where == _NOWHERE:
            return pair.measure(PROBE, count)
        if self.where == _SAME_SESSION:
            return pair.measure(probe_beside(self.flood), count)
        with Pair(pair.name, beside=pair) as other:
            other.measure(PROBE, 1)  # it is up
            other.order(flood_work(self.flood), 1)
            time.sleep(_SETTLING)
            return pair.measure(PROBE, count)


_CASES = [
    _Case("none", _NOWHERE),
    *(
        _Case(flood, where)
        for flood in FLOODS
        for where in (_SAME_SESSION, _OTHER_SESSION)
    ),
]


class _Options(argparse.Namespace):
    quick: bool
    rounds: int | None
    write: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fairness",
        description="How long a call takes while another connection is busy.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    parser.add_argument("--rounds", type=at_least(1), metavar="N", help="default 5")
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/results and docs"
    )
    options = parser.parse_args(arguments, namespace=_Options())
    rounds = options.rounds or (1 if options.quick else 5)
    fairness = measure_fairness(rounds, 100 if options.quick else 500)
    print("\n\n".join(_sections(fairness)))
    if options.write:
        write_fairness(fairness)


def measure_fairness(rounds: int, count: int) -> Fairness:
    """Time `count` calls of the probe in each case, round by round."""
    machine = describe_machine()
    done: dict[_Case, list[Done]] = {case: [] for case in _CASES}
    with Pair(ROAM) as pair:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for case in _CASES:
                done[case].append(case.measure(pair, count))
    return Fairness(
        machine,
        [
            Latency(
                case.flood,
                case.where,
                summarize([one.p50 for one in taken if one.p50 is not None]),
                summarize([one.p99 for one in taken if one.p99 is not None]),
            )
            for case, taken in done.items()
        ],
    )


def write_fairness(fairness: Fairness, root: Path = ROOT) -> list[Path]:
    """Write the figures, and fill the block of the docs."""
    places = root / "benchmarks" / "results"
    places.mkdir(exist_ok=True)
    figures = places / "fairness.json"
    figures.write_text(to_json(fairness), encoding="utf-8")
    docs = root / "docs" / "benchmarks.md"
    fill(docs, "fairness", "\n\n".join(_sections(fairness)))
    return [figures, docs]


def _sections(fairness: Fairness) -> Iterator[str]:
    rows = [
        [
            FLOODS[one.flood][0] if one.flood in FLOODS else one.flood,
            one.where,
            _millis(one.p50),
            _millis(one.p99),
        ]
        for one in fairness.latencies
    ]
    yield table(["flood", "where it is", "p50, ms", "p99, ms"], rows)
    yield (
        "Milliseconds that half and 99 of 100 calls of the probe take at most: medians "
        "of the rounds, and the lowest and highest. Processes are not pinned."
    )


def _millis(latency: Summary) -> str:
    figures = (latency.median, latency.lowest, latency.highest)
    median, lowest, highest = (f"{figure * 1e3:.2f}" for figure in figures)
    return f"{median} ({lowest} to {highest})"


if __name__ == "__main__":
    main()
