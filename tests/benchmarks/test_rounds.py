"""Interleaving."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager

import attrs
import pytest

from benchmarks.rounds import Placement, Plan, hold, placements, run
from benchmarks.stopwatch import Done
from benchmarks.works import NOT_PINNED, Work, find_work


class Clockwork:
    """Takes the same time for each step, and keeps a record."""

    def __init__(
        self, name: str, rate: float, record: list[str], lacks: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._rate = rate
        self._record = record
        self._lacks = lacks
        self._cpus: Set[int] = frozenset()

    def does(self, work: Work) -> bool:
        return work.name not in self._lacks

    def place(self, cpus: Set[int]) -> None:
        self._cpus = cpus

    def measure(self, work: Work, count: int) -> Done:
        self._record.append(f"{self.name} {work.name} {sorted(self._cpus)}")
        return Done(count / self._rate)

    @contextmanager
    def afresh(self) -> Iterator[Clockwork]:
        self._record.append(f"{self.name} starts")
        yield self
        self._record.append(f"{self.name} ends")


CALL = find_work("call")
ECHO = find_work("echo")


def plan_of(rounds: int, seconds: float, *works: Work) -> Plan:
    return Plan(rounds, seconds, works, works)


def ignore(what: str) -> None:
    pass


def test_contestants_take_turns_and_change_who_goes_first() -> None:
    record: list[str] = []
    plan = plan_of(2, 1.0, CALL)
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
    plan = plan_of(1, 2.0, CALL)
    contestants = [Clockwork("slow", 7.0, []), Clockwork("fast", 1e6, [])]
    samples = list(run(plan, contestants, [Placement("any", None)], ignore))
    assert [(s.adapter, s.count, s.seconds) for s in samples] == [
        ("slow", 14, 2.0),
        ("fast", 2_000_000, 2.0),
    ]


def test_fewer_steps_than_the_least_are_not_done() -> None:
    work = attrs.evolve(CALL, first=10, least=40)
    contestants = [Clockwork("slow", 7.0, [])]
    [sample] = run(plan_of(1, 2.0, work), contestants, [Placement("any", None)], ignore)
    assert sample.count == 40


def test_who_cannot_do_a_work_is_left_out_of_it() -> None:
    contestants = [Clockwork("a", 9.0, []), Clockwork("b", 9.0, [], lacks=["echo"])]
    plan = plan_of(1, 1.0, CALL, ECHO)
    samples = run(plan, contestants, [Placement("any", None)], ignore)
    assert [(s.work, s.adapter) for s in samples] == [
        ("call", "a"),
        ("call", "b"),
        ("echo", "a"),
    ]


def test_only_some_works_are_done_everywhere() -> None:
    plan = Plan(1, 1.0, works=[CALL, ECHO], everywhere=[ECHO])
    where = [Placement("here", None), Placement("there", None)]
    samples = run(plan, [Clockwork("a", 9.0, [])], where, ignore)
    assert [(s.placement, s.work) for s in samples] == [
        ("here", "call"),
        ("here", "echo"),
        ("there", "echo"),
    ]


def test_what_is_held_is_held_by_fresh_processes() -> None:
    record: list[str] = []
    sessions = find_work("idle-sessions")
    contestants = [
        Clockwork("a", 10.0, record),
        Clockwork("b", 10.0, record, lacks=["idle-sessions"]),
    ]
    [sample] = hold(1, [sessions], contestants, 0.1, ignore)
    assert (sample.placement, sample.adapter, sample.count) == (NOT_PINNED, "a", 100)
    assert record == ["a starts", "a idle-sessions []", "a ends"]


def test_a_system_that_pins_no_processes_is_told_and_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    told: list[str] = []
    assert placements(told.append) == [Placement(NOT_PINNED, None)]
    assert told == ["processes cannot be pinned to a CPU on this system, as on macOS"]
