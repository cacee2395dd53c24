"""The run of a session: one nursery on a conduit, which contains the connections.

    pump    carries what was committed to the transport, to the very end; on a link
            that does without it, from when there is what cannot be written at once
    reader  awaits the conduit and nothing else; hands each message to its connection
    drain   sends what could not be sent at once, while there is any
    connections, each with a nursery for its handlers
    timers, which runs the checks of keepalive, if it is configured and no server does

The session ends when the peer closes, the conduit fails, someone breaks the protocol,
or this side shuts down; `SessionRun.ended_because` tells which. Calls and channels fail
with that reason at once, handlers are cancelled, and what is committed is still sent,
for at most `Limits.close_seconds`.
"""

from __future__ import annotations

import enum
import math
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
from operator import length_hint
from typing import Any, Final, Protocol, TypeVar

import attrs
import trio

from ..conduits.base import Conduit, ConduitRx, ConduitTx
from ..errors import (
    ConduitError,
    DecodeError,
    LimitExceeded,
    LinkError,
    Refused,
    RoamTrioError,
    SessionIoError,
)
from ..failures import is_cancellation
from ..kept_errors import copy_of, strip_tracebacks
from ..links.arrivals import Arrivals
from ..logs import Log
from ..rpc.connection import AnySession
from ..rpc.handler import Handler
from ..rpc.observer import Observer, tell
from ..running import check_run
from ..wire.messages import Message, RequestCall, RequestResponse
from ..wire.runs import ItemRun
from .acceptance import ConnectionAcceptor
from .connection_run import ON_MESSAGE
from .connections import ON_CONNECTION_MESSAGE, Connections, end_connections
from .control import Control
from .handshake import HandshakeResult, bound_of_first
from .held_messages import check_metadata
from .keepalive import Keepalive, SessionKeepaliveConfig, Watching
from .link_bytes import LinkBytes
from .link_events import LinkEvents
from .outbox import Outbox
from .session_end import (
    ALL_IS_ANSWERED,
    LoggedAs,
    as_session_error,
    logged_as,
    message_at_end,
    name_peer,
    reason_to_stop,
)
from .statistics import SessionStatistics
from .terms import SessionTerms, in_session
from .timers import Timers
from .to_the_end import read_to_the_end
from .turns import in_looks, is_long, next_turn
from .welcoming import OnSession, Welcoming

__all__ = ["SessionOptions", "SessionRun"]

logger = Log("roam_trio.session")

T = TypeVar("T", bound=AnySession)

_ANSWERED_BY_ONE: Final = frozenset({RequestCall, RequestResponse})
"""Messages that set off one message: a response, or the next call of who got this."""
_OF_MEMORY: Final = frozenset({"memory", "session_bytes"})
"""Limits at which a peer is not waited for that does not read."""

_GATHERED_FROM: Final = 4
"""Number of payloads, received together, from which runs of items pay."""

_RUN: Final = ItemRun  # not looked up in its module for every message


class Handshake(Protocol):
    """Agrees with the peer on the root connection; see `handshake`."""

    def __call__(
        self,
        tx: ConduitTx[Message],
        rx: ConduitRx[Message],
        /,
        *,
        handler: Handler | None,
        welcoming: Welcoming | None,
    ) -> Awaitable[HandshakeResult]: ...


@attrs.frozen(kw_only=True)
class SessionOptions:
    """Options of a session.

    Attributes:
        handshake: agrees with the peer on the root connection.
        handler: answers the peer's requests on the root connection.
        acceptor: decides on the virtual connections that the peer opens.
        keepalive: when to ping the peer; None for never.
        watching: what all sessions of a server are watched for; None for a session by
            itself, which is watched as `keepalive` and its limits say.
        terms: what holds for the whole session.
        on_session: decides on the session, once the peer has said who it is.
        is_acceptor: True if the peer is a client, which this side can turn away.
        arrivals: the large payloads on their way to the server; None for a session by
            itself.
        busy_poll: number of seconds for which the link is looked at before a wait for
            it; None for not at all.
    """

    handshake: Handshake
    handler: Handler | None
    acceptor: ConnectionAcceptor | None
    keepalive: SessionKeepaliveConfig | None
    terms: SessionTerms
    watching: Watching | None = None
    on_session: OnSession | None = None
    is_acceptor: bool = False
    arrivals: Arrivals | None = None
    busy_poll: float | None = None


