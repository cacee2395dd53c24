"""When a task may look at a socket: decided without trio."""

from __future__ import annotations

from roam_trio.links.poll_policy import (
    LONGEST_PAUSE,
    MOST_IN_A_ROW,
    PAUSE,
    UNUSED_STEPS,
    PollPolicy,
)

OURS, OTHERS = object(), object()
ME, SOMEBODY = "me", "somebody"


def ready_policy() -> PollPolicy:
    """A policy that lets a session look: it was alone for long enough."""
    policy = PollPolicy()
    for _ in range(PAUSE):
        assert not policy.wants(OURS)
    assert policy.wants(OURS)
    policy.begin()
    policy.note_all()
    return policy


def test_nobody_looks_before_all_ready_tasks_are_counted() -> None:
    policy = PollPolicy()
    for _ in range(PAUSE):
        policy.wants(OURS)
    policy.begin()
    policy.on_step(ME)
    assert not policy.may_look(OURS)
    policy.note_all()
    assert policy.may_look(OURS)


def test_looks_in_a_row_are_bounded_until_the_loop_has_taken_a_turn() -> None:
    policy = ready_policy()
    for _ in range(MOST_IN_A_ROW):
        assert policy.may_look(OURS)
        policy.found()
    assert not policy.may_look(OURS)
    policy.on_step(ME)
    assert policy.may_look(OURS)


def test_ready_task_stops_looks_until_it_has_run() -> None:
    policy = ready_policy()
    policy.on_scheduled(SOMEBODY)
    assert not policy.may_look(OURS)
    policy.on_step(SOMEBODY)
    assert policy.may_look(OURS)


def test_session_that_takes_turns_with_another_never_looks() -> None:
    policy = ready_policy()
    for _ in range(50):
        assert not policy.wants(OTHERS)
        assert not policy.may_look(OURS)
        assert not policy.wants(OURS)
        assert not policy.may_look(OURS)


def test_disturbance_makes_a_pause() -> None:
    policy = ready_policy()
    policy.disturbed()
    assert [policy.wants(OURS) for _ in range(PAUSE + 1)] == [False] * PAUSE + [True]


def test_looks_in_vain_make_ever_longer_pauses() -> None:
    policy = ready_policy()
    pauses = []
    for _ in range(8):
        policy.missed()
        pauses.append(0)
        while not policy.wants(OURS):
            pauses[-1] += 1
    assert pauses == [0, 1, 3, 7, 15, 31, LONGEST_PAUSE, LONGEST_PAUSE]
    policy.found()
    policy.missed()
    assert policy.wants(OURS)


def test_tasks_are_not_counted_any_more_if_nobody_looks() -> None:
    policy = ready_policy()
    assert not any(policy.on_step(ME) for _ in range(UNUSED_STEPS))
    policy.found()
    assert not any(policy.on_step(ME) for _ in range(UNUSED_STEPS))
    policy.on_scheduled(SOMEBODY)
    assert policy.on_step(ME)
    policy.end()
    assert not policy.may_look(OURS)
    assert repr(policy) == "<PollPolicy 0 ready, or more, 0 looks left>"
    policy.note_all()
    assert repr(policy) == "<PollPolicy 0 ready, 8 looks left>"
