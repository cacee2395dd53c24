"""Comparing roam_trio with the floor: the command line, and one run from end to end."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .adapters import FLOOR, ROAM
from .machine import describe_machine
from .processes import Pair
from .report import report
from .results import Results
from .rounds import Plan, placements, run
from .works import WORKS, Work

__all__ = ["compare", "main"]

_SECONDS = 0.5
_QUICK_SECONDS = 0.1
_ROUNDS = 7
_FEWEST_ROUNDS = 5
_QUICK_ROUNDS = 5


class _Options(argparse.Namespace):
    rounds: int | None
    quick: bool
    work: list[str] | None
    json: Path | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the figures if asked to.

    Args:
        arguments: of the command line; those of this process if None.
    """
    options = _parse(arguments)
    results = compare(_plan(options))
    print(report(results))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


def compare(plan: Plan) -> Results:
    """Run the floor and roam_trio beside each other.

    Raises:
        WorkerFailed: one of them did not do its work.
    """
    machine = describe_machine()
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(Pair(name)) for name in (FLOOR, ROAM)]
        samples = list(run(plan, pairs, placements(), _progress))
        return Results(machine, {pair.name: pair.versions for pair in pairs}, samples)


def _plan(options: _Options) -> Plan:
    works: Sequence[Work] = WORKS
    if options.work is not None:
        works = [work for work in WORKS if work.name in options.work]
    rounds = options.rounds
    if options.quick:
        return Plan(rounds or _QUICK_ROUNDS, _QUICK_SECONDS, works)
    return Plan(rounds or _ROUNDS, _SECONDS, works)


def _parse(arguments: Sequence[str] | None) -> _Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.floor",
        description="Measure roam_trio beside a hand-written trio program that does "
        "the same work.",
    )
    parser.add_argument(
        "--rounds",
        type=_rounds,
        metavar="N",
        help=f"rounds after the warm-up, at least {_FEWEST_ROUNDS} "
        f"(default {_ROUNDS}, or {_QUICK_ROUNDS} with --quick)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short measurements: under 30 s in all"
    )
    parser.add_argument(
        "--work",
        action="append",
        choices=[work.name for work in WORKS],
        help="only this work; may be given several times",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every measurement to a file"
    )
    return parser.parse_args(arguments, namespace=_Options())


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < _FEWEST_ROUNDS:
        raise argparse.ArgumentTypeError(f"expected {_FEWEST_ROUNDS} or more")
    return rounds


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
