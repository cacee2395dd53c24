"""Making calls: all that a client knows of a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from ..metadata import NO_METADATA, Metadata
from ..wire.messages import Encoded, RequestResponse
from .binding import ChannelBinder, Payload

__all__ = ["Caller", "ErasedCaller", "NoopCaller"]


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
        """Return another caller of the same connection, which keeps it alive as well.

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
        """True if calls can still be made."""

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
        """True if the connection is up."""
        return self._caller.is_connected
