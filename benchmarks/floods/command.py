"""The command line of the floods, and the table that it prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..markdown import table
from ..writing import ROOT, fill
from .kinds import FLOODS
from .outcome import MIB, Outcome
from .run import flood

__all__ = ["main", "show"]


class _Options(argparse.Namespace):
    quick: bool
    only: list[str] | None
    write: bool
    seconds: float


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Do each flood, print what it has cost, and write that if asked to.

    Args:
        arguments: of the command line; those of this process if None.
        root: where the documents are.

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
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs"
    )
    options = parser.parse_args(arguments, namespace=_Options())
    seconds = 1.0 if options.quick else options.seconds
    outcomes: list[Outcome] = []
    for name in [None, *(options.only or FLOODS)]:
        outcomes.append(flood(name, seconds))
        print(outcomes[-1].flood, file=sys.stderr, flush=True)
    cores, load = os.cpu_count(), os.getloadavg()[0]
    under = (
        f"{seconds:g} seconds for each flood, three processes on {cores} cores, and a "
        f"load average of {load:.1f} at the end."
    )
    text = f"{show(outcomes)}\n\n{under}"
    print(text)
    if options.write:
        fill(root / "docs" / "benchmarks.md", "floods", text)
    return int(any(outcome.faults() for outcome in outcomes))


def show(outcomes: Sequence[Outcome]) -> str:
    """Return a table of floods and their costs; what is too much is in the last
    column."""
    head = [
        "flood",
        "memory, MiB",
        "median, ms",
        "p99, ms",
        "median of the server, ms",
        "p99 of the server, ms",
        "refused",
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
