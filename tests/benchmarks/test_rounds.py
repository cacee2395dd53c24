"""Interleaving."""

from __future__ import annotations

from collections.abc import Set

from benchmarks.rounds import Placement, Plan, run
from benchmarks.works import Work, find_work


class Clockwork:
    """Takes the same time for each step, and keeps a record."""

    def __init__(self, name: str, rate: float, record: list[str]) -> None:
        self.name = name
        self._rate = rate
        self._record = record
        self._cpus: Set[int] = frozenset()

    def place(self, cpus: Set[int]) -> None:
        self._cpus = cpus

    def measure(self, work: Work, count: int) -> float:
        self._record.append(f"{self.name} {work.name} {sorted(self._cpus)}")
        return count / self._rate


def ignore(what: str) -> None:
    pass


def test_contestants_take_turns_and_change_who_goes_first() -> None:
    record: list[str] = []
    plan = Plan(rounds=2, seconds=1.0, works=[find_work("call")])
    where = [Placement("one", frozenset({1})), Placement("both", frozenset({0, 1}))]
    rounds = run(plan, [Clockwork(n, 100.0, record) for n in "ab"], where, ignore)
    samples = [next(rounds)]
    warm_up = len(record) - 1
    samples += rounds
    assert record[warm_up:] == [
        "a call [1]",
        "b call [1]",
        "a call [0, 1]",
        "b call [0, 1]",
        "b call [1]",
        "a call [1]",
        "b call [0, 1]",
        "a call [0, 1]",
    ]
    assert [(s.adapter, s.round, s.placement) for s in samples] == [
        ("a", 0, "one"),
        ("b", 0, "one"),
        ("a", 0, "both"),
        ("b", 0, "both"),
        ("b", 1, "one"),
        ("a", 1, "one"),
        ("b", 1, "both"),
        ("a", 1, "both"),
    ]


def test_each_contestant_does_as_much_as_fits_into_the_time() -> None:
    plan = Plan(rounds=1, seconds=2.0, works=[find_work("call")])
    contestants = [Clockwork("slow", 7.0, []), Clockwork("fast", 1e6, [])]
    samples = list(run(plan, contestants, [Placement("any", None)], ignore))
    assert [(s.adapter, s.count, s.seconds) for s in samples] == [
        ("slow", 14, 2.0),
        ("fast", 2_000_000, 2.0),
    ]
