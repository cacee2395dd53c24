"""The driver of one connection: its requests in flight, its handlers, its channels.

The session's reader hands it every message of its connection, synchronously, and no
method that does so waits. The driver wakes the task a message is for, or starts one.
What the peer may do is decided here; a message that breaks the protocol raises
`SessionProtocolError`, and the session ends.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import outcome
import trio

from ..calls import Caller, ChannelBinder, Handler, Payload, ReplySink
from ..errors import ConnectionLost, LimitExceeded, RoamTrioError, SessionProtocolError
from ..ids import IdAllocator
from ..limits import Limits
from ..messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ConnectionSettings,
    Encoded,
    RequestCall,
    RequestCancel,
    RequestMessage,
    RequestResponse,
    joined,
)
from ..metadata import NO_METADATA, Metadata
from ..schema import CANCELLED, INVALID_PAYLOAD, UNKNOWN_METHOD, ChannelShape
from .channels import IncomingChannel, OutgoingChannel
from .outbox import Outbox
from .strays import Strays

__all__ = ["Driver", "DriverCaller", "DriverChannelSink", "DriverReplySink"]

logger = logging.getLogger("roam_trio.session")

DriverChannelSink = OutgoingChannel
"""The sink behind a bound `Tx`."""


class Driver:
    """Runs one connection.

    Args:
        connection_id: which one it is.
        ours: the settings this side has told the peer.
        theirs: the settings the peer has told this side.
        outbox: where messages go.
        limits: what the peer can make this side hold.
        handler: answers the peer's requests; without one, every method is unknown.
        strict: also refuse what peers of other implementations are known to do.
    """

    def __init__(
        self,
        connection_id: int,
        ours: ConnectionSettings,
        theirs: ConnectionSettings,
        outbox: Outbox,
        limits: Limits,
        handler: Handler | None,
        *,
        strict: bool = False,
    ) -> None:
        self.connection_id = connection_id
        self.outbox = outbox
        self.outgoing: dict[int, OutgoingChannel] = {}
        self.incoming: dict[int, IncomingChannel] = {}
        self.caller = DriverCaller(self, ours, theirs)
        self._ours = ours
        self._theirs = theirs
        self._limits = limits
        self._handler = handler
        self._strict = strict
        self._nursery: trio.Nursery | None = None
        self._binder = _Binder(self, IdAllocator(ours.parity))
        self._answering: dict[int, DriverReplySink] = {}
        self._strays = Strays(limits)
        self._dropped: deque[Callable[[], None]] = deque()
        self._token = trio.lowlevel.current_trio_token()
        self.ended_because: BaseException | None = None

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hold the handlers' tasks until cancelled; a task of the session's."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    @property
    def binder(self) -> ChannelBinder:
        """Makes the channels of this connection."""
        return self._binder

    # ------------------------------------------------------------ requests

    def on_request(self, message: RequestMessage) -> None:
        """Take a request message from the peer."""
        if type(message) is RequestResponse:
            self.caller.on_response(message)
        elif type(message) is RequestCall:
            self._on_call(message)
        else:
            # A request that is answered already, or never was, needs no cancelling.
            sink = self._answering.get(message.request_id)
            if sink is not None:
                sink.cancel()

    def _on_call(self, call: RequestCall) -> None:
        self._check_call(call)
        sink = self._answering[call.request_id] = DriverReplySink(self, call)
        if self._handler is None:
            sink.send_nowait(UNKNOWN_METHOD)
            return
        try:
            coroutine = self._handler.handle(call, sink)
        except Exception:
            logger.exception("a handler failed before its request was taken up")
            sink.give_up()
            return
        if coroutine is None:
            sink.give_up()
        else:
            assert self._nursery is not None
            self._nursery.start_soon(sink.run, coroutine)

    def _check_call(self, call: RequestCall) -> None:
        request_id = call.request_id
        if request_id in self._answering:
            raise SessionProtocolError(
                f"request {request_id} is in flight, and its id was used again"
            )
        if self._strict and not self._theirs.parity.owns(request_id):
            raise SessionProtocolError(
                f"request {request_id} has not the parity of its sender, "
                f"{self._theirs.parity.name.lower()}"
            )
        if len(self._answering) >= self._ours.max_concurrent_requests:
            raise LimitExceeded(
                "max_concurrent_requests",
                f"request {request_id} came while "
                f"{len(self._answering)} requests were in flight",
            )
        if call.channels:
            self._check_channels(call.channels)

    def _check_channels(self, channels: tuple[int, ...]) -> None:
        if len(self.incoming) + len(self.outgoing) + len(channels) > (
            self._limits.channels
        ):
            raise LimitExceeded("channels", "too many channels on one connection")
        for place, channel_id in enumerate(channels):
            if (
                channel_id in self.incoming
                or channel_id in self.outgoing
                or channel_id in channels[:place]
            ):
                raise SessionProtocolError(
                    f"channel {channel_id} is open, and its id was used again"
                )
            if self._strict and not self._theirs.parity.owns(channel_id):
                raise SessionProtocolError(
                    f"channel {channel_id} has not the parity of its caller"
                )

    def answered(self, sink: DriverReplySink) -> None:
        """A response was sent: the request is no longer in flight."""
        self._answering.pop(sink.call.request_id, None)
        for channel_id in sink.call.channels:
            if channel_id not in self.incoming and channel_id not in self.outgoing:
                self._strays.end(channel_id)

    # ------------------------------------------------------------ channels

    def on_channel(self, message: ChannelMessage) -> None:
        """Take a channel message from the peer."""
        channel_id = message.channel_id
        if type(message) is ChannelItem:
            incoming = self.incoming.get(channel_id)
            if incoming is None:
                self._on_stray(message)
            elif not incoming.on_item(joined(message.item)):
                raise SessionProtocolError(
                    f"channel {channel_id}: an item came without credit"
                )
        elif type(message) is ChannelGrantCredit:
            # Credit for a channel that has ended is no use, and no harm.
            outgoing = self.outgoing.get(channel_id)
            if outgoing is not None:
                outgoing.on_credit(message.additional)
        elif type(message) is ChannelClose:
            incoming = self.incoming.get(channel_id)
            if incoming is None:
                self._on_stray(message)
            else:
                self.ended(channel_id)
                incoming.on_close()
        else:
            self._on_reset(message)

    def _on_reset(self, message: ChannelMessage) -> None:
        channel_id = message.channel_id
        channel = self._channel(channel_id)
        if channel is None:
            self._on_stray(message)
        else:
            self.ended(channel_id)
            channel.on_reset()

    def _channel(self, channel_id: int) -> OutgoingChannel | IncomingChannel | None:
        return self.outgoing.get(channel_id) or self.incoming.get(channel_id)

    def _on_stray(self, message: ChannelMessage) -> None:
        if self._strict and type(message) is ChannelItem:
            raise SessionProtocolError(
                f"channel {message.channel_id}: an item came, and it is not open"
            )
        self._strays.add(message)

    def bound(self, channel_id: int) -> None:
        """A channel was bound: hand it what came before."""
        for message in self._strays.take(channel_id):
            self.on_channel(message)

    def ended(self, channel_id: int) -> None:
        """This side has ended a channel."""
        self.outgoing.pop(channel_id, None)
        self.incoming.pop(channel_id, None)
        self._strays.end(channel_id)

    def drop_later(self, end: Callable[[], None]) -> None:
        """End a channel whose handle was collected: now is not a good moment.

        Collection may strike in the middle of anything, and in any thread. What was
        dropped is ended before the next response goes out, and soon in any case.
        """
        self._dropped.append(end)
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.end_dropped, idempotent=True)

    def end_dropped(self) -> None:
        """End the channels whose handles were collected."""
        while self._dropped:
            self._dropped.popleft()()

    # ------------------------------------------------------------ the end

    def end(self, because: BaseException) -> None:
        """The connection has ended: fail its calls and channels, at once."""
        if self.ended_because is not None:
            return
        self.ended_because = because
        self.caller.on_end(because)
        self.lose_channels((*self.outgoing, *self.incoming), because)
        self._strays.clear()
        for sink in list(self._answering.values()):
            sink.lose()

    def lose_channels(self, channels: tuple[int, ...], because: BaseException) -> None:
        """No handler will ever take up these channels of a call of this side's."""
        for channel_id in channels:
            channel = self._channel(channel_id)
            self.ended(channel_id)
            if channel is not None:
                channel.on_lost(because)

    def __repr__(self) -> str:
        return (
            f"<Driver of connection {self.connection_id}: "
            f"{len(self._answering)} answering, {self.caller.in_flight} calling, "
            f"{len(self.outgoing)} channels out, {len(self.incoming)} in>"
        )


