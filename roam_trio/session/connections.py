"""The connections of a session: the root, and the virtual ones either peer opens.

What a message does is decided by the `ConnectionTable`, and done here: each open
connection has a `ConnectionRun`, which gets its messages; each opening of this side a
task that waits for the answer; and each of the peer's a task in which the acceptor
decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import trio

from ..errors import (
    ConduitError,
    ConnectionClosed,
    LimitExceeded,
    LinkError,
    Overloaded,
    RoamTrioError,
    SessionError,
)
from ..kept_errors import strip_tracebacks
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..rpc.expected_service import (
    Expected,
    expected_in,
    offering,
    with_expected,
    without_schemas,
)
from ..rpc.handler import Handler
from ..rpc.observer import Observer, tell
from ..running import check_run
from ..wire.ids import ConnectionId
from ..wire.messages import (
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
)
from .acceptance import AcceptedConnection, ConnectionAcceptor, verdict_of
from .budgets import TASK_BYTES, Budget
from .call_log import LoggedConnectionRun, calls_are_logged
from .connection import ConnectionHandle
from .connection_run import ConnectionRun, memory_of_connection
from .connection_table import (
    Act,
    Action,
    ConnectionTable,
    End,
    Fail,
    Reject,
    session_lost,
)
from .futile import Futile
from .handshake import HandshakeResult
from .outbox import Outbox
from .port import SessionPort
from .refusal import Refusal
from .rejection import metadata_of_rejection
from .session_end import name_peer
from .terms import SessionTerms
from .waits import Waits
from .workers import Workers

__all__ = ["ON_CONNECTION_MESSAGE", "Connections", "end_connections"]

logger = Log("roam_trio.session")

T = TypeVar("T")


class _Opening:
    """A task that waits for the answer to its ConnectionOpen."""

    __slots__ = ("answered", "error", "expected", "handle", "handler", "ours")

    def __init__(
        self,
        ours: ConnectionSettings,
        handler: Handler | None,
        expected: Expected | None,
    ) -> None:
        self.ours = ours
        self.handler = handler
        self.expected = expected
        self.answered = trio.Event()
        self.handle: ConnectionHandle | None = None
        self.error: RoamTrioError | None = None

    def fail(self, error: RoamTrioError) -> None:
        """Wake the task with an error."""
        self.error = error
        self.answered.set()


class Connections:
    """Runs the connections of one session, as its `ConnectionTable` decides.

    Args:
        agreed: the root connection, as the handshake has settled it.
        handler: answers the peer's requests on the root connection.
        acceptor: decides on connections the peer opens; without one, all are rejected.
        outbox: sends messages, and ends the session when it is unused.
        nursery: where the tasks of connections run.
        terms: what holds for the whole session.
        now: returns the time, in seconds.
        make_requests: see `SessionPort`.
    """

    __slots__ = (
        "_acceptor",
        "_deciding",
        "_openings",
        "_outbox",
        "_port",
        "_quiet",
        "_table",
        "_token",
        "_waits",
        "root",
        "runs",
        "workers",
    )

    def __init__(
        self,
        agreed: HandshakeResult,
        handler: Handler | None,
        acceptor: ConnectionAcceptor | None,
        outbox: Outbox,
        nursery: trio.Nursery,
        terms: SessionTerms,
        now: Callable[[], float],
        make_requests: Callable[..., Any] | None = None,
    ) -> None:
        self._outbox = outbox
        self._token = trio.lowlevel.current_trio_token()
        self.workers = workers = Workers(nursery, terms.budget)
        """Runs handlers, and anything else, in tasks of the session's."""
        self._waits = Waits(terms, now, workers)
        # One for all runs: there may be very many, and a bound method takes 64 bytes.
        self._port: SessionPort | None = SessionPort(
            outbox=outbox,
            terms=terms,
            token=self._token,
            now=now,
            workers=workers,
            waits=self._waits,
            owner=self,
            make_requests=make_requests,
        )
        self._acceptor = acceptor
        self._table = ConnectionTable(
            agreed.ours.parity,
            terms.limits,
            has_acceptor=acceptor is not None,
            strict=terms.strict,
        )
        self._openings: dict[ConnectionId, _Opening] = {}
        self._deciding: dict[ConnectionId, trio.CancelScope] = {}
        self._quiet: trio.lowlevel.ParkingLot | None = None
        self.runs: dict[ConnectionId, ConnectionRun] = {}
        """The open connections, by their ids."""
        run = self._start(
            ConnectionId.ROOT, agreed.ours, agreed.theirs, handler, agreed.metadata
        )
        self.root = ConnectionHandle(run)
        """The root connection (`connection.root`)."""

    def __repr__(self) -> str:
        return f"<Connections {len(self.runs)} open>"

    # ------------------------------------------------------------ made here

    async def open(
        self,
        ours: ConnectionSettings,
        metadata: Metadata,
        handler: Handler | None,
        expected: Expected | None = None,
    ) -> ConnectionHandle:
        """Open a virtual connection; see `Session.open_connection`.

        Args:
            ours: the settings of this side.
            metadata: sent along.
            handler: answers the peer's requests on it.
            expected: the service that is called on it, if that is known; gets what the
                peer tells about its own.
        """
        check_run(self._token, "this session")
        await trio.lowlevel.checkpoint_if_cancelled()
        if expected is not None:
            port = self._port  # None if the session has ended, as is told below
            if port is not None and port.terms.peer_knows:
                metadata = with_expected(metadata, expected)
            else:
                expected = None
        self._table.plan()
        try:
            connection_id = await self._ask(ours, metadata)
        except BaseException:
            self._table.drop_plan()
            self._check_needed()
            raise
        opening = self._openings[connection_id] = _Opening(ours, handler, expected)
        try:
            await opening.answered.wait()
        except trio.Cancelled:
            self._give_up(connection_id)
            raise
        if opening.handle is None:
            error = opening.error
            assert error is not None
            try:
                raise error
            finally:
                # Or else the error would hold this frame, and this frame the error.
                del error, opening
        return opening.handle

    async def _ask(self, ours: ConnectionSettings, metadata: Metadata) -> ConnectionId:
        try:
            permit = await self.runs[ConnectionId.ROOT].port.reserve()
        except (LinkError, ConduitError) as error:
            strip_tracebacks(error)  # in whose frames is the caller's
            raise session_lost(self._table.ended_because or error) from error
        with permit:
            self._table.check_may_ask()
            connection_id = self._table.allocate()
            permit.send(ConnectionOpen(connection_id, ours, metadata))
        self._table.ask(connection_id)
        return connection_id

    def _give_up(self, connection_id: ConnectionId) -> None:
        """Abandon an open; its answer may still arrive."""
        if self._table.give_up(connection_id):
            del self._openings[connection_id]
            self._outbox.push(ConnectionClose(connection_id))
            self._check_needed()
        else:  # the answer and the cancellation have come in the same moment
            self.close(connection_id, NO_METADATA)

    def close(self, connection_id: ConnectionId, metadata: Metadata) -> None:
        """Close a virtual connection at once; harmless when it is not open."""
        if connection_id not in self.runs:
            return
        self._session.terms.excuse_strays(self.runs[connection_id].under_way)
        self._outbox.push(ConnectionClose(connection_id, metadata))
        if self._table.close(connection_id):  # and the link has not just ended
            self._end_run(connection_id, ConnectionClosed("us", metadata))

    def end(self, because: RoamTrioError) -> None:
        """End every connection with the session. Sends nothing."""
        self._waits.close()
        self.workers.stop_all()
        self._table.end(because)
        runs = list(self.runs.values())
        self.runs.clear()
        for run in runs:
            run.end(because)
            if run.port.connection_id:
                _tell_of_closed(run, because)
        for opening in self._openings.values():
            opening.fail(session_lost(because))
        self._openings.clear()
        for scope in self._deciding.values():
            scope.cancel()
        self.on_quiet()
        self._port = None  # it holds this, which is to be gone at once

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run something in a task of the session's."""
        self.workers.start_soon(function)

    @property
    def _session(self) -> SessionPort:
        assert self._port is not None, "nothing starts in a session that has ended"
        return self._port

    # ------------------------------------------------------------ who needs them

    @property
    def is_working(self) -> bool:
        """True if a call is in flight anywhere, a channel is open, or a connection is
        being opened, in either direction."""
        return bool(self._openings or self._deciding) or not _are_quiet(self.runs)

    def refuse(self, because: str) -> None:
        """Refuse new calls and connections, on both sides, from now on."""
        self._table.refusing = because
        for run in self.runs.values():
            run.refuse(because)

    async def quiet(self) -> None:
        """Wait until no call is in flight anywhere, and no channel is open; for who has
        had new ones refused."""
        while not _are_quiet(self.runs):
            if self._quiet is None:
                self._quiet = trio.lowlevel.ParkingLot()
            await self._quiet.park()

    def on_quiet(self) -> None:
        if self._quiet is not None:
            self._quiet.unpark_all()

    def on_unused(self, connection_id: ConnectionId) -> None:
        """Handle an unused connection.

        Close a virtual one. Record the root as unused; the session ends when no virtual
        connection is left.
        """
        if connection_id:
            self.close(connection_id, NO_METADATA)
        else:
            self._table.is_root_unused = True
            self._check_needed()

    def _check_needed(self) -> None:
        """End the session if it is unused."""
        if self._table.is_unneeded:
            self._outbox.fail(SessionError("nobody needs the session any more"))

    # ------------------------------------------------------------ messages

    def on_open(self, message: ConnectionOpen) -> None:
        """Handle an open of the peer."""
        connection_id, terms = message.connection_id, self._session.terms
        expected = expected_in(message.metadata) if terms.peer_knows else None
        if expected is not None:
            message.metadata = without_schemas(message.metadata)
        action, budget = self._table.on_open(message), terms.budget
        if action is Act.DECIDE:
            action = _take_room(budget, self._table, message)
        if action is Act.DECIDE:
            assert self._acceptor is not None
            scope = self._deciding[connection_id] = trio.CancelScope()
            self.workers.start_soon(
                self._decide, self._acceptor, message, scope, budget, expected
            )
        elif isinstance(action, Reject):
            _reject(self._session, connection_id, action)

    async def _decide(
        self,
        acceptor: ConnectionAcceptor,
        message: ConnectionOpen,
        scope: trio.CancelScope,
        budget: Budget,
        expected: bytes | None,
    ) -> None:
        connection_id = message.connection_id
        size = memory_of_connection(connection_id, message.metadata)
        verdict: AcceptedConnection | Metadata | Refusal | None = None
        try:
            with scope:
                verdict = await _logged(
                    "deciding on",
                    connection_id,
                    partial(verdict_of, acceptor, message, expected),
                )
        finally:
            del self._deciding[connection_id]
            budget.give(TASK_BYTES + size, 1)
        if isinstance(verdict, AcceptedConnection):
            action = self._table.allow(connection_id)
        else:
            action = self._table.deny(connection_id, verdict)
        if action is Act.START:
            assert isinstance(verdict, AcceptedConnection)
            self._accept(message, verdict, expected)
            return
        if isinstance(action, Reject):
            _reject(self._session, connection_id, action)
        self._check_needed()

    def _accept(
        self,
        message: ConnectionOpen,
        accepted: AcceptedConnection,
        expected: bytes | None,
    ) -> None:
        connection_id, theirs = message.connection_id, message.settings
        ours = ConnectionSettings(
            theirs.parity.other(), accepted.max_concurrent_requests
        )
        run = self._start(
            connection_id, ours, theirs, accepted.handler, message.metadata
        )
        # It is there to be ended if the link, as this shows, has ended.
        metadata = offering(
            accepted.metadata,
            expected,
            accepted.handler,
            schemas=self._session.terms.schemas,
        )
        self._outbox.push(ConnectionAccept(connection_id, ours, metadata))
        _tell_of_opened(run)
        if accepted.setup is not None:
            handle = ConnectionHandle(run)
            run.tasks.start_soon(
                _logged,
                "the setup of",
                connection_id,
                partial(accepted.setup, handle),
            )

    def on_accept(self, message: ConnectionAccept) -> None:
        """Handle an accept for an open of this side."""
        connection_id = message.connection_id
        waiting = self._openings.get(connection_id)
        if waiting is not None and waiting.expected is not None:
            waiting.expected.note_answer(message.metadata)
            message.metadata = without_schemas(message.metadata)
        action = self._table.on_accept(message)
        if action is Act.START:
            opening = self._openings.pop(connection_id)
            run = self._start(
                connection_id,
                opening.ours,
                message.settings,
                opening.handler,
                message.metadata,
            )
            opening.handle = ConnectionHandle(run)
            _tell_of_opened(run)
            opening.answered.set()
        elif isinstance(action, Fail):
            self._fail(connection_id, action)
        else:
            _count_futile(self._port, Futile.STRAY)

    def on_reject(self, message: ConnectionReject) -> None:
        """Handle a rejection of an open of this side."""
        action = self._table.on_reject(message)
        if isinstance(action, Fail):
            self._fail(message.connection_id, action)
        else:
            _count_futile(self._port, Futile.STRAY)

    def on_close(self, message: ConnectionClose) -> None:
        """Handle a close by the peer."""
        connection_id = message.connection_id
        action = self._table.on_close(message)
        if isinstance(action, End):
            self._end_run(connection_id, action.because)
            if not self.root.connection_run.ours.parity.owns(connection_id):
                _count_futile(self._port, Futile.OPEN)
        elif isinstance(action, Fail):
            self._fail(connection_id, action)
        elif action is Act.STOP_DECIDING:
            scope = self._deciding.get(connection_id)
            if scope is not None:  # or else it is being cancelled with the session
                scope.cancel()
            _count_futile(self._port, Futile.OPEN)
        else:
            _count_futile(self._port, Futile.STRAY)

    def on_stray(self, message: Message) -> None:
        """Handle a message for a connection that is not open."""
        self._table.on_stray(message)
        _count_futile(self._port, Futile.STRAY)

    # ------------------------------------------------------------ done as decided

    def _start(
        self,
        connection_id: ConnectionId,
        ours: ConnectionSettings,
        theirs: ConnectionSettings,
        handler: Handler | None,
        metadata: Metadata,
    ) -> ConnectionRun:
        make = LoggedConnectionRun if calls_are_logged() else ConnectionRun
        run = self.runs[connection_id] = make(
            connection_id, ours, theirs, self._session, handler, metadata
        )
        if self._table.refusing is not None:
            run.refuse(self._table.refusing)
        return run

    def _end_run(self, connection_id: ConnectionId, because: RoamTrioError) -> None:
        run = self.runs.pop(connection_id)
        name_peer(because, run.port.terms.peer)
        run.end(because)
        _tell_of_closed(run, because)
        self.on_quiet()
        self._check_needed()

    def _fail(self, connection_id: ConnectionId, failure: Fail) -> None:
        name_peer(failure.error, self._session.terms.peer)
        self._openings.pop(connection_id).fail(failure.error)
        if failure.close:
            self._outbox.push(ConnectionClose(connection_id))
        self._check_needed()


