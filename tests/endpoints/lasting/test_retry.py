"""Which calls are made again, decided without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    DeadlineExceeded,
    HandlerFailed,
    Overloaded,
    Refused,
    RoamError,
    Unavailable,
    UserError,
)
from roam_trio.endpoints.lasting.retry import (
    Again,
    Retry,
    RetryBudget,
    again_after,
    pause_asked_for,
)


def lost(was_begun: bool | None) -> ConnectionLost:
    error = ConnectionLost("gone")
    error.was_begun = was_begun
    return error


@pytest.mark.parametrize(
    ("error", "plain", "idempotent"),
    [
        (lost(False), Again.ELSEWHERE, Again.ELSEWHERE),
        (lost(None), Again.NO, Again.WITHIN_BUDGET),
        (lost(True), Again.NO, Again.WITHIN_BUDGET),
        (Unavailable(was_begun=False), Again.ELSEWHERE, Again.ELSEWHERE),
        (Unavailable(was_begun=True), Again.NO, Again.WITHIN_BUDGET),
        (Overloaded(was_begun=False), Again.WITHIN_BUDGET, Again.WITHIN_BUDGET),
        (Overloaded(was_begun=True), Again.NO, Again.NO),
        (Refused("denied", was_begun=False), Again.NO, Again.NO),
        (HandlerFailed(was_begun=True), Again.NO, Again.NO),
        (DeadlineExceeded(was_begun=True), Again.NO, Again.NO),
        (CallCancelled(), Again.NO, Again.NO),
        (UserError(1), Again.NO, Again.NO),
    ],
)
def test_a_call_is_made_again_only_if_that_cannot_do_it_twice(
    error: RoamError, plain: Again, idempotent: Again
) -> None:
    assert again_after(error, is_idempotent=False) is plain
    assert again_after(error, is_idempotent=True) is idempotent


def test_the_budget_allows_its_reserve_and_then_a_share_of_the_calls() -> None:
    budget = RetryBudget(Retry(budget=0.25, reserve=2))
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(8):
        budget.add_call()
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(1000):
        budget.add_call()
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_the_pause_that_a_server_asks_for_is_read_from_its_error() -> None:
    assert pause_asked_for(Overloaded(retry_after=0.5)) == 0.5
    assert pause_asked_for(Overloaded()) == 0.0
    assert pause_asked_for(lost(False)) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"budget": -1},
        {"reserve": -1},
        {"backoff": 1},
    ],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        Retry(**wrong)
