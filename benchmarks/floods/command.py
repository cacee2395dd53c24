"""The command line of the floods, and the table that it prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..markdown import table
from .kinds import FLOODS
from .outcome import MIB, Outcome
from .run import flood

__all__ = ["main", "show"]


class _Options(argparse.Namespace):
    quick: bool
    only: list[str] | None
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Do each flood, and print what it has cost.

    Args:
        arguments: of the command line; those of this process if None.

    Returns:
        The exit code: 0 if nothing was too much, 1 if something was.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.floods",
        description="What a flooder costs a default server and an honest client.",
    )
    parser.add_argument("--quick", action="store_true", help="a second for each flood")
    parser.add_argument(
        "--only", action="append", choices=FLOODS, metavar="NAME", help="one flood"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="default 5")
    options = parser.parse_args(arguments, namespace=_Options())
    seconds = 1.0 if options.quick else options.seconds
    outcomes: list[Outcome] = []
    for name in [None, *(options.only or FLOODS)]:
        outcomes.append(flood(name, seconds))
        print(outcomes[-1].flood, file=sys.stderr, flush=True)
    print(show(outcomes))
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"\nThree processes on {cores} cores; load average {load:.1f}.")
    return int(any(outcome.faults() for outcome in outcomes))


def show(outcomes: Sequence[Outcome]) -> str:
    """Return a table of floods and their costs; what is too much is in the last
    column."""
    head = [
        "flood",
        "memory above idle, MiB",
        "honest median, ms",
        "p99, ms",
        "median, ms of the server",
        "p99, ms of the server",
        "refused honest calls",
        "what ended the flooder",
        "too much",
    ]
    return table(head, [_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> list[str]:
    honest = outcome.honest
    return [
        outcome.flood,
        f"{outcome.memory / MIB:.1f}",
        *(
            f"{figure * 1e3:.1f}"
            for figures in (honest.taken, honest.served)
            for figure in (figures.median, figures.p99)
        ),
        str(sum(honest.refused.values())),
        outcome.ended_by or "nothing",
        "; ".join(outcome.faults()),
    ]
