"""On uvloop, all is as on asyncio's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from roam_trio.contrib.asyncio import guest

from . import test_clients, test_guest, test_serving
from .test_many_timeouts import (
    test_calls_with_random_timeouts_leave_nothing_running as many_timeouts,
)
from .works import at_work

pytestmark = pytest.mark.peers  # uvloop is in the extra `bench`


@pytest.fixture(scope="module", autouse=True)
def uvloop() -> Any:
    found: Any = pytest.importorskip("uvloop")
    found.run(asyncio.sleep(0))  # its first loop opens a pipe for all of them
    return found


@pytest.fixture(autouse=True)
def _uvloop_is_asyncio(monkeypatch: pytest.MonkeyPatch, uvloop: Any) -> None:
    monkeypatch.setattr(asyncio, "run", uvloop.run)
    monkeypatch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)


def test_no_thread_waits() -> None:
    async def main() -> None:
        assert type(asyncio.get_running_loop()).__module__ == "uvloop"
        async with at_work(url="tcp://127.0.0.1:0") as (works, _):
            run = guest.guest_of_loop()
            assert run is not None
            assert not run.turns.waits_in_thread
            assert await works.add(3, 5) == 8

    asyncio.run(main())


def test_a_thousand_timeouts_leave_nothing_running() -> None:
    many_timeouts(1000, asyncio.timeout, "asyncio")


@pytest.mark.parametrize(
    "test",
    [
        test_clients.test_a_lasting_client_outlives_its_server,
        test_clients.test_a_receiver_that_is_cancelled_has_taken_no_item,
        test_clients.test_the_end_of_a_channel_is_told_to_both,
        test_guest.test_the_cells_of_a_notebook_are_tasks_of_their_own,
        test_guest.test_a_timer_is_put_off_and_brought_forward,
        test_guest.test_work_is_cancelled_at_every_step_and_leaves_nothing,
        test_guest.test_what_tells_trio_by_itself_is_not_missed,
        test_serving.test_a_client_in_trio_calls_a_handler_in_asyncio,
        test_serving.test_calls_in_flight_finish_within_the_grace,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_it_does_what_it_does_on_asyncio(test: Callable[[], None]) -> None:
    test()


@pytest.mark.parametrize("with_handler", [False, True])
def test_a_loop_that_is_closed_ends_its_run(
    with_handler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_guest.test_a_loop_that_is_closed_ends_its_run_with_a_warning(
        with_handler, False, monkeypatch
    )
