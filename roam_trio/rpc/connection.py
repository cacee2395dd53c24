"""The interface of connections and sessions for handlers, which are below sessions."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import attrs
import trio

from ..errors import RoamTrioError
from ..limits import Limits
from ..metadata import Metadata, MetadataLike
from ..peers import Peer
from ..wire.ids import ConnectionId, Parity
from ..wire.messages import ConnectionSettings
from .caller import Caller
from .service_class import AnyMiddleware, ClientDefaults

__all__ = ["AnySession", "Connection", "ConnectionPhase", "ConnectionState"]

T = TypeVar("T")


class ConnectionPhase(enum.Enum):
    """The phases of a connection."""

    OPEN = "open"
    CLOSED = "closed"


@attrs.frozen
class ConnectionState:
    """The id and the settings of a connection, which do not change (`connection`).

    Comparable and hashable. It does not keep the connection alive.

    Attributes:
        id: the id of the connection; 0 is the root connection.
        settings: the settings that this side has sent.
        peer_settings: the settings that the peer has sent.
    """

    id: ConnectionId
    settings: ConnectionSettings
    peer_settings: ConnectionSettings


class Connection(ABC):
    """A connection, as a handler sees it: ``current_call().connection``.

    It is the `ConnectionHandle` of the session layer.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def connection_id(self) -> ConnectionId:
        """The id of the connection; 0 is the root connection."""

    @property
    @abstractmethod
    def peer_metadata(self) -> Metadata:
        """The metadata that the peer sent when the connection was set up."""

    @property
    @abstractmethod
    def caller(self) -> Caller:
        """Makes calls on this connection: `client` makes a client of it."""

    @property
    @abstractmethod
    def session(self) -> AnySession:
        """The session of this connection.

        Raises:
            ConnectionLost: the session has ended, and no references to it are left.
        """

    @property
    @abstractmethod
    def state(self) -> ConnectionState:
        """The id and the settings, as plain data; also after the end."""

    @property
    @abstractmethod
    def phase(self) -> ConnectionPhase:
        """`ConnectionPhase.OPEN` until the connection ends, then `CLOSED`."""

    @property
    @abstractmethod
    def ended_because(self) -> BaseException | None:
        """The reason why the connection has ended; None while it is open."""

    @abstractmethod
    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: Any
    ) -> None:
        """Run ``await function(*args)`` in a task of this connection.

        The task is cancelled when the connection ends. An exception in it is logged,
        and affects nothing else. Never waits.

        Raises:
            ConnectionLost: the connection has ended.
        """

    @abstractmethod
    async def closed(self) -> None:
        """Wait until the connection has ended."""

    @abstractmethod
    def close(self, metadata: MetadataLike = ()) -> None:
        """Close a virtual connection at once, and tell the peer (`connection.close`).

        Its calls and channels fail and its handlers are cancelled, on both sides. Other
        connections are not affected. Never waits. Has no effect if it is closed.

        Args:
            metadata: goes with the message to the peer.

        Raises:
            ValueError: this is the root connection, which ends with its session.
        """


class AnySession(ABC):
    """A session, as a handler sees it: ``current_call().connection.session``.

    It is the `Session` of the session layer. The type `Handler` is above this one, and
    so a handler is of any type here.
    """

    __slots__ = ()

    for_clients: ClientDefaults
    """The options that all clients of `open` share."""

    @property
    @abstractmethod
    def peer(self) -> Peer:
        """The peer, with the metadata of its handshake."""

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """The bounds on what the peer can make this side hold."""

    @property
    @abstractmethod
    def root(self) -> Connection:
        """The root connection (`connection.root`)."""

    @property
    @abstractmethod
    def caller(self) -> Caller:
        """Makes calls on the root connection."""

    @property
    @abstractmethod
    def ended_because(self) -> RoamTrioError | None:
        """The reason why the session has ended; None while it runs."""

    @property
    @abstractmethod
    def draining(self) -> trio.Event:
        """An event that is set when a shutdown with a grace begins."""

    @abstractmethod
    async def closed(self) -> None:
        """Wait until the session has ended."""

    @abstractmethod
    async def open_connection(
        self,
        handler: Any = None,
        *,
        metadata: MetadataLike = (),
        max_concurrent_requests: int = 64,
        parity: Parity | None = None,
    ) -> Connection:
        """Open a virtual connection; see `Session.open_connection`."""

    @abstractmethod
    def open(
        self,
        service: Callable[..., T],
        name: str | None = None,
        *,
        metadata: MetadataLike = (),
        handler: Any = None,
        middleware: Iterable[AnyMiddleware] = (),
        metadata_for_calls: MetadataLike = (),
    ) -> AbstractAsyncContextManager[T]:
        """Return a client on a connection of its own; see `Session.open`."""

    @abstractmethod
    async def shutdown(self, grace: float = 0.0) -> None:
        """End the session, and wait until that is done; see `Session.shutdown`."""
