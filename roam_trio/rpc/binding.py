"""Channels in arguments: bound when a request is sent, and when one is received."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..codec import ChannelPlan, RpcPlan
from ..errors import ChannelError
from ..wire.ids import ChannelId
from ..wire.messages import Encoded
from .channel import Rx, Tx
from .sinks import ChannelSink, ChannelSource

__all__ = [
    "ChannelBinder",
    "Payload",
    "bind_channels_callee_args",
    "bind_channels_caller_args",
]


class ChannelBinder(ABC):
    """Makes the ends of channels of one connection."""

    __slots__ = ()

    @abstractmethod
    def allocate(self) -> ChannelId:
        """Return a new channel id of this side's parity."""

    @abstractmethod
    def sink(self, channel_id: ChannelId, plan: ChannelPlan) -> ChannelSink:
        """Start to send on a channel whose id the peer knows, or receives with this
        request.
        """

    @abstractmethod
    def source(self, channel_id: ChannelId, plan: ChannelPlan) -> ChannelSource:
        """Start to receive on a channel."""


class Payload:
    """A value that is not encoded yet, with its plan (`zerocopy.payload`).

    It is encoded when its message is sent, after the wait for room. Its channels are
    bound in the same synchronous step, so that no item can precede the call.
    """

    __slots__ = ("plan", "value")

    def __init__(self, plan: RpcPlan[Any], value: Any) -> None:
        self.plan = plan
        self.value = value

    def encode(self, binder: ChannelBinder) -> tuple[tuple[ChannelId, ...], Encoded]:
        """Bind the channels in the value; return their ids and the encoded value.

        Raises:
            EncodeError: the value does not match its type; nothing was bound.
            ChannelError: an end in it is already bound; nothing was bound.
        """
        encoded = self.plan.encode(self.value)
        if not self.plan.has_channels:
            return (), encoded
        return bind_channels_caller_args(self.plan, self.value, binder), encoded


def bind_channels_caller_args(
    plan: RpcPlan[Any], value: Any, binder: ChannelBinder
) -> tuple[ChannelId, ...]:
    """Bind the channel ends in arguments that are about to be sent.

    Each end gets a new id. The end in the arguments is for the handler: with an `Rx`
    this side sends, with a `Tx` it receives (`rpc.channel.binding.caller-args`),
    through the other end of the pair. If that end is closed or gone, the channel ends
    right after the call.

    Returns:
        The ids in their order in the message.

    Raises:
        RuntimeError: tasks of another run of trio wait for a pair to be bound.
        ChannelError: an end is already closed or bound, or both ends of a pair, or one
            end twice, are in the value; nothing was bound.
    """
    ends = plan.collect_channels(value)
    bindings = [end.binding for end, _ in ends]
    for place, (end, _) in enumerate(ends):
        bindings[place].check_run()
        if not end.can_be_given or bindings[place] in bindings[:place]:
            raise ChannelError(
                f"{end!r}: an end of a channel belongs to one call; "
                "make a new pair with channel()"
            )
    ids: list[ChannelId] = []
    for end, channel_plan in ends:
        channel_id = binder.allocate()
        ids.append(channel_id)
        if isinstance(end, Rx):
            sink = binder.sink(channel_id, channel_plan)
            end.binding.bind(sink=sink)
            if end.binding.tx_gone:
                sink.drop()
        else:
            source = binder.source(channel_id, channel_plan)
            end.binding.bind(source=source)
            if end.binding.rx_gone:
                source.drop()
    return tuple(ids)


def bind_channels_callee_args(
    plan: RpcPlan[Any], value: Any, channels: Sequence[ChannelId], binder: ChannelBinder
) -> None:
    """Bind the channel ends in received arguments to the ids in their request.

    If there are fewer ids than ends, the last ends remain unbound; surplus ids are
    ignored (`rpc.channel.binding.callee-args`).
    """
    ends = plan.collect_channels(value)
    for (end, channel_plan), channel_id in zip(ends, channels, strict=False):
        if isinstance(end, Tx):
            end.binding.bind(sink=binder.sink(channel_id, channel_plan))
        else:
            end.binding.bind(source=binder.source(channel_id, channel_plan))
    for end, _ in ends[len(channels) :]:
        if isinstance(end, Tx):
            end.binding.lose_rx()
        else:
            end.binding.lose_tx()
