"""The table of who writes what is committed to a link on a stream, and when.

A payload that is committed alone waits for the pump, which runs after all tasks that
are ready now and so writes together whatever they commit. Two cases need no pump. The
reader of a session *corks* the link while it dispatches what one read has brought, and
*uncorks* it afterwards: all the answers go out in one write. And if nothing was
committed meanwhile, the next payload will most likely come alone, as the response to
a lone request does: it is written by its own commit.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["TABLE", "Event", "Mode", "Write"]


class Write(enum.Enum):
    """Actions that a link takes at once, as far as its pump is at rest."""

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
    """Writers of what is committed next.

    Attributes:
        on_commit, on_cork, on_uncork, on_uncork_prompt, on_uncork_idle: the row of
            `TABLE`, as attributes, since a look-up by two keys takes longer.
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
"""By the mode and the event: the next mode, and what is to be done."""

for _mode, _row in TABLE.items():
    for _event, _step in _row.items():
        setattr(_mode, f"on_{_event.name.lower()}", _step)
