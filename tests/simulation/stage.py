"""What all parts of a world of sessions share: how sessions are set up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roam_trio import (
    AnyCall,
    Limits,
    Proceed,
    SessionKeepaliveConfig,
    StableLimits,
    dispatcher,
)
from roam_trio.service import Dispatcher

from .progress import Progress
from .script import Script
from .work import MadeCall, Work, Worker

__all__ = [
    "LOST_CLIENTS",
    "MOST_HELD",
    "MOST_UNREAD",
    "RESUME_SECONDS",
    "Stage",
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


class Stage(Progress):
    """Time, log and options.

    Args:
        script: what will happen.
        call_of: returns a call by its number.

    Attributes:
        middleware: of all calls, on both sides.
        worker: answers all calls.
        stable_limits: bounds of links that resume.
        options: those of both sides of all sessions.
    """

    def __init__(self, script: Script, call_of: Callable[[int], MadeCall]) -> None:
        super().__init__(script.seed)
        self.setup = setup = script.setup
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

    async def _go_through(self, call: AnyCall, proceed: Proceed) -> Any:
        """See `Middleware`: every call of either side goes through it once."""
        self.figures["through middleware"] += 1
        return await proceed()
