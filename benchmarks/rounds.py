"""Interleaving: every implementation does every work in every round, in turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from .results import Sample
from .stopwatch import Done
from .works import NOT_PINNED, PINNED, Work

__all__ = [
    "Contestant",
    "Placement",
    "Plan",
    "Renewable",
    "hold",
    "placements",
    "run",
]

_TRY_AT_MOST = 10
"""How much more to do in the next trial than in the last, while warming up."""


class Contestant(Protocol):
    """An implementation that can be told what to do, as `processes.Pair` can."""

    @property
    def name(self) -> str:
        """The adapter's name."""
        ...

    def does(self, work: Work) -> bool:
        """Whether the work is for this implementation."""
        ...

    def place(self, cpus: Set[int]) -> None:
        """Run on these CPUs only, from now on."""

    def measure(self, work: Work, count: int) -> Done:
        """Do `count` steps of a work, and return what they took."""
        ...


class Renewable(Contestant, Protocol):
    """One that can be had afresh."""

    def afresh(self) -> AbstractContextManager[Contestant]:
        """The same in new processes."""
        ...


@attrs.frozen
class Placement:
    """Where the processes may run.

    Attributes:
        name: for tables.
        cpus: the CPUs for them; None leaves it to the system.
    """

    name: str
    cpus: frozenset[int] | None


def placements(progress: Callable[[str], None]) -> list[Placement]:
    """Those that are possible here: on one CPU, and on all of them.

    Args:
        progress: told if processes cannot be pinned.
    """
    if not hasattr(os, "sched_setaffinity"):
        progress("processes cannot be pinned to a CPU on this system, as on macOS")
        return [Placement(NOT_PINNED, None)]
    cpus = os.sched_getaffinity(0)
    return [
        Placement(PINNED, frozenset({max(cpus)})),
        Placement(NOT_PINNED, frozenset(cpus)),
    ]


@attrs.frozen
class Plan:
    """How much is measured.

    Attributes:
        rounds: how many rounds, after the warm-up.
        seconds: how long each measurement is to take, about.
        works: what is done.
        everywhere: those of the works that are done in every place, and not only in
            the first.
    """

    rounds: int
    seconds: float
    works: Sequence[Work]
    everywhere: Sequence[Work]


def run(
    plan: Plan,
    contestants: Sequence[Contestant],
    where: Sequence[Placement],
    progress: Callable[[str], None],
) -> Iterator[Sample]:
    """Measure, and yield each measurement as it comes.

    The warm-up finds out how many steps of each work fit into the time for one
    measurement; every round then does the same number. Which implementation goes first
    changes from round to round.

    Args:
        plan: how much.
        contestants: the implementations.
        where: every round is done in each of these places.
        progress: told what is going on.
    """
    progress("warming up")
    counts = {
        (work.name, one.name): _find_count(one, work, plan.seconds)
        for work in plan.works
        for one in contestants
        if one.does(work)
    }
    for number in range(plan.rounds):
        progress(f"round {number + 1} of {plan.rounds}")
        order = contestants if number % 2 == 0 else contestants[::-1]
        for placement in where:
            for one in contestants:
                if placement.cpus is not None:
                    one.place(placement.cpus)
            for work in plan.works if placement is where[0] else plan.everywhere:
                for one in order:
                    if not one.does(work):
                        continue
                    count = counts[work.name, one.name]
                    done = one.measure(work, count)
                    yield Sample.of(
                        placement.name, number, work.name, one.name, count, done
                    )


def hold(
    rounds: int,
    works: Sequence[Work],
    contestants: Sequence[Renewable],
    part: float,
    progress: Callable[[str], None],
) -> Iterator[Sample]:
    """Measure what it takes to hold things, and yield each measurement as it comes.

    Args:
        rounds: how many.
        works: what is held, as many as `Work.first` says.
        contestants: the implementations, each of which is started afresh every time,
            since a process that has held much before has memory to spare.
        part: less than 1 holds only this part of them.
        progress: told what is going on.
    """
    for number in range(rounds):
        progress(f"holding, round {number + 1} of {rounds}")
        order = contestants if number % 2 == 0 else contestants[::-1]
        for work in works:
            count = max(1, round(work.first * part))
            for kind in order:
                if not kind.does(work):
                    continue
                with kind.afresh() as one:
                    done = one.measure(work, count)
                yield Sample.of(NOT_PINNED, number, work.name, one.name, count, done)


def _find_count(one: Contestant, work: Work, seconds: float) -> int:
    """How many steps take about so long."""
    count = max(work.least, work.first)
    while True:
        taken = one.measure(work, count).seconds
        wanted = max(work.least, round(count * seconds / taken))
        if taken >= seconds / 2:
            return wanted
        count = min(wanted, count * _TRY_AT_MOST)
