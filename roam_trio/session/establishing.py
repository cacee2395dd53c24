"""`establish`, which sets up a session in a task that the program starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import trio

from ..errors import SessionError
from ..kept_errors import copy_of
from ..running import check_trio_runs
from .refusal import REFUSALS
from .session import Session

__all__ = ["BoxSessionFuture", "SpawnSession", "check_spawn", "establish"]

BoxSessionFuture: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""The whole work of one session, for the function that is given as ``spawn=``.

An async function without arguments. Call it once, in a task that can last as long as
the session. It returns when the session has ended, for any reason. It raises only a
`BaseException` of a handler that is not an `Exception`. Cancelling it ends the session.
"""

SpawnSession: TypeAlias = Callable[[BoxSessionFuture], object]
"""Starts a task that runs the session, and returns at once: for example
``nursery.start_soon`` or ``trio.lowlevel.spawn_system_task``."""


def check_spawn(
    instance: object, attribute: object, spawn: SpawnSession | None
) -> None:
    """Check a ``spawn=``; a validator of attrs.

    Raises:
        TypeError: it is neither None nor a function.
    """
    if spawn is not None and not callable(spawn):
        raise TypeError(
            "spawn: expected a function that starts a task, such as "
            f"nursery.start_soon, got an object of type {type(spawn).__name__}"
        )


async def establish(session: Session, spawn: SpawnSession) -> Session:
    """Start `session` by `spawn`, and wait until it is set up; see `initiator`.

    Raises:
        SessionError: it could not be set up.
        Refused, Unavailable: the peer has turned this side away, or this side the
            peer.
        TypeError: `spawn` is an async function.
    """
    check_trio_runs("a session")
    task = _SessionTask(session)
    _start(task.run, spawn)
    await task.wait_until_settled()
    if not task.is_set_up:
        assert session.ended_because is not None, "its task sees to that"
        raise copy_of(session.ended_because)
    return session


def _start(run: BoxSessionFuture, spawn: SpawnSession) -> None:
    result = spawn(run)
    if inspect.iscoroutine(result):
        # Nothing would run it, so the session would never be set up.
        result.close()
        raise TypeError(
            "spawn: expected a function that starts a task and returns, such as "
            "nursery.start_soon, got an async function"
        )


class _SessionTask(trio.TaskStatus[Session]):
    """The task of a session, and whether the session is set up."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._scope = trio.CancelScope()
        self._settled = trio.Event()
        self.is_set_up = False

    async def run(self) -> None:
        """Run the session; a `BoxSessionFuture`."""
        try:
            with self._scope:
                await self._session.run(task_status=self)
        except (SessionError, *REFUSALS):
            pass  # It was not set up; `establish` raises this in its own task.
        finally:
            self._settled.set()

    def started(self, value: Session) -> None:
        self.is_set_up = True
        self._settled.set()

    async def wait_until_settled(self) -> None:
        """Wait until the session is set up or has ended. Cancelled, end it."""
        try:
            await self._settled.wait()
        except trio.Cancelled:
            self._scope.cancel()
            raise
