"""The interface for answering calls, through which a session uses a service."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

import trio

from ..codec import UNKNOWN_METHOD, encode_error, rpc_plan
from ..errors import CallCancelled, InvalidPayload, RoamError, UnknownMethod
from ..metadata import NO_METADATA, Metadata
from ..peers import Peer
from ..wire.messages import Encoded, RequestCall
from .binding import ChannelBinder
from .connection import Connection
from .failure_metadata import FailurePolicy, failure_metadata

__all__ = [
    "LIGHT_BYTES",
    "Handler",
    "NoService",
    "ReplySink",
    "RequestMemory",
    "check_handler",
    "check_handlers",
    "send_reply",
]


LIGHT_BYTES: Final = 4096
"""Memory of arguments, in bytes, up to which they are not counted."""


class RequestMemory:
    """Counts the memory of one request; this one counts nothing."""

    __slots__ = ()

    def foresee(self, size: int) -> None:
        """Check that `size` bytes may be used for a moment, to decode arguments.

        Raises:
            Overloaded: they may not. A handler lets that pass, and the call is refused.
        """

    def hold(self, size: int) -> None:
        """Count `size` bytes until the handler ends.

        A handler calls it before it returns a coroutine.

        Raises:
            Overloaded: there is no room, as with `foresee`.
        """


_UNCOUNTED: Final = RequestMemory()


class ReplySink(ABC):
    """Sends the one response to one request (`rpc.response.one-per-request`)."""

    __slots__ = ()

    @abstractmethod
    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        """Send the response, waiting for room.

        If a response must wait and the server has no memory left for it, the caller
        gets `Overloaded` instead.

        Args:
            ret: an encoded ``Result<T, RoamError<E>>``. The memory behind a view in it
                must not change.
            metadata: goes with the response.

        Raises:
            RuntimeError: a response was already sent: a bug in this program.
        """

    @abstractmethod
    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        """As `send`, without waiting.

        Raises:
            trio.WouldBlock: there is no room, so nothing was sent.
        """

    def hold(self, ret: Encoded) -> bool:
        """Count a response for which `send_nowait` has had no room, until it is sent.

        `send` does it too. A handler calls it if `send` is to run in another task,
        because many responses could wait for their tasks. The default does nothing.

        Returns:
            False if there is no memory for the response: the caller gets `Overloaded`
            instead, and `send` must not be called.
        """
        return True

    def count_refused(self, because: RoamError | None = None) -> None:
        """Count a request that is refused before any code of the program has seen it.

        The session of a peer that makes too many ends (`Limits.futile_messages`).
        `send_error` calls it for `UnknownMethod` and `InvalidPayload`. The default does
        nothing.

        Args:
            because: the reason, of which the observer of the session is told; None if
                another program has refused it.
        """
        return

    async def send_error(
        self,
        error: RoamError,
        error_type: Any = None,
        *,
        metadata: Metadata = NO_METADATA,
    ) -> None:
        """Send a response that says `error`, waiting for room.

        Cancelled, it has sent nothing.

        Args:
            error: an `UnknownMethod`, an `InvalidPayload`, a `CallCancelled`, of which
                the text is not sent; or a `UserError`, of which the value is.
            error_type: for a `UserError`, the error type that the method declares.
            metadata: goes with the response.

        Raises:
            EncodeError: the value of the `UserError` is not of `error_type`.
            TypeError: no response can say this error (a `ConnectionLost`), or it is a
                `UserError` without an `error_type`.
            RuntimeError: a response was already sent: a bug in this program.
        """
        declared = None if error_type is None else rpc_plan(error_type)
        if isinstance(error, UnknownMethod | InvalidPayload):
            self.count_refused(error)
        policy = self.failure_policy
        if policy is not None and isinstance(error, CallCancelled):
            metadata = Metadata((*metadata, *failure_metadata(error, policy.tell)))
        await self.send(encode_error(error, declared), metadata)

    @property
    def memory(self) -> RequestMemory:
        """The counter of the memory that the request takes."""
        return _UNCOUNTED

    @property
    def peer(self) -> Peer:
        """The peer that has made the request."""
        return Peer("other", type(self).__name__)

    @property
    def connection(self) -> Connection:
        """The connection of the request; its handle does not keep it alive.

        Raises:
            LookupError: the request has come in another way.
        """
        raise LookupError(f"a {type(self).__name__} belongs to no connection")

    @property
    def deadline(self) -> float:
        """Time at which the caller gives up, by trio's clock; `math.inf` for never."""
        return math.inf

    @property
    def failure_policy(self) -> FailurePolicy | None:
        """The policy for telling the caller about failures, if there is one."""
        return None

    @property
    @abstractmethod
    def is_sent(self) -> bool:
        """Return True if the response was sent, or can no longer be sent."""

    @property
    @abstractmethod
    def channel_binder(self) -> ChannelBinder:
        """The binder for the channels of the request's arguments."""


def send_reply(
    reply: ReplySink, ret: Encoded, metadata: Metadata = NO_METADATA
) -> Coroutine[Any, Any, None] | None:
    """Send a response at once, or return an awaitable that sends it.

    The response counts in the memory of its session while it waits to be sent.
    """
    try:
        reply.send_nowait(ret, metadata)
    except trio.WouldBlock:
        pass  # go on below, so that no error there refers to this one
    else:
        return None
    return reply.send(ret, metadata) if reply.hold(ret) else None


class Handler(Protocol):
    """An object that answers the requests of a connection.

    `dispatcher` makes one from a service. Any object with this method will do.
    """

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """Answer `call` through `reply`. May be an ``async def``.

        It is called synchronously when the request arrives. A returned coroutine runs
        in a task of the connection; None means that the request has been handled.
        Channels bound before it returns miss no item; for channels bound later, up to
        `Limits.early_items` items are kept. If the handler ends without a reply, the
        session answers Cancelled. An exception is logged, and does not affect other
        requests.
        """
        ...


def check_handler(handler: object) -> None:
    """Check a handler when it is passed in, before the first request.

    Raises:
        TypeError: `handler` is not a `Handler`.
    """
    if isinstance(handler, type) or not callable(getattr(handler, "handle", None)):
        raise TypeError(
            f"expected a Handler, got {handler!r}; dispatcher(Adder, AdderImpl()) "
            "makes one of a service and an object with its methods"
        )


def check_handlers(given: Handler | Mapping[str, Handler] | None) -> None:
    """Check a handler, or handlers by the names of their services.

    Raises:
        TypeError: one is not a `Handler`, or a name is not a text.
    """
    if isinstance(given, Mapping):
        for name, handler in given.items():
            if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(
                    "expected the names of services as keys, "
                    f"got an object of type {type(name).__name__}"
                )
            check_handler(handler)
    elif given is not None:
        check_handler(given)


class NoService:
    """The `Handler` of a connection that offers no service."""

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """Answer that the method is unknown."""
        reply.count_refused(UnknownMethod())
        return send_reply(reply, UNKNOWN_METHOD)
