"""Where services and sessions meet: how calls are made, and how they are answered.

The session layer knows a service only as a `Handler`, and a client knows the session
only as a `Caller`. Neither side of this file looks into an encoded value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

import attrs
import trio

from .channel import ChannelSink, ChannelSource, Rx, Tx
from .errors import ChannelError
from .messages import Encoded, RequestCall, RequestResponse
from .metadata import NO_METADATA, Metadata
from .schema import UNKNOWN_METHOD, ChannelShape, RpcPlan

__all__ = [
    "Backing",
    "Caller",
    "ChannelBinder",
    "ErasedCaller",
    "Handler",
    "NoService",
    "NoopCaller",
    "Payload",
    "ReplySink",
    "ServiceClass",
    "bind_channels_callee_args",
    "bind_channels_caller_args",
    "check_handler",
    "send_reply",
    "service_class",
    "set_service_class",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Backing: TypeAlias = bytes
"""The buffer a payload was received in; views into it keep it alive."""


class ChannelBinder(ABC):
    """Makes the ends of channels of one connection."""

    @abstractmethod
    def allocate(self) -> int:
        """A new channel id of this side's parity."""

    @abstractmethod
    def sink(self, channel_id: int, shape: ChannelShape) -> ChannelSink:
        """Start to send on a channel whose id is known to the peer, or about to be."""

    @abstractmethod
    def source(self, channel_id: int, shape: ChannelShape) -> ChannelSource:
        """Start to receive on a channel."""


class Payload:
    """A value that is not encoded yet, with its plan (`zerocopy.payload`).

    It is encoded when its message is sent, after the wait for room, and its channels
    are bound at that same moment: not an item can overtake the call.
    """

    __slots__ = ("plan", "value")

    def __init__(self, plan: RpcPlan[Any], value: Any) -> None:
        self.plan = plan
        self.value = value

    def encode(self, binder: ChannelBinder) -> tuple[tuple[int, ...], Encoded]:
        """The ids of the channels in the value, now bound, and its bytes.

        Raises:
            EncodeError: the value is not of its type; nothing was bound.
            ChannelError: an end in it is bound already; nothing was bound.
        """
        encoded = self.plan.encode(self.value)
        if not self.plan.has_channels:
            return (), encoded
        return bind_channels_caller_args(self.plan, self.value, binder), encoded


def bind_channels_caller_args(
    plan: RpcPlan[Any], value: Any, binder: ChannelBinder
) -> tuple[int, ...]:
    """Bind the channel ends in arguments that are about to be sent.

    Each gets a new id. The end in the arguments is the handler's: for an `Rx` this
    side sends, for a `Tx` it receives (`rpc.channel.binding.caller-args`), through the
    other end of the pair. If that is closed or gone, the channel ends right after the
    call.

    Returns:
        The ids in the order in which they go into the message.

    Raises:
        RuntimeError: tasks of another run of trio wait for a pair to be bound.
        ChannelError: an end is closed or bound already, or both ends of a pair, or one
            of them twice, are in the value; nothing was bound.
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
    ids: list[int] = []
    for end, shape in ends:
        channel_id = binder.allocate()
        ids.append(channel_id)
        if isinstance(end, Rx):
            sink = binder.sink(channel_id, shape)
            end.binding.bind(sink=sink)
            if end.binding.tx_gone:
                sink.drop()
        else:
            source = binder.source(channel_id, shape)
            end.binding.bind(source=source)
            if end.binding.rx_gone:
                source.drop()
    return tuple(ids)


def bind_channels_callee_args(
    plan: RpcPlan[Any], value: Any, channels: Sequence[int], binder: ChannelBinder
) -> None:
    """Bind the channel ends in arguments that were received, to the ids sent along.

    An end beyond the last id stays unbound for good; ids beyond the last end are
    ignored (`rpc.channel.binding.callee-args`).
    """
    ends = plan.collect_channels(value)
    for (end, shape), channel_id in zip(ends, channels, strict=False):
        if isinstance(end, Tx):
            end.binding.bind(sink=binder.sink(channel_id, shape))
        else:
            end.binding.bind(source=binder.source(channel_id, shape))
    for end, _ in ends[len(channels) :]:
        if isinstance(end, Tx):
            end.binding.lose_rx()
        else:
            end.binding.lose_tx()


class Caller(ABC):
    """Makes calls on one connection."""

    @abstractmethod
    def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        *,
        channels: tuple[int, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        """Call a method and wait for its response, which is not looked into.

        Waits while as many requests are in flight as the peer accepts. Always a
        checkpoint. Cancelled, it has sent nothing, or it sends a Cancel after its
        request and disregards the response when that comes (`rpc.cancel`).

        Args:
            method_id: the method's identity.
            args: the arguments; encoded ones come with their `channels`.
            channels: ids of channels, for arguments that are encoded already.
            metadata: goes with the request.

        Raises:
            ConnectionLost: the connection has ended, or ends before the response.
            EncodeError, ChannelError, PayloadTooLarge: the arguments cannot be sent.
        """

    @abstractmethod
    def clone(self) -> Caller:
        """Another caller of the same connection, which keeps it alive as well.

        Raises:
            ConnectionLost: this one has been closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Give this caller up. Harmless twice.

        When the last caller of a connection is given up, by this or by being dropped,
        and its channels have ended, a virtual connection is closed. A session whose
        root connection and virtual connections are all given up ends
        (`rpc.caller.liveness.refcounted`).
        """

    @abstractmethod
    async def closed(self) -> None:
        """Wait until the connection has ended."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether calls can still be made."""

    @property
    @abstractmethod
    def channel_binder(self) -> ChannelBinder:
        """Makes the channels of calls on this connection."""


