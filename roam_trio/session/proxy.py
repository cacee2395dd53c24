"""`proxy_connections`: joins two connections without knowing their services.

Each side answers the other's requests by making them on the far side. Values pass as
the bytes they are; numbers of requests and channels are translated, and metadata
entries marked NO_PROPAGATE stay behind (`rpc.metadata.flags.no-propagate`).

Towards each side there is a `Lane`, which carries the messages of channels in order,
and no response overtakes them. Credit is between the two ends, and only passes
through: a proxy grants none. So what is held, while one side does not read or has no
slot for a request, is what its peer has let the other send. A peer may grant as much as
it likes, hence `Limits.proxied_items` and `Limits.proxied_bytes`: at either, the two
connections are closed, and all others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..codec import CANCELLED, INVALID_PAYLOAD, UNKNOWN_METHOD
from ..columns import is_marked
from ..errors import (
    CallRefused,
    ConnectionClosed,
    ConnectionLost,
    LimitExceeded,
    PayloadTooLarge,
    RoamTrioError,
    SessionRejected,
)
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..rpc.binding import ChannelBinder, Payload
from ..rpc.handler import ReplySink, send_reply
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    ConnectionSettings,
    Encoded,
    Message,
    RequestCall,
    joined,
)
from .acceptance import AcceptedConnection
from .connection import ConnectionHandle, ConnectionPhase
from .connection_run import ConnectionRun
from .held_messages import encoded_size, payload_behind
from .until_served import UntilServed

if TYPE_CHECKING:
    from .session import Session

__all__ = ["ProxyAcceptor", "proxy_connections"]

logger = Log("roam_trio.session")


async def proxy_connections(first: ConnectionHandle, second: ConnectionHandle) -> None:
    """Join two connections until either ends, and then end the other.

    Requests, responses, cancellation, channels, credit and metadata pass both ways,
    whatever the services are. The handlers that the connections had are replaced; a
    connection that may get requests before it is joined is opened with `UntilServed`
    as its handler.

    When one side ends, what it has sent is still delivered to the other, for at most
    `Limits.close_seconds`; then that is closed too, with the metadata of the close.
    When more waits for one side than `Limits.proxied_items` or `Limits.proxied_bytes`,
    both are closed, and metadata says so. Cancelled, it closes both at once.

    A root connection cannot be closed: its joined channels are reset, and from then on
    every method is unknown there. To end it, end its session.

    The proxy cannot know how much credit a channel begins with, or who sends on it. A
    peer that breaks these rules breaks them on the far side, whose peer may then end
    the session: give peers that are not trusted a far session each.

    Args:
        first: a connection of one session.
        second: a connection of another, or another one of the same.

    Raises:
        ValueError: the two are one.
    """
    if first.connection_run is second.connection_run:
        raise ValueError("a connection cannot be joined to itself: open a second one")
    await _Proxy(first, second).run()


_MOST_CALLS = 65_536
"""Number of calls a proxy holds that the far side has not answered, even if the far
side accepts more: each of them takes a task."""


@attrs.frozen(kw_only=True)
class _AcceptedByFarSide(AcceptedConnection):
    """Not of this program's making: the far side may accept no calls at all."""

    max_concurrent_requests: int = 0


class ProxyAcceptor:
    """A `ConnectionAcceptor` that opens what the peer opens on another session, and
    joins the two.

    The far side's answer is the answer: its settings, its metadata, its rejection.

    Args:
        upstream: where connections are opened.
    """

    def __init__(self, upstream: Session) -> None:
        self._upstream = upstream

    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        """See `ConnectionAcceptor.accept`."""
        try:
            parity = self._upstream.root.settings.parity
            far = await self._upstream.connections.open(
                ConnectionSettings(parity, settings.max_concurrent_requests),
                metadata.propagated(),
                UntilServed(),
            )
        except SessionRejected as error:
            return error.metadata.propagated()
        except ConnectionLost as error:
            return Metadata.of({"error": f"the far side cannot be reached: {error}"})
        _ = far.caller  # its only one: what is never joined closes when it is dropped

        async def join(near: ConnectionHandle) -> None:
            await proxy_connections(near, far)

        return _AcceptedByFarSide(
            max_concurrent_requests=min(
                far.peer_settings.max_concurrent_requests, _MOST_CALLS
            ),
            metadata=far.peer_metadata.propagated(),
            handler=UntilServed(),
            setup=join,
        )

    def __repr__(self) -> str:
        return f"<ProxyAcceptor to {self._upstream!r}>"


