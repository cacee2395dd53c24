"""Long computations in steps, which run at once or in turns with other tasks."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import trio

__all__ = ["in_turns", "run_through"]

T = TypeVar("T")


def run_through(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


async def in_turns(steps: Generator[None, None, T]) -> T:
    """As `run_through`, with a checkpoint after each step."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        await trio.lowlevel.checkpoint()