class _Binder(ChannelBinder):
    """Makes the channels of a driver's connection."""

    def __init__(self, driver: Driver, ids: IdAllocator) -> None:
        self._driver = driver
        self._ids = ids

    def allocate(self) -> int:
        return self._ids.allocate()

    def sink(self, channel_id: int, shape: ChannelShape) -> OutgoingChannel:
        driver = self._driver
        channel = OutgoingChannel(driver, channel_id, shape)
        if driver.ended_because is not None:
            channel.on_lost(driver.ended_because)
        else:
            driver.outgoing[channel_id] = channel
            driver.bound(channel_id)
        return channel

    def source(self, channel_id: int, shape: ChannelShape) -> IncomingChannel:
        driver = self._driver
        channel = IncomingChannel(driver, channel_id, shape)
        if driver.ended_because is not None:
            channel.on_lost(driver.ended_because)
        else:
            driver.incoming[channel_id] = channel
            driver.bound(channel_id)
        return channel


class DriverReplySink(ReplySink):
    """Where the response to one request goes, and the task that makes it."""

    __slots__ = ("_cancelled", "_driver", "_scope", "_sent", "call")

    def __init__(self, driver: Driver, call: RequestCall) -> None:
        self.call = call
        self._driver = driver
        self._sent = False
        self._cancelled = False
        self._scope: trio.CancelScope | None = None

    @property
    def is_sent(self) -> bool:
        return self._sent

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._driver.binder

    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        driver = self._driver
        driver.end_dropped()  # closes go before the response
        permit = driver.outbox.reserve_nowait()
        if permit is None:
            permit = await driver.outbox.reserve()
            driver.end_dropped()
        with permit:
            response = self._response(ret, metadata)
            permit.send(response)
        self._close()

    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        self._driver.end_dropped()
        self._driver.outbox.push(self._response(ret, metadata))
        self._close()

    def _response(self, ret: Encoded, metadata: Metadata) -> RequestResponse:
        if self._sent:
            raise RuntimeError(
                f"request {self.call.request_id} has its response already, "
                "and every request gets exactly one"
            )
        return RequestResponse(
            self._driver.connection_id, self.call.request_id, (), metadata, ret
        )

    def _close(self) -> None:
        self._sent = True
        self._driver.answered(self)

    async def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the handler of this request; exactly one response is sent in the end."""
        try:
            if self._cancelled:
                coroutine.close()
            else:
                with trio.CancelScope() as self._scope:
                    await coroutine
        except Exception:
            logger.exception("a handler failed; its caller gets Cancelled")
        except BaseExceptionGroup as group:
            # Cancelled, and something of its own beside: each goes its own way.
            failures, rest = group.split(Exception)
            if failures is not None:
                logger.error("a cancelled handler failed", exc_info=failures)
            if rest is not None:
                raise rest from None
        finally:
            del coroutine
            self.give_up()

    def give_up(self) -> None:
        """Answer Cancelled if nothing else was answered."""
        if not self._sent:
            self.send_nowait(CANCELLED)

    def cancel(self) -> None:
        """The caller no longer wants the response (`rpc.cancel`)."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def lose(self) -> None:
        """The connection has ended: no response can be sent any more."""
        self._sent = True
        self.cancel()


