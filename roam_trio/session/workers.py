"""Tasks for handlers that wait, each of which answers one request after another.

A task and its cancel scope are most of the cost of answering a small call, so the next
handler uses both again. Each call has a context of its own, as in a new task. A
cancelled scope cannot be used again, so its task ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from math import inf
from types import CoroutineType
from typing import Any, Final, Protocol

import trio
from trio.lowlevel import reschedule

from ..errors import Overloaded
from ..failures import is_cancellation
from .budgets import TASK_BYTES, Budget

__all__ = [
    "IDLE_SECONDS",
    "MOST_IDLE",
    "MOST_STOPPED_AT_ONCE",
    "Work",
    "Worker",
    "Workers",
    "discard",
]

MOST_IDLE: Final = 64
"""Number of idle tasks that a session keeps: the default number of calls that a peer
may have in flight on a connection."""

_NEVER: Final = inf

MOST_STOPPED_AT_ONCE: Final = 64
"""Number of handlers that are cancelled in one step: each takes some 20 microseconds to
be cancelled and to end."""

IDLE_SECONDS: Final = 5.0
"""Number of seconds after which idle tasks that were not needed end."""


class Starting(Protocol):
    """The interface of a `trio.Nursery` for what starts tasks."""

    def start_soon(
        self, function: Callable[..., Awaitable[object]], /, *args: Any
    ) -> None:
        """Run a function in a task of its own."""
        ...


class Work(Protocol):
    """One request that a task answers."""

    @property
    def owner(self) -> object:
        """The connection of the request."""
        ...

    @property
    def deadline(self) -> float:
        """The time before which its handler is not cancelled; infinite for none."""
        ...

    @property
    def latest(self) -> float:
        """The time at which its handler is cancelled at the latest."""
        ...

    async def run(self, worker: Worker) -> None:
        """Run the handler in the task and the scope of `worker`."""
        ...

    def refuse(self, refusal: Overloaded) -> None:
        """Answer that there is no task for the handler."""
        ...


def discard(coroutine: Coroutine[Any, Any, None]) -> None:
    """Drop a handler that has not begun to run, and its references to arguments.

    From Python 3.12 on, `close` leaves the arguments of such a coroutine alive as long
    as the coroutine itself, which callers still refer to.
    """
    if isinstance(coroutine, CoroutineType):
        with suppress(GeneratorExit):
            coroutine.throw(GeneratorExit)
    coroutine.close()


async def _until_cancelled(
    function: Callable[..., Awaitable[object]], args: tuple[object, ...]
) -> None:
    """Run the function of a task to its end, or until the session ends.

    The nursery of the session would keep the `trio.Cancelled` until the link is closed,
    which may take seconds, and with it the frames of what has ended the session.
    """
    try:
        await function(*args)
    except BaseException as error:
        if not is_cancellation(error):
            raise


class Worker:
    """A task, with the scope in which it runs handlers.

    Args:
        workers: keeps the task while it is idle.
        work: the first request.
        coroutine: the handler of the first request.
    """

    __slots__ = (
        "_is_used_up",
        "_workers",
        "coroutine",
        "deadline",
        "scope",
        "task",
        "work",
    )

    def __init__(
        self, workers: Workers, work: Work, coroutine: Coroutine[Any, Any, None]
    ) -> None:
        self._workers = workers
        self.work: Work | None = work
        # `Work.run` removes it, because no reference may outlive the handler.
        self.coroutine: Coroutine[Any, Any, None] | None = coroutine
        self.scope = trio.CancelScope()
        self._is_used_up = False
        self.deadline = inf
        """The deadline of the scope, for this call or for the one before."""
        self.task: trio.lowlevel.Task | None = None
        """The task, once it runs."""

    # Control-C may interrupt the handler, which is the user's code, but not this code
    # between two handlers: a task that has ended must not count as idle.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Answer requests until the task is not needed for some seconds."""
        workers, abort = self._workers, self._abort
        task = self.task = trio.lowlevel.current_task()
        at_rest = Context()  # has no references to the last call
        try:
            with self.scope:
                while (work := self.work) is not None:
                    await work.run(self)
                    self.work = None
                    del work
                    if self._is_used_up or not workers.rest(self):
                        return
                    task.context = at_rest
                    await trio.lowlevel.wait_task_rescheduled(abort)
        except BaseException as error:
            if not is_cancellation(error):  # with the session, see `_until_cancelled`
                raise
        finally:
            workers.leave(self)

    def stop(self) -> None:
        """Cancel the running handler."""
        self._is_used_up = True
        self.scope.cancel()

    def set_deadline(self, work: Work) -> None:
        """Cancel the next handler at the deadline of `work`, which may be infinite.

        To move the deadline of a scope costs more than the rest of a deadline does. So
        the second call in a row moves it as far as the work allows, which suits the
        next calls as well, whose deadlines are a little later.
        """
        deadline = work.deadline
        if not deadline <= self.deadline <= work.latest:
            self.deadline = deadline if self.deadline == _NEVER else work.latest
            self.scope.deadline = self.deadline

    def check_deadline(self, now: float) -> None:
        """Note that the handler has ended, before its deadline or at it.

        The next handler replaces the deadline if it does not suit. It can end an idle
        task.
        """
        if now >= self.deadline:
            self._is_used_up = True

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._workers.idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED

    def __repr__(self) -> str:
        return f"<Worker {'idle' if self.work is None else f'at work: {self.work!r}'}>"


