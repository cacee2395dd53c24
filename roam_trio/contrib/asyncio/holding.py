"""Blocks of trio that programs on asyncio enter and leave.

An async context manager of trio belongs to the task that enters it. Here a task of trio
enters it, and leaves it when the program does.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from ...logs import Log
from .guest import Guest, acquire, to_the_end
from .unclosed import warn_unclosed

__all__ = ["Held", "Holding"]

T = TypeVar("T")

logger = Log("roam_trio.asyncio")


class Held(Generic[T]):
    """A block of trio, in a task of its own.

    Args:
        manager: enters and leaves it.
        what: the name of its value, for texts.
        block: the task of the program whose block this is; None if there is no block.
            It is cancelled if the block of trio ends by itself.

    Attributes:
        has_cancelled: True if it has cancelled the task of the program.
        error: the exception with which it has ended.
    """

    def __init__(
        self,
        manager: AbstractAsyncContextManager[T],
        what: str,
        block: asyncio.Task[Any] | None,
    ) -> None:
        self._manager = manager
        self._what = what
        self._block = block
        self._leaving = trio.Event()
        self._guest: Guest | None = None
        self._task: asyncio.Task[None] | None = None
        self.has_cancelled = False
        self.error: BaseException | None = None

    async def open(self) -> tuple[Guest, T]:
        """Enter the block, and return its run of trio and its value.

        Raises:
            Exception: what entering it raises.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[tuple[Guest, T]] = loop.create_future()
        task = self._task = loop.create_task(self._run(opened), name=self._what)
        try:
            return await opened
        except asyncio.CancelledError:
            self.leave()
            task.cancel()
            await to_the_end(task)
            raise
        finally:
            del opened  # or else an error would hold this frame that holds it

    async def _run(self, opened: asyncio.Future[tuple[Guest, T]]) -> None:
        try:
            await self._hold(opened)
        finally:
            self._leaving.set()

    async def _hold(self, opened: asyncio.Future[tuple[Guest, T]]) -> None:
        try:
            guest = self._guest = await acquire()
            try:
                await guest.run(partial(self._stay, guest, opened))
            except asyncio.CancelledError:
                if opened.done() and self._block is None and self.is_open:
                    self.warn()  # the program ends
                raise
            finally:
                await guest.release()
        except asyncio.CancelledError:
            opened.cancel()
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
                return
            self.error = error
        if self.is_open:
            self._end_block()

    async def _stay(
        self, guest: Guest, opened: asyncio.Future[tuple[Guest, T]]
    ) -> None:
        async with self._manager as value:
            if not opened.done():
                opened.set_result((guest, value))
            del value, opened
            await self._leaving.wait()

    @property
    def is_open(self) -> bool:
        """Return True until it is told to leave the block, or has left it."""
        return not self._leaving.is_set()

    def _end_block(self) -> None:
        """The block of trio has ended by itself."""
        if self._block is not None:
            self.has_cancelled = True
            self._block.cancel()
        elif self.error is not None:
            logger.failure(self.error, "%s has failed", self._what)

    def leave(self) -> None:
        """Leave the block soon."""
        if self._guest is not None:
            self._guest.turns.wake()
        self._leaving.set()

    async def close(self) -> None:
        """Leave the block, and wait until that is done.

        Cancelled, the block is cancelled, and its end is waited for.

        Raises:
            Exception: what leaving the block raises.
        """
        assert self._task is not None
        self.leave()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            await to_the_end(self._task)
            raise
        if self.error is not None:
            raise self.error

    def warn(self) -> None:
        """Say that it was not closed."""
        warn_unclosed(
            f"{self._what} was not closed: use it with `async with`, or await "
            "aclose() for it",
            self,
        )


class Holding:
    """The handle of a program on a block of trio; dropping it leaves the block.

    Args:
        held: the block.
        guest: the run of trio in which it is.
        has_block: whether a block of the program closes it.
    """

    __slots__ = ("_guest", "_has_block", "held")

    def __init__(self, held: Held[Any], guest: Guest, *, has_block: bool) -> None:
        self.held = held
        self._guest = guest
        self._has_block = has_block

    async def close(self) -> None:
        """See `Held.close`; has no effect the second time."""
        await self.held.close()

    def __del__(self) -> None:
        held, guest = self.held, self._guest
        if held.is_open and not (self._has_block or guest.is_over):
            # The garbage collector may be in any thread.
            guest.loop.call_soon_threadsafe(held.leave)
            held.warn()
