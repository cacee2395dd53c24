"""The handle of a session: what programs hold while its `SessionRun` runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

import trio

from ..errors import ConnectionLost, RoamTrioError
from ..limits import Limits
from ..metadata import Metadata, MetadataLike
from ..peers import Peer
from ..quantities import check_seconds
from ..rpc.caller import Caller
from ..rpc.connection import AnySession
from ..rpc.expected_service import Expected
from ..rpc.handler import Handler
from ..rpc.service_class import AnyMiddleware, ClientDefaults
from ..wire.ids import ConnectionId, Parity
from ..wire.messages import ConnectionSettings
from .connection import ConnectionHandle
from .connections import Connections
from .opening import OpenConnection
from .session_run import SessionRun
from .statistics import SessionStatistics

__all__ = ["Session", "SessionHandle"]

T = TypeVar("T")


_NO_DEFAULTS = ClientDefaults()

_handle_of = partial(ConnectionHandle, keeps_alive=False)


class Session(AnySession):
    """A running session. `initiator` and `acceptor` make one.

    Args:
        run: runs it.
    """

    __slots__ = (
        "__weakref__",
        "_draining",
        "_run",
        "for_clients",
    )

    def __init__(self, run: SessionRun) -> None:
        self._run = run
        self.for_clients = _NO_DEFAULTS
        """The options that all clients of `open` share."""
        self._draining: trio.Event | None = None
        run.terms.handle_of = _handle_of

    def run(
        self, *, task_status: trio.TaskStatus[Session] = trio.TASK_STATUS_IGNORED
    ) -> Coroutine[Any, Any, None]:
        """Set the session up, and run it to its end; for ``nursery.start``.

        Returns normally however a session ends that was set up.

        Raises:
            SessionError: it could not be set up.
            Refused, Unavailable: the peer has turned this side away, or this side the
                peer.
        """
        # Not a coroutine around the other one: each would take a frame for as long as
        # the session lasts, and a step through it for whatever the reader reads.
        return self._run.run(self, task_status)

    @property
    def limits(self) -> Limits:
        """The bounds on what the peer can make this side hold."""
        return self._run.terms.limits

    @property
    def root(self) -> ConnectionHandle:
        """The root connection (`connection.root`)."""
        return self.connections.root

    @property
    def caller(self) -> Caller:
        """Makes calls on the root connection."""
        return self.root.caller

    @property
    def ended_because(self) -> RoamTrioError | None:
        """The reason why the session has ended; None while it runs."""
        return self._run.ended_because

    @property
    def peer(self) -> Peer:
        """The peer, with the metadata of its handshake.

        Set its `Peer.identity` to whatever handlers are to read. If the session resumes
        on another link, the address, the certificate and the credentials are those of
        that link, and the identity stays.
        """
        return self._run.terms.peer

    @property
    def tasks_left(self) -> int:
        """Number of handlers of calls that go on although the session has ended; 0
        while it runs."""
        run = self._run
        return 0 if run.ended_because is None else run.terms.budget.tasks

    @property
    def draining(self) -> trio.Event:
        """An event that is set when a shutdown with a grace begins."""
        if self._draining is None:
            self._draining = trio.Event()
        return self._draining

    async def closed(self) -> None:
        """Wait until the session has ended and let go of its conduit."""
        await self._run.closed()

    async def ping(self) -> float:
        """Ping the peer, and return the number of seconds until its answer
        (`session.keepalive`).

        A checkpoint. It waits for as long as the session lasts, so bound it with
        `trio.fail_after`. Cancelled, it ignores the answer. Peers bound the number of
        pings a second (`Limits.futile_messages`).

        Raises:
            ConnectionLost: the session has ended, or ends before the answer.
        """
        run = self._run
        run.check_run()
        began = trio.current_time()
        await trio.lowlevel.checkpoint_if_cancelled()
        if run.ended_because is None and await run.control.ping():
            return trio.current_time() - began
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise ConnectionLost(f"the session has ended: {run.ended_because}")

    async def open_connection(
        self,
        handler: Handler | None = None,
        *,
        metadata: MetadataLike = (),
        max_concurrent_requests: int = 64,
        parity: Parity | None = None,
    ) -> ConnectionHandle:
        """Open a virtual connection, and wait until the peer has accepted it.

        Waits for room to send, and then for the answer. Cancelled, it leaves nothing
        open.

        Args:
            handler: answers the peer's requests on it.
            metadata: sent along, for the peer to decide by.
            max_concurrent_requests: how many requests of the peer's may be in flight.
            parity: the half of the request and channel ids this side allocates
                from; that of the session if not given (`connection.parity`).

        Raises:
            SessionRejected: the peer has rejected it; its metadata may say why.
            Refused: the peer has refused it, with a code.
            Unavailable: the peer is shutting down, or says that it cannot take the
                connection now.
            ConnectionLost: the session has ended, is shutting down, or has
                `Limits.connections` open; or the peer has closed it unanswered.
            PayloadTooLarge: the metadata does not fit into a payload of the link.
            ValueError: `max_concurrent_requests` is out of range.
        """
        if not 1 <= max_concurrent_requests < 2**32:
            raise ValueError(
                "max_concurrent_requests: expected 1 to 2**32 - 1, "
                f"got {max_concurrent_requests}"
            )
        ours = ConnectionSettings(
            self.root.settings.parity if parity is None else parity,
            max_concurrent_requests,
        )
        return await self.connections.open(ours, Metadata.of(metadata), handler)

    @property
    def connections(self) -> Connections:
        """Its connections; for the session layer."""
        connections = self._run.connections
        assert connections is not None, "only sessions that run are handed out"
        return connections

    def open(
        self,
        service: Callable[..., T],
        name: str | None = None,
        *,
        metadata: MetadataLike = (),
        handler: Handler | None = None,
        middleware: Iterable[AnyMiddleware] = (),
        metadata_for_calls: MetadataLike = (),
    ) -> OpenConnection[T]:
        """Return a client of `service` on a connection of its own.

        ``async with session.open(Counter) as counter:`` opens a virtual connection for
        the length of the block.

        Args:
            service: the class of the service.
            name: which of the peer's services is meant: the value of the metadata key
                ``service``; by default the service's name in kebab-case.
            metadata: sent along beside it.
            handler: answers calls of the peer's on this connection.
            middleware: wraps the calls of the client, inside of that of `connect`.
            metadata_for_calls: metadata of each call of the client.

        Raises:
            TypeError: `service` is not a service, or `middleware` is not a list.
            IncompatibleService: (on entering) the peer offers another version of it,
                and calls cannot be translated.
        """

        def open_connection(
            metadata: Metadata, expected: Expected | None
        ) -> Awaitable[ConnectionHandle]:
            ours = ConnectionSettings(self.root.settings.parity, 64)
            return self.connections.open(ours, metadata, handler, expected)

        defaults = self.for_clients
        return OpenConnection(
            open_connection,
            service,
            name,
            metadata,
            defaults.middleware_with(middleware),
            defaults.metadata_with(metadata_for_calls),
            defaults.fetch,
        )

    def close_connection(
        self, connection_id: ConnectionId, metadata: MetadataLike = ()
    ) -> None:
        """Close a virtual connection by its id; see `ConnectionHandle.close`.

        Raises:
            ValueError: it is the root, or is not open.
        """
        if connection_id == 0 or connection_id not in self.connections.runs:
            raise ValueError(
                f"expected the number of an open virtual connection, "
                f"got {connection_id}"
            )
        self._run.check_run()
        self.connections.close(connection_id, Metadata.of(metadata))

    async def shutdown(self, grace: float = 0.0) -> None:
        """End the session, and wait until that is done.

        For `grace` seconds, calls in flight and open channels may finish, while new
        calls and connections are refused on both sides. Then calls that are left fail
        and handlers are cancelled; what was committed is sent, for at most
        `Limits.close_seconds`. Harmless when it has ended already.

        Cancelled, it lets nothing finish: the session ends at once. Called twice, the
        shorter grace counts. A handler that calls it waits for itself too, until the
        grace is over: start it in another task.

        Args:
            grace: in seconds.

        Raises:
            ValueError: `grace` is negative or infinite; the session goes on.
            TypeError: `grace` is no number.
        """
        check_seconds("grace", grace, may_be_zero=True)
        self._run.check_run()
        if grace > 0:
            self.draining.set()
        await self._run.shut_down(grace)

    def statistics(self) -> SessionStatistics:
        """Return what the session does and holds now; never waits."""
        return self._run.statistics()

    def __repr__(self) -> str:
        run = self._run
        if run.connections is None:
            state = "being set up"
        elif run.ended_because is not None:
            state = f"ended: {run.ended_because}"
        else:
            runs = run.connections.runs.values()
            state = (
                f"open: {len(runs)} connections, "
                f"{sum(len(run.requests.table.in_flight) for run in runs)} calling, "
                f"{sum(len(run.answering) for run in runs)} answering, "
                f"{sum(run.channels.open for run in runs)} channels"
            )
        return f"<Session {state}>"


SessionHandle = Session
"""The handle of a session is the session itself."""
