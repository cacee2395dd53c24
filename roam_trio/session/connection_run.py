"""What runs one connection: its requests in flight, its handlers, its channels.

The session's reader hands it every message of its connection, synchronously, and no
method that does so waits. It wakes the task a message is for, or starts one.
What the peer may do is decided here; a message that breaks the protocol raises
`SessionProtocolError`, and the session ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn, Protocol

import trio

from ..codec import ChannelPlan
from ..conduits.base import ConduitTxPermit
from ..errors import (
    ConduitError,
    LimitExceeded,
    RemoteProtocolError,
    SessionProtocolError,
)
from ..limits import Limits
from ..logs import Log
from ..rpc.binding import ChannelBinder
from ..rpc.handler import Handler, NoService
from ..rpc.method_names import method_name
from ..running import check_run
from ..wire.ids import IdAllocator
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    ConnectionSettings,
    Message,
    RequestCall,
    RequestCancel,
    RequestResponse,
    joined,
)
from .channels import IncomingChannel, OutgoingChannel
from .held_messages import payload_behind
from .liveness import Liveness
from .outbox import Outbox
from .reply import DriverReplySink
from .requests import EndedRequests, Requests
from .statistics import ChannelStatistics, ConnectionStatistics
from .strays import Strays

__all__ = ["ON_MESSAGE", "ConnectionRun", "Relay"]


class Relay(Protocol):
    """Takes the messages of a channel that is not this side's own."""

    def on_message(self, message: ChannelMessage) -> None:
        """A message has come for the channel."""
        ...

    def on_answered(self) -> None:
        """The request that has brought the channel has its response, or needs none."""
        ...


logger = Log("roam_trio.session")