class Workers:
    """The tasks of a session's handlers.

    Args:
        nursery: the nursery of the session.
        budget: counts the tasks of handlers.
    """

    __slots__ = (
        "_all",
        "_budget",
        "_is_over",
        "_is_trimming",
        "_least",
        "_nursery",
        "idle",
    )

    def __init__(self, nursery: Starting, budget: Budget) -> None:
        self._nursery = nursery
        self._budget = budget
        self.idle: list[Worker] = []
        """Tasks that wait for a request; the last one gets the next request."""
        self._all: dict[Worker, None] | None = None
        self._least = 0
        self._is_trimming = False
        self._is_over = False

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        """Run something other than a handler in a task of the session."""
        self._nursery.start_soon(_until_cancelled, function, args)

    def start(self, work: Work, coroutine: Coroutine[Any, Any, None]) -> None:
        """Answer a request, in a task that is idle or in a new one.

        Refuse it if the budget has no room for a new one.
        """
        idle = self.idle
        if idle:
            worker = idle.pop()
            if len(idle) < self._least:
                self._least = len(idle)
            worker.work, worker.coroutine = work, coroutine
            if worker.deadline != _NEVER:
                # Now, because the last deadline could pass before the task runs.
                worker.set_deadline(work)
            task = worker.task
            assert task is not None, "it has worked before"
            task.context = copy_context()
            reschedule(task)
        else:
            self._start_new(work, coroutine)

    def _start_new(self, work: Work, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            self._budget.take(TASK_BYTES, 1)
        except Overloaded as refusal:
            discard(coroutine)  # before the response, so that its channels end first
            work.refuse(refusal)
            return
        worker = Worker(self, work, coroutine)
        if self._all is None:
            self._all = {}
        self._all[worker] = None
        self._nursery.start_soon(worker.run)

    def rest(self, worker: Worker) -> bool:
        """Keep an idle task; return False if the task has to end."""
        idle = self.idle
        if len(idle) >= MOST_IDLE:
            return False
        idle.append(worker)
        if not self._is_trimming:
            self._is_trimming = True
            # Not in the context of the call that has just ended.
            Context().run(self.start_soon, self._trim)
        return True

    def leave(self, worker: Worker) -> None:
        """Remove a task that ends."""
        assert self._all is not None, "it has started"
        del self._all[worker]
        self._budget.give(TASK_BYTES, 1)
        if not self._all:
            self._all = None  # a session at rest has none

    def stop_all(self) -> None:
        """Cancel all handlers, as the session ends.

        `stop` does nothing from then on: to look for the handlers of each connection
        would take long, if there are many of both.
        """
        for worker in self._all or ():
            worker.stop()
        self._is_over = True

    @property
    def are_many(self) -> bool:
        """True if to cancel all handlers at once would hold up other sessions."""
        return len(self._all or ()) > MOST_STOPPED_AT_ONCE

    @trio.lowlevel.enable_ki_protection
    async def stop_in_turns(self, then: Callable[[], None]) -> None:
        """Cancel all handlers, and let other tasks run in between.

        Args:
            then: called when all are cancelled, or if this task is cancelled.
        """
        try:
            for number, worker in enumerate(list(self._all or ()), 1):
                worker.stop()
                if number % MOST_STOPPED_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
        finally:
            then()

    def stop(self, owner: object) -> None:
        """Cancel the handlers of a connection."""
        if self._is_over:
            return
        for worker in self._all or ():
            if worker.work is not None and worker.work.owner is owner:
                worker.stop()

    async def _trim(self) -> None:
        """End idle tasks that were not needed; return when there are none left."""
        idle = self.idle
        while idle:
            self._least = len(idle)
            await trio.sleep(IDLE_SECONDS)
            for _ in range(min(self._least, len(idle))):
                task = idle.pop(0).task
                assert task is not None, "it has worked before"
                reschedule(task)  # with no work, and so it ends
        self._is_trimming = False

    def __repr__(self) -> str:
        return f"<Workers: {len(self._all or ())}, {len(self.idle)} of them idle>"