class _State(enum.Enum):
    """States of a session that its end depends on, in the order they can follow."""

    RUNS = "the peer talks, or may yet"
    GREETED = "a client has said Hello, and `on_session` decides on it"
    AGREED = "the handshake is done"
    UNANSWERED = "the peer has not said a word in all the time for the handshake"
    LEFT = "the peer has closed the link in good order"
    OVER = "this side has let go of the conduit"


class SessionRun:
    """Runs one session.

    Args:
        conduit: carries its messages; the session closes it in the end.
        options: what it is set up with.
    """

    __slots__ = (
        "__weakref__",
        "_last_message",
        "_nursery",
        "_options",
        "_over",
        "_pumping",
        "_state",
        "_token",
        "connections",
        "control",
        "ended_because",
        "outbox",
        "rx",
        "terms",
        "tx",
    )

    def __init__(self, conduit: Conduit[Message], options: SessionOptions) -> None:
        if options.terms.observer is not None:
            conduit.watch_links(LinkEvents(options.terms.observer, options.terms))
        self.tx, self.rx = conduit.split()
        self._options: SessionOptions | None = options
        self.terms = options.terms
        """The terms of the whole session."""
        limits = self.terms.limits
        self.outbox = Outbox(
            self.tx,
            limits.unsent_replies,
            self.end,
            self._start_draining,
            most_bytes=limits.unsent_reply_bytes,
            peer=self.terms.peer,
            budget=self.terms.budget,
        )
        self.control = Control(self.outbox, self.terms)
        """Acts on the messages of no connection."""
        self.connections: Connections | None = None
        """Its connections; None until it is set up."""
        self.ended_because: RoamTrioError | None = None
        """The reason why it has ended; None while it runs."""
        # Kept until the next has come: if a large one were freed at once, its memory
        # would go back to the system and be asked for again, page by page.
        self._last_message: Message | None = None
        # Its scope is cancelled when the session ends.
        self._nursery: trio.Nursery | None = None
        self._pumping: trio.CancelScope | None = None
        self._over: trio.Event | None = None  # of those who wait for that, if any
        self._token: trio.lowlevel.TrioToken | None = None
        self._state = _State.RUNS

    # ------------------------------------------------------------ from outside

    def check_run(self) -> None:
        """Refuse to be used in another run of trio, unless all is over.

        Raises:
            RuntimeError: it runs in another one.
        """
        if self._state is not _State.OVER:
            check_run(self._token, "this session")

    async def closed(self) -> None:
        """Wait until it has ended and let go of its conduit."""
        self.check_run()
        if self._over is None:
            self._over = trio.Event()
            if self._state is _State.OVER:
                self._over.set()
        await self._over.wait()

    async def shut_down(self, grace: float) -> None:
        """Let what is in flight finish for `grace` seconds, end, and wait until that is
        done. Cancelled, it ends at once."""
        try:
            if grace > 0 and self.connections is not None:
                self.connections.refuse("the session is being shut down")
                with trio.move_on_after(grace) as scope:
                    await self.connections.quiet()
                if self.ended_because is None and self.terms.peer_knows:
                    if scope.cancelled_caught:
                        for run in self.connections.runs.values():
                            run.answering.shut_down()
                    # In the same moment as the end: no call is taken up after this.
                    self.outbox.push(ALL_IS_ANSWERED, last=True)
        finally:
            deciding = self._state is _State.GREETED
            why = "this side has shut the session down"
            self.end(reason_to_stop(why, deciding=deciding))
        await self.closed()

    def statistics(self) -> SessionStatistics:
        """Return what the session does and holds now."""
        runs = self.connections.runs.values() if self.connections is not None else ()
        return SessionStatistics(
            tuple(run.statistics() for run in runs),
            self.tx.statistics(),
            self.rx.statistics(),
            self.outbox.kept,
        )

    # ------------------------------------------------------------ its life

    # Control-C strikes tasks of the user's, and not in the middle of a message.
    # Handlers are the user's as well, wherever they run.
    @trio.lowlevel.enable_ki_protection
    async def run(self, handle: T, task_status: trio.TaskStatus[T]) -> None:
        """Set the session up, and run it to its end.

        Args:
            handle: what `task_status` is told, once the session is set up.
            task_status: as of ``nursery.start``.

        Raises:
            SessionError: it could not be set up.
        """
        self._token = trio.lowlevel.current_trio_token()
        try:
            with in_session(self.terms):
                async with trio.open_nursery() as self._nursery:
                    if not self.outbox.carrier.defer_pump(self._start_pump):
                        self._start_pump()
                    try:
                        if await self._set_up(handle):
                            task_status.started(handle)
                            # The reader, without a coroutine of its own: an idle
                            # session would hold its memory.
                            source = self.rx.source
                            while self.ended_because is None:
                                payloads = await source.recv_batch()
                                if isinstance(payloads, list) and len(payloads) > 1:
                                    await self._dispatch_many(payloads)
                                else:
                                    self._dispatch_all(payloads)
                                payloads = ()  # not kept during the next wait
                    except RoamTrioError as error:
                        self.end(error)
                    except BaseException as error:
                        scope = self._nursery.cancel_scope
                        if not (scope.cancel_called and is_cancellation(error)):
                            self._end_of_reading(handle)
                            # A task of its own: what goes wrong there must not take
                            # the place of what has brought us here.
                            self._nursery.start_soon(self._close)
                            raise
                        # The nursery would keep a Cancelled until the link is closed,
                        # with the frames of what has ended the session.
                    self._end_of_reading(handle)
                    await self._close()
        finally:
            self._nursery = None
            self.terms.budget.close()
            self._state = _State.OVER
            if self._over is not None:
                self._over.set()
        if self.connections is None:
            assert self.ended_because is not None
            raise copy_of(self.ended_because)

    def _end_of_reading(self, handle: AnySession) -> None:
        # In the same moment as handlers are cancelled, or calls of theirs would be
        # answered as if each of them alone had been.
        deciding = self._state is _State.GREETED
        self.end(reason_to_stop("the session was cancelled", deciding=deciding))
        reason = self.ended_because
        assert reason is not None
        if self.connections is None:
            return  # it was not set up, and `run` raises
        how = logged_as(reason, peer_has_left=self._state is _State.LEFT)
        if how is LoggedAs.LOSS:
            logger.info("a session was lost: %s", reason)
        elif how is LoggedAs.IDLE:
            logger.info("a session has ended: %s", reason)
        elif how is LoggedAs.FAILURE:
            logger.warning("a session has ended: %s", reason)
        if self.terms.observer is not None:
            tell(self.terms.observer, Observer.session_closed, handle, reason)

    def _start_pump(self) -> None:
        assert self._nursery is not None, "it runs"
        # Not in the context of the task that needs it first, which may be gone soon.
        Context().run(self._nursery.start_soon, self._pump)

    async def _set_up(self, handle: AnySession) -> bool:
        """Return False if the session has ended before it could be set up."""
        options, self._options = self._options, None
        assert options is not None, "a session runs once"
        budget = self.terms.budget
        budget.begin(self.outbox.fail)  # one bound method for both
        link_bytes = LinkBytes(
            budget, bound_of_first(self.terms.limits), options.arrivals
        )
        self.rx.source.count_in(link_bytes)
        try:
            options, agreed = await self._shake_hands(options)
        except RoamTrioError as error:
            self.end(error)
            self._tell_of_turned_away(options)
            return False
        link_bytes.first = None
        self.tx.count_in(link_bytes)
        self._begin(options, agreed)
        # The first call most likely comes alone, and needs no pump.
        self.outbox.carrier.uncork(prompt=True)
        self.terms.session = weakref.ref(handle)
        if self.terms.observer is not None:
            tell(self.terms.observer, Observer.session_opened, handle)
        return True

    async def _shake_hands(
        self, options: SessionOptions
    ) -> tuple[SessionOptions, HandshakeResult]:
        """Return what was agreed, and the options with what this peer is offered."""
        peer, seconds = self.terms.peer, self.terms.limits.handshake_seconds
        welcoming = None
        if options.on_session is not None:
            welcoming = Welcoming(options.on_session, peer, self._note_greeting)
        assert self._nursery is not None, "it runs"
        # Not in a scope of its own, which would cost more than all else here.
        scope = self._nursery.cancel_scope
        scope.deadline = trio.current_time() + seconds
        try:
            agreed = await options.handshake(
                self.tx, self.rx, handler=options.handler, welcoming=welcoming
            )
        except BaseException as error:
            # `on_session` may wait in a nursery, out of which a group comes.
            if not (scope.cancel_called and is_cancellation(error)):
                raise
        else:
            if not scope.cancel_called:
                scope.deadline = math.inf
                peer.metadata = agreed.metadata
                if welcoming is None:
                    return options, agreed
                return _with_offer(options, welcoming, agreed), agreed
        if welcoming is not None and welcoming.is_asking:
            raise Refused(
                "deadline",
                f"the decision took longer than {seconds} s (limit: handshake_seconds)",
            )
        self._state = _State.UNANSWERED
        raise SessionIoError(
            f"the handshake took longer than {seconds} s (limit: handshake_seconds)"
        )

    def _note_greeting(self) -> None:
        self._state = _State.GREETED

    def _tell_of_turned_away(self, options: SessionOptions) -> None:
        observer = self.terms.observer
        if observer is not None and options.is_acceptor:
            assert self.ended_because is not None
            tell(
                observer,
                Observer.client_turned_away,
                self.terms.peer,
                self.ended_because,
            )

    def _begin(self, options: SessionOptions, agreed: HandshakeResult) -> None:
        nursery = self._nursery
        assert nursery is not None, "it runs"
        self._state = _State.AGREED
        self.terms.agree(peer_knows=agreed.peer_knows)
        watching = options.watching or Watching(
            options.keepalive, self.terms.limits.idle_seconds, Timers(nursery)
        )
        self.connections = Connections(
            agreed,
            options.handler,
            options.acceptor,
            self.outbox,
            nursery,
            self.terms,
            watching.timers.now,
            None if options.busy_poll is None else _polled(options, self.rx),
        )
        if watching.is_needed:
            self.control.keepalive = Keepalive(watching, self)

    @trio.lowlevel.enable_ki_protection
    async def _pump(self) -> None:
        # Shielded, since a payload cut off in its middle is a broken link; `_close`
        # ends it within its bound.
        with in_session(self.terms), trio.CancelScope(shield=True) as self._pumping:
            try:
                await self.outbox.carrier.pump()
            except (LinkError, ConduitError) as error:
                self.end(error)

    def _start_draining(self) -> None:
        # Without a reader there will soon be no session: `_close` sees to it then.
        if self.connections is not None and self.ended_because is None:
            self.connections.start_soon(self._drain)

    @trio.lowlevel.enable_ki_protection
    async def _drain(self) -> None:
        try:
            await self.outbox.drain()
        except (LinkError, ConduitError) as error:
            self.end(error)

    async def _dispatch_many(self, payloads: Sequence[Any]) -> None:
        """As `_dispatch_all`, and let other tasks run in between: without that, a peer
        that sends many small messages would hold up all other sessions."""
        count, has_runs = len(payloads), False
        if count >= _GATHERED_FROM:
            payloads = self.rx.gather(payloads)
            has_runs = len(payloads) != count
        if not is_long(payloads):
            self._dispatch_all(payloads, has_runs)
            return
        rest = iter(in_looks(payloads))
        while self.ended_because is None:
            self._dispatch_all(next_turn(rest), has_runs)
            if not length_hint(rest):
                return
            await trio.lowlevel.checkpoint()

    def _dispatch_all(self, payloads: Iterable[Any], has_runs: bool = False) -> None:
        """Dispatch what one read of the link has brought, and write what that commits.

        A request or a response that came alone sets off one message, most likely, and
        its sender writes it too.

        Args:
            payloads: what the read has brought, or a turn of it.
            has_runs: whether runs of items can be among them.
        """
        connections = self.connections
        assert connections is not None
        ended_before = self.ended_because
        if ended_before is not None:
            return  # while the reader waited; handlers are being cancelled
        runs, most_metadata = connections.runs, self.terms.limits.metadata_bytes
        number, message, decode = 0, None, self.rx.decode
        self._last_message = None
        carrier = self.outbox.carrier
        carrier.cork()
        try:
            for number, payload in enumerate(payloads, 1):  # noqa: B007
                if has_runs and type(payload) is _RUN:
                    _take_run(connections, payload)
                else:
                    try:
                        message = decode(payload)
                    except DecodeError as error:
                        self.rx.refuse(payload, error)
                    # Some conduits carry messages, which have no length here.
                    if payload is message or len(payload) > most_metadata:
                        check_metadata(message, most_metadata)
                    try:
                        act = ON_MESSAGE[type(message)]
                        run = runs[message.connection_id]
                    except KeyError:
                        self._act_on(connections, message)
                    else:
                        act(run, message)
                if self.ended_because is not None:
                    return
        finally:
            alone = number == 1 and type(message) in _ANSWERED_BY_ONE
            carrier.uncork(prompt=alone)
            self._last_message = message
        if not number:
            self._state = _State.LEFT
            raise SessionIoError("the peer has closed the link")

    def _act_on(self, connections: Connections, message: Message) -> None:
        """Act on a message that goes to no connection here (`session.message`)."""
        if type(message) in ON_MESSAGE:
            connections.on_stray(message)
            return
        act = ON_CONNECTION_MESSAGE.get(type(message))
        if act is not None:
            act(connections, message)
        else:
            self.control.act_on(message)

    # ------------------------------------------------------------ its end

    def end(self, because: RoamTrioError) -> None:
        """End the session, for the first reason that is given. Never waits."""
        strip_tracebacks(because)  # in whose frames is the session; a link may keep it
        if self.ended_because is not None:
            return
        reason = self.ended_because = as_session_error(because)
        self.terms.budget.stop()
        name_peer(reason, self.terms.peer)
        self.control.stop()
        if isinstance(reason, LimitExceeded):
            self.tx.forget()  # there may be no room even for the last message
            if reason.limit in _OF_MEMORY:
                self.outbox.carrier.forget()
        message = message_at_end(reason)
        if message is not None:
            self.outbox.push(message, last=True)
        if self.connections is not None:
            end_connections(self.connections, reason, then=self._stop_working)
        else:
            self._stop_working()

    def _stop_working(self) -> None:
        """Cancel the reader and all handlers, if there is anything to cancel."""
        nursery = self._nursery
        if nursery is not None and (
            nursery.child_tasks
            or nursery.parent_task is not trio.lowlevel.current_task()
        ):
            nursery.cancel_scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _close(self) -> None:
        """Send what is committed, within bounds, and let go of the conduit."""
        is_released = False
        try:
            # A peer that has not said a word would have to be waited for in vain.
            if self._state is not _State.UNANSWERED:
                is_released = await self._flush_and_close()
        finally:
            if not is_released:
                with trio.CancelScope(shield=True):
                    await self._release()
            if self._pumping is not None:
                self._pumping.cancel()
            # Without references to it, the session is freed at once, and has not to
            # wait for the garbage collector.
            self.outbox.end()

    async def _release(self) -> None:
        await self.tx.abort()
        await self.rx.close()

    async def _flush_and_close(self) -> bool:
        """Send what is committed, close, and wait for the peer to close too: for at
        most `Limits.close_seconds`. Return True if the conduit is released."""
        deadline = trio.current_time() + self.terms.limits.close_seconds
        with trio.CancelScope(shield=True, deadline=deadline) as scope:
            if self._state is _State.LEFT:
                await self._drain_and_close()
            elif self.outbox.closes_at_once:
                if await self._drain_and_close():
                    await read_to_the_end(self.rx)
            else:
                async with trio.open_nursery() as nursery:
                    # A peer that waits for us to read does not read itself.
                    nursery.start_soon(read_to_the_end, self.rx)
                    if not await self._drain_and_close():
                        nursery.cancel_scope.cancel()
            await self._release()
            return True
        if scope.cancelled_caught:
            logger.info(
                "a session was cut off, as its end took longer than %s s "
                "(limit: close_seconds)",
                self.terms.limits.close_seconds,
            )
        return False

    async def _drain_and_close(self) -> bool:
        """Return False if the conduit has failed, which is why the session ends."""
        try:
            await self.outbox.drain()
            await self.tx.close()
        except (LinkError, ConduitError):
            return False
        return True


def _polled(
    options: SessionOptions, rx: ConduitRx[Message]
) -> Callable[..., Any] | None:
    """Look at the link before waits for it. Return what makes the `Requests` of a
    session whose calls look for their responses; None for other sessions."""
    # Only now, since most sessions do not poll.
    from .requests_polled import PolledRequests

    assert options.busy_poll is not None, "it is to be polled"
    poller = rx.begin_polling(options.busy_poll, reader_looks=options.is_acceptor)
    if poller is None or options.is_acceptor:
        return None
    return partial(PolledRequests, poller, rx.decode)


def _take_run(connections: Connections, items: ItemRun) -> None:
    run = connections.runs.get(items.connection_id)
    if run is not None:
        run.on_items(items)
        return
    for item in items:
        connections.on_stray(item)


def _with_offer(
    options: SessionOptions, welcoming: Welcoming, agreed: HandshakeResult
) -> SessionOptions:
    handler, acceptor = welcoming.offered_instead_of(
        options.handler, options.acceptor, agreed.ours.max_concurrent_requests
    )
    return attrs.evolve(options, handler=handler, acceptor=acceptor)
