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

from .running import Result, run, shrink
from .script import Script, draw

FIGURES = ("sessions", "links", "calls", "opens", "items", "messages", "events")
FAULTS = (
    "cancels",
    "cut",
    "half open",
    "outage",
    "stall",
    "shutdowns",
    "crashes",
    "strangers",
)


def main() -> int:
    """Run it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0:200", help="the first, and the one after")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after these")
    parser.add_argument("--steps", type=int, default=40, help="most steps of a script")
    chosen = parser.parse_args()
    first, last = map(int, chosen.seeds.split(":"))
    figures: Counter[str] = Counter()
    failed: list[int] = []
    began = told = time.monotonic()
    for seed in range(first, last):
        script = draw(seed, chosen.steps)
        result = run(script)
        figures.update(result.figures)
        figures["seeds"] += 1
        if result.error is not None:
            failed.append(seed)
            tell_failure(script, result)
        if figures["seeds"] % 50 == 0:
            gc.collect()  # which runs do not
        now = time.monotonic()
        if now - told > 10:
            told = now
            print(f"{told - began:6.0f} s  {in_short(figures)}", flush=True)
        if now - began > chosen.minutes * 60:
            break
    print(f"{time.monotonic() - began:6.0f} s  {in_short(figures)}")
    print("faults:", ", ".join(f"{figures[name]} {name}" for name in FAULTS))
    print(f"failing seeds: {failed or 'none'}")
    return bool(failed)


def in_short(figures: Counter[str]) -> str:
    """Return the figures in one line."""
    hours = figures["seconds"] / 3600
    counts = ", ".join(f"{figures[name]} {name}" for name in FIGURES)
    return f"{figures['seeds']} seeds, {hours:.1f} simulated hours, {counts}"


def tell_failure(script: Script, result: Result) -> None:
    """Print what has failed, and the shortest script that does."""
    assert result.error is not None
    print(f"\nseed {script.seed} fails: {result.kind}")
    short = shrink(script)
    again = run(short)
    print(f"{short}\n")
    traceback.print_exception(again.error or result.error)
    for event in again.log[-20:]:
        print("   ", *event)


if __name__ == "__main__":
    raise SystemExit(main())
