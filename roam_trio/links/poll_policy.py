"""The policy of busy polling: when a task may look at a socket in place of waiting.

A task that looks at its socket holds up all other tasks of its run of trio. So it looks
only if no other task is ready to run, if the sessions that poll have not taken turns of
late, and at most `MOST_IN_A_ROW` times without a turn of trio's loop, in which tasks
become ready whose sockets or deadlines are. Looks that find nothing cost processor
time, so each one in a row makes the next pause longer.

There is one policy for all sessions of a run, and it needs no run itself: `polling`
tells it which tasks are ready.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "LONGEST_PAUSE",
    "MOST_IN_A_ROW",
    "PAUSE",
    "UNUSED_STEPS",
    "Found",
    "PollPolicy",
]

MOST_IN_A_ROW: Final = 8
"""Number of looks without a turn of trio's loop in between."""

PAUSE: Final = 8
"""Number of times that a session waits without a look, after another session was
active or another task was ready."""

LONGEST_PAUSE: Final = 63
"""The same after looks in vain, at most."""

UNUSED_STEPS: Final = 64
"""Number of steps of tasks without a look, after which ready tasks are not counted any
more: that costs about 1 us for each step."""


class Found(enum.Enum):
    """Results of a look for one payload."""

    IT = "that payload, and it is taken"
    NOTHING = "nothing in all the time"
    OTHER = "something else, which is left to who receives"


class PollPolicy:
    """Decides who may look, in one run of trio."""

    __slots__ = (
        "_left",
        "_misses",
        "_pause",
        "_session",
        "_unused",
        "is_exact",
        "ready",
    )

    def __init__(self) -> None:
        self.ready: set[object] = set()
        """The tasks that are ready to run, without the running one."""
        self.is_exact = False
        """True if `ready` has all of them."""
        self._left = 0
        self._session: object = None
        self._pause = 0
        self._misses = 0
        self._unused = 0

    # ------------------------------------------------ what the loop does

    def begin(self) -> None:
        """Note that tasks are counted from now on. Some may be ready already."""
        self._unused = 0

    def note_all(self) -> None:
        """Note that every task that is ready has been counted, in a step that has just
        begun."""
        self.is_exact = True
        self._left = MOST_IN_A_ROW

    def end(self) -> None:
        """Note that tasks are not counted any more."""
        self.ready.clear()
        self.is_exact = False
        self._left = 0

    def on_scheduled(self, task: object) -> None:
        """Note that a task is ready to run."""
        self.ready.add(task)

    def on_step(self, task: object) -> bool:
        """Note that a task runs; return True if no session needs to know."""
        self.ready.discard(task)
        if self.is_exact:  # it has waited, and the loop has taken a turn
            self._left = MOST_IN_A_ROW
        self._unused += 1
        return self._unused > UNUSED_STEPS

    # ------------------------------------------------ what sessions do

    def wants(self, session: object) -> bool:
        """Note that a session is going to wait; return True unless there is a pause."""
        if session is not self._session:
            self._session, self._pause, self._misses = session, PAUSE, 0
        if self._pause:
            self._pause -= 1
            return False
        return True

    def may_look(self, session: object) -> bool:
        """Return True if a session may look now."""
        return (
            self._left > 0
            and not self.ready
            and not self._pause
            and session is self._session
        )

    def found(self) -> None:
        """Note that a look has found what it was for."""
        self._left -= 1
        self._misses = self._unused = 0

    def missed(self) -> None:
        """Note that a look has taken all of its time and has found nothing."""
        self._left -= 1
        self._unused = 0
        self._pause = min((1 << self._misses) - 1, LONGEST_PAUSE)
        self._misses = min(self._misses + 1, 6)

    def disturbed(self) -> None:
        """Note that another task was ready, or that something else was found."""
        self._pause = PAUSE

    def __repr__(self) -> str:
        exact = "" if self.is_exact else ", or more"
        return f"<PollPolicy {len(self.ready)} ready{exact}, {self._left} looks left>"
