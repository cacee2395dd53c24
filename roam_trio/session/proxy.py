"""`proxy_connections`: joins two connections without knowing their services.

Each side answers the other's requests by making them on the far side. Values pass as
the bytes they are; ids of requests and channels are translated, and metadata
entries marked NO_PROPAGATE stay behind (`rpc.metadata.flags.no-propagate`).

Messages of channels to each side go through a `RelayQueue`, which keeps them in order,
and no response overtakes them. The two ends grant credit to each other: a proxy
forwards their grants and grants none itself. So while one side does not read, or has no
slot for a request, the proxy holds at most what the peer on that side has allowed the
other to send. Since a peer may grant as much as it likes, `Limits.proxied_items` and
`Limits.proxied_bytes` bound what is held. Beyond either, the two connections are
closed, and all others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Protocol

import attrs
import trio

from ..codec import INVALID_PAYLOAD, UNKNOWN_METHOD
from ..errors import (
    CallCancelled,
    CallRefused,
    ConnectionClosed,
    ConnectionLost,
    LimitExceeded,
    Overloaded,
    PayloadTooLarge,
    Refused,
    SessionRejected,
    Unavailable,
)
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..rpc.connection import ConnectionPhase
from ..rpc.expected_service import DescribedHandler, Expected, OfferedSchema
from ..rpc.handler import ReplySink
from ..wire.messages import (
    ConnectionSettings,
    Encoded,
    RequestCall,
    joined,
)
from .acceptance import AcceptedConnection
from .connection import ConnectionHandle
from .connections import Connections
from .deferred_handler import DeferredHandler
from .held_messages import payload_behind
from .joining import JoinedCall, Side
from .refusal import REFUSALS
from .relay_queue import RelayQueue, send_queued, wait_until_idle, wait_until_sent

__all__ = ["Upstream", "accept_from", "join_to", "proxy_connections"]

logger = Log("roam_trio.session")


async def proxy_connections(first: ConnectionHandle, second: ConnectionHandle) -> None:
    """Join two connections until either ends, and then end the other.

    Requests, responses, cancellation, channels, credit and metadata pass both ways,
    whatever the services are. The handlers that the connections had are replaced; a
    connection that may get requests before it is joined is opened with
    `DeferredHandler` as its handler.

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


class _DescribedElsewhere(DeferredHandler, DescribedHandler):
    """Holds requests, and tells of the service what the far side has told.

    Args:
        told: that.
    """

    def __init__(self, told: OfferedSchema) -> None:
        super().__init__()
        self._told = told

    @property
    def fingerprint(self) -> bytes:
        return self._told.fingerprint

    @property
    def deflated_schema(self) -> bytes | None:
        return self._told.deflated


class Upstream(Protocol):
    """The interface of a `Session` for what opens connections on it."""

    @property
    def root(self) -> ConnectionHandle:
        """The root connection."""
        ...

    @property
    def connections(self) -> Connections:
        """Its connections."""
        ...


async def accept_from(
    upstream: Upstream,
    settings: ConnectionSettings,
    metadata: Metadata,
    expected: bytes | None = None,
) -> AcceptedConnection | Metadata:
    """Open on `upstream` what a peer asks for, and accept it to join the two.

    The answer of the far side is the answer: its settings, its metadata, its rejection.

    Args:
        upstream: the session that the connection is opened on.
        settings: those of the peer; see `ConnectionAcceptor.accept`.
        metadata: that of the peer.
        expected: see `RelayingAcceptor.relay`.
    """
    try:
        return await join_to(upstream, settings, metadata, expected)
    except (SessionRejected, *REFUSALS) as error:
        return error.metadata.propagated()
    except ConnectionLost as error:
        return Metadata.of({"error": f"the far side cannot be reached: {error}"})


async def join_to(
    upstream: Upstream,
    settings: ConnectionSettings,
    metadata: Metadata,
    expected: bytes | None = None,
) -> AcceptedConnection:
    """Open on `upstream` what a peer asks for, and return how to join the two.

    Args:
        upstream: see `accept_from`.
        settings: see there.
        metadata: see there.
        expected: see there.

    Raises:
        SessionRejected, Refused, Unavailable: the far side has rejected it.
        ConnectionLost: the session with the far side has ended, or takes no more
            connections.
    """
    asked = None if expected is None else Expected(expected)
    far = await upstream.connections.open(
        ConnectionSettings(
            upstream.root.settings.parity, settings.max_concurrent_requests
        ),
        metadata.propagated(),
        DeferredHandler(),
        asked,
    )
    _ = far.caller  # its only one: what is never joined closes when it is dropped
    told = None if asked is None else asked.offered

    async def join(near: ConnectionHandle) -> None:
        await proxy_connections(near, far)

    return _AcceptedByFarSide(
        max_concurrent_requests=min(
            far.peer_settings.max_concurrent_requests, _MOST_CALLS
        ),
        metadata=far.peer_metadata.propagated(),
        handler=DeferredHandler() if told is None else _DescribedElsewhere(told),
        setup=join,
    )


