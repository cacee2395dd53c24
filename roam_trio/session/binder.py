"""Makes the channels of one connection, and puts them into its table."""

from __future__ import annotations

from ..codec import ChannelPlan
from ..errors import SessionProtocolError
from ..rpc.binding import ChannelBinder
from ..wire.ids import ChannelId, IdAllocator, Parity
from .channel_in import IncomingChannel
from .channel_out import OutgoingChannel
from .channel_table import ChannelTable
from .port import Port

__all__ = ["ConnectionBinder"]


class ConnectionBinder(ChannelBinder):
    """Makes the channels of a connection.

    What is bound once the connection has ended is lost from the start.
    """

    __slots__ = ("_channels", "_ids", "_port")

    def __init__(self, port: Port, channels: ChannelTable, ours: Parity) -> None:
        self._port = port
        self._channels = channels
        self._ids: IdAllocator[ChannelId] = IdAllocator(ours)

    def allocate(self) -> ChannelId:
        return self._ids.allocate()

    def sink(self, channel_id: ChannelId, plan: ChannelPlan) -> OutgoingChannel:
        port, table = self._port, self._channels
        channel = OutgoingChannel(port, channel_id, plan, table.end)
        if port.ended_because is not None:
            channel.on_lost(port.ended_because)
            return channel
        try:
            table.bind_outgoing(channel_id, channel)
        except SessionProtocolError as error:
            # The peer's fault, and not that of the handler that binds.
            port.outbox.fail(error)
        return channel

    def source(self, channel_id: ChannelId, plan: ChannelPlan) -> IncomingChannel:
        port, table = self._port, self._channels
        channel = IncomingChannel(port, channel_id, plan, table.end)
        if port.ended_because is not None:
            channel.on_lost(port.ended_because)
            return channel
        try:
            table.bind_incoming(channel_id, channel)
        except SessionProtocolError as error:
            port.outbox.fail(error)  # as in `sink`
        return channel
