"""The endpoints of a lasting client, and which of them gets a call: without I/O."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import attrs

from ...links.resuming.source import Backoff

__all__ = ["SPREAD", "Address", "Balance", "Endpoint", "EndpointTable", "Phase"]

C = TypeVar("C")

Balance: TypeAlias = Literal["first", "round robin", "least busy"]
"""The rule that chooses an endpoint for a call.

``first`` is the first in their order that is ready. ``round robin`` is each after the
other, by weight. ``least busy`` is the one whose calls in flight would take the least
time, by the times that its last calls took.
"""

LATENCY_DECAY: Final = 10.0
"""Seconds after which the last times of calls count for a third.

An endpoint that was slow gets calls again after some of these, and shows whether it
still is.
"""

SPREAD: Final = 1.0
"""Seconds over which clients that have lost one server together come back, and ask for
others, while they have further servers."""

LASTED: Final = 5.0
"""Seconds from which on the end of a session is no failure to connect."""

_UNKNOWN: Final = 1e9


@attrs.frozen(order=True)
class Address:
    """The address of a server.

    Attributes:
        url: its URL.
        priority: those with a lower number are used first; the others only while none
            of these is ready.
        weight: its share of the calls, among those of one priority.
    """

    url: str
    priority: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    weight: int = attrs.field(default=1, validator=attrs.validators.ge(1))


class Phase(enum.Enum):
    """The phases of an endpoint."""

    CONNECTING = "connecting"
    READY = "ready"
    RESUMING = "resuming"
    """Its session has lost the link, and tries to continue on another."""
    DRAINING = "draining"
    """It gets no more calls; those in flight go on."""
    RESTING = "resting"
    """It has failed, and is left alone for a while."""


_USABLE: Final = (Phase.READY, Phase.RESUMING)
"""The phases with a session that calls may use, now or later."""

_FAILING: Final = (Phase.RESTING, Phase.CONNECTING)
"""The phases without a session."""


@attrs.define(eq=False)
class Endpoint(Generic[C]):
    """The address of a server, with the client of its session while there is one.

    Attributes:
        address: the place.
        number: its number among the sessions with this place.
        phase: what it does.
        is_gone: whether it ends with its session: the target no longer has the address,
            or another endpoint has followed it.
        client: makes the calls; None unless a session is there.
        calls: number of calls in flight.
        failures: number of failures in a row.
        connected_at: when its session began, in trio's time; infinite without one.
        rests_until: when it is tried again, in trio's time.
        turn: how far it is ahead of its share of the calls.
        offset: the random part of `turn`.
        latency: seconds that its calls take: the longest of late.
        measured: when `latency` was measured.
    """

    address: Address
    number: int
    phase: Phase = Phase.CONNECTING
    is_gone: bool = False
    client: C | None = None
    calls: int = 0
    failures: int = 0
    connected_at: float = math.inf
    rests_until: float = -math.inf
    turn: float = 0.0
    offset: float = 0.0
    latency: float = 0.0
    measured: float = 0.0

    @property
    def server(self) -> Endpoint[C]:
        """The endpoint itself, as the place of an attempt."""
        return self

    def note_time(self, seconds: float, now: float) -> None:
        """Take note of how long a call took.

        A longer time than before counts at once, and a shorter one by and by.
        """
        if seconds >= self.latency:
            self.latency = seconds
        else:
            old = math.exp((self.measured - now) / LATENCY_DECAY)
            self.latency = self.latency * old + seconds * (1 - old)
        self.measured = now

    def cost(self, now: float) -> float:
        """Return an estimate of the time of a further call, to compare endpoints."""
        if not self.latency:
            # One call shows how fast it is; the others wait for that.
            return self.calls * _UNKNOWN / self.address.weight
        decay = math.exp((self.measured - now) / LATENCY_DECAY)
        return self.latency * decay * (self.calls + 1) / self.address.weight


class EndpointTable(Generic[C]):
    """All endpoints of a lasting client.

    Args:
        balance: the rule that chooses.
        backoff: the pauses after failures.

    Raises:
        ValueError: there is no such rule.
    """

    def __init__(self, balance: Balance, backoff: Backoff) -> None:
        if balance not in _RULES:
            known = ", ".join(map(repr, _RULES))
            raise ValueError(f"balance: expected one of {known}, got {balance!r}")
        self._choose = _RULES[balance]
        self.keeps_order = balance == "first"
        """True if the order of the addresses is that in which they are used."""
        self._measures = balance == "least busy"
        self._backoff = backoff
        self._endpoints: list[Endpoint[C]] = []
        self._ready: list[Endpoint[C]] = []

    @property
    def endpoints(self) -> tuple[Endpoint[C], ...]:
        """The endpoints in their order; those that drain are last."""
        return tuple(self._endpoints)

    # ------------------------------------------------------------ where they are

    def update(
        self, addresses: Iterable[Address], sessions: int
    ) -> tuple[list[Endpoint[C]], list[Endpoint[C]]]:
        """Adopt the addresses that a target has now.

        Args:
            addresses: the addresses in their order.
            sessions: number of sessions with each.

        Returns:
            The endpoints that are new, and those that are gone and now drain.
        """
        wanted = dict.fromkeys(
            (address, number) for address in addresses for number in range(sessions)
        )
        known = {
            (each.address, each.number): each
            for each in self._endpoints
            if not each.is_gone
        }
        gone = [each for key, each in known.items() if key not in wanted]
        for endpoint in gone:
            endpoint.is_gone = True
            endpoint.phase = Phase.DRAINING
        left = [each for each in self._endpoints if each.is_gone]
        new = [Endpoint[C](*key) for key in wanted if key not in known]
        known |= {(each.address, each.number): each for each in new}
        self._endpoints = [known[key] for key in wanted] + left
        self._sort_ready()
        return new, gone

    def remove(self, endpoint: Endpoint[C]) -> None:
        """Forget an endpoint that has drained."""
        self._endpoints.remove(endpoint)
        self._sort_ready()

    # ------------------------------------------------------------ phases

    def connected(self, endpoint: Endpoint[C], client: C, now: float) -> None:
        """Take note of the session with an endpoint."""
        endpoint.client = client
        endpoint.connected_at = now
        endpoint.phase = Phase.DRAINING if endpoint.is_gone else Phase.READY
        # It must neither catch up with the others nor wait for them.
        least = min((each.turn - each.offset for each in self._ready), default=0.0)
        # Many clients that begin together must not begin with the same one.
        endpoint.offset = self._backoff.chance() / endpoint.address.weight
        endpoint.turn = least + endpoint.offset
        self._sort_ready()

    def set_link(self, endpoint: Endpoint[C], *, has_link: bool) -> None:
        """Take note of whether the session with an endpoint has a link.

        Without one, it gets no calls: they would be sent only if there is another link,
        and else it would be unknown whether they were begun.
        """
        if endpoint.phase in _USABLE:
            endpoint.phase = Phase.READY if has_link else Phase.RESUMING
            self._sort_ready()

    def drain(self, endpoint: Endpoint[C]) -> bool:
        """Send an endpoint no more calls, since its server is shutting down.

        Returns:
            True if it got calls until now.
        """
        if endpoint.phase not in _USABLE:
            return False
        endpoint.phase = Phase.DRAINING
        self._sort_ready()
        return True

    def follow(self, endpoint: Endpoint[C], now: float) -> Endpoint[C]:
        """Return an endpoint in place of one that drains, with the same address.

        It begins with a pause, as if the session with that one had been lost.
        """
        new = Endpoint[C](endpoint.address, endpoint.number)
        new.failures, new.connected_at = endpoint.failures, endpoint.connected_at
        endpoint.is_gone = True
        place = self._endpoints.index(endpoint)
        self._endpoints[place : place + 1] = [new]
        self._endpoints.append(endpoint)
        self.lost(new, now)
        return new

    def lost(self, endpoint: Endpoint[C], now: float) -> None:
        """Take note that the session with an endpoint has ended, or did not begin.

        A session that has lasted for less than `LASTED` is one more failure, so that a
        server which ends each session at once is left alone as well.
        """
        has_lasted = now - endpoint.connected_at >= LASTED
        endpoint.client = None
        endpoint.connected_at = math.inf
        endpoint.failures = 0 if has_lasted else endpoint.failures + 1
        pause = self._backoff.pause(endpoint.failures)
        endpoint.phase = Phase.RESTING
        endpoint.latency = 0.0
        self._sort_ready()
        if self._ready:
            # There is no hurry, and all clients of this server have lost it together.
            pause = max(pause, SPREAD * self._backoff.chance())
        endpoint.rests_until = now + pause

    def connecting(self, endpoint: Endpoint[C]) -> None:
        """Take note that a pause is over."""
        endpoint.phase = Phase.CONNECTING

    def failing(self) -> frozenset[Address]:
        """Return the addresses that could not be reached the last time."""
        return frozenset(
            each.address
            for each in self._endpoints
            if each.failures and each.phase in _FAILING
        )

    # ------------------------------------------------------------ choice

    def pick(
        self, now: float, avoid: frozenset[Endpoint[C]] = frozenset()
    ) -> Endpoint[C] | None:
        """Return the endpoint for a call; None if none is ready.

        Args:
            now: trio's time.
            avoid: endpoints that are only used if no other is ready.
        """
        ready = self._ready
        if avoid and len(ready) > 1:
            ready = [each for each in ready if each not in avoid] or ready
        if not ready:
            return None
        return ready[0] if len(ready) == 1 else self._choose(ready, now)

    def pick_at_once(self) -> Endpoint[C] | None:
        """Return the endpoint for a call, if the choice needs no times of calls.

        None if none is ready, or if times are needed: see `pick`.
        """
        ready = self._ready
        if len(ready) == 1:
            return ready[0]
        return None if not ready or self._measures else self._choose(ready, 0.0)

    def has_ready_beyond(self, endpoints: frozenset[Endpoint[C]]) -> bool:
        """Return True if an endpoint is ready that is none of these."""
        return any(each not in endpoints for each in self._ready)

    def _sort_ready(self) -> None:
        ready = [each for each in self._endpoints if each.phase is Phase.READY]
        best = min((each.address.priority for each in ready), default=0)
        self._ready = [each for each in ready if each.address.priority == best]


def _first(ready: list[Endpoint[C]], now: float) -> Endpoint[C]:
    return ready[0]


def _round_robin(ready: list[Endpoint[C]], now: float) -> Endpoint[C]:
    chosen = min(ready, key=_turn)
    chosen.turn += 1 / chosen.address.weight
    return chosen


def _least_busy(ready: list[Endpoint[C]], now: float) -> Endpoint[C]:
    chosen = min(ready, key=lambda each: (each.cost(now), each.turn))
    chosen.turn += 1 / chosen.address.weight
    return chosen


def _turn(endpoint: Endpoint[C]) -> float:
    return endpoint.turn


_RULES: Final[dict[Balance, Callable[[list[Endpoint[Any]], float], Endpoint[Any]]]] = {
    "first": _first,
    "round robin": _round_robin,
    "least busy": _least_busy,
}