class _Proxy:
    """Two joined connections."""

    def __init__(self, first: ConnectionHandle, second: ConnectionHandle) -> None:
        self._sides = (first, second)
        self._queues = (self._queue_to(first), self._queue_to(second))
        self._because: Metadata = NO_METADATA
        self._scope = trio.CancelScope()
        self._one_ended = trio.Event()
        self._ended: ConnectionHandle | None = None
        self.over = trio.Event()
        """Set when nothing passes any more."""

    def _queue_to(self, side: ConnectionHandle) -> RelayQueue:
        run = side.connection_run
        port = run.port
        return RelayQueue(
            run.channels, port.outbox, port.limits, self.fail, port.terms.budget
        )

    async def run(self) -> None:
        both = tuple(zip(self._sides, self._queues, strict=True))
        for near, far in (both, both[::-1]):
            near[0].serve(_Forwarder(self.fail, self.over, near, far))
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for side, queue in both:
                        outbox = side.connection_run.port.outbox
                        nursery.start_soon(send_queued, queue, outbox)
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
        """Send what the side that has ended had sent before its end."""
        number = 0 if self._ended is self._sides[1] else 1
        limits = self._sides[number].connection_run.port.limits
        with trio.move_on_after(limits.close_seconds):
            await wait_until_idle(self._queues[number])

    def fail(self, why: str) -> None:
        """Close both sides as soon as possible."""
        first, second = (side.connection_run.port.terms.peer for side in self._sides)
        logger.warning(
            "two proxied connections are closed, of %s and %s: %s",
            first.address,
            second.address,
            why,
        )
        self._because = Metadata.of({"error": why})
        for queue in self._queues:
            queue.close()
        self._scope.cancel()

    def _close(self) -> None:
        for queue in self._queues:
            queue.close()
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


class _Forwarder:
    """A handler that forwards the requests it gets to the far side.

    Args:
        fail: closes both sides, for a reason.
        over: set when nothing passes any more.
        near: the connection that it answers on, and the queue to that side.
        far: the connection that it calls on, and the queue to that side.
    """

    def __init__(
        self,
        fail: Callable[[str], None],
        over: trio.Event,
        near: tuple[ConnectionHandle, RelayQueue],
        far: tuple[ConnectionHandle, RelayQueue],
    ) -> None:
        self._fail = fail
        self._over = over
        self._far, _ = far
        self._caller = self._far.caller
        self._answering = near[0].connection_run.answering
        self._there, self._back = _side(*far), _side(*near)

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `Handler.handle`.

        Channels are joined at once, even if the request waits for a slot there.
        """
        if not call.channels:
            return self._forward(call, None, reply)
        channels = JoinedCall(call, self._there, self._back)
        return _WithChannels(self._forward(call, channels, reply), channels)

    async def _forward(
        self, call: RequestCall, channels: JoinedCall | None, reply: ReplySink
    ) -> None:
        try:
            response = await self._caller.call(
                call.method_id,
                channels or call.args,
                metadata=call.metadata.propagated(),
            )
        except ConnectionLost as lost:
            is_closed = self._far.phase is ConnectionPhase.CLOSED
            if is_closed and lost.was_begun is not False:
                # This side ends too, and its caller is to learn that, not that its
                # request was cancelled.
                await self._over.wait()
                return
            # No handler has seen it: the far side has said so, or this program shuts
            # the far session down.
            refusal = Unavailable(text=str(lost), was_begun=False)
            await _refuse(refusal, channels, reply)
            return
        except (CallRefused, PayloadTooLarge) as error:
            logger.warning("a proxy cannot make a call: %s", error)
            text = f"on the far side of a proxy, {error}"
            # For peers that know no refusals.
            why = Metadata.of({"error": text})
            await _refuse(Refused(text=text, was_begun=False), channels, reply, why)
            return
        except Overloaded as overload:  # by this side: too many calls wait already
            await _refuse(overload, channels, reply)
            return
        except Exception:
            if channels is not None:
                channels.stop()
            raise
        queue, near = self._back.queue, self._answering
        size = payload_behind(response.ret)
        queue.begin_response()
        try:
            if _was_never_handled(response.ret):
                # The far side counts it too, for all clients of the proxy together.
                reply.count_refused()
                if channels is not None:
                    channels.stop()
            near.hold(size)
            await wait_until_sent(queue)
            await reply.send(response.ret, response.metadata.propagated())
        except LimitExceeded as error:
            self._fail(error.description)
        finally:
            near.let_go(size)
            queue.end_response()


async def _refuse(
    refusal: CallCancelled,
    channels: JoinedCall | None,
    reply: ReplySink,
    metadata: Metadata = NO_METADATA,
) -> None:
    """Answer a call that the far side never gets."""
    if channels is not None:
        channels.stop()
    await reply.send_error(refusal, metadata=metadata)


def _side(connection: ConnectionHandle, queue: RelayQueue) -> Side:
    run = connection.connection_run
    return Side(connection.connection_id, run.channels, queue)


class _WithChannels(Coroutine[Any, Any, None]):
    """The forwarding of a call with channels, which stops them if it never begins.

    Args:
        forwarding: forwards the call, and stops the channels itself once it has begun.
        channels: the channels, which are joined already.
    """

    __slots__ = ("_channels", "_forwarding")

    def __init__(
        self, forwarding: Coroutine[Any, Any, None], channels: JoinedCall
    ) -> None:
        self._forwarding = forwarding
        self._channels = channels

    def __await__(self) -> Generator[Any, Any, None]:
        return self._forwarding.__await__()

    def send(self, value: Any) -> Any:
        return self._forwarding.send(value)

    def throw(self, *args: Any) -> Any:
        return self._forwarding.throw(*args)

    def close(self) -> None:
        if getcoroutinestate(self._forwarding) == CORO_CREATED:
            self._channels.stop()
        self._forwarding.close()


def _was_never_handled(ret: Encoded) -> bool:
    return bytes(joined(ret)[:3]) in (UNKNOWN_METHOD, INVALID_PAYLOAD)
