"""Setting up a session: `initiator` speaks first, `acceptor` answers.

    session = await nursery.start(initiator(link).run, handler)

or, with the nursery's work done by a context manager,

    async with initiator(link).open(handler) as session:
        ...

or, where a function of the program's starts tasks,

    session = await initiator(link, spawn=nursery.start_soon).establish(handler)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from ..conduits.base import Conduit, ConduitRx, ConduitTx
from ..conduits.into import IntoConduit, as_conduit
from ..limits import DEFAULT_LIMITS, Limits
from ..links.arrivals import Arrivals
from ..links.base import Link
from ..metadata import NO_METADATA, Metadata, MetadataLike
from ..peers import Peer
from ..rpc.expected_service import Expected
from ..rpc.failure_metadata import FailurePolicy, TellFailures
from ..rpc.handler import Handler, check_handler
from ..rpc.observer import Observer, check_observer
from ..wire.ids import Parity
from ..wire.messages import ConnectionSettings, Message
from . import handshake
from .acceptance import ConnectionAcceptor
from .budgets import Budget
from .establishing import SpawnSession, check_spawn, establish
from .handshake import HandshakeResult
from .keepalive import SessionKeepaliveConfig, Watching
from .open_session import OpenSession
from .server_budget import ServerBudget
from .session import Session
from .session_run import SessionOptions, SessionRun
from .terms import (
    CANCEL_GRACE,
    SessionTerms,
    bounds_of,
    check_busy_poll,
    check_cancel_grace,
    check_max_waiting,
    check_tell_failures,
)
from .timers import Timers
from .welcoming import OnSession, Welcoming

__all__ = [
    "SessionAcceptorBuilder",
    "SessionInitiatorBuilder",
    "acceptor",
    "initiator",
    "sessions_of_server",
]


def _as_metadata(source: MetadataLike) -> Metadata:
    return source if isinstance(source, Metadata) else Metadata.of(source)


@attrs.frozen(kw_only=True)
class _Builder(ABC):
    """The configuration of both roles.

    Attributes:
        conduit: carries the session.
        max_concurrent_requests: how many requests in flight this side accepts on the
            root connection; told to the peer.
        on_connection: decides on virtual connections the peer opens; without one, all
            are rejected.
        keepalive: when to ping the peer; None for never.
        metadata: sent along with this side's first message.
        limits: what the peer can make this side hold.
        strict: also refuse what peers of other implementations are known to do
            differently from the rules, such as wrong parities.
        deadlines: tell the peer with each call how much time is left for it, and in the
            handshake that this side knows what roam_trio adds to the protocol.
        cancel_grace: how long a cancelled call waits for the other side to stop, in
            seconds; 0 means that it does not wait.
        max_waiting: number of calls that may wait for the peer to take them, because
            it reads no more or `max_concurrent_requests` are in flight; None for any.
            Beyond it a call raises `Overloaded`.
        tell_failures: how much of a handler's failure its caller is told: its code and
            id (``"code"``); also the text of the exception (``"text"``); also the
            traceback (``"traceback"``).
        observer: is told what becomes of the session.
        spawn: starts the task of a session that `establish` sets up; `run` and `open`
            need none.
        schemas: send the schema of a service that this side offers to a peer that
            expects another version of it, so that the peer can translate.
        kept_failures: where exceptions of handlers are kept for callers in this very
            process, by the ids that those are told; both sides have the same. Tests
            see what has gone wrong. None for nowhere.
    """

    conduit: Conduit[Message] = attrs.field(converter=as_conduit)
    max_concurrent_requests: int = attrs.field(
        default=64, validator=[attrs.validators.ge(1), attrs.validators.lt(2**32)]
    )
    on_connection: ConnectionAcceptor | None = None
    keepalive: SessionKeepaliveConfig | None = None
    metadata: Metadata = attrs.field(default=NO_METADATA, converter=_as_metadata)
    limits: Limits = DEFAULT_LIMITS
    strict: bool = False
    deadlines: bool = True
    cancel_grace: float = attrs.field(
        default=CANCEL_GRACE, validator=check_cancel_grace
    )
    max_waiting: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(check_max_waiting)
    )
    tell_failures: TellFailures = attrs.field(
        default="code", validator=check_tell_failures
    )
    observer: Observer | None = attrs.field(
        default=None, validator=attrs.validators.optional(check_observer)
    )
    spawn: SpawnSession | None = attrs.field(default=None, validator=check_spawn)
    schemas: bool = True
    kept_failures: dict[str, BaseException] | None = None

    @abstractmethod
    async def _shake_hands(
        self,
        tx: ConduitTx[Message],
        rx: ConduitRx[Message],
        /,
        *,
        handler: Handler | None,
        welcoming: Welcoming | None,
    ) -> HandshakeResult: ...

    def _options_for(
        self, handler: Handler | None, peer: Peer, **more: Any
    ) -> SessionOptions:
        return SessionOptions(
            handshake=self._shake_hands,
            handler=handler,
            acceptor=self.on_connection,
            keepalive=self.keepalive,
            terms=self._terms(peer),
            **more,
        )

    async def run(
        self,
        handler: Handler | None = None,
        *,
        task_status: trio.TaskStatus[Session] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Set the session up, report it as started, and run it to its end.

        For ``nursery.start``. Returns normally however the session ends; see
        `Session.ended_because`.

        Args:
            handler: answers the peer's requests; without one, every method is unknown.

        Raises:
            SessionError: the session could not be set up.
            Refused, Unavailable: the peer has turned this side away, or ``on_session``
                the peer.
            TypeError: `handler` is not a `Handler`.
        """
        if handler is not None:
            check_handler(handler)
        await self.session(handler).run(task_status=task_status)

    def session(self, handler: Handler | None = None) -> Session:
        """Return the session, for a caller that has checked the handler and runs
        `Session.run`.
        """
        conduit = self.conduit
        options = self._options_for(handler, conduit.peer())
        return Session(SessionRun(conduit, options))

    def _terms(self, peer: Peer) -> SessionTerms:
        return SessionTerms(
            limits=self.limits,
            strict=self.strict,
            peer=peer,
            observer=self.observer,
            deadlines=self.deadlines,
            cancel_grace=self.cancel_grace,
            max_waiting=self.max_waiting,
            failure_policy=FailurePolicy(self.tell_failures, self.kept_failures),
            kept_failures=self.kept_failures,
            schemas=self.schemas,
        )

    async def establish(
        self, handler: Handler | None = None, *, spawn: SpawnSession | None = None
    ) -> Session:
        """Start the session by `spawn`, and wait until it is set up.

        The session continues after `establish` has returned, in the task that `spawn`
        has started. If cancelled, end the session.

        Args:
            handler: answers the peer's requests; without one, every method is unknown.
            spawn: takes the work of the session, an async function without arguments
                (`BoxSessionFuture`), and starts a task that runs it: for example
                ``nursery.start_soon``. The default is the attribute of the builder.

        Raises:
            SessionError: the session could not be set up. The task itself does not
                raise this.
            TypeError: there is no `spawn`, or it does not start a task; or `handler` is
                not a `Handler`.
        """
        spawn = spawn or self.spawn
        check_spawn(self, None, spawn)
        if spawn is None:
            raise TypeError(
                "establish: expected spawn=, the function that starts the session's "
                "task, such as nursery.start_soon; got none"
            )
        if handler is not None:
            check_handler(handler)
        return await establish(self.session(handler), spawn)

    def open(self, handler: Handler | None = None) -> OpenSession:
        """``async with builder.open(handler) as session:``; the block's end ends it.

        Raises:
            TypeError: `handler` is not a `Handler`.
        """
        if handler is not None:
            check_handler(handler)
        return OpenSession(partial(self.session, handler))


