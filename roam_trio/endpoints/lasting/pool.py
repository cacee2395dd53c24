"""The sessions of a lasting client: the tasks around the table of its endpoints."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
)

import trio

from ...errors import (
    ConnectionLost,
    IncompatibleService,
    Overloaded,
    Refused,
    RemoteProtocolError,
    RoamError,
    RoamTrioError,
    SessionRejected,
    Unavailable,
)
from ...failures import alone, is_failure
from ...kept_errors import copy_of
from ...legible import without_secrets
from ...logs import Log
from ...rpc.observer import Observer, tell
from ...service.descriptor import MethodDescriptor
from ...session import Session
from .balancing import Address, Endpoint, EndpointTable, Phase
from .finding import Finding
from .health import follow_health
from .links import Links
from .resolving import Resolver
from .retry import Retry, RetryBudget
from .subset import MOST_ADDRESSES, Subset

__all__ = ["Begin", "Pool", "PoolPhase", "never_sent"]

C = TypeVar("C")
P = ParamSpec("P")

logger = Log("roam_trio.lasting")

PoolPhase: TypeAlias = Literal["connecting", "ready", "down"]
"""``ready`` while a session is there; otherwise ``connecting`` until one has failed to
begin, or while one tries to continue on another link; and then ``down``.
"""

Begin: TypeAlias = Callable[[str, Links, AsyncExitStack], Awaitable[tuple[Session, C]]]
"""Begins a session with a URL, which ends when the stack is left, lets its links be
followed, and makes what uses it.

Raises:
    OSError, RoamTrioError: it could not begin.
