"""Fleets that are drawn from seeds: in each, everything has to hold."""

from __future__ import annotations

from collections import Counter

import pytest

from ..running import run
from ..script import Script
from .script import Call, Drain, Plan, Setup, draw
from .world import Fleet

QUICK = range(25)
SLOW = range(1000, 3000)


def run_all(seeds: range) -> Counter[str]:
    """Run each seed, and return how much there was of what."""
    figures: Counter[str] = Counter()
    for seed in seeds:
        result = run(draw(seed), Fleet)
        assert result.error is None, (
            f"seed {seed}: {result.error!r}; to see it shrunk: "
            f"python -m tests.simulation --worlds fleets --seeds {seed}:{seed + 1}"
        )
        figures.update(result.figures)
    return figures


def test_no_call_is_lost_or_done_twice_in_dozens_of_fleets() -> None:
    figures = run_all(QUICK)
    for name in ("value", "again", "ConnectionLost", "cut", "drains", "kills"):
        assert figures[name], f"there is no {name}, and so nothing is shown"


@pytest.mark.slow
def test_no_call_is_lost_or_done_twice_in_thousands_of_fleets() -> None:
    figures = run_all(SLOW)
    assert figures["seconds"] > 8 * 3600
    for name in ("turned away", "disturbed", "stall", "cancels", "Overloaded"):
        assert figures[name], f"there is no {name}, and so nothing is shown"


def test_seed_of_a_fleet_replays_the_same_events() -> None:
    for seed in range(5):
        first, second = run(draw(seed), Fleet), run(draw(seed), Fleet)
        assert first.log == second.log
        assert first.figures == second.figures


def test_call_that_a_drain_has_overtaken_is_made_again_elsewhere() -> None:
    write = Call(key=1, client=0, plan=Plan(kind="write", seconds=0.79))
    setup = Setup(clients=3, servers=2, balance="round robin", attempts=1, reserve=0.0)
    script = Script(57, setup, (write, Drain(after=0.015625, server=0, grace=20.0)))
    result = run(script, Fleet)
    assert result.error is None
    assert (result.figures["value"], result.figures["handled"]) == (1, 1)