def end_connections(
    connections: Connections, because: RoamTrioError, *, then: Callable[[], None]
) -> None:
    """End every connection with the session.

    If there are many handlers, they are cancelled first, a few at a time, so that other
    sessions are not held up; the connections end when that is done.

    Args:
        connections: those of the session, which has not ended them.
        because: the reason.
        then: called when they have ended.
    """

    def end() -> None:
        connections.end(because)
        then()

    workers = connections.workers
    if workers.are_many:
        workers.start_soon(workers.stop_in_turns, end)
    else:
        end()


ON_CONNECTION_MESSAGE: dict[type[Message], Callable[[Connections, Any], None]] = {
    ConnectionOpen: Connections.on_open,
    ConnectionAccept: Connections.on_accept,
    ConnectionReject: Connections.on_reject,
    ConnectionClose: Connections.on_close,
}
"""Methods for the messages that open and close connections."""


def _reject(port: SessionPort, connection_id: ConnectionId, rejection: Reject) -> None:
    metadata = rejection.metadata
    if rejection.refusal is not None:
        knows = port.terms.peer_knows
        metadata = metadata_of_rejection(rejection.refusal, peer_knows=knows)
    port.outbox.push(ConnectionReject(connection_id, metadata))
    _count_futile(port, Futile.OPEN)


