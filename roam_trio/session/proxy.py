"""`proxy_connections`: joins two connections without knowing their services.

Each side answers the other's requests by making them on the far side. Values pass as
the bytes they are; numbers of requests and channels are translated, and metadata
entries marked NO_PROPAGATE stay behind (`rpc.metadata.flags.no-propagate`).

The messages of channels pass in order, each direction through a `Lane`. Their credit
is between the two ends and only passes through, so what a lane holds while its far
side stalls is what the ends have granted each other; a peer that sends more than
`Limits.early_items` or `Limits.early_bytes` ends both connections, and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec
import trio

from ..calls import ChannelBinder, Payload, ReplySink
from ..errors import ConnectionLost, RoamTrioError
from ..limits import Limits
from ..messages import (
    ChannelClose,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    Encoded,
    RequestCall,
    joined,
)
from ..metadata import Metadata
from ..schema import INVALID_PAYLOAD, UNKNOWN_METHOD
from .connection import ConnectionHandle
from .driver import Driver, Relay

__all__ = ["proxy_connections"]


async def proxy_connections(first: ConnectionHandle, second: ConnectionHandle) -> None:
    """Join two connections until either ends, and then close the other.

    Requests, responses, cancellation, channels, credit and metadata pass both ways.
    The handlers that the connections had are replaced. Cancelled, it closes both
    connections, except for root ones, which stay open without a handler.

    Args:
        first: a connection of one session.
        second: a connection of another, or of the same.
    """
    there, back = Lane(second.driver), Lane(first.driver)
    first.serve(_Forwarder(second, there, back))
    second.serve(_Forwarder(first, back, there))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.run)
            nursery.start_soon(back.run)
            for each in (first, second, there, back):
                nursery.start_soon(_cancel_when_closed, each, nursery.cancel_scope)
    finally:
        for connection in (first, second):
            connection.serve(None)
            connection.close_if_virtual()


async def _cancel_when_closed(
    closing: ConnectionHandle | Lane, scope: trio.CancelScope
) -> None:
    await closing.closed()
    scope.cancel()


class Lane:
    """The channel messages on their way to one side, in order."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._limits: Limits = driver.limits
        self._held: deque[ChannelMessage] = deque()
        self._bytes = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._left = trio.lowlevel.ParkingLot()
        self._overflow = trio.Event()

    def forward(self, message: ChannelMessage) -> None:
        """Send `message`, or hold it until there is room. Never waits."""
        outbox = self.driver.outbox
        if not self._held and outbox.has_room():
            try:
                outbox.send_nowait(message)
            except RoamTrioError:
                self._overflow.set()
            return
        self._held.append(message)
        self._bytes += _size(message)
        if (
            len(self._held) > self._limits.early_items
            or self._bytes > self._limits.early_bytes
        ):
            self._overflow.set()
        self._arrived.unpark()

    async def run(self) -> None:
        """Send what is held as room comes, until cancelled."""
        while True:
            if not self._held:
                self._left.unpark_all()
                await self._arrived.park()
            try:
                permit = await self.driver.outbox.reserve()
            except RoamTrioError:
                self._overflow.set()
                return
            message = self._held.popleft()
            self._bytes -= _size(message)
            permit.send(message)

    async def empty(self) -> None:
        """Wait until nothing is held: what follows cannot overtake it."""
        while self._held:
            await self._left.park()

    async def closed(self) -> None:
        """Wait until it can carry no more."""
        await self._overflow.wait()


def _size(message: ChannelMessage) -> int:
    return len(joined(message.item)) if type(message) is ChannelItem else 0


class _Forwarder:
    """A handler that makes the requests it gets on the far side."""

    def __init__(self, far: ConnectionHandle, there: Lane, back: Lane) -> None:
        self._far = far
        self._there = there
        self._back = back

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        """See `Handler.handle`."""
        args = _ForwardedArgs(call, self._there, self._back)
        try:
            response = await self._far.caller.call(
                call.method_id, args, metadata=call.metadata.propagated()
            )
        except ConnectionLost:
            return  # the far side has ended, and so will this one
        if bytes(joined(response.ret)) in (UNKNOWN_METHOD, INVALID_PAYLOAD):
            args.unbind()
        await self._back.empty()
        await reply.send(response.ret, response.metadata.propagated())


class _ForwardedArgs(Payload):
    """Arguments that are encoded already; their channels get numbers on the far side
    at the moment when the request is sent there."""

    __slots__ = ("_back", "_call", "_numbers", "_there")

    def __init__(self, call: RequestCall, there: Lane, back: Lane) -> None:
        self._call = call
        self._there = there
        self._back = back
        self._numbers: Sequence[tuple[int, int]] = ()

    def encode(self, binder: ChannelBinder) -> tuple[tuple[int, ...], Encoded]:
        call = self._call
        self._numbers = [(near, binder.allocate()) for near in call.channels]
        for near, far in self._numbers:
            relay = _ChannelRelay(near, far, self._there, self._back)
            self._there.driver.add_relay(far, relay.from_far)
            self._back.driver.add_relay(near, relay.from_near)
        return tuple(far for _, far in self._numbers), call.args

    def unbind(self) -> None:
        """The far side has not taken the channels up."""
        for near, far in self._numbers:
            self._back.driver.remove_relay(near)
            self._there.driver.remove_relay(far)


class _ChannelRelay:
    """One channel through the proxy, with its number on either side."""

    __slots__ = ("_back", "_far", "_near", "_there", "from_far", "from_near")

    def __init__(self, near: int, far: int, there: Lane, back: Lane) -> None:
        self._near = near
        self._far = far
        self._there = there
        self._back = back
        self.from_near: Relay = self._forward_there
        self.from_far: Relay = self._forward_back

    def _forward_there(self, message: ChannelMessage) -> None:
        self._forward(message, self._there, self._far)

    def _forward_back(self, message: ChannelMessage) -> None:
        self._forward(message, self._back, self._near)

    def _forward(self, message: ChannelMessage, lane: Lane, number: int) -> None:
        changes: dict[str, int | Metadata] = {
            "connection_id": lane.driver.connection_id,
            "channel_id": number,
        }
        if isinstance(message, ChannelClose | ChannelReset):
            changes["metadata"] = message.metadata.propagated()
            self._back.driver.remove_relay(self._near)
            self._there.driver.remove_relay(self._far)
        lane.forward(msgspec.structs.replace(message, **changes))
