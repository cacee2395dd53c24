"""The time that a task of asyncio has for its calls.

asyncio does not tell the deadlines of its time-outs, so a call cannot tell its server.
A context variable keeps the deadline of `timeout`, and that of the call that a handler
answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from math import inf

__all__ = ["deadline_here", "set_deadline", "timeout"]

_deadline: ContextVar[float] = ContextVar("roam_trio_asyncio_deadline", default=inf)


def deadline_here() -> float:
    """Return the time at which calls of this task end, by `time.monotonic`."""
    return _deadline.get()


def set_deadline(deadline: float) -> None:
    """Set the deadline of a handler, at the start of its task."""
    _deadline.set(deadline)


@asynccontextmanager
async def timeout(delay: float | None) -> AsyncGenerator[None]:
    """Cancel a block after some time, and tell servers how much is left.

    It does the same as `asyncio.timeout`, which cancels calls too, but cannot tell
    servers the deadline: there, `current_call().deadline` of the handler is infinite.

    Args:
        delay: number of seconds; None for no limit.

    Raises:
        TimeoutError: the time is over.
    """
    end = inf if delay is None else time.monotonic() + delay
    token = _deadline.set(min(_deadline.get(), end))
    try:
        async with asyncio.timeout(delay):
            yield
    finally:
        _deadline.reset(token)
