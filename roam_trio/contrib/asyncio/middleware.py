"""Middleware that runs in asyncio, around calls that are made in trio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...effective_deadline import effective_deadline
from ...service import AnyCall, Middleware, Proceed
from ...service.middleware import ClientCall, checked_middleware, go_through
from .guest import guest_here, in_asyncio

__all__ = ["for_trio"]


def for_trio(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return middleware for trio that runs those given in a task of asyncio.

    Raises:
        TypeError: it is not a list of functions.
    """
    checked = checked_middleware(middleware)
    if not checked:
        return ()

    async def in_one_task(call: AnyCall, proceed: Proceed) -> Any:
        guest, deadline = guest_here(), effective_deadline()
        if isinstance(call, ClientCall):
            call.known_deadline = deadline

        async def proceed_in_trio() -> Any:
            return await guest.run(proceed, deadline)

        return await in_asyncio(go_through, checked, call, proceed_in_trio)

    return (in_one_task,)
