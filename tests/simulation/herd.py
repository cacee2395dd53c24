"""Many clients and servers at once: what decides is real, and the rest are events.

`Herd` drives the tables, budgets and decisions of thousands of lasting clients by a
queue of events over virtual time, without trio and without sessions. So it shows what
many clients do together: their shares, the peaks of their connects, and their retries.

A server accepts one client after the other, and refuses all while it is down. A client
does what `Pool`, `Finding` and `Attempts` do around the same decisions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, Protocol

import attrs

from roam_trio import Backoff, ConnectionLost, Retry, RoamError, describe, idempotent
from roam_trio import service as roam_service
from roam_trio.endpoints.lasting.attempts import Attempts
from roam_trio.endpoints.lasting.balancing import (
    SPREAD,
    Address,
    Balance,
    Endpoint,
    EndpointTable,
    Phase,
)
from roam_trio.endpoints.lasting.retry import RetryBudget
from roam_trio.endpoints.lasting.subset import Subset

__all__ = ["Herd", "Setup"]


@roam_service
class Reading(Protocol):
    @idempotent
    async def read(self) -> None: ...


(_READ,) = describe(Reading).methods

_TRIP = 0.001
"""Seconds of the way to a server and back."""


@attrs.frozen(kw_only=True)
class Setup:
    """What does not change.

    Attributes:
        clients: number of clients.
        servers: number of servers.
        uses: number of servers that each client uses.
        balance: of all clients.
        begins_within: seconds within which the clients begin.
        rate: calls per second and client.
        takes: seconds that a call takes.
        accepts: number of sessions that a server can set up in a second.
        lease: seconds after which a resolver is asked again.
        retry: of all clients.
    """

    clients: int = 1000
    servers: int = 20
    uses: int = 4
    balance: Balance = "round robin"
    begins_within: float = 10.0
    rate: float = 0.2
    takes: float = 0.005
    accepts: float = 500.0
    lease: float = 5.0
    retry: Retry = attrs.Factory(Retry)


@attrs.define(eq=False)
class Server:
    """A server.

    Attributes:
        number: its number.
        is_up: whether it is there.
        life: number of times that it has begun.
        free_at: when it has set up all clients that have come by now.
    """

    number: int
    is_up: bool = True
    life: int = 0
    free_at: float = 0.0


class Herd:
    """Clients and servers, and the events among them.

    Args:
        setup: what does not change.
        seed: of all chance.

    Attributes:
        now: the time, in seconds.
        servers: the servers.
        clients: the clients.
        resolver_is_up: whether clients are told where servers are.
        dialed: number of attempts to connect, by server and second.
        asked: number of questions to the resolver, by second.
        called: number of attempts of calls, by server.
        calls: number of calls, and of those that have failed.
    """

    def __init__(self, setup: Setup, seed: int = 0) -> None:
        self.now = 0.0
        self.setup = setup
        self.chance = Random(seed)
        self.resolver_is_up = True
        self.dialed: Counter[tuple[int, int]] = Counter()
        self.asked: Counter[int] = Counter()
        self.called: Counter[int] = Counter()
        self.calls: Counter[str] = Counter()
        self.servers = [Server(number) for number in range(setup.servers)]
        self.addresses = [Address(str(number)) for number in range(setup.servers)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.clients = [Client(self) for _ in range(setup.clients)]
        for client in self.clients:
            self.after(self.chance.random() * setup.begins_within, client.begin)

    # ------------------------------------------------ time

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function in so many seconds."""
        self._number += 1
        heappush(self._events, (self.now + seconds, self._number, function))

    def run_until(self, time: float) -> None:
        """Let everything happen up to a time."""
        events = self._events
        while events and events[0][0] <= time:
            self.now, _, function = heappop(events)
            function()
        self.now = time

    # ------------------------------------------------ what goes wrong

    def stop(self, servers: Sequence[Server]) -> None:
        """Let servers be gone at once."""
        for server in servers:
            server.is_up = False
            server.life += 1
        for client in self.clients:
            client.look()

    def start(self) -> None:
        """Let all servers be there."""
        for server in self.servers:
            server.is_up = True
            server.free_at = self.now

    # ------------------------------------------------ figures

    def peak(self, since: float, until: float = math.inf) -> int:
        """Return the most attempts to connect in one second to one server."""
        return max(
            (n for (_, second), n in self.dialed.items() if since <= second < until),
            default=0,
        )

    def peak_asked(self, since: float) -> int:
        """Return the most questions to the resolver in one second."""
        return max(
            (n for second, n in self.asked.items() if second >= since), default=0
        )

    def sessions(self) -> list[int]:
        """Return the number of sessions of each server."""
        found: Counter[int] = Counter(
            int(each.address.url)
            for client in self.clients
            for each in client.table.endpoints
            if each.phase is Phase.READY
        )
        return [found[server.number] for server in self.servers]

    def is_whole(self) -> bool:
        """Return True if each client has sessions with as many servers as it uses."""
        most = min(self.setup.uses, self.setup.servers)
        return all(client.count_ready() >= most for client in self.clients)

    def seconds_until_whole(self, longest: float = 120.0) -> float:
        """Run until all clients have all sessions; return how long it took."""
        began = self.now
        while not self.is_whole():
            if self.now - began > longest:
                return math.inf
            self.run_until(self.now + 0.25)
        return self.now - began


