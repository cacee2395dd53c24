"""The attempts of one call, over the sessions of a lasting client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

import trio

from ...effective_deadline import effective_deadline
from ...errors import RoamError
from ...peers import Peer
from ...service.client import BaseClient
from ...service.descriptor import MethodDescriptor
from .balancing import Endpoint
from .retry import (
    LONGEST_PAUSE,
    Again,
    Retry,
    RetryBudget,
    again_after,
    pause_asked_for,
    time_of_failed,
)

__all__ = ["Attempts", "Place", "Route"]

P = TypeVar("P", bound="Place")
R = TypeVar("R")


class Place(Protocol):
    """The place of an attempt: a client on a connection with a server."""

    calls: int
    """Number of calls in flight with this server."""

    @property
    def client(self) -> BaseClient | None:
        """Makes the attempt; None unless a session is there."""

    @property
    def server(self) -> Endpoint[Any]:
        """The server."""
        ...

    def note_time(self, seconds: float, now: float) -> None:
        """Take note of how long a call took."""


class Route(Protocol[P]):
    """Finds the places for the attempts of calls."""

    retry: Retry
    """The calls that are made again."""

    budget: RetryBudget
    """Bounds the attempts of all calls."""

    def pick_at_once(self) -> P | None:
        """Return the place for a first attempt, if that needs neither waiting nor the
        times of calls."""

    async def ready(self, avoid: frozenset[Endpoint[Any]]) -> P:
        """Return the place for an attempt; wait while there is none.

        Args:
            avoid: servers that are only used if no other is ready.

        Raises:
            RoamTrioError, OSError: there is none, for a reason that does not pass by
                itself.
        """
        ...

    def has_ready_beyond(self, servers: frozenset[Endpoint[Any]]) -> bool:
        """Return True if the next attempt can go to none of these servers."""
        ...

    def note_failure(self, place: P, error: RoamError) -> None:
        """Take note that an attempt has failed."""

    def note_retry(
        self, place: P, method: MethodDescriptor, error: RoamError, pause: float
    ) -> None:
        """Take note that a call is made again after a pause in seconds."""

    def note_end(self, place: P) -> None:
        """Take note that an attempt has ended, which has counted in `Place.calls`."""


class Attempts(Generic[P]):
    """The attempts of one call.

    Args:
        route: finds the places.
        method: the method.
    """

    __slots__ = ("_client", "_count", "_failed_at", "_method", "_rounds", "_route")

    def __init__(self, route: Route[P], method: MethodDescriptor) -> None:
        self._route = route
        self._method = method
        self._client: BaseClient | None = None
        self._count = 0
        self._rounds = 0
        self._failed_at: frozenset[Endpoint[Any]] = frozenset()

    @property
    def peer(self) -> Peer:
        """The peer of the last attempt."""
        if self._client is None:
            return Peer("other", "no server yet")
        return self._client.__roam_caller__.peer

    async def call(
        self,
        invoke: Callable[[BaseClient], Awaitable[R]],
        failed: tuple[P, RoamError] | None = None,
    ) -> R:
        """Make the call.

        A checkpoint. Waits while no session is there. Cancelling it cancels the call.

        Args:
            invoke: makes an attempt with a client.
            failed: a first attempt that has failed: its place and its error.

        Raises:
            RoamTrioError: what the last attempt raises, or what keeps every session
                from beginning and does not pass by itself.
        """
        route = self._route
        if failed is None:
            route.budget.add_call()
        else:
            place, error = failed
            try:
                pause = self._pause_after(error, place)
                if pause is None:
                    raise error
            finally:
                del failed, error  # or the error and this frame would hold each other
            await trio.sleep(pause)
        while True:
            place = await route.ready(self._failed_at)
            self._client = place.client
            assert self._client is not None, "a place that is ready has one"
            place.calls += 1
            began = trio.current_time()
            try:
                result = await invoke(self._client)
            except RoamError as error:
                now = trio.current_time()
                seconds = time_of_failed(error, now - began)
                if seconds is not None:
                    place.note_time(seconds, now)
                pause = self._pause_after(error, place)
                if pause is None:
                    raise
            except Exception:
                # A declared error, which is an answer like any other.
                now = trio.current_time()
                place.note_time(now - began, now)
                raise
            else:
                now = trio.current_time()
                place.note_time(now - began, now)
                return result
            finally:
                route.note_end(place)
            await trio.sleep(pause)

    def _pause_after(self, error: RoamError, place: P) -> float | None:
        """Return the seconds to wait before the next attempt; None if there is none."""
        self._route.note_failure(place, error)
        if self._is_last(error):
            return None
        pause = self._pause(error, place.server)
        if pause is None:
            return None
        if pause and trio.current_time() + pause >= effective_deadline():
            return None  # the caller learns more from the error than from its deadline
        self._route.note_retry(place, self._method, error, pause)
        return pause

    def _is_last(self, error: RoamError) -> bool:
        """Return True if the call must not be made again."""
        if self._method.args_plan.has_channels:
            return True  # they have ended with the attempt
        again = again_after(error, is_idempotent=self._method.effect != "any")
        if again is Again.WITHIN_BUDGET:
            self._count += 1
            attempts, budget = self._route.retry.attempts, self._route.budget
            return self._count >= attempts or not budget.take()
        return again is Again.NO

    def _pause(self, error: RoamError, server: Endpoint[Any]) -> float | None:
        has_failed_before = server in self._failed_at
        self._failed_at |= {server}
        if self._route.has_ready_beyond(self._failed_at):
            return 0.0
        pause = pause_asked_for(error)
        if pause > LONGEST_PAUSE:
            return None
        if has_failed_before:
            self._rounds += 1
            pause = max(pause, self._route.retry.backoff.pause(self._rounds))
        return pause
