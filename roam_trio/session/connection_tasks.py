"""The tasks of a connection that are not handlers, in a nursery opened on demand."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial

import trio

from .port import Port
from .workers import Workers

__all__ = ["ConnectionTasks"]


class ConnectionTasks:
    """Runs the tasks of a connection, which end with it.

    The nursery opens with the first task: an idle connection has none.

    Args:
        port: the connection.
        workers: run something in a task of the session's.
    """

    __slots__ = (
        "_before_nursery",
        "_nursery",
        "_port",
        "_workers",
        "are_over",
    )

    def __init__(self, port: Port, workers: Workers) -> None:
        self._port = port
        # Not its method: a bound one takes 64 bytes, and there may be very many of
        # these.
        self._workers = workers
        self._nursery: trio.Nursery | None = None
        self._before_nursery: list[Callable[[], object]] | None = None
        self.are_over = False
        """True if no task can be started any more."""

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        """Run something in a task of the connection's."""
        if self._nursery is not None:
            self._nursery.start_soon(function, *args)
            return
        if self._before_nursery is None:
            self._before_nursery = []
            self._workers.start_soon(self.run)
        # The task that starts it then is not the one that asks for it now.
        context = copy_context()
        self._before_nursery.append(
            partial(context.run, self.start_soon, function, *args)
        )

    async def run(self) -> None:
        """Hold the tasks until cancelled; a task of the session's."""
        async with trio.open_nursery() as self._nursery:
            if self._port.ended_because is not None:
                self._nursery.cancel_scope.cancel()
            # Also when the connection has ended: each is to run until its first
            # checkpoint, as in any nursery. This frame, which lives on, must keep none
            # of their arguments.
            starts, self._before_nursery = deque(self._before_nursery or ()), None
            while starts:
                starts.popleft()()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self.are_over = True

    def cancel(self) -> None:
        """Cancel the tasks; the connection has ended."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