@attrs.frozen(kw_only=True)
class SessionInitiatorBuilder(_Builder):
    """Sets up the initiator's side; `initiator` makes one.

    Attributes:
        parity: the half of the ids this side allocates from; the acceptor takes
            the other.
        expected: the service that this side is going to call on the root connection.
        busy_poll: number of seconds for which a call looks for its response before it
            waits; None for not at all. It has an effect on a bare link on a socket, and
            on no other; see `connect`.
    """

    parity: Parity = Parity.ODD
    expected: Expected | None = None
    busy_poll: float | None = attrs.field(default=None, validator=check_busy_poll)

    async def _shake_hands(
        self,
        tx: ConduitTx[Message],
        rx: ConduitRx[Message],
        /,
        *,
        handler: Handler | None,
        welcoming: Welcoming | None,
    ) -> HandshakeResult:
        ours = ConnectionSettings(self.parity, self.max_concurrent_requests)
        return await handshake.initiate(
            tx,
            rx,
            ours,
            self.metadata,
            strict=self.strict,
            extends=self.deadlines,
            most_metadata=self.limits.metadata_bytes,
            expected=self.expected,
        )

    def _options_for(
        self, handler: Handler | None, peer: Peer, **more: Any
    ) -> SessionOptions:
        return super()._options_for(handler, peer, busy_poll=self.busy_poll, **more)


@attrs.frozen(kw_only=True)
class SessionAcceptorBuilder(_Builder):
    """Sets up the acceptor's side; `acceptor` makes one.

    Attributes:
        on_session: decides on the session; see `serve`.
        busy_poll: number of seconds for which the session looks for the next message
            before it waits; None for not at all. It has an effect on a bare link on a
            socket, and on no other; see `serve`.
    """

    on_session: OnSession | None = None
    busy_poll: float | None = attrs.field(default=None, validator=check_busy_poll)

    async def _shake_hands(
        self,
        tx: ConduitTx[Message],
        rx: ConduitRx[Message],
        /,
        *,
        handler: Handler | None,
        welcoming: Welcoming | None,
    ) -> HandshakeResult:
        return await handshake.accept(
            tx,
            rx,
            self.max_concurrent_requests,
            self.metadata,
            strict=self.strict,
            extends=self.deadlines,
            most_metadata=self.limits.metadata_bytes,
            schemas=self.schemas,
            handler=handler,
            welcoming=welcoming,
        )

    def _options_for(
        self, handler: Handler | None, peer: Peer, **more: Any
    ) -> SessionOptions:
        return super()._options_for(
            handler,
            peer,
            on_session=self.on_session,
            is_acceptor=True,
            busy_poll=self.busy_poll,
            **more,
        )