class _Waiting:
    """A task of this side's that waits for a response."""

    __slots__ = ("_caller", "_channels", "_request_id", "_task")

    def __init__(
        self, caller: DriverCaller, request_id: int, channels: tuple[int, ...]
    ) -> None:
        self._caller = caller
        self._request_id = request_id
        self._channels = channels
        self._task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    @property
    def channels(self) -> tuple[int, ...]:
        return self._channels

    async def response(self) -> RequestResponse:
        response: RequestResponse = await trio.lowlevel.wait_task_rescheduled(
            self._abandon
        )
        return response

    def _abandon(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        self._caller.abandon(self._request_id)
        return trio.lowlevel.Abort.SUCCEEDED

    def deliver(self, response: RequestResponse) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, outcome.Value(response))

    def fail(self, error: Exception) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, outcome.Error(error))


class DriverCaller(Caller):
    """Makes the calls of one connection."""

    def __init__(
        self, driver: Driver, ours: ConnectionSettings, theirs: ConnectionSettings
    ) -> None:
        self._driver = driver
        self._ids = IdAllocator(ours.parity)
        self._most = theirs.max_concurrent_requests
        self._waiting: dict[int, _Waiting] = {}
        self._slots = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()

    async def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        *,
        channels: tuple[int, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> RequestResponse:
        driver = self._driver
        await trio.lowlevel.checkpoint_if_cancelled()
        permit = await self._reserve()
        try:
            with permit:
                if isinstance(args, Payload):
                    channels, args = args.encode(driver.binder)
                request_id = self._ids.allocate()
                waiting = _Waiting(self, request_id, channels)
                permit.send(
                    RequestCall(
                        driver.connection_id,
                        request_id,
                        method_id,
                        channels,
                        metadata,
                        args,
                    )
                )
        except Exception as error:
            driver.lose_channels(channels, error)
            self._slots.unpark()
            raise
        self._waiting[request_id] = waiting
        return await waiting.response()

    async def _reserve(self) -> Any:
        """A slot below the peer's limit, not taken yet, and a permit, at one moment."""
        driver = self._driver
        while True:
            if driver.ended_because is not None:
                raise self._lost(driver.ended_because)
            if len(self._waiting) >= self._most:
                await self._slots.park()
                continue
            try:
                permit = driver.outbox.reserve_nowait()
                if permit is not None:
                    return permit
                permit = await driver.outbox.reserve()
            except trio.Cancelled:
                self._slots.unpark()  # what this task leaves is for the next
                raise
            except RoamTrioError as error:
                raise self._lost(error) from error
            if len(self._waiting) < self._most and driver.ended_because is None:
                return permit
            permit.release()

    def abandon(self, request_id: int) -> None:
        """The caller was cancelled. Its id stays in use until the response comes."""
        self._driver.outbox.push(RequestCancel(self._driver.connection_id, request_id))

    def on_response(self, response: RequestResponse) -> None:
        """Wake the task that waits for `response`."""
        waiting = self._waiting.pop(response.request_id, None)
        if waiting is None:
            raise SessionProtocolError(
                f"a response came for request {response.request_id}, "
                "which is not in flight"
            )
        self._slots.unpark()
        if waiting.channels:
            self._lose_channels_of_failed_call(waiting, response)
        waiting.deliver(response)

    def _lose_channels_of_failed_call(
        self, waiting: _Waiting, response: RequestResponse
    ) -> None:
        if bytes(joined(response.ret)) in (UNKNOWN_METHOD, INVALID_PAYLOAD):
            # No handler ever saw them, and some peers end the session when a message
            # comes for a channel they do not know.
            self._driver.lose_channels(
                waiting.channels, ConnectionLost("the call of the channel failed")
            )

    def on_end(self, because: BaseException) -> None:
        """Fail every call."""
        self._ended.set()
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for one in waiting:
            one.fail(self._lost(because))
        self._slots.unpark_all()

    def _lost(self, because: BaseException) -> ConnectionLost:
        error = ConnectionLost(f"the connection has ended: {because}")
        error.__cause__ = because
        return error

    async def closed(self) -> None:
        await self._ended.wait()

    @property
    def is_connected(self) -> bool:
        return not self._ended.is_set()

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._driver.binder

    @property
    def in_flight(self) -> int:
        """How many requests have no response yet, abandoned ones included."""
        return len(self._waiting)
