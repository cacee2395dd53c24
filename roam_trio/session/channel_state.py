"""The states of a channel, and who is told of its end, for both kinds of ends."""

from __future__ import annotations

import enum

from ..rpc.sinks import Ended

__all__ = ["OPEN", "ChannelState", "WithEnd"]


class ChannelState(enum.Enum):
    """States of a channel."""

    OPEN = "open"
    CLOSED = "closed"
    """By its sender, who is done."""
    RESET = "reset"
    """By its receiver, who wants no more."""
    RESET_BY_SENDER = "reset by its sender"
    """By its sender, as some peers do when they are reset themselves."""
    LOST = "lost"
    """Its connection has ended, or its call has failed."""


OPEN: ChannelState = ChannelState.OPEN
"""A name of its own, because every item asks for it. It is no `Final`, or type checkers
would take the state for unchanged after a call."""


class WithEnd:
    """The end of a channel, of which others can be told."""

    __slots__ = ("_lost_because", "_when_ended", "state")

    def __init__(self) -> None:
        self._lost_because: BaseException | None = None
        self._when_ended: tuple[Ended, ...] = ()
        self.state = OPEN

    def when_ended(self, function: Ended) -> None:
        if self.state is OPEN:
            self._when_ended += (function,)
        else:
            function(self._lost_because)

    def _tell_end(self) -> None:
        for function in self._when_ended:
            function(self._lost_because)
