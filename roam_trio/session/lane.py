"""A lane: messages of joined channels on their way to one side of a proxy, in order.

Towards each side of a proxy there is one. What is sent at once, what is held, what is
dropped and when it is too much is decided without waiting; `carry`, `reached` and
`delivered` wait for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from ..conduits.base import ConduitTxPermit
from ..errors import LimitExceeded, PayloadTooLarge, RoamTrioError
from ..limits import Limits
from ..wire.ids import ChannelId
from ..wire.messages import ChannelClose, ChannelMessage, ChannelReset, Message
from .held_messages import HeldMessages

__all__ = ["Lane", "carry", "delivered", "reached"]


class JoinedChannels(Protocol):
    """The interface of the channels of a connection for a lane to it."""

    def is_relayed(self, channel_id: ChannelId) -> bool:
        """Return True if the channel is joined to one of another connection."""
        ...

    def part(self, channel_id: ChannelId) -> None:
        """Relay no more for a channel."""
        ...


class Sender(Protocol):
    """The interface of an `Outbox` for a lane."""

    def has_room(self) -> bool:
        """Return True if a message could be sent now."""
        ...

    def send_nowait(self, message: Message) -> None:
        """Send a message, right after `has_room` has said yes."""
        ...


class Permits(Protocol):
    """The interface of an `Outbox` for who waits for room."""

    async def reserve(self) -> ConduitTxPermit[Message]:
        """Wait for a permit to send one message."""
        ...


class Lane:
    """Messages of channels on their way to one side, in order.

    A message goes only as long as its channel is joined to something there: what is
    held for a channel that has been reset, or whose request failed, is dropped.

    Args:
        channels: the channels of the connection there.
        outbox: where messages go.
        limits: what the peer can make this side hold.
        fail: called with the reason when more is held than may be, or a message is too
            large to pass. It closes the lane.
    """

    __slots__ = (
        "_channels",
        "_fail",
        "_held",
        "_is_open",
        "_outbox",
        "_size",
        "on_answered",
        "on_arrival",
        "responses",
    )

    def __init__(
        self,
        channels: JoinedChannels,
        outbox: Sender,
        limits: Limits,
        fail: Callable[[str], None],
    ) -> None:
        self._channels = channels
        self._outbox = outbox
        self._fail = fail
        self._is_open = True
        self._held: deque[ChannelMessage | Callable[[], None]] = deque()
        self._size = HeldMessages(
            limits, "proxied_items", "proxied_bytes", "wait for a peer that reads none"
        )
        self.on_arrival: Callable[[], None] = _do_nothing
        """Called when a message is held that there was no room for."""
        self.responses = 0
        """Number of responses that are about to be sent to this side."""
        self.on_answered: Callable[[], None] = _do_nothing
        """Called when the last of them has been sent, or never will be."""

    @property
    def is_empty(self) -> bool:
        """True if no messages are queued."""
        return not self._held

    def forward(self, message: ChannelMessage) -> None:
        """Send `message`, or hold it until there is room. Never waits."""
        if not self._is_open or not self._channels.is_relayed(message.channel_id):
            return
        if not self._held and self._outbox.has_room():
            self.send(self._outbox.send_nowait, message)
        elif self.count(message):
            self.hold(message)

    def hold(self, message: ChannelMessage) -> None:
        """Queue a counted message behind those that are held."""
        self._held.append(message)
        self.on_arrival()

    def count(self, message: ChannelMessage) -> bool:
        """Count a message that is held; whether it may be. The limit ends the proxy."""
        if self._is_open:
            try:
                self._size.add(message)
            except LimitExceeded as error:
                self._fail(error.description)
        return self._is_open

    def discount(self, message: ChannelMessage) -> None:
        """A message that was counted is held no longer."""
        if self._is_open:
            self._size.remove(message)

    def take(self) -> ChannelMessage | None:
        """Return the first message that is held and still wanted. What waits for those
        before it is told that they are gone."""
        while self._held:
            first = self._held.popleft()
            if callable(first):
                first()
                continue
            self.discount(first)
            if self._channels.is_relayed(first.channel_id):
                return first
        return None

    def send(self, send: Callable[[Message], None], message: ChannelMessage) -> None:
        """Send a message by a function that does it at once."""
        try:
            send(message)
        except PayloadTooLarge as error:
            self._fail(f"an item cannot pass: {error}")
            return
        except RoamTrioError:
            return  # the session ends, and with it this side of the proxy
        if isinstance(message, ChannelClose | ChannelReset):
            self._channels.part(message.channel_id)

    def after_held(self, call: Callable[[], None]) -> bool:
        """Have `call` called when all that is held now has been sent.

        Returns:
            False if nothing is held, and it is not called.
        """
        if self._held:
            self._held.append(call)
            return True
        return False

    def begin_response(self) -> None:
        """A response to this side is there, and about to be sent."""
        self.responses += 1

    def end_response(self) -> None:
        """It has been sent, or never will be."""
        self.responses -= 1
        if not self.responses:
            self.on_answered()

    def close(self) -> None:
        """Carry nothing more, and let go of what is held."""
        self._is_open = False
        held = list(self._held)
        self._held.clear()
        self._size.clear()
        for each in held:
            if callable(each):
                each()
        self._fail = _do_nothing  # the proxy holds this, and is to be gone at once

    def __repr__(self) -> str:
        return f"<Lane {self._size!r}>"


async def carry(lane: Lane, outbox: Permits) -> None:
    """Send what a lane holds as room comes, until cancelled."""
    while True:
        if lane.is_empty:
            arrived = trio.Event()
            lane.on_arrival = arrived.set
            await arrived.wait()
            lane.on_arrival = _do_nothing
        try:
            with await outbox.reserve() as permit:
                message = lane.take()
                if message is not None:
                    lane.send(permit.send, message)
        except RoamTrioError:
            return  # the session ends, and with it this side of the proxy


async def reached(lane: Lane) -> None:
    """Wait until all that is held now has been sent: nothing later overtakes it."""
    gone = trio.Event()
    if lane.after_held(gone.set):
        await gone.wait()


async def delivered(lane: Lane) -> None:
    """Wait until nothing is on its way any more, responses included.

    The tasks of earlier responses have already called `begin_response`, because they
    were woken before the task that waits for the end.
    """
    while lane.responses:
        answered = trio.Event()
        lane.on_answered = answered.set
        await answered.wait()
    await reached(lane)


def _do_nothing(*args: object) -> None:
    pass
