"""``python -m tests.simulation --seeds 0:200 --minutes 1``: run worlds, and tell of it.

Prints figures, and each failing seed with a script that has been shrunk; fails if there
is one.
"""

from __future__ import annotations

import argparse
import gc
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from . import script as sessions
from .fleet import script as fleets
from .fleet.world import Fleet
from .running import AnyWorld, Result, run, shrink
from .script import Script
from .world import World


@attrs.frozen
class Kind:
    """A kind of worlds.

    Attributes:
        draw: draws a script.
        make: makes the world of a script.
        figures: counts that are told.
        faults: counts of what goes wrong.
    """

    draw: Callable[[int, int], Script[Any]]
    make: Callable[[Script[Any]], AnyWorld]
    figures: tuple[str, ...]
    faults: tuple[str, ...]


KINDS = {
    "sessions": Kind(
        sessions.draw,
        World,
        ("sessions", "links", "calls", "opens", "items", "messages", "events"),
        (
            "cancels",
            "cut",
            "half open",
            "outage",
            "stall",
            "shutdowns",
            "crashes",
            "strangers",
        ),
    ),
    "fleets": Kind(
        fleets.draw,
        Fleet,
        ("links", "calls", "handled", "again", "value", "answers", "events"),
        (
            "cancels",
            "cut",
            "stall",
            "drains",
            "kills",
            "turned away",
            "disturbed",
            "ConnectionLost",
            "Unavailable",
            "Overloaded",
        ),
    ),
}


def main() -> int:
    """Run it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", choices=KINDS, default="sessions")
    parser.add_argument("--seeds", default="0:200", help="the first, and the one after")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after these")
    parser.add_argument("--steps", type=int, default=40, help="most steps of a script")
    chosen = parser.parse_args()
    kind = KINDS[chosen.worlds]
    first, last = map(int, chosen.seeds.split(":"))
    figures: Counter[str] = Counter()
    failed: list[int] = []
    began = told = time.monotonic()
    for seed in range(first, last):
        script = kind.draw(seed, chosen.steps)
        result = run(script, kind.make)
        figures.update(result.figures)
        figures["seeds"] += 1
        if result.error is not None:
            failed.append(seed)
            tell_failure(script, result, kind)
        if figures["seeds"] % 50 == 0:
            gc.collect()  # which runs do not
        now = time.monotonic()
        if now - told > 10:
            told = now
            print(f"{told - began:6.0f} s  {in_short(figures, kind)}", flush=True)
        if now - began > chosen.minutes * 60:
            break
    print(f"{time.monotonic() - began:6.0f} s  {in_short(figures, kind)}")
    print("faults:", ", ".join(f"{figures[name]} {name}" for name in kind.faults))
    print(f"failing seeds: {failed or 'none'}")
    return bool(failed)


def in_short(figures: Counter[str], kind: Kind) -> str:
    """Return the figures in one line."""
    hours = figures["seconds"] / 3600
    counts = ", ".join(f"{figures[name]} {name}" for name in kind.figures)
    return f"{figures['seeds']} seeds, {hours:.1f} simulated hours, {counts}"


def tell_failure(script: Script[Any], result: Result, kind: Kind) -> None:
    """Print what has failed, and the shortest script that does."""
    assert result.error is not None
    print(f"\nseed {script.seed} fails: {result.kind}")
    short = shrink(script, kind.make)
    again = run(short, kind.make)
    print(f"{short}\n")
    traceback.print_exception(again.error or result.error)
    for event in again.log[-20:]:
        print("   ", *event)


if __name__ == "__main__":
    raise SystemExit(main())
