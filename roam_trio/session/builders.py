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
from types import TracebackType
from typing import Any, cast

import attrs
import trio

from ..conduits.base import Conduit, ConduitRx, ConduitTx
from ..conduits.into import IntoConduit, as_conduit
from ..failures import ends_programs
from ..limits import DEFAULT_LIMITS, Limits
from ..links.arrivals import Arrivals
from ..links.base import Link
from ..logs import Log
from ..metadata import NO_METADATA, Metadata, MetadataLike
from ..peers import Peer
from ..rpc.expected_service import Expected
from ..rpc.failure_metadata import FailurePolicy, TellFailures
from ..rpc.handler import Handler, check_handler
from ..rpc.observer import Observer, check_observer
from ..running import check_trio_runs
from ..wire.ids import Parity
from ..wire.messages import ConnectionSettings, Message
from . import handshake
from .acceptance import ConnectionAcceptor
from .budgets import Budget
from .establishing import SpawnSession, check_spawn, establish
from .handshake import HandshakeResult
from .keepalive import SessionKeepaliveConfig, Watching
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
    "OpenSession",
    "SessionAcceptorBuilder",
    "SessionInitiatorBuilder",
    "acceptor",
    "initiator",
    "sessions_of_server",
]

logger = Log("roam_trio.session")


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
        return OpenSession(self, handler)


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


class OpenSession:
    """A session for the length of an ``async with`` block.

    An exception of the block passes through unchanged. When the session ends early, the
    block continues, and its calls fail.
    """

    def __init__(self, builder: _Builder, handler: Handler | None = None) -> None:
        self._builder = builder
        self._handler = handler
        self._nursery_manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        if self._nursery_manager is not None:
            raise RuntimeError("this session is open already, or was; make another")
        check_trio_runs("a session")
        self._nursery_manager = trio.open_nursery()
        nursery: trio.Nursery = await self._nursery_manager.__aenter__()
        starting = _Starting(self._builder.session(self._handler))
        nursery.start_soon(starting.run)
        try:
            session = await starting.wait()
        except BaseException as error:
            nursery.cancel_scope.cancel()
            # What its only task raises has come out already, unless this task was
            # cancelled at the same time.
            await self._nursery_manager.__aexit__(None, None, None)
            starting.raise_beside(error)
            raise
        self._nursery = nursery
        self._session = session
        return session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._nursery is not None
        if self._nursery.cancel_scope.cancel_called and has_cancelled(exc):
            # A handler's BaseException has cancelled the block. The nursery knows
            # which Cancelled is its own, and raises that exception instead.
            await self._nursery_manager.__aexit__(exc_type, exc, traceback)
        else:
            await self._end(exc)

    async def _end(self, exc: BaseException | None) -> None:
        assert self._session is not None
        try:
            try:
                await self._session.shutdown()
            finally:
                await self._nursery_manager.__aexit__(None, None, None)
        except trio.Cancelled:
            if exc is None:
                raise
        except BaseExceptionGroup as group:
            if group.split(trio.Cancelled)[1] is not None:
                if exc is None:
                    raise
                tell_beside(exc, group, "a session")
            elif exc is None:
                await trio.lowlevel.checkpoint_if_cancelled()  # one Cancelled, no group
                raise


class _Starting(trio.TaskStatus[Session]):
    """The task of a session that is being set up, as of ``nursery.start``, which would
    open a nursery and a cancel scope for it.

    Args:
        session: the session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settled = trio.Event()
        self._is_set_up = False
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Run the session. Raise only what comes after it was set up."""
        try:
            await self._session.run(task_status=self)
        except BaseException as error:
            if self._is_set_up:
                raise
            self._error = error
        finally:
            self._settled.set()

    def started(self, value: Session) -> None:
        self._is_set_up = True
        self._settled.set()

    async def wait(self) -> Session:
        """Wait until the session is set up.

        Raises:
            BaseException: it could not be set up.
        """
        await self._settled.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._session

    def raise_beside(self, cancelled: BaseException) -> None:
        """Raise what the task has raised since `wait` was cancelled, if it ends
        programs.

        Raises:
            BaseExceptionGroup: of `cancelled` and that.
        """
        error, self._error = self._error, None
        if error is not None and ends_programs(error):
            both = [cancelled, error]
            raise BaseExceptionGroup("a session was cancelled, and failed", both)


def tell_beside(
    exc: BaseException, group: BaseExceptionGroup[BaseException], what: str
) -> None:
    """Tell how `what` failed while the block it served fails with `exc` by itself.

    That is logged, as only one of them can come out; but not that it was cancelled,
    which is no failure. If there is something among it that ends programs, such as
    KeyboardInterrupt, both come out.

    Raises:
        BaseExceptionGroup: of both.
    """
    if group.split((Exception, trio.Cancelled))[1] is not None:
        both = [exc, group]
        raise BaseExceptionGroup(
            f"{what} failed, and the block it served", both
        ) from None
    failures = group.split(trio.Cancelled)[1]
    if failures is not None:
        logger.error("%s failed while the block it served did", what, exc_info=failures)


def has_cancelled(exc: BaseException | None) -> bool:
    """Return True if an exception is a `trio.Cancelled`, or contains one."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        return group.subgroup(trio.Cancelled) is not None
    return isinstance(exc, trio.Cancelled)
