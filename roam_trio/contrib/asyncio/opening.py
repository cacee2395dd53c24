"""The results of `connect`, `serving` and the like: for a block, or to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

from ...logs import Log
from .guest import Guest
from .holding import Held, Holding

__all__ = ["Opening", "Wrap"]

T = TypeVar("T")

logger = Log("roam_trio.asyncio")

Wrap = Callable[[Guest, Any, Holding], T]
"""Makes what the program gets of the value of a block of trio."""


class Opening(Generic[T]):
    """A client, a session or a server to be; enter it with ``async with``, or await it.

    ``async with connect(...) as client:`` closes the client at the end of the block.
    In a notebook, where a block cannot span cells, ``client = await connect(...)``
    opens it, and ``await aclose(client)`` closes it. One that is dropped instead is
    closed in the background, with a `ResourceWarning`.

    Args:
        manager: makes the block of trio. It is called at once, which checks its
            arguments.
        wrap: makes what the program gets.
        what: its name, for texts.

    Raises:
        Exception: what `manager` raises.
    """

    def __init__(
        self,
        manager: Callable[[], AbstractAsyncContextManager[Any]],
        wrap: Wrap[T],
        what: str,
    ) -> None:
        self._manager = manager
        # For the first use: an argument that is an iterator has none left for another.
        self._made: AbstractAsyncContextManager[Any] | None = manager()
        self._wrap = wrap
        self._what = what
        self._holding: Holding | None = None
        self._block: asyncio.Task[Any] | None = None
        self._cancelling = 0

    async def _open(self, block: asyncio.Task[Any] | None) -> tuple[T, Holding]:
        made, self._made = self._made, None
        manager = self._manager() if made is None else made
        held = Held[Any](manager, self._what, block)
        guest, value = await held.open()
        holding = Holding(held, guest, has_block=block is not None)
        return self._wrap(guest, value, holding), holding

    def __await__(self) -> Generator[Any, None, T]:
        value, _ = yield from self._open(None).__await__()
        return value

    async def __aenter__(self) -> T:
        if self._block is not None:
            raise RuntimeError(f"{self._what} is in use already; make another")
        task = self._block = asyncio.current_task()
        assert task is not None, "this coroutine runs in a task"
        self._cancelling = task.cancelling()
        try:
            value, self._holding = await self._open(task)
        except BaseException:
            self._block = None
            raise
        return value

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._holding is not None, "it was entered"
        assert self._block is not None
        holding, self._holding = self._holding, None
        held, task, self._block = holding.held, self._block, None
        error: BaseException | None = None
        try:
            await holding.close()
        except BaseException as failure:
            error = failure
        # As `asyncio.timeout` does: only the block that has cancelled its task takes
        # the CancelledError, unless something else has cancelled the task too.
        is_ours = held.has_cancelled and task.uncancel() <= self._cancelling
        try:
            if exc is None or (is_ours and isinstance(exc, asyncio.CancelledError)):
                if error is not None:
                    raise error
                return True
            if error is not None and not isinstance(error, asyncio.CancelledError):
                logger.failure(error, "%s has failed, and its block too", self._what)
            return False
        finally:
            # Or else the errors would hold this frame, and this frame the errors.
            del error, exc, traceback, held, holding
