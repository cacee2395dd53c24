"""Worlds that are drawn from seeds: in each, everything has to hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from .running import run
from .script import (
    Call,
    Client,
    Open,
    Plan,
    Script,
    Setup,
    Stall,
    Strangers,
    draw,
)

QUICK = range(40)
SLOW = range(1000, 4000)


def run_all(seeds: range) -> Counter[str]:
    """Run each seed, and return how much there was of what."""
    figures: Counter[str] = Counter()
    for seed in seeds:
        script = draw(seed)
        result = run(script)
        assert result.error is None, (
            f"seed {seed}: {result.error!r}; to see it shrunk: "
            f"python -m tests.simulation --seeds {seed}:{seed + 1}"
        )
        figures.update(result.figures)
    return figures


@pytest.mark.rule(
    "rpc.response.one-per-request",
    "rpc.cancel",
    "rpc.channel.item",
    "rpc.flow-control",
    "connection.close",
    "stable",
)
def test_everything_holds_in_dozens_of_worlds() -> None:
    figures = run_all(QUICK)
    for name in ("value", "items", "cancels", "opens", "cut", "outage", "shutdowns"):
        assert figures[name], f"there is no {name}, and so nothing is shown"


@pytest.mark.slow
def test_everything_holds_in_thousands_of_worlds() -> None:
    figures = run_all(SLOW)
    assert figures["seconds"] > 24 * 3600


def test_seed_replays_the_same_events() -> None:
    for seed in range(10):
        script = draw(seed)
        assert script == draw(seed)
        first, second = run(script), run(script)
        assert first.log == second.log
        assert first.figures == second.figures


@pytest.mark.slow
def test_seed_replays_the_same_events_in_another_process() -> None:
    code = (
        "from tests.simulation.running import run\n"
        "from tests.simulation.script import draw\n"
        "print([run(draw(seed)).log for seed in range(30)])"
    )

    def events(hash_seed: str) -> bytes:
        # Sets and dicts of texts have another order with another seed.
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.check_output([sys.executable, "-c", code], env=environment)

    assert events("1") == events("2")


@pytest.mark.parametrize("proxy_is_stable", [True, False])
def test_call_that_a_proxy_has_no_task_for_ends_with_its_channels(
    proxy_is_stable: bool,
) -> None:
    setup = Setup(
        clients=(Client(by_proxy=True),),
        proxy_is_stable=proxy_is_stable,
        slowest=1,
        requests=2,
        tasks=2,
    )
    plan = Plan(seconds=0.04, size=100, credit=2, down=1)
    steps = (
        Open(client=0, connection=1),
        Open(after=0.007, client=0, connection=2),
        Call(key=2, client=0, connection=1, plan=plan),
        Open(client=0, connection=4),
    )
    result = run(Script(845, setup, steps))
    assert result.error is None
    assert result.figures["Overloaded"] == 1


@pytest.mark.parametrize("deadlines", [True, False])
def test_call_that_a_proxy_may_not_have_waiting_is_refused_to_its_caller(
    deadlines: bool,
) -> None:
    setup = Setup(
        clients=(Client(by_proxy=True), Client(is_stable=True)),
        proxy_is_stable=True,
        slowest=1,
        room=256,
        frames=16,
        strict=False,
        deadlines=deadlines,
        cancel_grace=0.0,
        most_waiting=0,
        middleware=True,
    )
    stuck = Plan(how="hang", size=8, credit=16, up=20, down=20, is_opened=True)
    refused = Plan(seconds=2.0166015625, size=3000, patience=0.615234375)
    steps = (
        Open(client=0, connection=4),
        Strangers(after=0.02734375, client=0),
        Stall(client=2),
        Call(key=21, client=0, connection=4, plan=stuck),
        Call(after=0.0166015625, key=22, client=0, connection=4, plan=refused),
    )
    result = run(Script(3242, setup, steps))
    assert result.error is None
    assert result.figures["Overloaded" if deadlines else "CallCancelled"] >= 1
