"""The write policy of stream links: a table of the tasks that write, and when.

A committed payload waits for the pump, which runs after all tasks that are ready now,
and therefore writes all their payloads together. Two cases need no pump. The reader of
a session *corks* the link while it dispatches everything that one read returned, and
*uncorks* it afterwards: all the answers are one write. If nothing was committed in that
time, the next payload will most likely be a single one, as the response to a single
request is, and its commit writes it.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["TABLE", "Event", "Mode", "Write"]


class Write(enum.Enum):
    """Actions that a link takes at once, if its pump is idle."""

    NOTHING = "leave it to what comes next"
    WAKE = "wake the pump"
    NOW = "write what is unsent, without waiting"


class Event(enum.Enum):
    """Events of a link."""

    COMMIT = "a payload was committed"
    CORK = "more is about to be committed"
    UNCORK = "no more will be committed, and something is unsent"
    UNCORK_PROMPT = "no more will be committed, nothing is unsent, the next comes alone"
    UNCORK_IDLE = "no more will be committed, and nothing is unsent"


class Mode(enum.Enum):
    """Modes, which determine the writer of the next payload.

    Attributes:
        on_commit, on_cork, on_uncork, on_uncork_prompt, on_uncork_idle: the row of
            `TABLE`, as attributes, because a lookup by two keys takes longer.
    """

    PUMP = "the pump, with all that is committed before its turn"
    UNCORK = "whoever uncorks"
    COMMIT = "the commit itself"

    on_commit: tuple[Mode, Write]
    on_cork: tuple[Mode, Write]
    on_uncork: tuple[Mode, Write]
    on_uncork_prompt: tuple[Mode, Write]
    on_uncork_idle: tuple[Mode, Write]


TABLE: Final[dict[Mode, dict[Event, tuple[Mode, Write]]]] = {
    Mode.PUMP: {
        Event.COMMIT: (Mode.PUMP, Write.WAKE),
        Event.CORK: (Mode.UNCORK, Write.NOTHING),
        Event.UNCORK: (Mode.PUMP, Write.NOW),
        Event.UNCORK_PROMPT: (Mode.COMMIT, Write.NOTHING),
        Event.UNCORK_IDLE: (Mode.PUMP, Write.NOTHING),
    },
    Mode.UNCORK: {
        Event.COMMIT: (Mode.UNCORK, Write.NOTHING),
        Event.CORK: (Mode.UNCORK, Write.NOTHING),
        Event.UNCORK: (Mode.PUMP, Write.NOW),
        Event.UNCORK_PROMPT: (Mode.COMMIT, Write.NOTHING),
        Event.UNCORK_IDLE: (Mode.PUMP, Write.NOTHING),
    },
    Mode.COMMIT: {
        Event.COMMIT: (Mode.PUMP, Write.NOW),
        Event.CORK: (Mode.UNCORK, Write.NOTHING),
        Event.UNCORK: (Mode.PUMP, Write.NOW),
        Event.UNCORK_PROMPT: (Mode.COMMIT, Write.NOTHING),
        Event.UNCORK_IDLE: (Mode.PUMP, Write.NOTHING),
    },
}
"""The next mode and the action, for each mode and event."""

for _mode, _row in TABLE.items():
    for _event, _step in _row.items():
        setattr(_mode, f"on_{_event.name.lower()}", _step)
