"""What all parts of a world share: its time, its log, and how sessions are set up."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import trio

from roam_trio import (
    AnyCall,
    Limits,
    Proceed,
    SessionKeepaliveConfig,
    StableLimits,
    dispatcher,
)
from roam_trio.service import Dispatcher

from .clockwork import Clockwork
from .script import Script
from .work import Broken, MadeCall, Planned, Work, Worker

__all__ = [
    "LOST_CLIENTS",
    "MOST_HELD",
    "MOST_UNREAD",
    "RESUME_SECONDS",
    "Stage",
    "first_of",
]

RESUME_SECONDS = 60.0
"""How long either side tries to go on when a link is lost."""

LOST_CLIENTS = 6
"""How many lost clients a server waits for: more than there are, and fewer than there
are strangers."""

MOST_UNREAD = 1024 * 1024
"""`Limits.unread_bytes`, more than credit allows."""

MOST_HELD = 64 * 1024 * 1024
"""`Limits.session_bytes`, more than is ever held."""


class Stage:
    """Time, log and options.

    Args:
        script: what will happen.
        call_of: returns a call by its number.

    Attributes:
        log: what has happened, and when.
        figures: how much of what there was.
        broken: what has gone wrong first.
        nursery: for all of it; it is cancelled when something goes wrong.
        middleware: of all calls, on both sides.
        worker: answers all calls.
        stable_limits: bounds of links that resume.
        options: those of both sides of all sessions.
    """

    nursery: trio.Nursery

    def __init__(self, script: Script, call_of: Callable[[int], MadeCall]) -> None:
        self.seed = script.seed
        self.setup = setup = script.setup
        self.log: list[tuple[object, ...]] = []
        self.figures: Counter[str] = Counter()
        self.broken: BaseException | None = None
        self.clockwork = Clockwork()
        self.middleware = (self._go_through,) if setup.middleware else ()
        self.worker: Dispatcher = dispatcher(
            Work, Worker(call_of, self.note), middleware=self.middleware
        )
        self.stable_limits = StableLimits(
            unacknowledged_frames=setup.frames,
            acknowledge_frames=max(setup.frames // 2, 1),
            resume_seconds=RESUME_SECONDS,
            lost_clients=LOST_CLIENTS,
        )
        self.options: dict[str, Any] = {
            "max_concurrent_requests": setup.requests,
            "keepalive": SessionKeepaliveConfig() if setup.keepalive else None,
            "limits": Limits(
                unread_bytes=MOST_UNREAD,
                early_bytes=MOST_UNREAD,
                session_bytes=MOST_HELD,
                session_tasks=setup.tasks,
            ),
            "strict": setup.strict,
            "deadlines": setup.deadlines,
            "cancel_grace": setup.cancel_grace,
            "max_waiting": setup.most_waiting,
        }

    def begin(self) -> None:
        """Begin to count the time."""
        self._began = trio.current_time()

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return trio.current_time() - self._began

    def note(self, what: str, *args: object) -> None:
        """Put an event into the log."""
        self.log.append((self.seconds, what, *args))

    def broke(self, error: BaseException) -> None:
        """Something that has to hold does not: come to the end."""
        if self.broken is None:
            self.broken = error
            self.nursery.cancel_scope.cancel()

    async def _go_through(self, call: AnyCall, proceed: Proceed) -> Any:
        """See `Middleware`: every call of either side goes through it once."""
        self.figures["through middleware"] += 1
        return await proceed()

    def watch_log(self) -> _WatchedLog:
        """Return a context in which a failure that the package logs is one here."""
        return _WatchedLog(self.broke)


class _WatchedLog(logging.Handler):
    """Takes what is logged as failed for a failure, unless it is planned."""

    def __init__(self, broke: Callable[[BaseException], None]) -> None:
        super().__init__(logging.WARNING)
        self._broke = broke
        self._logger = logging.getLogger("roam_trio")

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            first = first_of(error)
            if not isinstance(first, Planned):
                self._broke(first)
        elif record.levelno >= logging.ERROR:
            self._broke(Broken("an error in the log", record.getMessage()))

    def __enter__(self) -> None:
        self._propagates, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self)

    def __exit__(self, *args: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagates


def first_of(error: BaseException) -> BaseException:
    """Return what has gone wrong first, out of groups."""
    while isinstance(error, BaseExceptionGroup):
        inner: Sequence[BaseException] = error.exceptions
        ours = [one for one in inner if not isinstance(one, trio.Cancelled)]
        error = (ours or inner)[0]
    return error
