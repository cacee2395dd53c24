"""Results of `Session.statistics`: plain data, as of the moment it was asked for."""

from __future__ import annotations

import attrs

from ..links.base import RxStatistics, TxStatistics
from ..rpc.method_names import method_name
from ..wire.ids import ChannelId, ConnectionId, MethodId, RequestId

__all__ = [
    "CallStatistics",
    "ChannelStatistics",
    "ConnectionStatistics",
    "SessionStatistics",
    "WaitStatistics",
]


@attrs.frozen
class CallStatistics:
    """A call in flight.

    Attributes:
        request_id: its id.
        method_id: the identity of its method.
        age: for how many seconds it has been in flight.
        method: the name of its method, or its identity in hexadecimal if this program
            defines no service with it.
    """

    request_id: RequestId
    method_id: MethodId
    age: float
    method: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "method", method_name(self.method_id))


@attrs.frozen
class ChannelStatistics:
    """An open channel.

    Attributes:
        channel_id: its id.
        direction: ``"out"`` if this side sends, ``"in"`` if it receives, ``"proxied"``
            if its messages only pass through.
        credit: how many items more its sender may send; None if it is proxied.
        queued: how many items wait to be received here.
    """

    channel_id: ChannelId
    direction: str
    credit: int | None
    queued: int


@attrs.frozen
class WaitStatistics:
    """A task that waits for what only the peer or this program can give.

    Receivers that wait for items, and calls that wait for their responses, are not
    among them.

    Attributes:
        what: what it waits for: ``"credit"`` from the receiver of a channel, ``"room"``
            in the link, as the peer does not read, or a ``"slot"`` below the peer's
            ``max_concurrent_requests``.
        channel_id: the channel of the item that is to be sent; None if it is no item.
        method_id: the method of the call that is to be made; None if it is no call.
        age: number of seconds that it has been waiting.
    """

    what: str
    channel_id: ChannelId | None
    method_id: MethodId | None
    age: float


@attrs.frozen
class ConnectionStatistics:
    """An open connection.

    Attributes:
        connection_id: its id; 0 is the root.
        callers: how many callers keep it alive.
        calling: calls of this side's without a response.
        answering: calls of the peer's that are being answered.
        channels: its open channels.
        waiting: the tasks that wait, the oldest first.
    """

    connection_id: ConnectionId
    callers: int
    calling: tuple[CallStatistics, ...]
    answering: tuple[CallStatistics, ...]
    channels: tuple[ChannelStatistics, ...]
    waiting: tuple[WaitStatistics, ...] = ()


@attrs.frozen
class SessionStatistics:
    """A session.

    Attributes:
        connections: its open connections, in the order of their opening.
        sent: what the link has sent, and what it holds.
        received: what the link has received.
        messages_kept: control messages that wait for room to be sent.
    """

    connections: tuple[ConnectionStatistics, ...]
    sent: TxStatistics
    received: RxStatistics
    messages_kept: int