class _Proxy:
    """Two joined connections."""

    def __init__(self, first: ConnectionHandle, second: ConnectionHandle) -> None:
        self._sides = (first, second)
        self._lanes = (
            Lane(first.connection_run, self.fail),
            Lane(second.connection_run, self.fail),
        )
        self._because: Metadata = NO_METADATA
        self._scope = trio.CancelScope()
        self._one_ended = trio.Event()
        self._ended: ConnectionHandle | None = None
        self.over = trio.Event()
        """Set when nothing passes any more."""

    async def run(self) -> None:
        first, second = self._sides
        to_first, to_second = self._lanes
        first.serve(_Forwarder(self, second, to_second, to_first))
        second.serve(_Forwarder(self, first, to_first, to_second))
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for lane in self._lanes:
                        nursery.start_soon(lane.run)
                    for side in self._sides:
                        nursery.start_soon(self._watch, side)
                    await self._one_ended.wait()
                    await self._deliver_what_is_left()
                    nursery.cancel_scope.cancel()
        finally:
            self._close()

    async def _watch(self, side: ConnectionHandle) -> None:
        await side.closed()
        if self._one_ended.is_set():
            self._scope.cancel()
            return
        self._ended = side
        self._because = _passed_on(side.ended_because)
        self._one_ended.set()

    async def _deliver_what_is_left(self) -> None:
        """One side has ended, after it had sent this."""
        lane = self._lanes[0 if self._ended is self._sides[1] else 1]
        with trio.move_on_after(lane.connection.port.limits.close_seconds):
            await lane.delivered()

    def fail(self, why: str) -> None:
        """Close both sides, as soon as may be."""
        logger.warning("two proxied connections are closed: %s", why)
        self._because = Metadata.of({"error": why})
        for lane in self._lanes:
            lane.close()
        self._scope.cancel()

    def _close(self) -> None:
        for lane in self._lanes:
            lane.close()
        for side in self._sides:
            if side.connection_id:
                side.close(self._because)
            else:
                side.connection_run.reset_relayed()
                side.serve(None)
        self.over.set()


def _passed_on(because: BaseException | None) -> Metadata:
    """Return the metadata for the other side when one has ended."""
    if isinstance(because, ConnectionClosed):
        return because.metadata.propagated()
    return Metadata.of({"error": "the session on the far side of a proxy has ended"})


