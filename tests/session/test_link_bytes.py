"""The bytes that the link of a session keeps, in the budget of the session."""

from __future__ import annotations

from trio.testing import wait_all_tasks_blocked

from roam_trio import Limits
from roam_trio.errors import LimitExceeded
from roam_trio.session.bounds import Bounds
from roam_trio.session.budgets import Budget
from roam_trio.session.link_bytes import LinkBytes


async def test_session_beyond_its_budget_ends_after_it_has_sent_its_message() -> None:
    budget = Budget(Bounds.of_session(Limits(session_bytes=800)))
    ends: list[LimitExceeded] = []

    def end(because: LimitExceeded) -> None:
        ends.append(because)
        budget.stop()

    budget.begin(end)
    link = LinkBytes(budget)
    assert link.hold(700)
    assert not link.hold(101)
    assert not link.hold(102)
    assert ends == []
    await wait_all_tasks_blocked()
    assert [error.limit for error in ends] == ["session_bytes"]
    assert budget.bytes == 700
    link.give(700)
    assert budget.bytes == 0
