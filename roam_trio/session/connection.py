"""The handle of one connection, for programs."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from ..metadata import Metadata, MetadataLike
from ..rpc.handler import Handler, NoService
from ..running import check_run
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings
from .caller import DriverCaller
from .connection_run import ConnectionRun
from .deferred_handler import DeferredHandler

__all__ = ["ConnectionHandle", "ConnectionPhase", "ConnectionState"]


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


class ConnectionHandle:
    """One connection of a session: its number, its settings, and its caller.

    ``async with connection:`` closes a virtual one at the end of the block.
    """

    def __init__(
        self,
        run: ConnectionRun,
        metadata: Metadata,
        close: Callable[[ConnectionId, Metadata], None],
    ) -> None:
        self._run = run
        self._metadata = metadata
        self._close = close
        self._caller: DriverCaller | None = None

    @property
    def connection_id(self) -> ConnectionId:
        """Its number; 0 is the root connection."""
        return self._run.port.connection_id

    @property
    def settings(self) -> ConnectionSettings:
        """The settings that this side has told the peer."""
        return self._run.ours

    @property
    def peer_settings(self) -> ConnectionSettings:
        """The settings that the peer has told this side."""
        return self._run.theirs

    @property
    def peer_metadata(self) -> Metadata:
        """The metadata that the peer sent along when the connection was set up."""
        return self._metadata

    @property
    def caller(self) -> DriverCaller:
        """The caller of this connection, which keeps it alive as long as this handle
        exists. To keep it alive longer, use `Caller.clone`.
        """
        if self._caller is None:
            self._caller = DriverCaller(self._run)
        return self._caller

    @property
    def state(self) -> ConnectionState:
        """Its number and both sides' settings, as plain data; also once it has ended.

        `phase` tells whether it is open.
        """
        return ConnectionState(
            ConnectionId(self.connection_id), self.settings, self.peer_settings
        )

    @property
    def phase(self) -> ConnectionPhase:
        """`ConnectionPhase.OPEN` until the connection ends, then `CLOSED`."""
        if self._run.port.ended_because is None:
            return ConnectionPhase.OPEN
        return ConnectionPhase.CLOSED

    @property
    def ended_because(self) -> BaseException | None:
        """The reason why it has ended; None while it is open."""
        return self._run.port.ended_because

    @property
    def connection_run(self) -> ConnectionRun:
        """The run of the connection; for the session layer."""
        return self._run

    def serve(self, handler: Handler | None) -> None:
        """Answer the peer's requests on this connection with `handler` from now on.

        With None, every method is unknown. Requests that a `DeferredHandler` holds are
        answered now."""
        before, now = self._run.handler, handler or NoService()
        self._run.handler = now
        if isinstance(before, DeferredHandler):
            before.serve(now)

    async def closed(self) -> None:
        """Wait until it has ended."""
        await self._run.closed()

    def close(self, metadata: MetadataLike = ()) -> None:
        """Close a virtual connection at once, and tell the peer (`connection.close`).

        Its calls and channels fail and its handlers are cancelled, on both sides; all
        other connections go on. Never waits; harmless when it is closed.

        Raises:
            ValueError: this is the root connection, which ends with its session.
        """
        if self.connection_id == 0:
            raise ValueError("the root connection ends with its session: end that")
        checked = Metadata.of(metadata)
        if self._run.port.ended_because is None:
            check_run(self._run.port.token, "this connection")
            self._close(self.connection_id, checked)

    def close_if_virtual(self) -> None:
        """Close it, unless it is the root connection."""
        if self.connection_id:
            self.close()

    async def __aenter__(self) -> ConnectionHandle:
        return self

    async def __aexit__(self, *args: object) -> None:
        self.close_if_virtual()

    def __repr__(self) -> str:
        return f"<ConnectionHandle {self.connection_id}, {self.phase.value}>"
