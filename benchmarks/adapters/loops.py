"""How to run a client, and calls beside each other: in trio, in asyncio, or, for a
client alone, with nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

from .base import IN_FLIGHT

__all__ = [
    "Beside",
    "beside_in_asyncio",
    "beside_in_trio",
    "call_many_in_asyncio",
    "call_many_in_trio",
    "run_asyncio",
    "run_plain",
    "run_trio",
]

T = TypeVar("T")

Work: TypeAlias = Callable[[], Awaitable[None]]

Beside: TypeAlias = Callable[[Work, Work], Awaitable[None]]
"""Does two things at once."""


def run_trio(use: Callable[[], Awaitable[T]]) -> T:
    """Run it in trio."""

    async def main() -> T:
        return await use()

    return trio.run(main)


def run_asyncio(use: Callable[[], Awaitable[T]]) -> T:
    """Run it in asyncio."""

    async def main() -> T:
        return await use()

    return asyncio.run(main())


def run_plain(use: Callable[[], Awaitable[T]]) -> T:
    """Run it without a loop: the implementation blocks, and awaits nothing.

    Raises:
        RuntimeError: it awaited something.
    """

    async def main() -> T:
        return await use()

    running = main()
    try:
        running.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    running.close()
    raise RuntimeError("expected nothing to wait for")


async def call_many_in_trio(call: Callable[[int], Awaitable[None]], count: int) -> None:
    """Make the calls 0, 1, 2 … `count` - 1, `IN_FLIGHT` at a time."""
    numbers = iter(range(count))

    async def call_and_call_again() -> None:
        for number in numbers:
            await call(number)

    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(call_and_call_again)


async def call_many_in_asyncio(
    call: Callable[[int], Awaitable[None]], count: int
) -> None:
    """Make the calls 0, 1, 2 … `count` - 1, `IN_FLIGHT` at a time."""
    numbers = iter(range(count))

    async def call_and_call_again() -> None:
        for number in numbers:
            await call(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(call_and_call_again())


async def beside_in_trio(one: Work, other: Work) -> None:
    """Do two things at once in trio."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        await other()


async def beside_in_asyncio(one: Work, other: Work) -> None:
    """Do two things at once in asyncio."""

    async def first() -> None:
        await one()

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        await other()