def initiator(
    carrier: IntoConduit | Link,
    *,
    parity: Parity = Parity.ODD,
    max_concurrent_requests: int = 64,
    on_connection: ConnectionAcceptor | None = None,
    keepalive: SessionKeepaliveConfig | None = None,
    metadata: MetadataLike = (),
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    tell_failures: TellFailures = "code",
    observer: Observer | None = None,
    spawn: SpawnSession | None = None,
    schemas: bool = True,
    busy_poll: float | None = None,
    expected: Expected | None = None,
) -> SessionInitiatorBuilder:
    """Return the side that speaks first, on a conduit or a link.

    The other arguments are the attributes of `SessionInitiatorBuilder`.

    Args:
        carrier: a link, which gets a bare conduit; a conduit; or any other object with
            `into_conduit` (`IntoConduit`). The session takes it over.

    Raises:
        TypeError: `carrier` is none of these.
    """
    return SessionInitiatorBuilder(
        conduit=carrier,
        parity=parity,
        max_concurrent_requests=max_concurrent_requests,
        on_connection=on_connection,
        keepalive=keepalive,
        metadata=metadata,
        limits=limits,
        strict=strict,
        deadlines=deadlines,
        cancel_grace=cancel_grace,
        max_waiting=max_waiting,
        tell_failures=tell_failures,
        observer=observer,
        spawn=spawn,
        schemas=schemas,
        busy_poll=busy_poll,
        expected=expected,
    )


def acceptor(
    carrier: IntoConduit | Link,
    *,
    max_concurrent_requests: int = 64,
    on_connection: ConnectionAcceptor | None = None,
    keepalive: SessionKeepaliveConfig | None = None,
    metadata: MetadataLike = (),
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    tell_failures: TellFailures = "code",
    observer: Observer | None = None,
    on_session: OnSession | None = None,
    spawn: SpawnSession | None = None,
    schemas: bool = True,
    busy_poll: float | None = None,
) -> SessionAcceptorBuilder:
    """Return the side that is spoken to, on a conduit or a link.

    The other arguments are the attributes of `SessionAcceptorBuilder`.

    Args:
        carrier: as with `initiator`.

    Raises:
        TypeError: `carrier` cannot carry a session.
    """
    return SessionAcceptorBuilder(
        conduit=carrier,
        max_concurrent_requests=max_concurrent_requests,
        on_connection=on_connection,
        keepalive=keepalive,
        metadata=metadata,
        limits=limits,
        strict=strict,
        deadlines=deadlines,
        cancel_grace=cancel_grace,
        max_waiting=max_waiting,
        tell_failures=tell_failures,
        observer=observer,
        on_session=on_session,
        spawn=spawn,
        schemas=schemas,
        busy_poll=busy_poll,
    )


def sessions_of_server(
    handler: Handler | None,
    *,
    max_concurrent_requests: int,
    on_connection: ConnectionAcceptor | None,
    keepalive: SessionKeepaliveConfig | None,
    metadata: Metadata,
    limits: Limits,
    strict: bool,
    deadlines: bool,
    cancel_grace: float,
    max_waiting: int | None,
    tell_failures: TellFailures,
    observer: Observer | None,
    on_session: OnSession | None,
    schemas: bool,
    busy_poll: float | None,
    budget: ServerBudget,
    timers: Timers,
) -> Callable[[Conduit[Message]], Session]:
    """Return a function that makes the session with a client on a conduit.

    As `acceptor` and its `session`, with options that are checked once for all clients.

    Args:
        budget: the budget of all sessions of the server together.
    """
    shake_hands = partial(
        handshake.accept,
        max_concurrent_requests=max_concurrent_requests,
        metadata=metadata,
        strict=strict,
        extends=deadlines,
        most_metadata=limits.metadata_bytes,
        schemas=schemas,
    )
    failure_policy = FailurePolicy(tell_failures)
    bounds = bounds_of(limits)
    watching = Watching(keepalive, limits.idle_seconds, timers)
    arrivals = Arrivals(limits.server_begun_bytes)

    def session_on(conduit: Conduit[Message]) -> Session:
        peer = conduit.peer()
        options = SessionOptions(
            handshake=shake_hands,
            handler=handler,
            acceptor=on_connection,
            keepalive=keepalive,
            terms=SessionTerms(
                limits=limits,
                strict=strict,
                peer=peer,
                observer=observer,
                deadlines=deadlines,
                cancel_grace=cancel_grace,
                max_waiting=max_waiting,
                failure_policy=failure_policy,
                schemas=schemas,
                budget=Budget(bounds, budget, peer),
            ),
            on_session=on_session,
            watching=watching,
            is_acceptor=True,
            arrivals=arrivals,
            busy_poll=busy_poll,
        )
        return Session(SessionRun(conduit, options))

    return session_on
