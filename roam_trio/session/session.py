"""A session: one nursery on a conduit, in which connections live.

    pump    carries what was committed to the transport, to the very end; on a link
            that does without it, from when there is what cannot be written at once
    reader  awaits the conduit and nothing else; hands each message to its connection
    drain   sends what could not be sent at once, while there is any
    connections, each with a nursery for its handlers
    keepalive, if it is configured

The session ends when the peer closes, the conduit fails, someone breaks the protocol,
or this side shuts down; `Session.ended_because` tells which. Calls and channels fail
with that reason at once, handlers are cancelled, and what is committed is still sent,
for at most `Limits.close_seconds`.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from typing import Any, ClassVar, TypeVar

import trio

from ..conduits.base import Conduit, ConduitRx, ConduitTx
from ..errors import (
    AnnouncedTooLarge,
    BareConduitError,
    ConduitError,
    DecodeError,
    ForeignProtocol,
    LimitExceeded,
    LinkError,
    LocalProtocolError,
    RemoteProtocolError,
    RoamTrioError,
    SessionError,
    SessionIoError,
    SessionLost,
    SessionProtocolError,
    StableHandshakeError,
)
from ..failures import text_of
from ..kept_errors import copy_of, strip_tracebacks
from ..limits import Limits
from ..log_budget import log_budget_of_session
from ..logs import Log, address_of_peer
from ..metadata import Metadata, MetadataLike
from ..quantities import check_seconds
from ..rpc.caller import Caller
from ..rpc.handler import Handler
from ..running import check_run
from ..wire.ids import Parity
from ..wire.messages import (
    ConnectionSettings,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestResponse,
)
from .acceptance import ConnectionAcceptor
from .connection import ConnectionHandle
from .connection_run import ON_MESSAGE, ConnectionRun
from .connections import ON_CONNECTION_MESSAGE, Connections
from .handshake import Agreed
from .keepalive import Keepalive, SessionKeepaliveConfig
from .opening import OpenConnection
from .outbox import Outbox
from .statistics import SessionStatistics

__all__ = ["Session", "SessionHandle"]

logger = Log("roam_trio.session")

T = TypeVar("T")

_ANSWERED_BY_ONE = frozenset({RequestCall, RequestResponse})
"""Messages that set off one message: a response, or the next call of who got this."""

Handshake = Callable[[ConduitTx[Message], ConduitRx[Message]], Awaitable[Agreed]]


class Session:
    """A running session. `initiator` and `acceptor` make one.

    Args:
        conduit: carries its messages; the session closes it in the end.
        handshake: agrees with the peer on the root connection.
        handler: answers the peer's requests on the root connection.
        acceptor: decides on the virtual connections that the peer opens.
        keepalive: when to ping the peer; None for never.
        limits: what the peer can make this side hold.
        strict: also refuse what peers of other implementations are known to do.
    """

    def __init__(
        self,
        conduit: Conduit[Message],
        handshake: Handshake,
        handler: Handler | None,
        acceptor: ConnectionAcceptor | None,
        keepalive: SessionKeepaliveConfig | None,
        limits: Limits,
        *,
        strict: bool,
    ) -> None:
        self._tx, self._rx = conduit.split()
        self._handshake: Handshake | None = handshake
        self._handler = handler
        self._limits = limits
        self._strict = strict
        self._outbox = Outbox(
            self._tx,
            limits.unsent_replies,
            self._end,
            self._start_draining,
            most_bytes=limits.unsent_reply_bytes,
        )
        self._acceptor = acceptor
        self._keepalive_config = keepalive
        self._keepalive: Keepalive | None = None
        self._connections: Connections | None = None
        self._runs: dict[int, ConnectionRun] = {}
        self._root: ConnectionHandle | None = None
        self._nursery: trio.Nursery | None = None
        self._is_reading = False
        self._is_draining = False
        # Kept until the next has come: if a large one were freed at once, its memory
        # would go back to the system and be asked for again, page by page.
        self._last_message: Message | None = None
        self._working: trio.CancelScope | None = None
        self._pumping: trio.CancelScope | None = None
        self._finished = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._peer_is_silent = False
        self._ended_because: RoamTrioError | None = None
        self._peer_has_left = False

    # ------------------------------------------------------------ for its users

    @property
    def root(self) -> ConnectionHandle:
        """The root connection (`connection.root`)."""
        assert self._root is not None, "only sessions that run are handed out"
        return self._root

    @property
    def caller(self) -> Caller:
        """Makes calls on the root connection."""
        return self.root.caller

    @property
    def ended_because(self) -> RoamTrioError | None:
        """The reason why the session has ended; None while it runs."""
        return self._ended_because

    async def closed(self) -> None:
        """Wait until the session has ended and let go of its conduit."""
        if not self._finished.is_set():
            check_run(self._token, "this session")
        await self._finished.wait()

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
            parity: the half of its request and channel numbers this side allocates
                from; that of the session if not given (`connection.parity`).

        Raises:
            SessionRejected: the peer has rejected it; its metadata may say why.
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
        assert self._connections is not None, "only sessions that run are handed out"
        return self._connections

    def open(
        self,
        service: Callable[..., T],
        name: str | None = None,
        *,
        metadata: MetadataLike = (),
        handler: Handler | None = None,
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
        """

        def open_connection(metadata: Metadata) -> Awaitable[ConnectionHandle]:
            return self.open_connection(handler, metadata=metadata)

        return OpenConnection(open_connection, service, name, metadata)

    def close_connection(self, connection_id: int, metadata: MetadataLike = ()) -> None:
        """Close a virtual connection by its number; see `ConnectionHandle.close`.

        Raises:
            ValueError: it is the root, or is not open.
        """
        if connection_id == 0 or connection_id not in self._runs:
            raise ValueError(
                f"expected the number of an open virtual connection, "
                f"got {connection_id}"
            )
        check_run(self._token, "this session")
        assert self._connections is not None
        self._connections.close(connection_id, Metadata.of(metadata))

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
        if not self._finished.is_set():
            check_run(self._token, "this session")
        try:
            if grace > 0 and self._connections is not None:
                self._connections.refuse("the session is being shut down")
                with trio.move_on_after(grace):
                    await self._connections.quiet()
        finally:
            self._end(SessionError("this side has shut the session down"))
        await self._finished.wait()

    def statistics(self) -> SessionStatistics:
        """Return what the session does and holds now; never waits."""
        return SessionStatistics(
            tuple(run.statistics() for run in self._runs.values()),
            self._tx.statistics(),
            self._rx.statistics(),
            self._outbox.kept,
        )

    # ------------------------------------------------------------ its life

    # Control-C strikes tasks of the user's, and not in the middle of a message.
    # Handlers are the user's as well, wherever they run.
    @trio.lowlevel.enable_ki_protection
    async def run(
        self, *, task_status: trio.TaskStatus[Session] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Set the session up, and run it to its end; for ``nursery.start``.

        Returns normally however a session ends that was set up.

        Raises:
            SessionError: it could not be set up.
        """
        self._token = trio.lowlevel.current_trio_token()
        with log_budget_of_session(self._limits):
            async with trio.open_nursery() as nursery:
                context = copy_context()

                def start_pump() -> None:
                    # Not in the context of whoever needs it first, and may be gone
                    # soon.
                    context.run(nursery.start_soon, self._pump)

                if not self._outbox.carrier.defer_pump(start_pump):
                    start_pump()
                try:
                    await self._set_up_and_read(task_status)
                finally:
                    self._end(SessionError("the session was cancelled"))
                    # A task of its own: what goes wrong there must not take the place
                    # of what has brought us here.
                    nursery.start_soon(self._close)
                    self._log_end()
        if self._root is None:
            assert self._ended_because is not None
            raise copy_of(self._ended_because)

    def _log_end(self) -> None:
        """Log how a session has ended that was set up, unless it is as it should be:
        this side has ended it, or the peer has closed it.

        Of a process that is killed, the system closes or resets the connection, as it
        comes. So a connection that breaks is not worth a warning either.
        """
        reason = self._ended_because
        if (
            self._root is not None
            and isinstance(reason, SessionProtocolError | SessionIoError | SessionLost)
            and not (self._peer_has_left and isinstance(reason, SessionIoError))
        ):
            if _is_connection_lost(reason):
                logger.info("a session was lost%s: %s", address_of_peer(), reason)
            else:
                logger.warning("a session has ended%s: %s", address_of_peer(), reason)

    async def _set_up_and_read(self, task_status: trio.TaskStatus[Session]) -> None:
        try:
            agreed = await self._shake_hands()
        except RoamTrioError as error:
            self._end(error)
            return
        async with trio.open_nursery() as nursery:
            self._working = nursery.cancel_scope
            connections = self._connections = Connections(
                agreed,
                self._handler,
                self._acceptor,
                self._outbox,
                nursery,
                self._limits,
                strict=self._strict,
            )
            self._runs = connections.runs
            self._nursery = nursery
            if self._keepalive_config is not None:
                self._keepalive = Keepalive(
                    self._keepalive_config, self._outbox, self._end
                )
                nursery.start_soon(self._keepalive.run)
            self._root = connections.root
            task_status.started(self)
            await self._read()

    async def _shake_hands(self) -> Agreed:
        seconds = self._limits.handshake_seconds
        handshake, self._handshake = self._handshake, None
        assert handshake is not None, "a session runs once"
        self._outbox.carrier.uncork(prompt=True)
        with trio.move_on_after(seconds) as self._working:
            return await handshake(self._tx, self._rx)
        self._peer_is_silent = True
        raise SessionIoError(
            f"the handshake took longer than {seconds} s (limit: handshake_seconds)"
        )

    @trio.lowlevel.enable_ki_protection
    async def _pump(self) -> None:
        # Shielded, since a payload cut off in its middle is a broken link; `_close`
        # ends it within its bound.
        with trio.CancelScope(shield=True) as self._pumping:
            try:
                await self._outbox.carrier.pump()
            except (LinkError, ConduitError) as error:
                self._end(error)

    def _start_draining(self) -> None:
        # Without a reader there will soon be no session: `_close` sees to it then.
        if self._is_reading and not self._is_draining:
            assert self._nursery is not None
            self._is_draining = True
            self._nursery.start_soon(self._drain)

    @trio.lowlevel.enable_ki_protection
    async def _drain(self) -> None:
        try:
            await self._outbox.drain()
        except (LinkError, ConduitError) as error:
            self._end(error)
        self._is_draining = False

    async def _read(self) -> None:
        self._is_reading = True
        source, decode = self._rx.source, self._rx.decode
        try:
            while self._ended_because is None:
                self._dispatch_all(await source.recv_batch(), decode)
        except RoamTrioError as error:
            self._end(error)
        finally:
            # In the same moment as handlers are cancelled, or calls of theirs would
            # be answered as if each of them alone had been.
            self._end(SessionError("the session was cancelled"))
            self._is_reading = False

    def _dispatch_all(
        self, payloads: Iterable[Any], decode: Callable[[Any], Message]
    ) -> None:
        """Dispatch what one read of the link has brought, and write what that commits.

        A request or a response that came alone sets off one message, most likely:
        whoever sends it writes it too.
        """
        runs = self._runs
        number, message = 0, None
        self._last_message = None
        carrier = self._outbox.carrier
        carrier.cork()
        try:
            for number, payload in enumerate(payloads, 1):  # noqa: B007
                try:
                    message = decode(payload)
                except DecodeError as error:
                    self._rx.refuse(payload, error)
                act = ON_MESSAGE.get(type(message))
                run = runs.get(message.connection_id)
                if act is not None and run is not None:
                    act(run, message)
                else:
                    self._act_on(message)
                if self._ended_because is not None:
                    return
        finally:
            alone = number == 1 and type(message) in _ANSWERED_BY_ONE
            carrier.uncork(prompt=alone)
            self._last_message = message
        if not number:
            self._peer_has_left = True
            raise SessionIoError("the peer has closed the link")

    def _end(self, because: RoamTrioError) -> None:
        """End the session, for the first reason that is given. Never waits."""
        strip_tracebacks(because)  # in whose frames is the session; a link may keep it
        if self._ended_because is not None:
            return
        reason = self._ended_because = _as_session_error(because)
        if isinstance(reason, RemoteProtocolError):
            self._outbox.push(ProtocolError(0, reason.description), last=True)
        if self._connections is not None:
            self._connections.end(reason)
        if self._working is not None:
            self._working.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _close(self) -> None:
        """Send what is committed, within bounds, and let go of the conduit."""
        try:
            # A peer that has not said a word in all the time for the handshake would
            # have to be waited for in vain.
            if not self._peer_is_silent:
                await self._take_leave()
        finally:
            with trio.CancelScope(shield=True):
                await self._tx.abort()
                await self._rx.close()
            if self._pumping is not None:
                self._pumping.cancel()
            self._let_go()
            self._finished.set()

    def _let_go(self) -> None:
        """Let go of what holds the session: once nobody else does, it is gone at once,
        and has not to wait for the garbage collector."""
        self._outbox.end()
        self._keepalive = None

    async def _take_leave(self) -> None:
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + self._limits.close_seconds
            async with trio.open_nursery() as nursery:
                # Both at once: a peer that waits for us to read does not read itself.
                nursery.start_soon(self._read_to_the_end)
                try:
                    await self._outbox.drain()
                    await self._tx.close()
                except (LinkError, ConduitError):
                    # It has ended already, which is why we are here.
                    nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            logger.info(
                "a session was cut off, as its end took longer than %s s "
                "(limit: close_seconds)",
                self._limits.close_seconds,
            )

    async def _read_to_the_end(self) -> None:
        """Wait for the peer to close too, since a socket that is closed with data
        unread may take back what was sent on it last."""
        while True:
            try:
                if await self._rx.recv() is None:
                    return
            except LinkError as error:
                strip_tracebacks(error)
                return
            except ConduitError as error:
                if not isinstance(error.__cause__, DecodeError):
                    return
                # It was one message that was none, and more may come at once.
                await trio.lowlevel.checkpoint()

    # ------------------------------------------------------------ messages

    def _act_on(self, message: Message) -> None:
        """Act on a message that is no open connection's (`session.message`)."""
        act = self._ACTIONS.get(type(message))
        act_on_connection = ON_CONNECTION_MESSAGE.get(type(message))
        if act is not None:
            act(self, message)
        elif act_on_connection is not None:
            assert self._connections is not None
            act_on_connection(self._connections, message)
        elif type(message) in ON_MESSAGE:
            assert self._connections is not None
            self._connections.on_stray(message)
        elif self._strict:
            raise RemoteProtocolError(f"{type(message).__name__} came again")

    def _on_ping(self, message: Ping) -> None:
        self._check_connection_0(message)
        self._outbox.push(Pong(message.connection_id, message.nonce))

    def _on_pong(self, message: Pong) -> None:
        self._check_connection_0(message)
        if self._keepalive is not None and message.connection_id == 0:
            self._keepalive.on_pong(message.nonce)

    def _on_protocol_error(self, message: ProtocolError) -> None:
        self._check_connection_0(message)
        raise LocalProtocolError(message.description)

    def _check_connection_0(self, message: Ping | Pong | ProtocolError) -> None:
        if self._strict and message.connection_id != 0:
            raise RemoteProtocolError(
                f"expected {type(message).__name__} on connection 0, "
                f"got it on {message.connection_id}"
            )

    _ACTIONS: ClassVar[dict[type[Message], Callable[[Session, Any], None]]] = {
        Ping: _on_ping,
        Pong: _on_pong,
        ProtocolError: _on_protocol_error,
    }
    """Methods of a session for the messages that belong to no connection's run."""

    def __repr__(self) -> str:
        if self._root is None:
            state = "being set up"
        elif self._ended_because is not None:
            state = f"ended: {self._ended_because}"
        else:
            runs = self._runs.values()
            state = (
                f"open: {len(runs)} connections, "
                f"{sum(run.requests.in_flight for run in runs)} calling, "
                f"{sum(run.answering for run in runs)} answering, "
                f"{sum(run.channels for run in runs)} channels"
            )
        return f"<Session {state}>"


SessionHandle = Session
"""The handle of a session is the session itself."""


def _as_session_error(error: RoamTrioError) -> RoamTrioError:
    """Return the reason of an end in a session's terms: undecodable bytes are the
    peer's fault, and whatever else a conduit or link reports is the world's."""
    if isinstance(error, SessionError):
        return error
    reason: SessionError
    if isinstance(error, AnnouncedTooLarge):
        reason = LimitExceeded("max_payload", f"a payload of {error.size} bytes came")
    elif isinstance(error, StableHandshakeError | ForeignProtocol):
        reason = RemoteProtocolError(str(error))
    elif isinstance(error.__cause__, DecodeError):
        reason = RemoteProtocolError(f"not a message: {error.__cause__}")
    elif isinstance(error, BareConduitError):
        reason = RemoteProtocolError(str(error))
    else:
        reason = SessionIoError(text_of(error))
    reason.__cause__ = error
    return reason


def _is_connection_lost(reason: BaseException) -> bool:
    """Return True if the system has told that the connection is broken."""
    cause: BaseException | None = reason
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    return cause is not None and not isinstance(cause, ssl.SSLError)
