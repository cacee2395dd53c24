"""A task is undisturbed if it is in the right run, and is not cancelled."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import trio
from trio.lowlevel import current_task, current_trio_token, enable_ki_protection

import roam_trio.session.undisturbed as module
from roam_trio import Rx, Tx, open_call
from roam_trio.session.undisturbed import undisturbed_task
from roam_trio.testing import connected_pair

from .running import Streams, streams


async def test_it_is_the_current_task() -> None:
    assert undisturbed_task(current_trio_token()) is current_task()


async def test_no_cancelled_task_is_undisturbed_unless_it_is_shielded() -> None:
    token = current_trio_token()
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.cancel()
        assert undisturbed_task(token) is None
        nursery.cancel_scope.shield = True
        assert undisturbed_task(token) is None
        async with trio.open_nursery() as inner:
            inner.cancel_scope.shield = True
            assert undisturbed_task(token) is current_task()


def test_no_task_of_another_run_is_undisturbed() -> None:
    async def token_here() -> trio.lowlevel.TrioToken:
        return current_trio_token()

    async def task_here(token: trio.lowlevel.TrioToken) -> Any:
        return undisturbed_task(token)

    token = trio.run(token_here)
    assert trio.run(task_here, token) is None
    assert undisturbed_task(token) is None  # outside of trio


def test_no_task_is_undisturbed_while_control_c_waits_for_a_checkpoint() -> None:
    @enable_ki_protection
    async def main() -> None:
        token = current_trio_token()
        signal.raise_signal(signal.SIGINT)
        assert undisturbed_task(token) is None
        with pytest.raises(KeyboardInterrupt):
            await trio.lowlevel.checkpoint_if_cancelled()
        assert undisturbed_task(token) is current_task()

    trio.run(main)


async def test_trio_is_asked_where_it_keeps_the_state_of_tasks_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "current_task", object)
    assert undisturbed_task(current_trio_token()) is None


async def test_calls_and_items_need_no_state_that_trio_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(token: object) -> None:
        return None

    for user in ("requests", "channel_in", "channel_out"):
        monkeypatch.setattr(f"roam_trio.session.{user}.undisturbed_task", unknown)
    async with connected_pair(Streams, streams(both=double, add=add)) as there:
        assert await there.add(1, 2) == 3
        async with open_call(there.both) as call:
            await call.tx.send(21)
            assert await call.rx.recv() == 42


async def add(left: int, right: int) -> int:
    return left + right


async def double(numbers: Rx[int], output: Tx[int]) -> None:
    async for number in numbers:
        await output.send(2 * number)