class ErasedCaller(Caller):
    """A caller that hides which one it is."""

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        *,
        channels: tuple[int, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        return self._caller.call(method_id, args, channels=channels, metadata=metadata)

    def clone(self) -> Caller:
        return ErasedCaller(self._caller.clone())

    def close(self) -> None:
        self._caller.close()

    async def closed(self) -> None:
        await self._caller.closed()

    @property
    def is_connected(self) -> bool:
        return self._caller.is_connected

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._caller.channel_binder


class NoopCaller:
    """Keeps a connection alive, and offers no calls."""

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def close(self) -> None:
        """Keep it alive no longer."""
        self._caller.close()

    async def closed(self) -> None:
        """Wait until the connection has ended."""
        await self._caller.closed()

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up."""
        return self._caller.is_connected


class ReplySink(ABC):
    """Where the one response to one request goes (`rpc.response.one-per-request`)."""

    @abstractmethod
    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        """Send the response, waiting for room.

        Args:
            ret: an encoded ``Result<T, RoamError<E>>``. The memory behind a view in it
                must not change any more.
            metadata: goes with the response.

        Raises:
            RuntimeError: a response was sent already: a mistake of this program's.
        """

    @abstractmethod
    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        """As `send`, without waiting.

        Raises:
            trio.WouldBlock: there is no room now, and nothing was sent.
        """

    @property
    @abstractmethod
    def is_sent(self) -> bool:
        """Whether the response was sent, or can no longer be."""

    @property
    @abstractmethod
    def channel_binder(self) -> ChannelBinder:
        """Makes the channels of the request's arguments."""


def send_reply(
    reply: ReplySink, ret: Encoded, metadata: Metadata = NO_METADATA
) -> Coroutine[Any, Any, None] | None:
    """Send a response at once, or return what will, for `Handler.handle` to return."""
    try:
        reply.send_nowait(ret, metadata)
    except trio.WouldBlock:
        return reply.send(ret, metadata)
    return None


class Handler(Protocol):
    """Answers the requests of a connection.

    A dispatcher made from a service is one; so is anything with such a method.
    """

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """Answer `call` through `reply`.

        May be an ``async def``. It is called synchronously when the request arrives,
        and the coroutine it returns runs in a task of the connection's; None means
        that all is done. Channels that are bound before it returns miss no item; for
        those bound later, items are kept up to `Limits.early_items`.

        A handler that ends without a reply is answered for with Cancelled; an
        exception out of it is logged, and harms no other request.
        """
        ...


def check_handler(handler: object) -> None:
    """For whoever is given a handler long before the first request reaches it.

    Raises:
        TypeError: `handler` is not a `Handler`.
    """
    if isinstance(handler, type) or not callable(getattr(handler, "handle", None)):
        raise TypeError(
            f"expected a Handler, got {handler!r}; dispatcher(Adder, AdderImpl()) "
            "makes one of a service and an object with its methods"
        )


class NoService:
    """The `Handler` of a connection on which nothing is served."""

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """Every method is unknown."""
        return send_reply(reply, UNKNOWN_METHOD)


@attrs.frozen
class ServiceClass(Generic[T_co]):
    """What sessions need to know of the class of a service.

    Attributes:
        name: the name of the service.
        client: makes a client of it.
    """

    name: str
    client: Callable[[Caller], T_co]


_SERVICE_CLASS = "__roam_service_class__"


def service_class(service: Callable[..., T]) -> ServiceClass[T]:
    """What a class that is a service has told of itself.

    Raises:
        TypeError: it is none.
    """
    found = getattr(service, "__dict__", {}).get(_SERVICE_CLASS)
    if not isinstance(found, ServiceClass):
        raise TypeError(
            f"expected a class decorated with @roam_trio.service, got {service!r}"
        )
    return cast("ServiceClass[T]", found)


def set_service_class(service: type[Any], known: ServiceClass[Any]) -> None:
    """For the decorator that makes a class a service."""
    setattr(service, _SERVICE_CLASS, known)