class Lane:
    """Messages of channels on their way to one side, in order.

    A message goes only as long as its channel is joined to something there: what is
    held for a channel that has been reset, or whose request failed, is dropped.
    """

    def __init__(self, connection: ConnectionRun, fail: Callable[[str], None]) -> None:
        self.connection = connection
        self._fail = fail
        self._held: deque[ChannelMessage | trio.Event] = deque()
        self._count = 0
        self._bytes = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._responses = 0
        self._responded = trio.lowlevel.ParkingLot()
        self._is_open = True

    def forward(self, message: ChannelMessage) -> None:
        """Send `message`, or hold it until there is room. Never waits."""
        if not self._is_open or not self.connection.channels.is_relayed(
            message.channel_id
        ):
            return
        if not self._held and self.connection.port.outbox.has_room():
            self._send(self.connection.port.outbox.send_nowait, message)
        elif self.weigh(message):
            self.hold(message)

    def hold(self, message: ChannelMessage) -> None:
        """Send `message`, which has been weighed, in its turn, and not at once."""
        self._held.append(message)
        self._arrived.unpark()

    def weigh(self, message: ChannelMessage) -> bool:
        """Count a message that is held; whether it may be. The limit ends the proxy."""
        if not self._is_open:
            return False
        self._count += 1
        self._bytes += encoded_size(message)
        limits = self.connection.port.limits
        if self._count > limits.proxied_items:
            self._fail(_too_much("messages", limits.proxied_items, "proxied_items"))
        elif self._bytes > limits.proxied_bytes:
            self._fail(_too_much("bytes", limits.proxied_bytes, "proxied_bytes"))
        return self._is_open

    def unweigh(self, message: ChannelMessage) -> None:
        """A message is held no longer."""
        self._count -= 1
        self._bytes -= encoded_size(message)

    async def run(self) -> None:
        """Send what is held as room comes, until cancelled."""
        while True:
            if not self._held:
                await self._arrived.park()
            try:
                with await self.connection.port.outbox.reserve() as permit:
                    message = self._next()
                    if message is not None:
                        self._send(permit.send, message)
            except RoamTrioError:
                return  # the session ends, and with it this side of the proxy

    def _next(self) -> ChannelMessage | None:
        """Return the first message that is held and still wanted."""
        while self._held:
            first = self._held.popleft()
            if isinstance(first, trio.Event):
                first.set()
                continue
            self.unweigh(first)
            if self.connection.channels.is_relayed(first.channel_id):
                return first
        return None

    def _send(self, send: Callable[[Message], None], message: ChannelMessage) -> None:
        try:
            send(message)
        except PayloadTooLarge as error:
            self._fail(f"an item cannot pass: {error}")
            return
        except RoamTrioError:
            return  # as in `run`
        if isinstance(message, ChannelClose | ChannelReset):
            self.connection.channels.part(message.channel_id)

    async def reached(self) -> None:
        """Wait until all that is held now has been sent: what follows cannot overtake
        it."""
        if self._held:
            marker = trio.Event()
            self._held.append(marker)
            await marker.wait()

    def begin_response(self) -> None:
        """A response to this side is there, and about to be sent."""
        self._responses += 1

    def end_response(self) -> None:
        """It has been sent, or never will be."""
        self._responses -= 1
        if not self._responses:
            self._responded.unpark_all()

    async def delivered(self) -> None:
        """Wait until nothing is on its way any more, responses included.

        The tasks of responses that came before the end have run up to `begin_response`:
        they were woken before whoever waits for the end.
        """
        while self._responses:
            await self._responded.park()
        await self.reached()

    def close(self) -> None:
        """Carry nothing more, and let go of what is held."""
        self._is_open = False
        for held in self._held:
            if isinstance(held, trio.Event):
                held.set()
        self._held.clear()
        self._fail = _ignore  # the proxy holds this, and is to be gone at once

    def __repr__(self) -> str:
        return (
            f"<Lane to connection {self.connection.port.connection_id}: "
            f"{self._count} messages held, of {self._bytes} bytes>"
        )


def _ignore(why: str) -> None:
    pass


def _too_much(what: str, most: int, limit: str) -> str:
    return (
        f"one side does not take what the other sends, and more than {most} {what} "
        f"wait for it (limit: {limit})"
    )


