"""The sessions of a lasting client: the tasks around the table of its endpoints."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final, Generic, Literal, TypeAlias, TypeVar

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
from ...kept_errors import copy_of
from ...logs import Log
from ...rpc.offered import HEALTH
from ...service import open_call
from ...service.reserved.classes import Health, HealthState
from ...session import Session
from .balancing import Endpoint, EndpointTable, Phase
from .links import Links
from .resolving import Resolver
from .retry import Retry, RetryBudget

__all__ = ["MOST_ADDRESSES", "Begin", "Pool", "PoolPhase", "never_sent"]

C = TypeVar("C")

logger = Log("roam_trio.lasting")

PoolPhase: TypeAlias = Literal["connecting", "ready", "down"]
"""``ready`` while a session is there; otherwise ``connecting`` until one has failed to
begin, or while one tries to continue on another link; and then ``down``.
"""

MOST_ADDRESSES: Final = 256
"""Number of servers that are used of those that a target has."""

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
    """

    def __init__(
        self,
        begin: Begin[C],
        resolver: Resolver,
        table: EndpointTable[C],
        retry: Retry,
        sessions: int,
    ) -> None:
        self.table = table
        self.pick_at_once = table.pick_at_once
        """Returns the endpoint for a first attempt, if that needs no times of calls."""
        self.has_ready_beyond = table.has_ready_beyond
        """Tells whether an endpoint is ready that is none of these."""
        self._begin = begin
        self._was_not_found = False
        self._resolver = resolver
        self.retry = retry
        self.budget = RetryBudget(retry)
        self._sessions = sessions
        self._drained: dict[Endpoint[C], trio.Event] = {}
        self._errors: dict[Endpoint[C], Exception] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._doubt = trio.Event()
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
        if self._was_not_found or any(each in self._errors for each in endpoints):
            return "down"
        return "connecting"

    def error_of(self, endpoint: Endpoint[C]) -> Exception | None:
        """Return the error with which the last session failed to begin, or None."""
        return self._errors.get(endpoint)

    # ------------------------------------------------------------ sessions

    async def run(self) -> None:
        """Keep the sessions until it is cancelled.

        Raises:
            Exception: a resolver has raised it and may not.
        """
        bug: Exception | None = None
        async with trio.open_nursery() as nursery:
            try:
                await self._follow(nursery)
            except Exception as error:
                bug = error
                nursery.cancel_scope.cancel()
        if bug is not None:
            raise bug

    async def _follow(self, nursery: trio.Nursery) -> None:
        """Follow the addresses of the target, and keep a session with each."""
        failures = 0
        while True:
            self._doubt = trio.Event()
            is_found = await self._resolve(nursery, failures)
            failures = 0 if is_found else failures + 1
            self._was_not_found = not is_found
            if not is_found:
                # Those that wait for an endpoint may have to give up.
                self._changed.unpark_all()
            await self._wait_for_doubt(failures)

    def close(self) -> None:
        """Let calls that wait for a session fail, and all later ones."""
        self._is_closed = True
        self._changed.unpark_all()

    async def _resolve(self, nursery: trio.Nursery, failures: int) -> bool:
        """Adopt the present addresses; return False if there are none.

        Args:
            nursery: keeps the sessions.
            failures: number of times in a row that there were none until now. Only the
                first is worth a warning.
        """
        log = logger.debug if failures else logger.warning
        try:
            addresses = await self._resolver.resolve()
        except (OSError, RoamTrioError) as error:
            log("the servers cannot be found: %s; it is tried again", error)
            return False
        if not addresses:
            log("the target has no servers at present")
            return False
        if len(addresses) > MOST_ADDRESSES:
            logger.warning(
                "the target has %d servers; only the first %d are used",
                len(addresses),
                MOST_ADDRESSES,
            )
            addresses = addresses[:MOST_ADDRESSES]
        new, gone = self.table.update(addresses, self._sessions)
        for endpoint in gone:
            self._note_draining(endpoint)
        for endpoint in new:
            nursery.start_soon(self._keep, endpoint)
        return True

    async def _wait_for_doubt(self, failures: int) -> None:
        """Wait for a pause, and then until the addresses may have changed."""
        await trio.sleep(self.retry.backoff.pause(failures + 1))
        if failures:
            return
        await _first(self._resolver.changed, self._doubt.wait)

    async def _keep(self, endpoint: Endpoint[C]) -> None:
        """Keep a session with an endpoint until its address is gone."""
        while not endpoint.is_gone:
            error = await self._session_with(endpoint)
            self.table.lost(endpoint, trio.current_time())
            self._note_error(endpoint, error)
            self._changed.unpark_all()
            self._doubt.set()
            await trio.sleep_until(endpoint.rests_until)
            self.table.connecting(endpoint)
        self.table.remove(endpoint)

    async def _session_with(self, endpoint: Endpoint[C]) -> Exception | None:
        """Hold a session until it ends or the endpoint has drained.

        Returns:
            the error with which it failed; None if it has just ended.
        """
        drained = self._drained[endpoint] = trio.Event()
        try:
            async with AsyncExitStack() as stack:
                links = Links(partial(self._note_link, endpoint))
                url = endpoint.address.url
                session, client = await self._begin(url, links, stack)
                self._errors.pop(endpoint, None)
                self.table.connected(endpoint, client, trio.current_time())
                self.table.set_link(endpoint, has_link=links.has_link)
                self._changed.unpark_all()
                self._end_if_drained(endpoint)
                await _first(
                    session.closed,
                    drained.wait,
                    partial(self._follow_health, endpoint, session),
                )
        except (OSError, RoamTrioError) as error:
            return error
        finally:
            del self._drained[endpoint]
        return None

    async def _follow_health(self, endpoint: Endpoint[C], session: Session) -> None:
        """Drain an endpoint when its server says that it is shutting down.

        Never returns, since a server need not offer its health.
        """
        with suppress(RoamTrioError):
            async with (
                session.open(Health, HEALTH) as health,
                open_call(health.watch, "") as watch,
            ):
                async for state in watch.rx:
                    if state is HealthState.DRAINING:
                        self.leave(endpoint)
        await trio.sleep_forever()

    def _note_link(self, endpoint: Endpoint[C], has_link: bool) -> None:
        self.table.set_link(endpoint, has_link=has_link)
        if has_link:
            self._changed.unpark_all()
        else:
            self._doubt.set()

    def _note_error(self, endpoint: Endpoint[C], error: Exception | None) -> None:
        if error is None:
            return
        if endpoint not in self._errors:
            logger.warning(
                "no session with %s: %s; it is tried again", endpoint.address.url, error
            )
        self._errors[endpoint] = error

    def leave(self, endpoint: Endpoint[C]) -> None:
        """Send an endpoint no more calls, and leave it when the last has ended."""
        if self.table.drain(endpoint):
            self._note_draining(endpoint)

    def _note_draining(self, endpoint: Endpoint[C]) -> None:
        self._changed.unpark_all()
        self._end_if_drained(endpoint)

    def _end_if_drained(self, endpoint: Endpoint[C]) -> None:
        if endpoint.phase is Phase.DRAINING and endpoint.calls == 0:
            drained = self._drained.get(endpoint)
            if drained is not None:
                drained.set()

    # ------------------------------------------------------------ calls

    def note_failure(self, endpoint: Endpoint[C], error: RoamError) -> None:
        """Take note that an attempt has failed."""
        if isinstance(error, ConnectionLost | Unavailable):
            self.leave(endpoint)

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


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until the first of several waits is over."""
    async with trio.open_nursery() as nursery:

        async def until(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(until, wait)


def _is_permanent(error: Exception | None) -> bool:
    return isinstance(error, _PERMANENT) and not isinstance(error, Overloaded)


def never_sent(text: str) -> ConnectionLost:
    """Return the error of a call that no server has got."""
    error = ConnectionLost(text)
    error.was_begun = False
    return error
