"""Messages for channels that are not bound: those that come early, and those too late.

Early ones belong to a call whose handler has not taken up its channels yet, or, from
peers with several threads, to a call that is only just coming. They are kept, within
bounds, until the channel is bound. Late ones belong to a channel that has ended, which
its peer did not know when it sent them; nothing is kept of them.
"""

from __future__ import annotations

from collections import deque

from ..limits import Limits
from ..wire.messages import ChannelMessage
from .held_messages import HeldMessages

__all__ = ["Strays"]


class Strays:
    """Messages of one connection for channels that are not bound, kept or
    remembered."""

    __slots__ = ("_early", "_ended", "_limits", "held", "late")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._early: dict[int, deque[ChannelMessage]] = {}
        self._ended: dict[int, None] = {}
        self.held = HeldMessages(
            limits, "early_items", "early_bytes", "wait for channels that are not bound"
        )
        self.late = 0
        """Number of messages that came too late."""

    def add(self, message: ChannelMessage) -> None:
        """Keep `message` if it is early.

        Raises:
            LimitExceeded: too many are kept already.
        """
        channel_id = message.channel_id
        if channel_id in self._ended:
            self.late += 1
            return
        self.held.add(message)
        self._early.setdefault(channel_id, deque()).append(message)

    def take(self, channel_id: int) -> deque[ChannelMessage]:
        """Return what came early for a channel that is bound now, in order."""
        if not self._early:
            return _NOTHING
        messages = self._early.pop(channel_id, _NOTHING)
        for message in messages:
            self.held.remove(message)
        return messages

    def has_ended(self, channel_id: int) -> bool:
        """Return True if messages for this channel are late ones, and not early."""
        return channel_id in self._ended

    def end(self, channel_id: int) -> None:
        """The channel has ended, or no handler ever took it up."""
        self.take(channel_id)
        self._ended[channel_id] = None
        if len(self._ended) > self._limits.channels:
            del self._ended[next(iter(self._ended))]

    def clear(self) -> None:
        """The connection has ended."""
        self._early.clear()
        self._ended.clear()
        self.held.clear()


_NOTHING: deque[ChannelMessage] = deque(maxlen=0)
