"""Faults that are put into the package on purpose: the simulation finds each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from roam_trio.links.resuming.lost import LostClients
from roam_trio.links.resuming.replay import ReplayBuffer
from roam_trio.links.resuming.tx import ResumingTx
from roam_trio.session.budgets import CHANNEL_BYTES, Budget
from roam_trio.session.outbox import Outbox
from roam_trio.session.requests import Requests
from roam_trio.wire.messages import ChannelItem, Message, RequestCancel

from . import script as script_module
from .running import Result, run, shrink
from .script import Script, draw

MOST_SEEDS = 200

Patch = Callable[[pytest.MonkeyPatch], None]


def lose_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancels are not sent."""
    push = Outbox.push

    def push_others(self: Outbox, message: Message, **options: Any) -> None:
        if not isinstance(message, RequestCancel):
            push(self, message, **options)

    monkeypatch.setattr(Outbox, "push", push_others)


def double_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each item is sent twice, where there is room."""
    send_nowait = Outbox.send_nowait

    def send_twice(self: Outbox, message: Message) -> None:
        send_nowait(self, message)
        if isinstance(message, ChannelItem) and self.has_room():
            send_nowait(self, message)

    monkeypatch.setattr(Outbox, "send_nowait", send_twice)


def keep_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot is not given back while one call waits for one."""
    give_slot = Requests._give_slot

    def give_others(self: Requests) -> None:
        if self._slots is None or len(self._slots) != 1:
            give_slot(self)

    monkeypatch.setattr(Requests, "_give_slot", give_others)


def trim_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement also removes the message after it, if it was sent."""
    acknowledge = ReplayBuffer.acknowledge

    def acknowledge_more(self: ReplayBuffer, seq: int) -> bool:
        was_sent = acknowledge(self, seq)
        if self._taken > self._first + 1:
            acknowledge(self, self._first)
        return was_sent

    monkeypatch.setattr(ReplayBuffer, "acknowledge", acknowledge_more)


def ignore_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are kept for a peer that does not acknowledge, however many."""
    monkeypatch.setattr(ResumingTx, "_has_room", lambda self: True)


def give_up_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number of lost clients, the one that was lost first is given up."""
    monkeypatch.setattr(LostClients, "_order", lambda self, client: 0)


def refuse_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session starts tasks for calls, however many."""

    def take(self: Budget, size: int, tasks: int = 0) -> None:
        self._add(size, tasks)

    monkeypatch.setattr(Budget, "take", take)


def give_back_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels count on when they have ended."""
    give = Budget.give

    def give_others(self: Budget, size: int, tasks: int = 0) -> None:
        if size != CHANNEL_BYTES:
            give(self, size, tasks)

    monkeypatch.setattr(Budget, "give", give_others)


FAULTS = (
    lose_cancels,
    double_items,
    keep_slots,
    trim_too_much,
    ignore_the_budget,
    give_up_the_first,
    refuse_nothing,
    give_back_too_little,
)


def first_failure() -> tuple[Script, Result]:
    """Return the first seed that fails."""
    for seed in range(MOST_SEEDS):
        script = draw(seed)
        result = run(script)
        if result.error is not None:
            return script, result
    raise AssertionError(f"{MOST_SEEDS} seeds find nothing")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_is_found(fault: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    script, result = first_failure()
    print(f"{fault.__name__}: seed {script.seed}: {result.kind}")


def test_failing_script_shrinks_to_a_few_steps_that_fail_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    double_items(monkeypatch)
    script, result = first_failure()
    short = shrink(script)
    assert len(short.steps) < 5 < len(script.steps)
    printed = eval(str(short), vars(script_module))  # as pasted into a test
    assert printed == short
    assert run(printed).kind == result.kind
