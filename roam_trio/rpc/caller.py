"""The interface for making calls, through which a client uses a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any

from ..metadata import NO_METADATA, Metadata
from ..peers import Peer
from ..wire.ids import ChannelId, MethodId
from ..wire.messages import Encoded, RequestResponse
from .binding import ChannelBinder, Payload

__all__ = ["Caller", "ErasedCaller", "NoopCaller", "check_caller"]


class Caller(ABC):
    """Makes calls on one connection."""

    @abstractmethod
    def call(
        self,
        method_id: MethodId,
        args: Payload | Encoded,
        *,
        channels: tuple[ChannelId, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        """Call a method and return its response, whose result is not decoded.

        Waits while as many requests are in flight as the peer accepts. Always a
        checkpoint. If cancelled, it has sent nothing, or it sends a Cancel after the
        request and ignores the response (`rpc.cancel`).

        Args:
            method_id: the id of the method.
            args: the arguments; encoded ones need their `channels`.
            channels: ids of the channels in encoded arguments.
            metadata: metadata of the request.

        Raises:
            ConnectionLost: the connection has ended, or ends before the response.
            EncodeError, ChannelError, PayloadTooLarge: the arguments cannot be sent.
        """

    @abstractmethod
    def clone(self) -> Caller:
        """Return another caller of the same connection, which also keeps it alive.

        Raises:
            ConnectionLost: this caller has been closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Give this caller up. Has no effect the second time.

        A virtual connection closes when its last caller is closed or dropped and its
        channels have ended. A session ends when this holds for the root connection and
        there are no virtual connections (`rpc.caller.liveness.refcounted`).
        """

    @abstractmethod
    async def closed(self) -> None:
        """Wait until the connection has ended."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Return True if calls can still be made."""

    @property
    def peer(self) -> Peer:
        """The peer that answers the calls."""
        return Peer("other", type(self).__name__)

    @property
    def kept_failures(self) -> Mapping[str, BaseException] | None:
        """Exceptions of handlers in this process, by the ids that their callers are
        told; see `FailurePolicy.kept`."""
        return None

    @property
    @abstractmethod
    def channel_binder(self) -> ChannelBinder:
        """The binder for the channels of calls on this connection."""


def check_caller(caller: object, what: str) -> None:
    """Check what is given to make calls, before the first call.

    Args:
        caller: what was given.
        what: names the function or class that needs it, for the error.

    Raises:
        TypeError: it is not a `Caller`.
    """
    if isinstance(caller, Caller):
        return
    kind = type(caller)
    # Do not read the attribute: a connection counts its callers.
    hint = "; pass its .caller" if hasattr(kind, "caller") else ""
    raise TypeError(
        f"{what}: expected a Caller, got an object of type {kind.__name__}{hint}"
    )


class ErasedCaller(Caller):
    """A caller that hides the class of the caller inside.

    Raises:
        TypeError: `caller` is not a `Caller`.
    """

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        check_caller(caller, "ErasedCaller")
        self._caller = caller

    def call(
        self,
        method_id: MethodId,
        args: Payload | Encoded,
        *,
        channels: tuple[ChannelId, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        return self._caller.call(method_id, args, channels=channels, metadata=metadata)

    def clone(self) -> Caller:
        return ErasedCaller(self._caller.clone())

    @property
    def peer(self) -> Peer:
        return self._caller.peer

    def close(self) -> None:
        self._caller.close()

    async def closed(self) -> None:
        await self._caller.closed()

    @property
    def is_connected(self) -> bool:
        return self._caller.is_connected

    @property
    def kept_failures(self) -> Mapping[str, BaseException] | None:
        return self._caller.kept_failures

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._caller.channel_binder


class NoopCaller:
    """A caller that keeps a connection alive and makes no calls.

    Raises:
        TypeError: `caller` is not a `Caller`.
    """

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        check_caller(caller, "NoopCaller")
        self._caller = caller

    def close(self) -> None:
        """Stop keeping the connection alive."""
        self._caller.close()

    async def closed(self) -> None:
        """Wait until the connection has ended."""
        await self._caller.closed()

    @property
    def is_connected(self) -> bool:
        """Return True if the connection is up."""
        return self._caller.is_connected
