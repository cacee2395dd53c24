"""Messages of joined channels that wait to be sent to one side of a proxy, in order.

A proxy has one queue for each side. The queue decides without waiting whether a message
is sent at once, held or dropped, and when too much is held. `send_queued`,
`wait_until_sent` and `wait_until_idle` do the waiting.
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
from .budgets import Budget
from .held_messages import HeldMessages

__all__ = ["RelayQueue", "send_queued", "wait_until_idle", "wait_until_sent"]


class JoinedChannels(Protocol):
    """The interface of a connection's channels, as a queue to it uses it."""

    def is_relayed(self, channel_id: ChannelId) -> bool:
        """Return True if the channel is joined to one of another connection."""
        ...

    def stop_relaying(self, channel_id: ChannelId) -> None:
        """Relay no further messages of a channel."""
        ...


class Sender(Protocol):
    """The interface of an `Outbox`, as a queue uses it."""

    def has_room(self) -> bool:
        """Return True if a message could be sent now."""
        ...

    def send_nowait(self, message: Message) -> None:
        """Send a message, right after `has_room` has returned True."""
        ...


class Permits(Protocol):
    """The interface of an `Outbox`, as a task that waits for room uses it."""

    async def reserve(self) -> ConduitTxPermit[Message]:
        """Wait for a permit to send one message."""
        ...


class RelayQueue:
    """Messages of channels that wait to be sent to one side, in order.

    A message is sent only while its channel is joined to one on that side. A message
    held for a channel that has been reset, or whose request failed, is dropped.

    Args:
        channels: the channels of the connection on that side.
        outbox: where messages go.
        limits: what the peer can make this side hold.
        fail: called with the reason when more is held than the limits allow, or a
            message is too large for that side. It closes the queue.
        budget: the budget of the session of that side; None for none.
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
        budget: Budget | None = None,
    ) -> None:
        self._channels = channels
        self._outbox = outbox
        self._fail = fail
        self._is_open = True
        self._held: deque[ChannelMessage | Callable[[], None]] = deque()
        self._size = HeldMessages(
            limits,
            "proxied_items",
            "proxied_bytes",
            "wait for a peer that reads none",
            budget,
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
        """Count a message to be held. Return False if it may not be held.

        A message beyond the limits ends the proxy.
        """
        if self._is_open:
            try:
                self._size.add(message)
            except LimitExceeded as error:
                self._fail(error.description)
        return self._is_open

    def discount(self, message: ChannelMessage) -> None:
        """Stop counting a message that is no longer held."""
        if self._is_open:
            self._size.remove(message)

    def take(self) -> ChannelMessage | None:
        """Remove and return the first held message whose channel is still joined.

        Functions given to `after_held` that come before it are called.
        """
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
            self._channels.stop_relaying(message.channel_id)

    def after_held(self, call: Callable[[], None]) -> bool:
        """Call `call` when all messages held now have been sent.

        Returns:
            False if nothing is held; then `call` is not called.
        """
        if self._held:
            self._held.append(call)
            return True
        return False

    def begin_response(self) -> None:
        """Count a response that is about to be sent to this side."""
        self.responses += 1

    def end_response(self) -> None:
        """Stop counting a response: it has been sent, or never will be."""
        self.responses -= 1
        if not self.responses:
            self.on_answered()

    def close(self) -> None:
        """Send nothing more, and drop the held messages."""
        self._is_open = False
        held = list(self._held)
        self._held.clear()
        self._size.clear()
        for each in held:
            if callable(each):
                each()
        # It refers to the proxy, which refers to this queue; without that circle, both
        # are freed at once.
        self._fail = _do_nothing

    def __repr__(self) -> str:
        return f"<RelayQueue {self._size!r}>"


async def send_queued(queue: RelayQueue, outbox: Permits) -> None:
    """Send the messages that a queue holds when there is room, until cancelled."""
    while True:
        if queue.is_empty:
            arrived = trio.Event()
            queue.on_arrival = arrived.set
            await arrived.wait()
            queue.on_arrival = _do_nothing
        try:
            with await outbox.reserve() as permit:
                message = queue.take()
                if message is not None:
                    queue.send(permit.send, message)
        except RoamTrioError:
            return  # the session ends, and with it this side of the proxy


async def wait_until_sent(queue: RelayQueue) -> None:
    """Wait until all messages held now have been sent, so that none is overtaken."""
    gone = trio.Event()
    if queue.after_held(gone.set):
        await gone.wait()


async def wait_until_idle(queue: RelayQueue) -> None:
    """Wait until everything has been sent, responses included.

    The tasks of earlier responses have already called `begin_response`, because they
    were woken before the task that waits for the end.
    """
    while queue.responses:
        answered = trio.Event()
        queue.on_answered = answered.set
        await answered.wait()
    await wait_until_sent(queue)


def _do_nothing(*args: object) -> None:
    pass
