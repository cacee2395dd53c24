"""Coroutines of trio that tasks of asyncio wait for.

Tasks of trio that have done one do the next, because beginning a task costs more than
a small call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from typing import Any, TypeVar

import outcome
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from ...errors import ConnectionLost
from .turns import Turns

__all__ = ["Job", "Jobs"]

T = TypeVar("T")

_MOST_IDLE = 64
"""Number of tasks that are kept for the next jobs."""


class Job:
    """An async function of trio, to be called once, and its result for asyncio.

    Args:
        function: the function.
        deadline: time at which it is cancelled.
        result: gets its result.
        keep: gets the result instead if no task awaits it any more.
    """

    __slots__ = (
        "_deadline",
        "_function",
        "_is_cancelled",
        "_keep",
        "_result",
        "_scope",
        "ended",
        "is_over",
    )

    def __init__(
        self,
        function: Callable[[], Awaitable[Any]],
        deadline: float,
        result: asyncio.Future[Any],
        keep: Callable[[Any], object] | None,
    ) -> None:
        self._function = function
        self._keep = keep
        self._deadline = deadline
        self._result: asyncio.Future[Any] | None = result
        self._is_cancelled = False
        self._scope: trio.CancelScope | None = None
        self.ended: asyncio.Future[None] | None = None
        self.is_over = False

    async def run(self, scope: trio.CancelScope) -> None:
        """Call the function, in a task of trio; its exceptions go to the result.

        Args:
            scope: the scope around this, for the length of the job.
        """
        if self._result is None or self._result.done():
            return  # the task was cancelled first, and may not know yet
        self._scope = scope
        if self._deadline != inf:
            scope.deadline = self._deadline
        try:
            value = await self._function()
        except (trio.Cancelled, GeneratorExit):
            if scope.cancel_called and not self._is_cancelled:
                self._fail(TimeoutError())
            raise
        except BaseException as error:
            self._fail(error)
        else:
            self._succeed(value)

    def _succeed(self, value: Any) -> None:
        result = self._result
        if result is not None and not result.done():
            _tell(result.set_result, value)
        elif self._keep is not None:
            self._keep(value)

    def _fail(self, error: BaseException) -> None:
        # The frames of an error hold this, which must not hold the error: nothing is
        # to live on until the garbage is collected.
        result, self._result = self._result, None
        if result is not None and not result.done():
            _tell(result.set_exception, error)

    def finish(self) -> None:
        """Wake those who wait for the end, after `run`."""
        self.is_over = True
        if self._deadline != inf and self._scope is not None:
            self._scope.deadline = inf
        self._scope = None
        if self._result is not None and not self._result.done():
            _lose(self._result)
        if self.ended is not None and not self.ended.done():
            _tell(self.ended.set_result, None)

    def cancel(self) -> None:
        """Cancel the function, which may take its time."""
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()


class Jobs:
    """Does jobs in one run of trio.

    Args:
        loop: the loop whose tasks wait for them.
        turns: the turns of the run.
        nursery: the nursery for its tasks.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, turns: Turns, nursery: trio.Nursery
    ) -> None:
        self._loop = loop
        self._turns = turns
        self._nursery = nursery
        self._idle: list[Task] = []
        self._context = copy_context()

    async def run(
        self,
        function: Callable[[], Awaitable[T]],
        deadline: float = inf,
        keep: Callable[[T], object] | None = None,
    ) -> T:
        """Await a function in a task of trio; for a task of asyncio.

        It runs with the context variables of this task. If this task is cancelled, so
        is the function, and its end is waited for.

        Args:
            function: an async function of trio.
            deadline: time at which it is cancelled.
            keep: called with the result if the function has returned all the same when
                this task is cancelled; otherwise that is lost.

        Raises:
            ConnectionLost: the run of trio has ended before the function.
            TimeoutError: the deadline is over.
            Exception: what the function has raised.
        """
        result: asyncio.Future[T] = self._loop.create_future()
        job = Job(function, deadline, result, keep)
        self._begin(job)
        try:
            return await result
        except asyncio.CancelledError:
            if keep is not None and _has_value(result):
                keep(result.result())
            await self._cancel(job)
            raise
        finally:
            # Or else an error would hold this frame, and this frame the error.
            del job, result, function

    def _begin(self, job: Job) -> None:
        self._turns.wake()
        if not self._idle:
            self._nursery.start_soon(self._work, job, name=Jobs)
            return
        task = self._idle.pop()
        task.context = copy_context()
        reschedule(task, outcome.Value(job))

    async def _work(self, first: Job) -> None:
        """Do a job, and then others.

        They share a scope until one is cancelled: a scope takes a fifth of the time of
        a small call.
        """
        job: Job | None = first
        del first
        while job is not None:
            with trio.CancelScope() as scope:
                while job is not None and not scope.cancel_called:
                    try:
                        await job.run(scope)
                    finally:
                        job.finish()
                        job = None
                    if not scope.cancel_called:
                        job = await self._next()
            if scope.cancel_called:
                job = await self._next()

    async def _next(self) -> Job | None:
        """Wait for the next job; return None if enough tasks wait for one."""
        if len(self._idle) >= _MOST_IDLE:
            return None
        task = current_task()
        task.context = self._context  # and let go of that of the last job
        self._idle.append(task)
        job: Job = await wait_task_rescheduled(partial(self._stop_waiting, task))
        return job

    def _stop_waiting(self, task: Task, _: object) -> Abort:
        self._idle.remove(task)
        return Abort.SUCCEEDED

    async def _cancel(self, job: Job) -> None:
        """Cancel a job, and wait until it has ended."""
        self._turns.wake()
        job.cancel()
        while not job.is_over:
            job.ended = self._loop.create_future()
            with suppress(asyncio.CancelledError):
                await job.ended


def _lose(result: asyncio.Future[Any]) -> None:
    """Settle the result of a function that the end of the run of trio has cancelled.

    Not with a CancelledError: nothing has cancelled the task that waits for it.
    """
    if result.get_loop().is_closed():
        _tell(result.cancel)  # an error that no task gets would be logged
    else:
        lost = ConnectionLost("it has been closed, with its run of trio")
        _tell(result.set_exception, lost)


def _tell(settle: Callable[..., object], *args: Any) -> None:
    """Settle a future, which wakes a task, unless its loop is closed."""
    with suppress(RuntimeError):
        settle(*args)


def _has_value(future: asyncio.Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
