"""Comparing implementations: the command line, and one run from end to end."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import msgspec

from .adapters import ADAPTERS, FLOOR, RESUMING, ROAM, why_missing
from .fairness import measure_fairness, write_fairness
from .growth import measure_growth, write_growth
from .machine import describe_machine
from .options import at_least
from .processes import Pair
from .report import report
from .results import Results
from .rounds import Plan, hold, placements, run
from .works import HELD, SPEEDS, WORKS, Work
from .writing import write_comparison

__all__ = ["Effort", "compare", "main", "main_of_floor", "main_of_resume"]


@attrs.frozen
class Effort:
    """How much is measured, and how long.

    Attributes:
        rounds: of the works that are done for some time.
        seconds: how long each of them is done at a time.
        held_rounds: of the works that hold something.
        held_part: which part of it they hold.
        everywhere: whether all works are done both pinned and not pinned, or only
            those with a target for each.
        extra_rounds: of the benchmarks of growth and of fairness.
        probes: how many calls of the probe are timed in the benchmark of fairness.
    """

    rounds: int
    seconds: float
    held_rounds: int
    held_part: float
    everywhere: bool
    extra_rounds: int
    probes: int

    def __str__(self) -> str:
        part = "" if self.held_part == 1 else f" of {self.held_part:.0%} of it"
        return (
            f"medians of {self.rounds} rounds of {self.seconds:g} s, "
            f"and of {self.held_rounds} rounds{part} for what is held"
        )


_FEWEST_ROUNDS = 5

_FULL = Effort(7, 0.5, 5, 1.0, everywhere=True, extra_rounds=5, probes=1000)
_QUICK = Effort(5, 0.05, 1, 0.2, everywhere=False, extra_rounds=1, probes=100)
_SMOKE = Effort(1, 0.005, 1, 0.01, everywhere=False, extra_rounds=1, probes=10)


class _Options(argparse.Namespace):
    rounds: int | None
    quick: bool
    smoke: bool
    work: list[str] | None
    only: list[str] | None
    json: Path | None
    write: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every library that is installed, and print and write what came out.

    Args:
        arguments: of the command line; those of this process if None.
    """
    options = _parse(
        "python -m benchmarks",
        "Measure roam_trio beside other libraries and a hand-written trio program "
        "that do the same work.",
        arguments,
    )
    if options.write and (options.work or options.only):
        sys.exit("--write is for all works and libraries: leave out --work and --only")
    if options.write and (options.quick or options.smoke):
        sys.exit("--write is for figures to rely on: leave out --quick and --smoke")
    effort, results = _measure(options, options.only or ADAPTERS, WORKS)
    if options.write:
        written = write_comparison(results)
        written += write_growth(measure_growth(effort.extra_rounds, effort.seconds))
        fairness = measure_fairness(effort.extra_rounds, effort.probes)
        written += write_fairness(fairness)
        for path in dict.fromkeys(written):
            _progress(f"written: {path}")


def main_of_floor(arguments: Sequence[str] | None = None) -> None:
    """The same for roam_trio and the floor alone, and without what they hold.

    Args:
        arguments: of the command line; those of this process if None.
    """
    options = _parse(
        "python -m benchmarks.floor",
        "Measure roam_trio beside a hand-written trio program that does the same work.",
        arguments,
    )
    if options.write:
        sys.exit("--write is for all libraries: python -m benchmarks --write")
    _measure(options, options.only or (FLOOR, ROAM), SPEEDS)


def main_of_resume(arguments: Sequence[str] | None = None) -> None:
    """The same for roam_trio on the stable conduit and on the bare one.

    Args:
        arguments: of the command line; those of this process if None.
    """
    options = _parse(
        "python -m benchmarks.resume",
        "Measure what it costs that sessions outlive their links, while none is lost.",
        arguments,
    )
    if options.write:
        sys.exit("--write is for all libraries: python -m benchmarks --write")
    _measure(options, options.only or (FLOOR, ROAM, RESUMING), SPEEDS)


def compare(
    effort: Effort, names: Sequence[str], works: Sequence[Work] = WORKS
) -> Results:
    """Run implementations beside each other.

    Args:
        effort: how much.
        names: of the implementations; one that cannot be used here is left out.
        works: what is done.

    Raises:
        WorkerFailed: one of them did not do its work.
    """
    reasons = {name: why_missing(name, _progress) for name in names}
    missing = {name: reason for name, reason in reasons.items() if reason is not None}
    machine = describe_machine()
    speeds = [work for work in SPEEDS if work in works]
    apart = [work for work in speeds if work.target != work.target_not_pinned]
    plan = Plan(
        effort.rounds, effort.seconds, speeds, speeds if effort.everywhere else apart
    )
    held = [work for work in HELD if work in works]
    with contextlib.ExitStack() as stack:
        pairs = [
            stack.enter_context(Pair(name)) for name in names if name not in missing
        ]
        samples = (
            list(run(plan, pairs, placements(_progress), _progress)) if speeds else []
        )
    if held:
        samples += hold(effort.held_rounds, held, pairs, effort.held_part, _progress)
    return Results(
        machine,
        {pair.name: pair.about for pair in pairs},
        samples,
        missing,
        str(effort),
    )


def _measure(
    options: _Options, names: Sequence[str], works: Sequence[Work]
) -> tuple[Effort, Results]:
    effort = _SMOKE if options.smoke else _QUICK if options.quick else _FULL
    if options.rounds is not None:
        effort = attrs.evolve(effort, rounds=options.rounds)
    if options.work is not None:
        works = [work for work in WORKS if work.name in options.work]
    results = compare(effort, names, works)
    print(report(results))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return effort, results


def _parse(prog: str, about: str, arguments: Sequence[str] | None) -> _Options:
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument(
        "--rounds",
        type=at_least(_FEWEST_ROUNDS),
        metavar="N",
        help=f"rounds after the warm-up, at least {_FEWEST_ROUNDS} "
        f"(default {_FULL.rounds}, or {_QUICK.rounds} with --quick)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short measurements: under two minutes in all",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="only see that everything works; the figures mean nothing",
    )
    parser.add_argument(
        "--work",
        action="append",
        choices=[work.name for work in WORKS],
        help="only this work; may be given several times",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=ADAPTERS,
        help="only this implementation; may be given several times",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every measurement to a file"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="measure growth and fairness as well, and write benchmarks/results, and "
        "the blocks of README.md and docs/benchmarks.md",
    )
    return parser.parse_args(arguments, namespace=_Options())


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