class _Forwarder:
    """A handler that makes the requests it gets on the far side."""

    def __init__(
        self, proxy: _Proxy, far: ConnectionHandle, there: Lane, back: Lane
    ) -> None:
        self._proxy = proxy
        self._far = far
        self._caller = far.caller
        self._there = there
        self._back = back

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `Handler.handle`. Channels are taken up at once, whenever the request
        gets its slot on the far side."""
        if is_marked(call.metadata):
            # Its sender has talked to a handler here before the connections were
            # joined, and cannot know who is there now. It will ask again.
            return send_reply(reply, INVALID_PAYLOAD)
        channels = None
        if call.channels:
            channels = _JoinedChannels(call, self._there, self._back)
        return self._forward(call, channels, reply)

    async def _forward(
        self, call: RequestCall, channels: _JoinedChannels | None, reply: ReplySink
    ) -> None:
        try:
            response = await self._caller.call(
                call.method_id,
                channels or call.args,
                metadata=call.metadata.propagated(),
            )
        except ConnectionLost:
            if self._far.phase is ConnectionPhase.CLOSED:
                # This side ends too, and its caller is to learn that, not that its
                # request was cancelled.
                await self._proxy.over.wait()
            return
        except CallRefused as error:
            if channels is not None:
                channels.part()
            logger.warning("a proxy cannot make a call: %s", error)
            why = Metadata.of({"error": f"on the far side of a proxy, {error}"})
            await reply.send(CANCELLED, why)
            return
        except Exception:
            if channels is not None:
                channels.part()
            raise
        self._back.begin_response()
        near, size = self._back.connection.answering, payload_behind(response.ret)
        try:
            if channels is not None and _was_never_handled(response.ret):
                channels.part()
            near.hold(size)
            await self._back.reached()
            await reply.send(response.ret, response.metadata.propagated())
        except LimitExceeded as error:
            self._proxy.fail(error.description)
        finally:
            near.let_go(size)
            self._back.end_response()


def _was_never_handled(ret: Encoded) -> bool:
    return bytes(joined(ret)[:3]) in (UNKNOWN_METHOD, INVALID_PAYLOAD)


class _JoinedChannels(Payload):
    """Arguments that are encoded already, and their channels.

    These get numbers on the far side at the moment when the request is sent there.
    """

    __slots__ = ("_back", "_call", "_early", "_ends", "_there")

    def __init__(self, call: RequestCall, there: Lane, back: Lane) -> None:
        self._call = call
        self._there = there
        self._back = back
        self._early: list[tuple[_End, ChannelMessage]] = []
        self._ends = [_End(number, back, there, self) for number in call.channels]

    def encode(self, binder: ChannelBinder) -> tuple[tuple[int, ...], Encoded]:
        numbers = tuple(binder.allocate() for _ in self._ends)
        for near, number in zip(self._ends, numbers, strict=True):
            near.join(number)
            _End(number, self._there, self._back).join(near.number)
        for near, message in self._early:
            self._there.hold(near.translated(message))  # the request goes before it
        self._early.clear()
        return numbers, self._call.args

    def keep(self, end: _End, message: ChannelMessage) -> None:
        """It has come before the request was sent."""
        if self._there.weigh(message):
            self._early.append((end, message))

    def part(self) -> None:
        """The far side will not take the channels up: relay nothing more."""
        for _, message in self._early:
            self._there.unweigh(message)
        self._early.clear()
        for end in self._ends:
            end.part()


class _End:
    """One end of a joined channel: it relays what comes there to the other end.

    Args:
        number: the channel's on this side.
        lane: the lane to this side.
        there: the lane to the other.
        request: what it came with, until that is sent; None for the end that is made
            then.
    """

    __slots__ = ("_lane", "_other", "_request", "_there", "number")

    def __init__(
        self,
        number: int,
        lane: Lane,
        there: Lane,
        request: _JoinedChannels | None = None,
    ) -> None:
        self.number = number
        self._lane = lane
        self._there = there
        self._request = request
        self._other: int | None = None
        lane.connection.channels.join(number, self)

    def join(self, other: int) -> None:
        """The request is about to be sent, and `other` is the number there."""
        self._other = other
        self._request = None

    def part(self) -> None:
        """Relay nothing more, either way."""
        self._request = None
        self._lane.connection.channels.part(self.number)
        if self._other is not None:
            self._there.connection.channels.part(self._other)

    def on_message(self, message: ChannelMessage) -> None:
        """See `Relay`."""
        if self._request is not None:
            self._request.keep(self, message)
        elif self._other is not None:
            self._there.forward(self.translated(message))

    def on_answered(self) -> None:
        """See `Relay`."""
        if self._request is not None:
            self._request.part()

    def translated(self, message: ChannelMessage) -> ChannelMessage:
        """`message` as the other side is to get it. A last one ends this side."""
        connection_id, number = self._there.connection.port.connection_id, self._other
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
        self._lane.connection.channels.part(self.number)
        return kind(connection_id, number, message.metadata.propagated())