class Client:
    """A lasting client: the decisions of the real one, driven by events."""

    def __init__(self, herd: Herd) -> None:
        setup, chance = herd.setup, herd.chance.random
        backoff = Backoff(
            initial=setup.retry.backoff.initial,
            longest=setup.retry.backoff.longest,
            chance=chance,
        )
        self.retry = attrs.evolve(setup.retry, backoff=backoff)
        self.table = EndpointTable[int](setup.balance, backoff)
        self.budget = RetryBudget(self.retry)
        self.has_ready_beyond = self.table.has_ready_beyond
        self._subset = Subset(
            setup.uses, None if self.table.keeps_order else backoff.chance()
        )
        self._herd = herd
        self._waiting: list[Attempts[Any]] = []
        self._failures = 0
        self._is_asking = False
        self._doubts = False

    def begin(self) -> None:
        """Ask, connect, and call from now on."""
        self._ask()
        self._call_later()

    def count_ready(self) -> int:
        """Return the number of its sessions."""
        return sum(each.phase is Phase.READY for each in self.table.endpoints)

    # ------------------------------------------------ finding, as `Finding` does it

    def _ask(self) -> None:
        herd = self._herd
        herd.asked[int(herd.now)] += 1
        self._is_asking = True
        self._doubts = False
        herd.after(_TRIP, self._answer)

    def _answer(self) -> None:
        herd, backoff = self._herd, self.retry.backoff
        if not herd.resolver_is_up:
            self._failures += 1
            herd.after(backoff.pause(1 + self._failures), self._ask)
            return
        self._failures = 0
        wanted = self._subset.choose(herd.addresses, self.table.failing())
        new, gone = self.table.update(wanted, 1)
        for endpoint in gone:
            self.table.remove(endpoint)
        for endpoint in new:
            self._connect(endpoint)
        herd.after(backoff.pause(1), self._rest)

    def _rest(self) -> None:
        self._is_asking = False
        if self._doubts:
            self._ask_soon()
            return
        herd = self._herd
        due = herd.setup.lease * (1 + herd.chance.random() / 10)
        asked_at = self._asked_at = herd.now

        def expire() -> None:
            if not self._is_asking and self._asked_at == asked_at:
                self._ask()

        herd.after(due, expire)

    def _doubt(self) -> None:
        self._doubts = True
        if not self._is_asking:
            self._ask_soon()

    def _ask_soon(self) -> None:
        self._is_asking = True
        self._herd.after(SPREAD * self.retry.backoff.chance(), self._ask)

    # ------------------------------------------------ sessions, as `Pool` keeps them

    def _connect(self, endpoint: Endpoint[int]) -> None:
        if endpoint.is_gone:
            return
        herd = self._herd
        server = herd.servers[int(endpoint.address.url)]
        herd.dialed[server.number, int(herd.now)] += 1
        if not server.is_up:
            herd.after(_TRIP, lambda: self._lose(endpoint))
            return
        life = server.life
        server.free_at = max(server.free_at, herd.now) + 1 / herd.setup.accepts

        def accepted() -> None:
            if server.life != life or not server.is_up:
                self._lose(endpoint)
            elif not endpoint.is_gone:
                self.table.connected(endpoint, life, herd.now)
                waiting, self._waiting = self._waiting, []
                for attempts in waiting:
                    self._attempt(attempts)

        herd.after(server.free_at - herd.now + _TRIP, accepted)

    def look(self) -> None:
        """Notice the sessions that have ended."""
        for endpoint in self.table.endpoints:
            server = self._herd.servers[int(endpoint.address.url)]
            if endpoint.client is not None and endpoint.client != server.life:
                self._lose(endpoint)

    def _lose(self, endpoint: Endpoint[int]) -> None:
        if endpoint.is_gone:
            return
        herd = self._herd
        self.table.lost(endpoint, herd.now)
        self._doubt()

        def again() -> None:
            if not endpoint.is_gone:
                self.table.connecting(endpoint)
                self._connect(endpoint)

        herd.after(endpoint.rests_until - herd.now, again)

    # ------------------------------------------------ calls, as `Attempts` makes them

    def _call_later(self) -> None:
        herd = self._herd
        herd.after(herd.chance.expovariate(herd.setup.rate), self._call)

    def _call(self) -> None:
        self._herd.calls["made"] += 1
        self.budget.add_call()
        self._attempt(Attempts[Any](self, _READ))
        self._call_later()

    def _attempt(self, attempts: Attempts[Any]) -> None:
        herd = self._herd
        endpoint = self.table.pick(herd.now, attempts._failed_at)
        if endpoint is None:
            herd.calls["waited"] += 1
            self._waiting.append(attempts)
            return
        server = herd.servers[int(endpoint.address.url)]
        herd.called[server.number] += 1
        endpoint.calls += 1
        began, life = herd.now, server.life

        def end() -> None:
            endpoint.calls -= 1
            if server.life == life:
                herd.calls["done"] += 1
                endpoint.note_time(herd.now - began, herd.now)
                return
            pause = attempts._pause_after(ConnectionLost("it is gone"), endpoint)
            if pause is None:
                herd.calls["failed"] += 1
            else:
                herd.calls["again"] += 1
                herd.after(pause, lambda: self._attempt(attempts))

        herd.after(herd.setup.takes, end)

    def note_failure(self, place: Endpoint[int], error: RoamError) -> None:
        """See `Route`."""

    def note_retry(self, *args: object) -> None:
        """See `Route`."""
