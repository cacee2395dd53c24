"""Decisions of user code about virtual connections that the peer opens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import attrs

from ..metadata import NO_METADATA, Metadata, MetadataLike
from ..rpc.handler import Handler
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionOpen, ConnectionSettings
from .connection import ConnectionHandle
from .refusal import REFUSALS, Refusal

__all__ = [
    "AcceptedConnection",
    "ConnectionAcceptor",
    "RelayingAcceptor",
    "decision_of",
    "verdict_of",
]


def _as_metadata(source: MetadataLike) -> Metadata:
    return Metadata.of(source)


@attrs.frozen(kw_only=True)
class AcceptedConnection:
    """Settings of an inbound virtual connection that is accepted.

    Attributes:
        handler: answers the peer's requests on it; without one, every method is
            unknown.
        max_concurrent_requests: how many requests in flight this side accepts there.
        metadata: sent along with the acceptance.
        setup: called with the connection once it is open, in a task of the connection,
            for example to make calls on it. Code that takes a caller must keep one as
            long as it needs the connection
            (`rpc.caller.liveness.last-drop-closes-connection`).
    """

    handler: Handler | None = None
    max_concurrent_requests: int = attrs.field(
        default=64, validator=[attrs.validators.ge(1), attrs.validators.lt(2**32)]
    )
    metadata: Metadata = attrs.field(default=NO_METADATA, converter=_as_metadata)
    setup: Callable[[ConnectionHandle], Awaitable[None]] | None = None


class ConnectionAcceptor(Protocol):
    """Decides on virtual connections that the peer opens (`connection.open`)."""

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        """Accept the connection, or return the metadata of a rejection.

        Runs in a task of the session, and may wait; `Limits.pending_opens` bounds the
        number of these tasks. If it raises `Refused` or `Unavailable`, the peer's
        `Session.open` raises that, with its code and text. If it raises another
        exception, it is logged and the connection is rejected. If the peer closes the
        connection first, it is cancelled, and its result is ignored.

        Args:
            connection_id: the number of the connection.
            settings: what the peer tells of its side of it.
            metadata: what the peer sent along.
        """
        ...


class RelayingAcceptor(ABC):
    """A `ConnectionAcceptor` that can pass on which service the peer expects."""

    @property
    def services(self) -> Mapping[str, Handler]:
        """The services that the current client can open here, by their names."""
        return {}

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        """See `ConnectionAcceptor.accept`."""
        return await self.relay(connection_id, settings, metadata, None)

    @abstractmethod
    async def relay(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
        expected: bytes | None,
    ) -> AcceptedConnection | Metadata:
        """Decide as `accept` does.

        Args:
            connection_id: the number of the connection.
            settings: what the peer tells of its side of it.
            metadata: what the peer sent along.
            expected: the fingerprint of the service that the peer expects, if it has
                sent one.
        """


async def decision_of(
    acceptor: ConnectionAcceptor,
    connection_id: ConnectionId,
    settings: ConnectionSettings,
    metadata: Metadata,
    expected: bytes | None,
) -> AcceptedConnection | Metadata:
    """Return the decision of an acceptor; see `RelayingAcceptor.relay`."""
    if isinstance(acceptor, RelayingAcceptor):
        return await acceptor.relay(connection_id, settings, metadata, expected)
    return await acceptor.accept(connection_id, settings, metadata)


async def verdict_of(
    acceptor: ConnectionAcceptor, message: ConnectionOpen, expected: bytes | None
) -> AcceptedConnection | Metadata | Refusal:
    """Return the decision of the acceptor on a connection that the peer opens."""
    number, settings, metadata = (
        message.connection_id,
        message.settings,
        message.metadata,
    )
    try:
        verdict = await decision_of(acceptor, number, settings, metadata, expected)
    except REFUSALS as refusal:
        return refusal
    if isinstance(verdict, AcceptedConnection):
        return verdict
    return Metadata.of(verdict)
