"""A deadline passes a proxy and two servers, whose wall clocks are wrong by hours."""

from __future__ import annotations

import time

import pytest
import trio

from roam_trio import connect

from .hops import Hop
from .processes import ListeningProcess, within

HOPS = "tests.two_processes.hops"

SECONDS = 0.5
"""The deadline of each call."""

SOON = 0.05
"""After this, in seconds, nothing may be at work that was under the deadline."""


@pytest.mark.slow
@within(120)
async def test_last_handler_of_a_row_is_cancelled_at_the_deadline_of_the_client() -> (
    None
):
    late: list[float] = []
    async with (
        ListeningProcess(HOPS, "-7", "last") as last,
        ListeningProcess(HOPS, "30", "server", last.url) as first,
        ListeningProcess(HOPS, "-300", "proxy", first.url) as proxy,
        connect(proxy.url) as session,
        session.open(Hop) as hop,
    ):
        hours = [(each - time.time()) / 3600 for each in await hop.wall_clocks()]
        assert hours == [pytest.approx(30, abs=0.1), pytest.approx(-7, abs=0.1)]
        for _ in range(6):
            with trio.move_on_after(SECONDS) as scope:
                deadline = time.monotonic() + scope.deadline - trio.current_time()
                await hop.wait()
            assert scope.cancelled_caught
            assert await hop.in_flight() == 0
            # Each hop has written what was left when it sent the call, and a task that
            # is used again may have had up to 1 % more.
            assert SECONDS - SOON < await hop.left() < SECONDS + SOON
            late.append(await hop.cancelled_at() - deadline)
        (root, *virtual) = session.statistics().connections
        assert not any(each.calling for each in (root, *virtual))
    # On a machine that does other work too, some are later.
    assert min(map(abs, late)) < SOON, late
    print(f"late by at most {max(map(abs, late)) * 1000:.1f} ms")