class ConnectionRun:
    """Runs one connection.

    Args:
        connection_id: which one it is.
        ours: the settings this side has told the peer.
        theirs: the settings the peer has told this side.
        outbox: where messages go.
        limits: what the peer can make this side hold.
        handler: answers the peer's requests; without one, every method is unknown.
        start_soon: runs `run` in a task of the session's, once there is use for it.
        strict: also refuse what peers of other implementations are known to do.
        on_unused: called when nobody needs the connection any more; see `Liveness`.
        on_quiet: called when the last call or channel has ended, once new ones are
            refused.
    """

    # There may be very many: a dict for each would be larger than all it holds.
    __slots__ = (
        "__weakref__",
        "_announced",
        "_answering",
        "_before_nursery",
        "_binder",
        "_closed",
        "_is_over",
        "_nursery",
        "_on_quiet",
        "_on_unused",
        "_relays",
        "_request_bytes",
        "_reserving",
        "_start_in_session",
        "_strays",
        "_strict",
        "connection_id",
        "dropped",
        "ended_because",
        "handler",
        "incoming",
        "limits",
        "liveness",
        "now",
        "ours",
        "outbox",
        "outgoing",
        "refusing",
        "requests",
        "theirs",
        "token",
        "unread_bytes",
    )

    def __init__(
        self,
        connection_id: int,
        ours: ConnectionSettings,
        theirs: ConnectionSettings,
        outbox: Outbox,
        limits: Limits,
        handler: Handler | None,
        start_soon: Callable[[Callable[[], Awaitable[None]]], None],
        *,
        strict: bool = False,
        on_unused: Callable[[int], None],
        on_quiet: Callable[[], None],
    ) -> None:
        self.connection_id = connection_id
        self.outbox = outbox
        self.outgoing: dict[int, OutgoingChannel] = {}
        self.incoming: dict[int, IncomingChannel] = {}
        self._closed: trio.Event | None = None
        self.now = trio.lowlevel.current_clock().current_time
        """The time, in seconds; less work than asking trio for it."""
        self.requests = Requests(self, ours, theirs)
        self.liveness = Liveness(
            lambda: bool(self.outgoing or self.incoming), self._on_no_use
        )
        self._on_unused = on_unused
        self.refusing = False
        """True if new requests of the peer's are answered with Cancelled."""
        self.ours = ours
        self.theirs = theirs
        self.limits = limits
        self.handler = handler or NoService()
        self._strict = strict
        self._on_quiet = on_quiet
        self._nursery: trio.Nursery | None = None
        self._before_nursery: list[Callable[[], None]] = []
        self._start_in_session = start_soon
        self._reserving: dict[trio.CancelScope, None] = {}
        self._is_over = False
        """True if no task can be started any more."""
        self._binder: _Binder | None = _Binder(self, IdAllocator(ours.parity))
        self._answering: dict[int, DriverReplySink] = {}
        self._request_bytes = 0
        """The length of all long requests of the peer's that are in flight, and of the
        responses that a proxy holds."""
        self._strays = Strays(limits)
        self._announced: dict[int, None] = {}
        """The channels that the peer's calls have brought, as long as they are open."""
        self.unread_bytes = 0
        """The length of all items that wait to be received."""
        self._relays: dict[int, Relay] = {}
        self.dropped: list[Callable[[], None]] = []
        """Ends the channels whose handles were collected; see `end_dropped`."""
        self.token = trio.lowlevel.current_trio_token()
        """The run of trio that it lives in."""
        self.ended_because: BaseException | None = None

    async def run(self) -> None:
        """Hold the handlers' tasks until cancelled; a task of the session's.

        It is there from the first such task on: an idle connection has none.
        """
        async with trio.open_nursery() as self._nursery:
            if self.ended_because is not None:
                self._nursery.cancel_scope.cancel()
            # Also when the connection has ended: handlers are coroutines, which have
            # to be closed. This frame, which lives on, must keep none of them: in some
            # releases of Python, one that never began holds its arguments after
            # `close` too, and so keeps their channels open.
            starts, self._before_nursery = deque(self._before_nursery), []
            while starts:
                starts.popleft()()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._is_over = True

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        """Run something in a task of the connection's, which ends with it."""
        if self._nursery is not None:
            self._nursery.start_soon(function, *args)
            return
        if not self._before_nursery:
            self._start_in_session(self.run)
        self._before_nursery.append(partial(self.start_soon, function, *args))

    @property
    def binder(self) -> ChannelBinder:
        """Makes the channels of this connection."""
        # What comes to an end with the connection gets no numbers that matter.
        return self._binder or _Binder(self, IdAllocator(self.ours.parity))

    async def reserve(self) -> ConduitTxPermit[Message]:
        """As `Outbox.reserve`, but only until the connection ends.

        Raises:
            LinkError, ConduitError: the connection has ended, or the conduit has.
        """
        with trio.CancelScope() as scope:
            self._reserving[scope] = None
            try:
                return await self.outbox.reserve()
            finally:
                del self._reserving[scope]
        raise ConduitError("the connection has ended")

    def _on_no_use(self) -> None:
        if self.ended_because is None:
            self._on_unused(self.connection_id)

    # ------------------------------------------------------------ requests

    def on_response(self, response: RequestResponse) -> None:
        """The answer to a request of this side's."""
        self.requests.on_response(response)

    def on_cancel(self, cancel: RequestCancel) -> None:
        """A request that is answered already, or never was, needs no cancelling."""
        sink = self._answering.get(cancel.request_id)
        if sink is not None:
            sink.cancel()

    def on_call(self, call: RequestCall) -> None:
        """A request of the peer's: start to answer it."""
        if self._is_over:
            return  # the connection is being cancelled
        self._check_call(call)
        if call.channels:
            self._check_channels(call.channels)
            self._announced.update(dict.fromkeys(call.channels))
        if type(call.args) is memoryview:  # a long one
            self.hold_for_request(payload_behind(call.args))
        sink = self._answering[call.request_id] = DriverReplySink(self, call)
        if self.refusing:
            logger.info(
                "connection %d: refused a call of %s: %s",
                self.connection_id,
                method_name(call.method_id),
                self.requests.refusing,
            )
            sink.give_up()
            return
        try:
            coroutine = self.handler.handle(call, sink)
        except BaseException as error:
            logger.failure(error, "a handler failed before its request was taken up")
            coroutine = None  # and nothing holds its channels from here on
        if coroutine is None:
            sink.give_up()
        else:
            self.start_soon(sink.run, coroutine)

    def _check_call(self, call: RequestCall) -> None:
        request_id = call.request_id
        if request_id in self._answering:
            raise RemoteProtocolError(
                f"request {request_id} is in flight, and its id was used again"
            )
        if self._strict and not self.theirs.parity.owns(request_id):
            raise RemoteProtocolError(
                f"request {request_id} has not the parity of its sender, "
                f"{self.theirs.parity.name.lower()}"
            )
        if len(self._answering) >= self.ours.max_concurrent_requests:
            raise LimitExceeded(
                "max_concurrent_requests",
                f"request {request_id} came while "
                f"{len(self._answering)} requests were in flight",
            )

    def hold_for_request(self, size: int) -> None:
        """Count bytes that are held for a request of the peer's.

        Raises:
            LimitExceeded: they are too many.
        """
        self._request_bytes += size
        if self._request_bytes > self.limits.request_bytes:
            raise LimitExceeded(
                "request_bytes",
                f"requests of {self._request_bytes} bytes are in flight",
            )

    def let_go_for_request(self, size: int) -> None:
        """They are held no longer."""
        self._request_bytes -= size

    def _check_channels(self, channels: tuple[int, ...]) -> None:
        if len(self._announced) + len(channels) > self.limits.channels:
            raise LimitExceeded("channels", "too many channels on one connection")
        seen: set[int] = set()
        for channel_id in channels:
            if (
                channel_id in seen
                or channel_id in self._announced
                or channel_id in self._relays
                or self._channel(channel_id) is not None
            ):
                raise RemoteProtocolError(
                    f"channel {channel_id} is open, and its id was used again"
                )
            if self._strict and not self.theirs.parity.owns(channel_id):
                raise RemoteProtocolError(
                    f"channel {channel_id} has not the parity of its caller"
                )
            seen.add(channel_id)

    @property
    def answering(self) -> int:
        """Number of the peer's requests without a response yet."""
        return len(self._answering)

    @property
    def channels(self) -> int:
        """Number of channels that are open, joined ones included."""
        return len(self.incoming) + len(self.outgoing) + len(self._relays)

    def answered(self, call: RequestCall) -> None:
        """A response was sent: the request is no longer in flight."""
        self._answering.pop(call.request_id, None)
        if type(call.args) is memoryview:
            self.let_go_for_request(payload_behind(call.args))
        for channel_id in call.channels:
            relay = self._relays.get(channel_id)
            if relay is not None:
                relay.on_answered()
            elif self._channel(channel_id) is None:
                self._announced.pop(channel_id, None)
                self._strays.end(channel_id)
        if self.refusing:
            self.check_quiet()

    # ------------------------------------------------------------ channels

    def on_item(self, message: ChannelItem) -> None:
        """An item for a channel on which this side receives."""
        incoming = self.incoming.get(message.channel_id)
        item = message.item
        if incoming is None:
            self._on_stray(message)
        else:
            incoming.on_item(joined(item) if isinstance(item, list) else item)

    def refuse_unread(self) -> NoReturn:
        """More wait to be received than may."""
        raise LimitExceeded(
            "unread_bytes", f"items of {self.unread_bytes} bytes wait unread"
        )

    def on_credit(self, message: ChannelGrantCredit) -> None:
        """Credit for a channel on which this side sends.

        For one that has ended it is no use, and no harm.
        """
        outgoing = self.outgoing.get(message.channel_id)
        if outgoing is not None:
            outgoing.on_credit(message.additional)
        elif message.channel_id in self._relays or self._is_awaited(message.channel_id):
            self._on_stray(message)

    def on_close(self, message: ChannelClose) -> None:
        """The sender of a channel is done."""
        incoming = self.incoming.get(message.channel_id)
        if incoming is None:
            self._on_stray(message)
        else:
            self.ended(message.channel_id)
            incoming.on_close()

    def on_reset(self, message: ChannelReset) -> None:
        """The receiver of a channel wants no more."""
        channel = self._channel(message.channel_id)
        if channel is None:
            self._on_stray(message)
        else:
            self.ended(message.channel_id)
            channel.on_reset()

    def _channel(self, channel_id: int) -> OutgoingChannel | IncomingChannel | None:
        return self.outgoing.get(channel_id) or self.incoming.get(channel_id)

    def add_relay(self, channel_id: int, relay: Relay) -> None:
        """Hand the messages of a channel that a proxy has joined to `relay`."""
        self._relays[channel_id] = relay
        self.bound(channel_id)

    def remove_relay(self, channel_id: int) -> None:
        """The channel has ended."""
        if self._relays.pop(channel_id, None) is not None:
            self.ended(channel_id)

    def has_relay(self, channel_id: int) -> bool:
        """Return True if the channel is joined to one of another connection's."""
        return channel_id in self._relays

    def reset_relays(self) -> None:
        """Reset the joined channels, as what they were joined to is gone."""
        for channel_id in list(self._relays):
            self.remove_relay(channel_id)
            self.outbox.push(ChannelReset(self.connection_id, channel_id))

    def _on_stray(self, message: ChannelMessage) -> None:
        channel_id = message.channel_id
        relay = self._relays.get(channel_id)
        if relay is not None:
            relay.on_message(message)
            return
        if (
            self._strict
            and type(message) is ChannelItem
            and not self._strays.has_ended(channel_id)
            and not self._is_awaited(channel_id)
        ):
            raise RemoteProtocolError(
                f"channel {channel_id}: an item came, and it is not open"
            )
        self._strays.add(message)

    def _is_awaited(self, channel_id: int) -> bool:
        """Return True if a request has brought a channel that is not bound yet."""
        return channel_id in self._announced

    def bound(self, channel_id: int) -> None:
        """A channel was bound: hand it what came before."""
        try:
            for message in self._strays.take(channel_id):
                ON_MESSAGE[type(message)](self, message)
        except SessionProtocolError as error:
            # The peer's fault, and not that of the handler that binds.
            self.outbox.fail(error)

    def ended(self, channel_id: int) -> None:
        """This side has ended a channel."""
        self.outgoing.pop(channel_id, None)
        self.incoming.pop(channel_id, None)
        self._announced.pop(channel_id, None)
        self._strays.end(channel_id)
        self.liveness.check()
        if self.refusing:
            self.check_quiet()

    def refuse(self, because: str) -> None:
        """Answer new requests of the peer's with Cancelled, and make no new ones."""
        self.refusing = True
        self.requests.refusing = because

    @property
    def is_quiet(self) -> bool:
        """True if no call is in flight in either direction, and no channel is open."""
        return not (
            self._answering
            or not self.requests.is_idle
            or self.outgoing
            or self.incoming
            or self._relays
        )

    def check_quiet(self) -> None:
        """Report that nothing is going on any more, if that is so."""
        if self.is_quiet:
            self._on_quiet()

    def drop_later(self, end: Callable[[], None]) -> None:
        """End a channel whose handle was collected: now is not a good moment.

        Collection may strike in the middle of anything, and in any thread. What was
        dropped is ended before the next response goes out, and soon in any case.
        """
        self.dropped.append(end)
        try:
            self.token.run_sync_soon(self.end_dropped, idempotent=True)
        except trio.RunFinishedError:
            self.dropped.clear()  # there is no peer left to tell

    def end_dropped(self) -> None:
        """End the channels whose handles were collected."""
        while self.dropped:
            self.dropped.pop(0)()

    # ------------------------------------------------------------ the end

    def end(self, because: BaseException) -> None:
        """The connection has ended: fail its calls and channels, at once."""
        if self.ended_because is not None:
            return
        self.ended_because = because
        # Handlers first: one whose caller is gone ends cancelled, wherever it waits,
        # and does not fail with the loss of what it waits for.
        for sink in self._answering.values():
            sink.lose()
        self._answering.clear()
        if self._closed is not None:
            self._closed.set()
        self.requests.on_end(because)
        self.lose_channels((*self.outgoing, *self.incoming), because)
        self._announced.clear()
        self._strays.clear()
        for relay in tuple(self._relays.values()):
            relay.on_answered()
        self._relays.clear()
        for scope in self._reserving:
            scope.cancel()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        # What holds the connection lets go of it: once nobody else holds it, it is
        # gone at once, and has not to wait for the garbage collector.
        self.requests = EndedRequests(because, self.requests.refusing, self.token)
        self.liveness.end()
        self._binder = None
        self.handler = _NO_SERVICE
        self._on_quiet = self._on_unused = _do_nothing

    async def closed(self) -> None:
        """Wait until the connection has ended."""
        if self.ended_because is None:
            check_run(self.token, "this connection")
        if self._closed is None:
            self._closed = trio.Event()
            if self.ended_because is not None:
                self._closed.set()
        await self._closed.wait()

    def lose_channels(self, channels: tuple[int, ...], because: BaseException) -> None:
        """No handler will ever take up these channels of a call of this side's."""
        for channel_id in channels:
            channel = self._channel(channel_id)
            self.ended(channel_id)
            if channel is not None:
                channel.on_lost(because)

    def statistics(self) -> ConnectionStatistics:
        """Return what is in flight and open on the connection now."""
        now = self.now()
        outgoing = (channel.statistics() for channel in self.outgoing.values())
        incoming = (channel.statistics() for channel in self.incoming.values())
        relayed = (ChannelStatistics(id, "proxied", None, 0) for id in self._relays)
        return ConnectionStatistics(
            self.connection_id,
            self.liveness.callers,
            self.requests.statistics(now),
            tuple(sink.statistics(now) for sink in self._answering.values()),
            (*outgoing, *incoming, *relayed),
        )

    def __repr__(self) -> str:
        joined = f", {len(self._relays)} proxied" if self._relays else ""
        return (
            f"<ConnectionRun {self.connection_id}: "
            f"{len(self._answering)} answering, {self.requests.in_flight} calling, "
            f"{len(self.outgoing)} channels out, {len(self.incoming)} in{joined}>"
        )


