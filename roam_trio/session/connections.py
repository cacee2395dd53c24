"""The connections of a session: the root, and the virtual ones either peer opens.

    opening   this side has asked, and waits for the peer's answer
    deciding  the peer has asked, and the `ConnectionAcceptor` is deciding
    open      there is a `ConnectionRun`, which gets the connection's messages

What a message does is decided synchronously, in the reader of the session. Only
`Connections.open` waits, and the acceptor may.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeVar

import attrs
import trio

from ..errors import (
    ConduitError,
    ConnectionClosed,
    ConnectionLost,
    LinkError,
    RemoteProtocolError,
    RoamTrioError,
    SessionRejected,
)
from ..limits import Limits
from ..logs import Log
from ..metadata import NO_METADATA, Metadata, MetadataLike, shown
from ..rpc.handler import Handler
from ..running import check_run
from ..wire.ids import IdAllocator, Parity
from ..wire.messages import (
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
)
from .connection import ConnectionHandle
from .connection_run import ConnectionRun
from .handshake import Agreed
from .held_messages import encoded_size
from .outbox import Outbox

__all__ = ["AcceptedConnection", "ConnectionAcceptor", "Connections"]

logger = Log("roam_trio.session")

T = TypeVar("T")

_NO_CONNECTIONS: Final = (
    "this side offers no services by name, but one on the root connection at most: "
    "connect(url, Service) gives a client of that; to offer several by name, "
    "serve(url, {name: handler})"
)
"""Reason to reject an opening where nobody decides on connections; told to the peer."""


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
        setup: called with the connection once it is open, in a task of the
            connection's: to make calls on it, say. Whoever takes a caller of it keeps
            one for as long as the connection is to live
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
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        """Accept the connection, or return the metadata of a rejection.

        Runs in a task of the session's, and may wait; how many do so at a time is
        bounded by `Limits.pending_opens`. An exception out of it is logged, and the
        connection rejected. It is cancelled when the peer closes the connection
        meanwhile; what it then returns is disregarded.

        Args:
            connection_id: the number of the connection.
            settings: what the peer tells of its side of it.
            metadata: what the peer sent along.
        """
        ...


class _Opening:
    """A connection that this side has asked for."""

    __slots__ = ("answered", "error", "handle", "handler", "ours")

    def __init__(self, ours: ConnectionSettings, handler: Handler | None) -> None:
        self.ours = ours
        self.handler = handler
        self.answered = trio.Event()
        self.handle: ConnectionHandle | None = None
        self.error: RoamTrioError | None = None


class Connections:
    """The connections of one session.

    Args:
        parity: the half of the numbers this side opens connections with.
        outbox: where messages go.
        nursery: where the tasks of connections run.
        limits: what the peer can make this side hold.
        acceptor: decides on connections the peer opens; without one, all are rejected.
        strict: also refuse what peers of other implementations are known to do.
        on_unused: called with the number of a connection that nobody needs any more.
        on_gone: called when a virtual connection has ended, or will not be opened.
        on_quiet: called when a connection has no call in flight and no channel open.
    """

    def __init__(
        self,
        parity: Parity,
        outbox: Outbox,
        nursery: trio.Nursery,
        limits: Limits,
        acceptor: ConnectionAcceptor | None,
        *,
        strict: bool,
        on_unused: Callable[[int], None],
        on_gone: Callable[[], None],
        on_quiet: Callable[[], None],
    ) -> None:
        self.runs: dict[int, ConnectionRun] = {}
        self.refusing: str | None = None
        """The reason why new connections are refused, if they are."""
        self._outbox = outbox
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self.start_soon = nursery.start_soon
        """Runs something in a task of the session's."""
        self._limits = limits
        self._acceptor = acceptor
        self._strict = strict
        self._on_unused = on_unused
        self._on_gone = on_gone
        self._on_quiet = on_quiet
        self._parity = parity
        self._ids = IdAllocator(parity)
        self._opening: dict[int, _Opening] = {}
        self._unsent = 0
        self._deciding: dict[int, trio.CancelScope] = {}
        self._weights: dict[int, int] = {}
        """Number of bytes that the metadata of each connection makes this side hold."""
        self._bytes = 0
        self._last_asked_for = 0
        self._over: dict[int, None] = {}
        self._ended_because: RoamTrioError | None = None

    @property
    def has_virtual(self) -> bool:
        """True if virtual connections are open, or about to be."""
        return bool(
            self._unsent
            or self._opening
            or self._deciding
            or len(self.runs) > (0 in self.runs)
        )

    # ------------------------------------------------------------ made here

    def add_root(self, agreed: Agreed, handler: Handler | None) -> ConnectionRun:
        """Open the root connection, as the handshake has settled it."""
        return self._add(0, agreed.ours, agreed.theirs, handler)

    async def open(
        self, ours: ConnectionSettings, metadata: Metadata, handler: Handler | None
    ) -> ConnectionHandle:
        """Open a virtual connection; see `Session.open_connection`."""
        check_run(self._token, "this session")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._refuse_to_open()
        self._unsent += 1
        try:
            connection_id, opening = await self._send_open(ours, metadata, handler)
        except BaseException:
            self._unsent -= 1
            self._on_gone()
            raise
        self._unsent -= 1
        try:
            await opening.answered.wait()
        except trio.Cancelled:
            self._give_up(connection_id, opening)
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

    async def _send_open(
        self, ours: ConnectionSettings, metadata: Metadata, handler: Handler | None
    ) -> tuple[int, _Opening]:
        try:
            permit = await self.runs[0].reserve()
        except (LinkError, ConduitError) as error:
            raise _lost(self._ended_because or error) from error
        with permit:
            self._refuse_to_open()
            connection_id = self._ids.allocate()
            permit.send(ConnectionOpen(connection_id, ours, metadata))
        opening = self._opening[connection_id] = _Opening(ours, handler)
        return connection_id, opening

    def _refuse_to_open(self) -> None:
        if self._ended_because is not None:
            raise _lost(self._ended_because)
        if self.refusing is not None:
            raise ConnectionLost(self.refusing)
        if self._count() >= self._limits.connections:
            raise ConnectionLost(
                f"{self._count()} virtual connections are open already "
                "(limit: connections)"
            )

    def _give_up(self, connection_id: int, opening: _Opening) -> None:
        """Nobody waits for this opening any more; its answer may still come."""
        if opening.handle is not None:
            self.close(connection_id, NO_METADATA)
        elif self._opening.pop(connection_id, None) is not None:
            self._outbox.push(ConnectionClose(connection_id))
            self._on_gone()

    def close(self, connection_id: int, metadata: Metadata) -> None:
        """Close a virtual connection at once; harmless when it is not open."""
        run = self.runs.get(connection_id)
        if run is None:
            return
        self._outbox.push(ConnectionClose(connection_id, metadata))
        if connection_id in self.runs:  # and the link, and all, has not just ended
            self._remove(run, ConnectionClosed("us", metadata))

    def end(self, because: RoamTrioError) -> None:
        """The session has ended, and every connection with it. Nothing is sent."""
        self._ended_because = because
        self.refusing = str(because)
        runs = list(self.runs.values())
        self.runs.clear()
        for run in runs:
            run.end(because)
        for opening in self._opening.values():
            opening.error = _lost(because)
            opening.answered.set()
        self._opening.clear()
        for scope in self._deciding.values():
            scope.cancel()
        self._over.clear()
        self._weights.clear()
        self._bytes = 0
        self._on_quiet()
        self._on_gone = self._on_quiet = self._on_unused = _do_nothing

    def refuse(self, because: str) -> None:
        """Refuse new calls and connections, on both sides, from now on."""
        self.refusing = because
        for run in self.runs.values():
            run.refuse(because)

    @property
    def are_quiet(self) -> bool:
        """True if no call is in flight anywhere, and no channel is open."""
        return all(run.is_quiet for run in self.runs.values())

    # ------------------------------------------------------------ messages

    def on_open(self, message: ConnectionOpen) -> None:
        """The peer asks for a connection (`connection.open`)."""
        connection_id = message.connection_id
        wrong = self._what_is_wrong(connection_id)
        if wrong is not None:
            if self._strict:
                raise RemoteProtocolError(wrong)
            self._reject(connection_id, wrong)
            return
        self._last_asked_for = max(self._last_asked_for, connection_id)
        if self.refusing is not None:
            self._reject(connection_id, self.refusing)
        elif self._count() >= self._limits.connections:
            self._reject(connection_id, "too many connections (limit: connections)")
        elif len(self._deciding) >= self._limits.pending_opens:
            self._reject(connection_id, "too many pending (limit: pending_opens)")
        elif self._acceptor is not None and not self._hold(message):
            self._reject(connection_id, _TOO_MUCH_METADATA)
        elif self._acceptor is None:
            self._reject(connection_id, _NO_CONNECTIONS)
        else:
            scope = self._deciding[connection_id] = trio.CancelScope()
            self._nursery.start_soon(self._decide, self._acceptor, message, scope)

    def _what_is_wrong(self, connection_id: int) -> str | None:
        if connection_id == 0:
            return "connection 0 is the root, and was opened again"
        if not self._parity.other().owns(connection_id):
            return (
                f"connection {connection_id} has not the parity of its opener, "
                f"{self._parity.other().name.lower()}"
            )
        if connection_id in self.runs or connection_id in self._deciding:
            return f"connection {connection_id} is open, and was opened again"
        return None

    def _reject(self, connection_id: int, why: str) -> None:
        metadata = Metadata.of({"error": why})
        self._outbox.push(ConnectionReject(connection_id, metadata))

    async def _decide(
        self,
        acceptor: ConnectionAcceptor,
        message: ConnectionOpen,
        scope: trio.CancelScope,
    ) -> None:
        connection_id = message.connection_id
        verdict: AcceptedConnection | Metadata | None = None
        try:
            with scope:
                verdict = await _logged(
                    "deciding on",
                    connection_id,
                    partial(_verdict, acceptor, message),
                )
        finally:
            del self._deciding[connection_id]
        if scope.cancel_called:
            pass  # the peer has closed it, or the session has ended: no answer
        elif self.refusing is not None:
            self._reject(connection_id, self.refusing)
        elif isinstance(verdict, AcceptedConnection):
            self._accept(message, verdict)
            return
        elif verdict is None:
            self._reject(connection_id, "the acceptor failed")
        else:
            self._outbox.push(ConnectionReject(connection_id, verdict))
        self._let_go(connection_id)
        self._on_gone()

    def _accept(self, message: ConnectionOpen, accepted: AcceptedConnection) -> None:
        theirs = message.settings
        ours = ConnectionSettings(
            theirs.parity.other(), accepted.max_concurrent_requests
        )
        run = self._add(message.connection_id, ours, theirs, accepted.handler)
        # It is there to be ended if the link, as this shows, has ended.
        self._outbox.push(
            ConnectionAccept(message.connection_id, ours, accepted.metadata)
        )
        if accepted.setup is not None:
            handle = ConnectionHandle(run, message.metadata, self.close)
            run.start_soon(
                _logged,
                "the setup of",
                message.connection_id,
                partial(accepted.setup, handle),
            )

    def on_accept(self, message: ConnectionAccept) -> None:
        """The peer has accepted a connection that this side asked for."""
        opening = self._opening.pop(message.connection_id, None)
        if opening is None:
            self._on_stray_answer(message)
            return
        if not self._hold(message):
            self._outbox.push(ConnectionClose(message.connection_id))
            opening.error = ConnectionLost(_TOO_MUCH_METADATA)
            opening.answered.set()
            self._on_gone()
            return
        run = self._add(
            message.connection_id, opening.ours, message.settings, opening.handler
        )
        opening.handle = ConnectionHandle(run, message.metadata, self.close)
        opening.answered.set()

    def on_reject(self, message: ConnectionReject) -> None:
        """The peer has rejected a connection that this side asked for."""
        opening = self._opening.pop(message.connection_id, None)
        if opening is None:
            self._on_stray_answer(message)
            self._is_over(message.connection_id)
            return
        self._is_over(message.connection_id)
        why = shown(message.metadata) or (
            "it does not say why; it may offer no services by name, or not this one"
        )
        opening.error = SessionRejected(
            f"the peer rejected the connection: {why}", message.metadata
        )
        opening.answered.set()
        self._on_gone()

    def on_close(self, message: ConnectionClose) -> None:
        """The peer has closed a connection (`connection.close.semantics`)."""
        connection_id = message.connection_id
        if connection_id == 0:
            raise RemoteProtocolError("connection 0, the root, was closed")
        run = self.runs.get(connection_id)
        opening = self._opening.pop(connection_id, None)
        deciding = self._deciding.get(connection_id)
        closed = ConnectionClosed("peer", message.metadata)
        if run is not None:
            self._remove(run, closed)
        elif opening is not None:
            opening.error = ConnectionLost(str(closed))
            opening.error.__cause__ = closed
            opening.answered.set()
            self._on_gone()
        elif deciding is not None and not deciding.cancel_called:
            # It keeps its place among those that are decided on till it has stopped.
            deciding.cancel()
        else:
            self.on_stray(message)
        self._is_over(connection_id)

    def _is_over(self, connection_id: int) -> None:
        """The peer has closed or rejected this one: it may send no more on it."""
        self._over[connection_id] = None
        if len(self._over) > self._limits.connections:
            del self._over[next(iter(self._over))]

    def on_stray(self, message: Message) -> None:
        """A message for a connection that is not open.

        The peer may have sent it before it learnt that this side has closed or
        rejected the connection. What cannot be explained like that breaks the
        protocol, as some peers are known to do.
        """
        connection_id = message.connection_id
        if (
            connection_id in self._over
            or connection_id in self._opening
            or connection_id in self._deciding
            or not self._was_asked_for(connection_id)
        ):
            self._refuse_stray(message, "is not open")

    def _was_asked_for(self, connection_id: int) -> bool:
        """Return True if either side has ever asked for it, as far as can be told
        without remembering every number."""
        if self._parity.owns(connection_id):
            return self._ids.has_allocated(connection_id)
        return 0 < connection_id <= self._last_asked_for

    def _on_stray_answer(self, message: ConnectionAccept | ConnectionReject) -> None:
        """The answer to an opening that this side has given up, or has not made."""
        connection_id = message.connection_id
        if connection_id in self.runs or not self._parity.owns(connection_id):
            self._refuse_stray(message, "is not being opened")
        self.on_stray(message)

    def _refuse_stray(self, message: Message, it: str) -> None:
        if self._strict:
            raise RemoteProtocolError(
                f"{type(message).__name__} came on connection {message.connection_id}, "
                f"which {it}"
            )

    # ------------------------------------------------------------ the table

    def _count(self) -> int:
        return len(self.runs) + len(self._opening) + len(self._deciding) - 1

    def _add(
        self,
        connection_id: int,
        ours: ConnectionSettings,
        theirs: ConnectionSettings,
        handler: Handler | None,
    ) -> ConnectionRun:
        run = self.runs[connection_id] = ConnectionRun(
            connection_id,
            ours,
            theirs,
            self._outbox,
            self._limits,
            handler,
            self._nursery.start_soon,
            strict=self._strict,
            on_unused=self._on_unused,
            on_quiet=self._on_quiet,
        )
        if self.refusing is not None:
            run.refuse(self.refusing)
        return run

    def _hold(self, message: ConnectionOpen | ConnectionAccept) -> bool:
        """Count what comes with a connection; False if that is too much."""
        if message.metadata:
            size = encoded_size(message)
            if self._bytes + size > self._limits.connection_bytes:
                return False
            self._weights[message.connection_id] = size
            self._bytes += size
        return True

    def _let_go(self, connection_id: int) -> None:
        """A connection has ended, or will not be opened."""
        self._bytes -= self._weights.pop(connection_id, 0)

    def _remove(self, run: ConnectionRun, because: RoamTrioError) -> None:
        del self.runs[run.connection_id]
        self._let_go(run.connection_id)
        run.end(because)
        self._on_quiet()
        self._on_gone()


def _do_nothing(*args: object) -> None:
    pass


_TOO_MUCH_METADATA = (
    "too much metadata has come with virtual connections (limit: connection_bytes)"
)


async def _verdict(
    acceptor: ConnectionAcceptor, message: ConnectionOpen
) -> AcceptedConnection | Metadata:
    verdict = await acceptor.accept(
        message.connection_id, message.settings, message.metadata
    )
    if isinstance(verdict, AcceptedConnection):
        return verdict
    return Metadata.of(verdict)


async def _logged(
    what: str, connection_id: int, function: Callable[[], Awaitable[T]]
) -> T | None:
    """Run what a user has written; if it fails, log that and return None."""
    try:
        return await function()
    except BaseException as error:
        logger.failure(error, "%s connection %d failed", what, connection_id)
    return None


def _lost(because: BaseException) -> ConnectionLost:
    error = ConnectionLost(f"the session has ended: {because}")
    error.__cause__ = because
    return error
