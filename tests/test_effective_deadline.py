"""The deadline of a task is the one that trio tells."""

from __future__ import annotations

import random
from contextlib import ExitStack
from math import inf
from typing import Any

import pytest
import trio

import roam_trio.effective_deadline as module
from roam_trio.effective_deadline import effective_deadline


async def test_it_is_infinite_without_a_scope() -> None:
    assert effective_deadline() == trio.current_effective_deadline() == inf


@pytest.mark.parametrize("seed", range(50))
async def test_it_is_that_of_trio_in_scopes_of_all_kinds(seed: int) -> None:
    drawn = random.Random(seed)
    with ExitStack() as scopes:
        for _ in range(drawn.randrange(1, 6)):
            deadline = trio.current_time() + drawn.choice([inf, 5, 50, 500, 5000])
            scope = scopes.enter_context(trio.CancelScope(deadline=deadline))
            scope.shield = drawn.random() < 0.3
            if drawn.random() < 0.2:
                scope.cancel()
        async with trio.open_nursery():
            found, expected = effective_deadline(), trio.current_effective_deadline()
    assert found == expected


async def test_a_deadline_that_is_moved_counts() -> None:
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 60
        nursery.cancel_scope.deadline += 60
        assert effective_deadline() == nursery.cancel_scope.deadline


async def test_trio_is_asked_where_it_keeps_the_scopes_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def another_task() -> Any:
        return object()

    monkeypatch.setattr(module, "current_task", another_task)
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 60
        assert effective_deadline() == nursery.cancel_scope.deadline