"""

_PERMANENT = (
    IncompatibleService,
    Refused,
    RemoteProtocolError,
    SessionRejected,
    ssl.SSLCertVerificationError,
)
"""Errors of connecting that trying again does not mend."""


class Pool(Generic[C]):
    """Keeps sessions with the endpoints of a target.

    Args:
        begin: begins a session with a URL, until the stack is left, and makes what uses
            it, such as a client.
        resolver: finds the endpoints.
        table: the endpoints.
        retry: which calls are made again.
        sessions: number of sessions with each address.
        observer: is told what becomes of servers and calls, unless it is None.
        servers: number of addresses that are used.
    """

    def __init__(
        self,
        begin: Begin[C],
        resolver: Resolver,
        table: EndpointTable[C],
        retry: Retry,
        sessions: int,
        observer: Observer | None = None,
        servers: int = MOST_ADDRESSES,
    ) -> None:
        self.table = table
        self.pick_at_once = table.pick_at_once
        """Returns the endpoint for a first attempt, if that needs no times of calls."""
        self.has_ready_beyond = table.has_ready_beyond
        """Tells whether an endpoint is ready that is none of these."""
        self.retry = retry
        self.budget = RetryBudget(retry)
        self._begin = begin
        seed = None if table.keeps_order else retry.backoff.chance()
        subset = Subset(servers, seed)
        self._finding = Finding(
            resolver, retry.backoff, observer, subset, table.failing
        )
        self._sessions = sessions
        self._observer = observer
        self._holding: dict[Endpoint[C], trio.CancelScope] = {}
        self._errors: dict[Endpoint[C], Exception] = {}
        self._begin_keeping: Callable[[Endpoint[C]], None] | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._bug: BaseException | None = None
        self._is_closed = False

    @property
    def phase(self) -> PoolPhase:
        """The phase of all sessions together."""
        endpoints = self.table.endpoints
        if self._is_closed:
            return "down"
        phases = {each.phase for each in endpoints}
        if Phase.READY in phases:
            return "ready"
        if Phase.RESUMING in phases:
            return "connecting"
        if self._finding.has_failed or any(each in self._errors for each in endpoints):
            return "down"
        return "connecting"

    def error_of(self, endpoint: Endpoint[C]) -> Exception | None:
        """Return the error with which the last session failed to begin, or None."""
        return self._errors.get(endpoint)

    # ------------------------------------------------------------ sessions

    async def run(self) -> None:
        """Keep the sessions until it is cancelled.

        Raises:
            Exception: a resolver, or user code in a session, has raised it and may not.
        """
        async with trio.open_nursery() as nursery:

            async def guarded(work: Callable[..., Awaitable[None]], *args: Any) -> None:
                try:
                    await work(*args)
                except BaseException as error:
                    if not is_failure(error):
                        raise
                    # Kept, as the nursery would put it into a group.
                    self._bug = self._bug or alone(error)
                    nursery.cancel_scope.cancel()

            def begin_keeping(endpoint: Endpoint[C]) -> None:
                nursery.start_soon(guarded, self._keep, endpoint)

            async def find() -> None:
                self._begin_keeping = begin_keeping
                try:
                    await self._finding.run(adopt)
                finally:
                    # The nursery may close when this task has ended.
                    self._begin_keeping = None

            def adopt(addresses: Sequence[Address]) -> None:
                if not addresses:
                    # Those that wait for an endpoint may have to give up.
                    self._changed.unpark_all()
                    return
                new, gone = self.table.update(addresses, self._sessions)
                for endpoint in gone:
                    self._note_draining(endpoint)
                for endpoint in new:
                    begin_keeping(endpoint)

            nursery.start_soon(guarded, find)
        if self._bug is not None:
            raise self._bug

    def close(self) -> None:
        """Let calls that wait for a session fail, and all later ones."""
        self._is_closed = True
        self._changed.unpark_all()

    async def _keep(self, endpoint: Endpoint[C]) -> None:
        """Keep a session with an endpoint until its address is gone."""
        while not endpoint.is_gone:
            if endpoint.phase is Phase.RESTING:
                await trio.sleep_until(endpoint.rests_until)
                self.table.connecting(endpoint)
                continue
            self._tell(Observer.server_connecting, endpoint)
            because, has_begun = await self._session_with(endpoint)
            self.table.lost(endpoint, trio.current_time())
            if not has_begun:
                self._note_error(endpoint, because)
            self._tell_of_loss(endpoint, because)
            self._changed.unpark_all()
            self._finding.doubt()
        self.table.remove(endpoint)
        self._errors.pop(endpoint, None)

    async def _session_with(self, endpoint: Endpoint[C]) -> tuple[Exception, bool]:
        """Hold a session until it ends or the endpoint has drained.

        Returns:
            the reason for its end, and whether it has begun.
        """
        session: Session | None = None
        scope = self._holding[endpoint] = trio.CancelScope()
        try:
            async with AsyncExitStack() as stack:
                links = Links(partial(self._note_link, endpoint))
                url = endpoint.address.url
                session, client = await self._begin(url, links, stack)
                self._note_session(endpoint, session, client)
                self.table.set_link(endpoint, has_link=links.has_link)
                with scope:
                    await session.closed()
        except (OSError, RoamTrioError, ValueError) as error:
            # A ValueError is about the URL, since the options were checked before.
            return error, False
        finally:
            del self._holding[endpoint]
        assert session.ended_because is not None, "its block has ended"
        return session.ended_because, True

    def _note_session(self, endpoint: Endpoint[C], session: Session, client: C) -> None:
        self._errors.pop(endpoint, None)
        self.table.connected(endpoint, client, trio.current_time())
        self._tell(Observer.server_ready, endpoint, session)
        self._changed.unpark_all()
        self._end_if_drained(endpoint)
        with suppress(ConnectionLost):  # it may have ended already
            session.root.start_soon(
                follow_health, session, partial(self.leave, endpoint)
            )

    def _note_link(self, endpoint: Endpoint[C], has_link: bool) -> None:
        self.table.set_link(endpoint, has_link=has_link)
        if has_link:
            self._changed.unpark_all()
        else:
            self._finding.doubt()

    def _note_error(self, endpoint: Endpoint[C], error: Exception) -> None:
        if endpoint not in self._errors:
            url = without_secrets(endpoint.address.url)
            logger.warning("no session with %s: %s; it is tried again", url, error)
        self._errors[endpoint] = error

    def leave(self, endpoint: Endpoint[C]) -> None:
        """Send an endpoint no more calls, and leave it when the last has ended.

        While its last calls go on, another session with its address is tried: there may
        be another server behind a balancer, or one that has taken the place of this.
        """
        self._drain(endpoint)
        is_left = endpoint.phase is Phase.DRAINING and not endpoint.is_gone
        if is_left and endpoint.calls and self._begin_keeping is not None:
            self._begin_keeping(self.table.follow(endpoint, trio.current_time()))

    def _drain(self, endpoint: Endpoint[C]) -> None:
        if self.table.drain(endpoint):
            self._note_draining(endpoint)

    def _note_draining(self, endpoint: Endpoint[C]) -> None:
        self._tell(Observer.server_draining, endpoint)
        self._changed.unpark_all()
        self._end_if_drained(endpoint)

    def _end_if_drained(self, endpoint: Endpoint[C]) -> None:
        if endpoint.phase is Phase.DRAINING and endpoint.calls == 0:
            holding = self._holding.get(endpoint)
            if holding is not None:
                holding.cancel()

    # ------------------------------------------------------------ what is told

    def _tell(
        self,
        event: Callable[Concatenate[Observer, str, P], None],
        endpoint: Endpoint[C],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        if self._observer is not None:
            url = without_secrets(endpoint.address.url)
            tell(self._observer, event, url, *args, **kwargs)

    def _tell_of_loss(self, endpoint: Endpoint[C], because: Exception) -> None:
        pause = max(0.0, endpoint.rests_until - trio.current_time())
        self._tell(Observer.server_lost, endpoint, because, pause)

    def note_retry(
        self,
        endpoint: Endpoint[C],
        method: MethodDescriptor,
        error: RoamError,
        pause: float,
    ) -> None:
        """Take note that a call is made again after a pause in seconds."""
        self._tell(Observer.call_retried, endpoint, str(method), error, pause)

    # ------------------------------------------------------------ calls

    def note_failure(self, endpoint: Endpoint[C], error: RoamError) -> None:
        """Take note that an attempt has failed."""
        if isinstance(error, Unavailable):
            self.leave(endpoint)
        elif isinstance(error, ConnectionLost):
            self._drain(endpoint)  # its session has ended, and so have its calls

    def note_end(self, endpoint: Endpoint[C]) -> None:
        """Take note that a call on an endpoint has ended."""
        endpoint.calls -= 1
        if endpoint.phase is Phase.DRAINING:
            self._end_if_drained(endpoint)

    async def changed(self) -> None:
        """Wait until the sessions or their phases have changed."""
        await self._changed.park()

    async def resumption(self, endpoint: Endpoint[C]) -> None:
        """Wait while the session with an endpoint has no link."""
        while endpoint.phase is Phase.RESUMING and not self._is_closed:
            await self._changed.park()

    async def ready(self, avoid: frozenset[Endpoint[C]]) -> Endpoint[C]:
        """Return the endpoint for an attempt; wait while none is ready.

        Args:
            avoid: endpoints that are only used if no other is ready.

        Raises:
            RoamTrioError, OSError: no session begins, for a reason that does not pass
                by itself.
        """
        while True:
            if self._is_closed:
                raise never_sent("the block of stay_connected has ended")
            endpoint = self.table.pick(trio.current_time(), avoid)
            if endpoint is not None:
                return endpoint
            errors = [self._errors.get(each) for each in self.table.endpoints]
            if errors and all(map(_is_permanent, errors)):
                assert errors[0] is not None
                raise copy_of(errors[0])
            await self._changed.park()


def _is_permanent(error: Exception | None) -> bool:
    return isinstance(error, _PERMANENT) and not isinstance(error, Overloaded)


def never_sent(text: str) -> ConnectionLost:
    """Return the error of a call that no server has got."""
    error = ConnectionLost(text)
    error.was_begun = False
    return error
