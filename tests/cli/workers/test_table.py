"""The table of workers: what to do about what happens, without processes."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from roam_trio.cli.workers.table import (
    SETTLED_SECONDS,
    Action,
    Drain,
    Finish,
    Kill,
    Note,
    Phase,
    Stage,
    Start,
    Table,
)

LONG = SETTLED_SECONDS


def serving(count: int = 2) -> Table:
    """A table with workers 1 to `count` in their slots, all ready."""
    table = Table(count)
    starts = table.begin(0.0)
    assert starts == [Start(number, number) for number in range(1, count + 1)]
    for number in range(1, count + 1):
        assert table.is_ready(number, 0.0) == []
    return table


def done(actions: list[Action]) -> list[Action]:
    """What is to be done, without what is to be logged."""
    return [each for each in actions if not isinstance(each, Note)]


def told(actions: list[Action]) -> str:
    return "; ".join(each.text for each in actions if isinstance(each, Note))


# ------------------------------------------------------------ deaths


def test_a_worker_that_dies_is_followed_at_once() -> None:
    table = serving()
    actions = table.has_ended(2, -9, 1.0)
    assert done(actions) == [Start(3, 2)]
    assert told(actions) == "worker 2 has ended (SIGKILL)"
    assert [each.number for each in table.by_load()] == [1]
    table.is_ready(3, 2.0)
    assert [each.number for each in table.by_load()] == [1, 3]


def test_workers_that_die_soon_are_followed_after_growing_pauses() -> None:
    table, now, pauses = serving(1), 0.0, list[float]()
    assert done(table.has_ended(1, 1, now)) == [Start(2, 1)]
    for number in range(2, 12):
        assert done(table.has_ended(number, 1, now)) == []
        pauses.append(table.next_due - now)
        assert table.due(table.next_due - 0.01) == []
        now = table.next_due
        assert table.due(now) == [Start(number + 1, 1)]
        assert table.next_due == inf
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_a_worker_that_has_settled_ends_the_pauses() -> None:
    table = serving(1)
    table.has_ended(1, 1, 0.0)
    table.has_ended(2, 1, 0.0)
    assert table.due(0.5) == [Start(3, 1)]
    assert done(table.has_ended(3, 1, 0.5 + LONG)) == [Start(4, 1)]


def test_if_the_first_does_not_get_up_the_parent_ends_with_its_code() -> None:
    table = Table(2)
    table.begin(0.0)
    actions = table.has_ended(1, 2, 0.1)
    assert done(actions) == [Drain(2)]
    assert told(actions) == "worker 1 did not get up (exit code 2)"
    assert table.has_ended(2, -15, 0.2) == [Finish(2)]
    assert table.stage is Stage.ENDED


@pytest.mark.parametrize("code", [0, -11])
def test_an_end_before_the_first_was_ready_is_a_failure(code: int) -> None:
    table = Table(1)
    table.begin(0.0)
    assert done(table.has_ended(1, code, 0.1)) == [Finish(1)]


def test_if_others_serve_one_that_does_not_get_up_is_tried_again() -> None:
    table = Table(2)
    table.begin(0.0)
    table.is_ready(1, 0.1)
    assert done(table.has_ended(2, 1, 0.2)) == [Start(3, 2)]
    assert done(table.has_ended(3, 1, 0.2)) == []
    assert table.stage is Stage.SERVING


def test_a_signal_without_a_name_has_its_number() -> None:
    assert told(serving().has_ended(1, -99, 0.0)) == "worker 1 has ended (signal 99)"


# ------------------------------------------------------------ the end


def test_the_parent_ends_when_all_workers_have_drained() -> None:
    table = serving()
    assert table.drain() == [Drain(1), Drain(2)]
    assert table.drain() == []
    assert table.by_load() == []
    assert table.has_ended(1, 0, 1.0) == []
    assert table.has_ended(2, 0, 1.0) == [Finish(0)]
    assert table.drain() == []


def test_nothing_is_started_any_more() -> None:
    table = serving()
    table.has_ended(1, 1, 0.0)
    table.has_ended(3, 1, 0.0)
    table.replace(0.0)
    table.drain()
    assert (table.next_due, table.due(99.0)) == (inf, [])
    assert table.is_ready(5, 1.0) == []
    assert told(table.replace(1.0)).startswith("nothing is replaced now")
    assert table.takes_no_more(2, 1.0) == []


def test_a_parent_without_workers_ends_at_once() -> None:
    table = serving(1)
    table.has_ended(1, 1, 0.0)
    table.has_ended(2, 1, 0.0)
    assert table.drain() == [Finish(0)]


def test_those_that_are_left_are_killed() -> None:
    table = serving()
    table.drain()
    table.has_ended(1, 0, 1.0)
    assert table.kill() == [Kill(2)]


# ------------------------------------------------------------ replacing


def test_workers_are_replaced_one_by_one_and_drain_when_their_successor_is_ready() -> (
    None
):
    table = serving()
    assert table.replace(1.0) == [Start(3, 1)]
    assert [each.number for each in table.by_load()] == [1, 2]
    actions = table.is_ready(3, 2.0)
    assert done(actions) == [Drain(1), Start(4, 2)]
    assert told(actions) == "worker 1 is replaced"
    assert [each.number for each in table.by_load()] == [2, 3]
    assert table.has_ended(1, 0, 2.5) == []
    assert done(table.is_ready(4, 3.0)) == [Drain(2)]
    assert [each.number for each in table.by_load()] == [3, 4]
    assert table.has_ended(2, 0, 9.0) == []


def test_workers_go_on_whose_successor_does_not_get_up() -> None:
    table = serving()
    table.replace(1.0)
    actions = table.has_ended(3, 1, 1.5)
    assert done(actions) == []
    assert told(actions) == (
        "the successor of worker 1 did not get up (exit code 1); the workers that "
        "there are go on"
    )
    assert [each.number for each in table.by_load()] == [1, 2]
    assert table.replace(2.0) == [Start(4, 1)]


def test_a_second_request_replaces_all_once_more() -> None:
    table = serving()
    table.replace(1.0)
    assert table.replace(1.1) == []
    started: list[int] = []
    ready = [3]
    while ready:
        actions = table.is_ready(ready.pop(), 2.0)
        ready += [each.worker for each in actions if isinstance(each, Start)]
        started += ready
    assert started == [4, 5]
    assert [each.number for each in table.by_load()] == [4, 5]


def test_a_successor_takes_the_place_of_a_worker_that_dies() -> None:
    table = serving()
    table.replace(1.0)
    assert done(table.has_ended(1, -9, 1.1)) == []
    assert done(table.is_ready(3, 2.0)) == [Start(4, 2)]


def test_a_worker_that_was_to_start_later_starts_now() -> None:
    table = serving()
    table.has_ended(1, 1, 0.0)
    table.has_ended(3, 1, 0.0)
    assert table.replace(0.1) == [Start(4, 1), Start(5, 2)]


# ------------------------------------------------------------ connections


def test_the_worker_with_the_fewest_clients_gets_the_next_one() -> None:
    table, given = serving(3), list[int]()
    for _ in range(7):
        worker = table.by_load()[0]
        table.has_given(worker)
        given.append(worker.number)
    assert given == [1, 2, 3, 1, 2, 3, 1]
    table.are_over(2, 2)
    assert [each.number for each in table.by_load()] == [2, 3, 1]
    table.are_over(99, 1)


def test_a_worker_that_is_told_to_end_by_others_has_a_successor_at_once() -> None:
    table = serving()
    actions = table.takes_no_more(1, 1.0)
    assert done(actions) == [Start(3, 1)]
    assert told(actions) == "worker 1 takes no more connections"
    assert table.takes_no_more(1, 1.0) == []
    assert table.has_ended(1, 0, 2.0) == []
    assert table.takes_no_more(1, 1.0) == []
    table.is_ready(3, 2.0)
    table.replace(3.0)
    assert done(table.takes_no_more(3, 3.0)) == []  # its successor starts already
    assert done(table.is_ready(4, 3.0)) == [Start(5, 2)]


def test_a_worker_that_is_ready_too_late_drains() -> None:
    table = Table(1)
    table.begin(0.0)
    assert table.drain() == [Drain(1)]
    assert table.is_ready(1, 1.0) == []
    assert table.workers[1].phase is Phase.DRAINING
    assert table.has_ended(1, 0, 1.0) == [Finish(0)]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_there_are_as_many_workers_as_are_wanted(seed: int) -> None:
    random, table, now = Random(seed), serving(3), 0.0
    alive, finished = {1, 2, 3}, False

    def do(actions: list[Action]) -> None:
        nonlocal finished
        for action in actions:
            if isinstance(action, Start):
                assert action.worker not in alive
                alive.add(action.worker)
            finished |= isinstance(action, Finish)

    for _ in range(200):
        now += random.choice([0.0, 0.1, LONG])
        number = random.choice(sorted(alive)) if alive else 0
        match random.randrange(6):
            case 0 if alive:
                alive.remove(number)
                do(table.has_ended(number, random.choice([0, 1, -9]), now))
            case 1 if random.random() < 0.2:
                do(table.replace(now))
            case 2 if alive:
                do(table.takes_no_more(number, now))
            case 3:
                do(table.due(now))
            case _ if alive:
                do(table.is_ready(number, now))
            case _:
                pass
        assert set(table.workers) == alive
        serves = [w for w in table.workers.values() if w.phase is not Phase.DRAINING]
        waiting = 3 - len({each.slot for each in serves})
        assert (table.next_due < inf) == (waiting > 0)
        assert len(serves) <= 4
    do(table.drain())
    while alive:
        number = alive.pop()
        do(table.has_ended(number, 0, now))
    assert finished