def _count_futile(session: SessionPort | None, kind: Futile) -> None:
    """Count a message, unless the session has ended; it ends if there are too many."""
    if session is None:
        return
    try:
        session.terms.count_futile(kind)
    except LimitExceeded as error:
        session.outbox.fail(error)


def _are_quiet(runs: Mapping[ConnectionId, ConnectionRun]) -> bool:
    return all(run.is_quiet for run in runs.values())


def _take_room(
    budget: Budget, table: ConnectionTable, message: ConnectionOpen
) -> Action:
    """Count a connection and the task that decides on it, or reject it."""
    size = memory_of_connection(message.connection_id, message.metadata)
    try:
        budget.take(TASK_BYTES + size, 1)
    except Overloaded as refusal:
        return table.deny(message.connection_id, Metadata.of({"error": refusal.text}))
    return Act.DECIDE


def _tell_of_opened(run: ConnectionRun) -> None:
    terms = run.port.terms
    if terms.observer is not None:
        tell(terms.observer, Observer.connection_opened, terms.handle_of(run))


def _tell_of_closed(run: ConnectionRun, because: RoamTrioError) -> None:
    terms = run.port.terms
    if terms.observer is not None:
        tell(terms.observer, Observer.connection_closed, terms.handle_of(run), because)


async def _logged(
    what: str, connection_id: ConnectionId, function: Callable[[], Awaitable[T]]
) -> T | None:
    """Run what a user has written; if it fails, log that and return None."""
    try:
        return await function()
    except BaseException as error:
        logger.failure(
            error,
            "%s connection %d failed",
            what,
            connection_id,
            connection=connection_id,
        )
    return None
