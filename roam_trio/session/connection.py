"""The handle of one connection, for programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import ConnectionLost
from ..logs import Log
from ..metadata import Metadata, MetadataLike
from ..rpc.connection import (
    AnySession,
    Connection,
    ConnectionPhase,
    ConnectionState,
)
from ..rpc.handler import Handler, NoService
from ..running import check_run
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings
from .call_log import LoggedCaller, calls_are_logged
from .caller import DriverCaller
from .connection_run import ConnectionRun
from .deferred_handler import DeferredHandler

__all__ = ["ConnectionHandle"]

logger = Log("roam_trio.session")


class ConnectionHandle(Connection):
    """One connection of a session: its id, its settings, and its caller.

    ``async with connection:`` closes a virtual one at the end of the block. Handles of
    one connection are equal.

    Args:
        run: runs the connection.
        keeps_alive: the callers of this handle keep the connection alive, and it closes
            with the last one. Otherwise somebody else does, such as the peer of a call.
    """

    __slots__ = ("__weakref__", "_caller", "_keeps_alive", "_run")

    def __init__(self, run: ConnectionRun, *, keeps_alive: bool = True) -> None:
        self._run = run
        self._keeps_alive = keeps_alive
        self._caller: DriverCaller | None = None

    @property
    def connection_id(self) -> ConnectionId:
        """Its id; 0 is the root connection."""
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
        return self._run.port.peer_metadata

    @property
    def caller(self) -> DriverCaller:
        """The caller of this connection, which keeps it alive as long as this handle
        exists. To keep it alive longer, use `Caller.clone`. The caller
        of a handle that `current_call` gives does not keep it alive, since the peer of
        the call does: use it as long as you like, also after the call.
        """
        if self._caller is None:
            make = LoggedCaller if calls_are_logged() else DriverCaller
            self._caller = make(self._run, keeps_alive=self._keeps_alive)
        return self._caller

    @property
    def session(self) -> AnySession:
        """The session of this connection: a `Session`.

        Raises:
            ConnectionLost: the session has ended, and no references to it are left.
        """
        session = self._run.port.terms.session()
        if session is None:
            raise ConnectionLost("the session of this connection has ended")
        return session

    @property
    def state(self) -> ConnectionState:
        """Its id and both sides' settings, as plain data; also once it has ended.

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

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: Any
    ) -> None:
        """Run ``await function(*args)`` in a task that ends with this connection.

        The connection cancels the task when it ends. An exception in the task is
        logged, and affects nothing else. The task has a copy of the context of the
        caller of this method, so that `current_call` works in it. Never waits.

        Raises:
            ConnectionLost: the connection has ended.
        """
        because = self._run.port.ended_because
        if because is not None or self._run.tasks.are_over:
            raise ConnectionLost("start_soon: the connection has ended") from because
        check_run(self._run.port.token, "this connection")
        self._run.tasks.start_soon(self._run_logged, function, args)

    async def _run_logged(
        self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]
    ) -> None:
        try:
            await function(*args)
        except BaseException as error:
            number = self.connection_id
            logger.failure(
                error, "a task of connection %d failed", number, connection=number
            )

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
            self._run.close(checked)

    def close_if_virtual(self) -> None:
        """Close it, unless it is the root connection."""
        if self.connection_id:
            self.close()

    async def __aenter__(self) -> ConnectionHandle:
        return self

    async def __aexit__(self, *args: object) -> None:
        self.close_if_virtual()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConnectionHandle) and self._run is other._run

    def __hash__(self) -> int:
        return hash(self._run)

    def __repr__(self) -> str:
        return f"<ConnectionHandle {self.connection_id}, {self.phase.value}>"
