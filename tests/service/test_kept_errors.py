"""Errors that a handler has kept from before, and raises again."""

from __future__ import annotations

from typing import Protocol

import pytest
import trio
import trio.testing

from roam_trio import CallCancelled, client, dispatcher, memory_link_pair, service
from roam_trio.session import acceptor, initiator


@service
class Again(Protocol):
    async def raise_what_was_kept(self) -> None: ...


async def test_the_task_that_keeps_an_error_goes_on_when_a_handler_raises_it(
    nursery: trio.Nursery,
) -> None:
    kept: list[Exception] = []
    finished = trio.Event()

    async def keep() -> None:
        try:
            raise ValueError("once")
        except ValueError as error:
            kept.append(error)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.lowlevel.checkpoint()
        finished.set()

    class Handler:
        async def raise_what_was_kept(self) -> None:
            raise kept[0]

    near, far = memory_link_pair(16)
    nursery.start_soon(keep)
    nursery.start_soon(acceptor(far).run, dispatcher(Again, Handler()))
    async with initiator(near).open() as session:
        with pytest.raises(CallCancelled):
            await client(Again, session.caller).raise_what_was_kept()
    await finished.wait()