_NO_SERVICE = NoService()


def _do_nothing(*args: object) -> None:
    pass


class _Binder(ChannelBinder):
    """Makes the channels of a run's connection."""

    def __init__(self, run: ConnectionRun, ids: IdAllocator) -> None:
        self._run = run
        self._ids = ids

    def allocate(self) -> int:
        return self._ids.allocate()

    def sink(self, channel_id: int, plan: ChannelPlan) -> OutgoingChannel:
        run = self._run
        channel = OutgoingChannel(run, channel_id, plan)
        if run.ended_because is not None:
            channel.on_lost(run.ended_because)
        else:
            run.outgoing[channel_id] = channel
            run.bound(channel_id)
        return channel

    def source(self, channel_id: int, plan: ChannelPlan) -> IncomingChannel:
        run = self._run
        channel = IncomingChannel(run, channel_id, plan)
        if run.ended_because is not None:
            channel.on_lost(run.ended_because)
        else:
            run.incoming[channel_id] = channel
            run.bound(channel_id)
        return channel


ON_MESSAGE: dict[type[Message], Callable[[ConnectionRun, Any], None]] = {
    RequestCall: ConnectionRun.on_call,
    RequestResponse: ConnectionRun.on_response,
    RequestCancel: ConnectionRun.on_cancel,
    ChannelItem: ConnectionRun.on_item,
    ChannelGrantCredit: ConnectionRun.on_credit,
    ChannelClose: ConnectionRun.on_close,
    ChannelReset: ConnectionRun.on_reset,
}
"""Methods of a connection for the messages that are its own."""
