"""Channels of two connections that are joined, end to end, by a proxy."""

from __future__ import annotations

from typing import Protocol, assert_never

import attrs

from ..rpc.binding import ChannelBinder, Payload
from ..wire.ids import ChannelId, ConnectionId
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    Encoded,
    RequestCall,
)
from .channel_table import Relay
from .relay_queue import JoinedChannels, RelayQueue

__all__ = ["JoinedCall", "Side"]


class SideChannels(JoinedChannels, Protocol):
    """The interface of a connection's channels, as `JoinedCall` uses it."""

    def join(self, channel_id: ChannelId, relay: Relay) -> None:
        """Hand the messages of a channel to `relay`."""
        ...


@attrs.frozen
class Side:
    """One side of a proxy, as the ends of its channels see it.

    Attributes:
        connection_id: the number of the connection.
        channels: its channels.
        queue: the messages that wait to be sent to it.
    """

    connection_id: ConnectionId
    channels: SideChannels
    queue: RelayQueue


class JoinedCall(Payload):
    """Arguments that are encoded already, and their channels.

    The channels get their ids on the far side when the request is sent there.
    """

    __slots__ = ("_back", "_call", "_early", "_ends", "_there")

    def __init__(self, call: RequestCall, there: Side, back: Side) -> None:
        self._call = call
        self._there = there
        self._back = back
        self._early: list[tuple[_End, ChannelMessage]] = []
        self._ends = [_End(number, back, there, self) for number in call.channels]

    def encode(self, binder: ChannelBinder) -> tuple[tuple[ChannelId, ...], Encoded]:
        numbers = tuple(binder.allocate() for _ in self._ends)
        for near, number in zip(self._ends, numbers, strict=True):
            near.join(number)
            _End(number, self._there, self._back).join(near.number)
        queue = self._there.queue
        for near, message in self._early:
            queue.hold(near.translated(message))  # the request goes before it
        self._early.clear()
        return numbers, self._call.args

    def keep(self, end: _End, message: ChannelMessage) -> None:
        """Keep a message that has come before the request was sent."""
        if self._there.queue.count(message):
            self._early.append((end, message))

    def stop(self) -> None:
        """Relay nothing more: the far side will not bind the channels."""
        for _, message in self._early:
            self._there.queue.discount(message)
        self._early.clear()
        for end in self._ends:
            end.stop()


class _End:
    """One end of a joined channel: it relays messages that come here to the other end.

    Args:
        number: the id of the channel on this side.
        here: this side.
        there: the other side.
        request: the call that has brought the channel, until it is sent; None for the
            end on the far side, which is made then.
    """

    __slots__ = ("_here", "_other", "_request", "_there", "number")

    def __init__(
        self,
        number: ChannelId,
        here: Side,
        there: Side,
        request: JoinedCall | None = None,
    ) -> None:
        self.number = number
        self._here = here
        self._there = there
        self._request = request
        self._other: ChannelId | None = None
        here.channels.join(number, self)

    def join(self, other: ChannelId) -> None:
        """Take the id of the channel on the other side; the request is sent now."""
        self._other = other
        self._request = None

    def stop(self) -> None:
        """Relay nothing more in either direction."""
        self._request = None
        self._here.channels.stop_relaying(self.number)
        if self._other is not None:
            self._there.channels.stop_relaying(self._other)

    def on_message(self, message: ChannelMessage) -> None:
        """See `Relay`."""
        if self._request is not None:
            self._request.keep(self, message)
        elif self._other is not None:
            self._there.queue.forward(self.translated(message))

    def on_answered(self) -> None:
        """See `Relay`."""
        if self._request is not None:
            self._request.stop()

    def translated(self, message: ChannelMessage) -> ChannelMessage:
        """Return `message` as the other side gets it.

        A Close or Reset is the last one: this end relays nothing more.
        """
        connection_id, number = self._there.connection_id, self._other
        assert number is not None
        match message:
            case ChannelItem():
                return ChannelItem(connection_id, number, message.item)
            case ChannelGrantCredit():
                return ChannelGrantCredit(connection_id, number, message.additional)
            case ChannelClose():
                kind: type[ChannelClose | ChannelReset] = ChannelClose
            case ChannelReset():
                kind = ChannelReset
            case _:
                assert_never(message)
        self._here.channels.stop_relaying(self.number)
        return kind(connection_id, number, message.metadata.propagated())
