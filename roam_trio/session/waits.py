"""The tasks of a session that wait for what only the peer or this program can give.

A task that is about to wait for credit, for room in the link, or for a slot below the
peer's ``max_concurrent_requests`` notes that here. If it waits for longer than
`Limits.warn_after`, that is logged once. Instead of a timer for each wait, one task of
the session watches all waits. It starts with the first wait. It ends at most
`Limits.warn_after` after the last one, because ending it with each wait would cost more
than the wait.

The log records and their times are decided without a run of trio.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Protocol

import trio

from ..logs import Log
from ..rpc.method_names import method_name
from ..wire.ids import ChannelId, ConnectionId, MethodId
from .statistics import WaitStatistics
from .terms import SessionTerms, in_session

__all__ = ["Wait", "WaitFor", "Waits"]

logger = Log("roam_trio.session")


class WaitFor(enum.Enum):
    """The things that a task can wait for."""

    CREDIT = "credit: the receiver takes no items"
    ROOM = "room in the link: the peer does not read"
    SLOT = (
        "one of the calls in flight to end: the peer accepts no more at a time "
        "(max_concurrent_requests)"
    )


class Wait:
    """A task that waits.

    Attributes:
        what: the thing that it waits for.
        connection_id: the connection.
        channel_id: the channel, if an item waits.
        method_id: the method, if a call waits.
        since: the time at which it began to wait, in seconds.
        is_logged: True if it has been logged.
    """

    __slots__ = (
        "channel_id",
        "connection_id",
        "is_logged",
        "method_id",
        "since",
        "what",
    )

    def __init__(
        self,
        what: WaitFor,
        connection_id: ConnectionId,
        channel_id: ChannelId | None,
        method_id: MethodId | None,
        since: float,
    ) -> None:
        self.what = what
        self.connection_id = connection_id
        self.channel_id = channel_id
        self.method_id = method_id
        self.since = since
        self.is_logged = False

    @property
    def method(self) -> str | None:
        """The name of the method, if a call waits."""
        return None if self.method_id is None else method_name(self.method_id)

    @property
    def who(self) -> str:
        """The call, item or response that waits, for the log."""
        if self.method_id is not None:
            return f"a call of {method_name(self.method_id)}"
        if self.channel_id is not None:
            return f"an item of channel {self.channel_id}"
        return "a response"

    def statistics(self, now: float) -> WaitStatistics:
        """Return a description of this wait for `Session.statistics`."""
        return WaitStatistics(
            self.what.name.lower(), self.channel_id, self.method_id, now - self.since
        )


class Starter(Protocol):
    """The interface of `Workers` for a task beside the handlers."""

    def start_soon(self, function: Callable[[], Awaitable[None]], /) -> None:
        """Start a task."""
        ...


class Waits:
    """The tasks of one session that wait.

    Args:
        terms: the terms of the session; ``limits.warn_after`` is the number of seconds
            after which a wait is logged, or infinite.
        now: returns the time, in seconds.
        workers: run the task that watches. A bound method in their place would take 64
            bytes of each session.
    """

    __slots__ = (
        "_is_watched",
        "_now",
        "_terms",
        "_waiting",
        "_workers",
        "calls",
    )

    def __init__(
        self,
        terms: SessionTerms,
        now: Callable[[], float],
        workers: Starter,
    ) -> None:
        self._terms = terms
        self._now = now
        self._workers = workers
        # In the order of their beginning; None for an idle session.
        self._waiting: dict[Wait, None] | None = None
        self._is_watched = False
        self.calls = 0
        """Number of calls that wait for a slot or for room."""

    @property
    def _after(self) -> float:
        return self._terms.limits.warn_after

    def begin(
        self,
        what: WaitFor,
        connection_id: ConnectionId,
        *,
        channel_id: ChannelId | None = None,
        method_id: MethodId | None = None,
    ) -> Wait:
        """Note that a task is about to wait. The task passes the result to `end`."""
        wait = Wait(what, connection_id, channel_id, method_id, self._now())
        if self._waiting is None:
            self._waiting = {}
        self._waiting[wait] = None
        if not self._is_watched and self._after < math.inf:
            self._is_watched = True
            # Not in the context of the task that happens to wait first.
            Context().run(self._workers.start_soon, self.watch)
        return wait

    def end(self, wait: Wait) -> None:
        """Note that a task waits no longer, whatever the reason."""
        assert self._waiting is not None, "it has begun"
        del self._waiting[wait]
        if not self._waiting:
            self._waiting = None

    def next_at(self) -> float | None:
        """Return the time at which the next wait is due for the log; None without one.

        The next one is the oldest that is not logged.
        """
        for wait in self._waiting or ():
            if not wait.is_logged:
                return wait.since + self._after
        return None

    def take_due(self) -> list[Wait]:
        """Return the waits that are due for the log now; each is returned once."""
        now, after = self._now(), self._after
        due = [
            wait
            for wait in self._waiting or ()
            # The same sum as in `next_at`: a difference could be rounded so that the
            # wait for which `watch` woke up is not due, and `watch` would not sleep.
            if not wait.is_logged and wait.since + after <= now
        ]
        for wait in due:
            wait.is_logged = True
        return due

    async def watch(self) -> None:
        """Log waits that last too long, until there is none left to log."""
        try:
            while (next_at := self.next_at()) is not None:
                await trio.sleep_until(next_at)
                self._log(self.take_due())
        finally:
            self._is_watched = False

    def _log(self, due: list[Wait]) -> None:
        with in_session(self._terms):
            for wait in due:
                logger.warning(
                    "connection %d: %s has waited for %g s for %s (limit: warn_after)",
                    wait.connection_id,
                    wait.who,
                    self._after,
                    wait.what.value,
                    connection=wait.connection_id,
                    method=wait.method,
                )

    def close(self) -> None:
        """Start no more tasks, because the session has ended."""
        self._is_watched = True

    def statistics(self, connection_id: ConnectionId) -> tuple[WaitStatistics, ...]:
        """Return the waits on one connection, the oldest first."""
        now = self._now()
        return tuple(
            wait.statistics(now)
            for wait in self._waiting or ()
            if wait.connection_id == connection_id
        )

    def __repr__(self) -> str:
        return f"<Waits: {len(self._waiting or ())} waiting>"
