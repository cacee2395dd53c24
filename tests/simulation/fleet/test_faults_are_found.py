"""Faults that are put into lasting clients and servers on purpose: fleets find each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from roam_trio import RoamError
from roam_trio.endpoints.lasting import attempts
from roam_trio.endpoints.lasting.balancing import Endpoint, Phase
from roam_trio.endpoints.lasting.pool import Pool
from roam_trio.endpoints.lasting.retry import Again, RetryBudget, again_after
from roam_trio.endpoints.places import Place, Places
from roam_trio.endpoints.registry.service import _Follower
from roam_trio.lowlevel import RegistryEntry
from roam_trio.session.outbox import Outbox
from roam_trio.session.session_end import ALL_IS_ANSWERED
from roam_trio.session.session_run import SessionRun
from roam_trio.wire.messages import Message

from ..running import run
from .script import draw
from .world import Fleet

Patch = Callable[[pytest.MonkeyPatch], None]


def retry_what_is_not_idempotent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any call is made again that was lost."""

    def again(error: RoamError, *, is_idempotent: bool) -> Again:
        return again_after(error, is_idempotent=True)

    monkeypatch.setattr(attempts, "again_after", again)


def leave_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client leaves a server that drains at once, and drops its calls there."""

    def end(self: Pool[Any], endpoint: Endpoint[Any]) -> None:
        holding = self._holding.get(endpoint)
        if endpoint.phase is Phase.DRAINING and holding is not None:
            holding.cancel()

    monkeypatch.setattr(Pool, "_end_if_drained", end)


def forget_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls in flight have no time when a server shuts down."""
    shut_down = SessionRun.shut_down

    async def at_once(self: SessionRun, grace: float) -> None:
        await shut_down(self, 0.0)

    monkeypatch.setattr(SessionRun, "shut_down", at_once)


def say_nothing_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is shut down does not say that it has answered all calls."""
    push = Outbox.push

    def push_others(self: Outbox, message: Message, **options: Any) -> None:
        if message is not ALL_IS_ANSWERED:
            push(self, message, **options)

    monkeypatch.setattr(Outbox, "push", push_others)


def ignore_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further attempts are made, however many."""
    monkeypatch.setattr(RetryBudget, "take", lambda self: True)


def give_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget grants nothing."""
    monkeypatch.setattr(RetryBudget, "take", lambda self: False)


def never_end_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client goes on with servers whose leases have ended."""
    adopt = _Follower._adopt
    seen: dict[_Follower, dict[str, RegistryEntry]] = {}

    def adopt_all(self: _Follower, found: Sequence[RegistryEntry]) -> None:
        known = seen.setdefault(self, {})
        known |= {each.text: each for each in found}
        adopt(self, list(known.values()))

    monkeypatch.setattr(_Follower, "_adopt", adopt_all)


def keep_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a session is not given back."""

    def leave(self: Places, place: Place) -> None:
        self._uncount(place)

    monkeypatch.setattr(Places, "leave", leave)


FAULTS = {
    retry_what_is_not_idempotent: 9,
    leave_without_waiting: 0,
    forget_the_grace: 0,
    say_nothing_at_the_end: 5,
    ignore_the_budget: 2,
    give_up_early: 9,
    never_end_leases: 1,
    keep_places: 0,
}
"""The faults, and the seeds from which on they are found soon."""

MOST_SEEDS = 200


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_is_found(fault: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    first = FAULTS[fault]
    for seed in range(first, first + MOST_SEEDS):
        result = run(draw(seed), Fleet)
        if result.error is not None:
            print(f"{fault.__name__}: seed {seed}: {result.kind}")
            return
    raise AssertionError(f"{MOST_SEEDS} seeds find nothing")
