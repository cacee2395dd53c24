"""The run of trio that is the guest of an asyncio loop: one for each loop.

The first user of a loop begins it, and the last one ends it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import partial
from math import inf
from typing import Any, ParamSpec, TypeAlias, TypeVar
from weakref import ref

import outcome
import trio
from trio.lowlevel import (
    Abort,
    RunVar,
    Task,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from ...errors import CallCancelled, ConnectionLost
from .jobs import Jobs
from .turns import Turns
from .unclosed import warn_unclosed

__all__ = ["Guest", "acquire", "guest_here", "guest_of_loop", "in_asyncio", "in_trio"]

P = ParamSpec("P")
T = TypeVar("T")

_guests: dict[asyncio.AbstractEventLoop, Guest] = {}

_A_DAY = 86_400.0

RaiseCancel: TypeAlias = Callable[[], Any]

_here: RunVar[Guest] = RunVar("roam_trio_guest")


class _Phase(enum.Enum):
    RUNNING = "running"
    ENDING = "ending"
    OVER = "over"


class Guest:
    """A run of trio in an asyncio loop; `acquire` makes it.

    Args:
        loop: the loop, which runs.
        use_thread: let trio wait for sockets in a thread, as guest mode does by itself.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, use_thread: bool = False
    ) -> None:
        self.loop = loop
        self.turns = Turns(loop, use_thread=use_thread)
        self._phase = _Phase.RUNNING
        self._users = 0
        self._scope = trio.CancelScope()
        self._jobs: Jobs | None = None
        self._begun: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self.turns.from_thread,
            run_sync_soon_not_threadsafe=self.turns.from_here,
            done_callback=self._on_end,
            host_uses_signal_set_wakeup_fd=True,
            clock=self.turns.clock,
        )
        self.turns.begin()
        self._alarm = ref(loop.call_later(_A_DAY, _Closing(self)))

    async def _main(self) -> None:
        _here.set(self)
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._jobs = Jobs(self.loop, self.turns, nursery)
                self._begun.set_result(None)
                await trio.sleep_forever()

    def _on_end(self, ended: outcome.Outcome[None]) -> None:
        self._phase = _Phase.OVER
        self.turns.end()
        alarm = self._alarm()
        if alarm is not None:
            alarm.cancel()
        _guests.pop(self.loop)
        if not self.loop.is_closed():
            for future in (self._begun, self._ended):
                if not future.done():
                    future.set_result(None)
        ended.unwrap()  # a bug in trio; the loop logs it

    @property
    def is_over(self) -> bool:
        """Return True if nothing can be run any more."""
        return self._phase is not _Phase.RUNNING

    async def enter(self) -> bool:
        """Use the run from now on; return False if it is ending, after its end."""
        if self.is_over:
            await asyncio.shield(self._ended)
            return False
        self._users += 1
        try:
            await asyncio.shield(self._begun)
        except BaseException:
            await self.release()
            raise
        return True

    async def release(self) -> None:
        """Use the run no longer; wait for its end if this was the last user."""
        self._users -= 1
        if self._users or self.is_over:
            return
        self._phase = _Phase.ENDING
        self.turns.wake()
        self._scope.cancel()
        await to_the_end(self._ended)

    def end_without_loop(self) -> None:
        """End the run at once, when its loop has been closed around it."""
        self._phase = _Phase.ENDING
        self._scope.cancel()
        self.turns.run_to_the_end()
        warn_unclosed(
            "an asyncio loop was closed before its clients and servers of "
            "roam_trio.contrib.asyncio: close them first, or use asyncio.run()",
            self,
        )

    def rearm(self, closing: _Closing) -> None:
        """Have `closing` dropped with the loop again."""
        self._alarm = ref(self.loop.call_later(_A_DAY, closing))

    def run(
        self,
        function: Callable[[], Awaitable[T]],
        deadline: float = inf,
        keep: Callable[[T], object] | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Return a coroutine that awaits an async function of trio; see `Jobs.run`.

        Raises:
            ConnectionLost: the run of trio is over, or ends before the function.
            RuntimeError: this task is in another loop.
        """
        if self._phase is not _Phase.RUNNING or self._jobs is None:
            lost = ConnectionLost("it has been closed, with its run of trio")
            lost.was_begun = False
            try:
                raise lost
            finally:
                del lost  # or the error and this frame would hold each other
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(
                "expected a task of the asyncio loop in which this was made, got one "
                "of another loop: make another client there, with connect()"
            )
        return self._jobs.run(function, deadline, keep)


class _Closing:
    """Ends a run of trio when a loop is closed in which it still goes on.

    A loop that is closed drops its timers silently. Only a timer holds this object, so
    it is freed then.

    Args:
        guest: the run of trio.
    """

    __slots__ = ("_guest",)

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def __call__(self) -> None:
        """Go on for another day."""
        self._guest.rearm(self)

    def __del__(self) -> None:
        if self._guest.loop.is_closed():
            self._guest.end_without_loop()


async def to_the_end(future: asyncio.Future[None]) -> None:
    """Wait for something that ends soon, also if this task is cancelled.

    Raises:
        asyncio.CancelledError: (at the end) this task has been cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled


async def acquire() -> Guest:
    """Return the run of trio of the running loop; `Guest.release` gives it back.

    Raises:
        RuntimeError: trio runs in this thread already.
    """
    loop = asyncio.get_running_loop()
    while True:
        guest = _guests.get(loop)
        if guest is None:
            guest = _guests[loop] = _begin(loop)
        if await guest.enter():
            return guest


def _begin(loop: asyncio.AbstractEventLoop) -> Guest:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return Guest(loop)
    raise RuntimeError(
        "trio runs in this thread already, and there can be one run: use roam_trio "
        "itself in it, and not roam_trio.contrib.asyncio"
    )


def guest_of_loop() -> Guest | None:
    """Return the run of trio of the running loop, if there is one."""
    return _guests.get(asyncio.get_running_loop())


def guest_here() -> Guest:
    """Return the run of trio in which this code runs.

    Raises:
        RuntimeError: it is not the guest of an asyncio loop.
    """
    try:
        return _here.get()
    except LookupError:
        raise RuntimeError(
            "a handler on asyncio needs a server or a client of "
            "roam_trio.contrib.asyncio around it"
        ) from None


async def in_trio(
    function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Await an async function of trio, from a task of asyncio.

        await in_trio(current_call().draining.wait)

    The function runs in a task of trio, with the context variables of this task. If
    this task is cancelled, so is the function; its end is waited for, and its result is
    lost.

    Args:
        function: an async function that needs trio.
        args: its arguments.
        kwargs: its keyword arguments.

    Raises:
        RuntimeError: another run of trio is in this thread.
        Exception: what the function raises.
    """
    guest = await acquire()
    try:
        return await guest.run(partial(function, *args, **kwargs))
    finally:
        await guest.release()


async def in_asyncio(
    function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Await an async function of asyncio, from a task of trio in the same loop.

    The function runs in a task of asyncio, with the context variables of this task. If
    this task is cancelled, so is the function, and its end is waited for.

    Args:
        function: an async function that needs asyncio.
        args: its arguments.
        kwargs: its keyword arguments.

    Raises:
        CallCancelled: something else has cancelled the task.
        RuntimeError: this is not the run of trio of an asyncio loop.
        Exception: what the function raises.
    """

    guest, task = guest_here(), current_task()
    awaited = _await(partial(function, *args, **kwargs))
    del args, kwargs  # only the function holds them now
    there = guest.loop.create_task(awaited, context=copy_context())
    del awaited
    there.add_done_callback(partial(_wake, guest, task))
    cancelled: list[RaiseCancel] = []
    try:
        await wait_task_rescheduled(partial(_cancel, there, cancelled))
        if not there.cancelled():
            return there.result()
    finally:
        del there  # or else an error would hold this frame, and this frame the error
    if cancelled:
        cancelled[0]()
    raise CallCancelled("the task of asyncio was cancelled")


async def _await(function: Callable[[], Awaitable[T]]) -> T:
    # Called here: a task may be cancelled before its first step, and then the coroutine
    # of the function would never be awaited.
    awaited = function()
    del function  # and what it holds
    return await awaited


def _wake(guest: Guest, task: Task, _: object) -> None:
    guest.turns.wake()
    reschedule(task)


def _cancel(
    there: asyncio.Task[Any], cancelled: list[RaiseCancel], raise_cancel: RaiseCancel
) -> Abort:
    """Cancel a task of asyncio; the one of trio waits for its end."""
    cancelled.append(raise_cancel)
    if there.get_loop().is_closed():
        return Abort.SUCCEEDED  # it will never go on
    there.cancel()
    return Abort.FAILED
