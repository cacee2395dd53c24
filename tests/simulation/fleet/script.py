"""Scripts of fleets: all that happens, as data, drawn from one seed."""

from __future__ import annotations

from random import Random

import attrs

from ..clockwork import TICK
from ..drawing import Drawing
from ..script import Script, Step

__all__ = [
    "Call",
    "Cancel",
    "Cut",
    "Disturb",
    "Drain",
    "Hide",
    "Kill",
    "Plan",
    "Refuse",
    "Setup",
    "Slow",
    "Stall",
    "Start",
    "draw",
]

MANY_TASKS = 4096
"""More than there ever are."""


@attrs.frozen(kw_only=True)
class Setup:
    """What does not change.

    Attributes:
        clients: number of clients.
        servers: number of servers at first.
        finding: how clients find them: ``"static"`` by a list, ``"lookup"`` by answers
            that expire, ``"leases"`` by a registry.
        lease: seconds for which answers and leases hold.
        balance: of all clients.
        sessions: number of sessions with each server.
        attempts: `Retry.attempts`.
        budget: `Retry.budget`.
        reserve: `Retry.reserve`.
        has_health: whether servers tell that they shut down before they refuse calls.
        resumes: whether sessions go on on another link.
        keepalive: whether peers ping each other.
        is_named: whether the service is offered by a name.
        tasks: `Limits.session_tasks` of servers.
        slowest: longest delay of a write, in ticks.
    """

    clients: int = 1
    servers: int = 1
    finding: str = "static"
    lease: float = 3.0
    balance: str = "first"
    sessions: int = 1
    attempts: int = 3
    budget: float = 0.2
    reserve: float = 10.0
    has_health: bool = True
    resumes: bool = False
    keepalive: bool = False
    is_named: bool = False
    tasks: int = MANY_TASKS
    slowest: int = 20

    @property
    def has_few_tasks(self) -> bool:
        """True if servers refuse calls, as they have no tasks for them."""
        return self.tasks < MANY_TASKS


@attrs.frozen(kw_only=True)
class Plan:
    """What becomes of a call.

    Attributes:
        kind: ``"read"``, which is idempotent; ``"write"``, which is not; or
            ``"follow"``, which has a channel.
        how: the end of its handlers: ``"return"``, ``"error"`` (a declared one),
            ``"fail"``, ``"refuse"`` or ``"overload"``.
        seconds: how long a handler takes.
        deadline: seconds that the call may take.
    """

    kind: str = "read"
    how: str = "return"
    seconds: float = 0.0
    deadline: float | None = None


@attrs.frozen(kw_only=True)
class Call(Step):
    """A client makes a call."""

    key: int
    client: int
    plan: Plan = Plan()


@attrs.frozen(kw_only=True)
class Cancel(Step):
    """The caller of a call is cancelled."""

    key: int


@attrs.frozen(kw_only=True)
class Start(Step):
    """A server that is down comes back; beyond those there are, a new one comes.

    Attributes:
        moves: whether it comes back at another address, unless addresses are fixed.
    """

    server: int
    moves: bool = False


@attrs.frozen(kw_only=True)
class Kill(Step):
    """A server is gone at once."""

    server: int


@attrs.frozen(kw_only=True)
class Drain(Step):
    """A server shuts down in order.

    Attributes:
        grace: seconds that calls in flight have.
    """

    server: int
    grace: float = 0.0


@attrs.frozen(kw_only=True)
class Slow(Step):
    """The handlers of a server take longer for a while."""

    server: int
    by: float = 1.0
    seconds: float = 1.0


@attrs.frozen(kw_only=True)
class Refuse(Step):
    """A server turns clients away for a while.

    Attributes:
        how: ``"denied"``, ``"overloaded"`` or ``"unavailable"``.
    """

    server: int
    how: str = "denied"
    seconds: float = 1.0


@attrs.frozen(kw_only=True)
class Hide(Step):
    """Nobody who dials a server gets an answer for a while."""

    server: int
    seconds: float = 1.0


@attrs.frozen(kw_only=True)
class Cut(Step):
    """The links of a client with a server break."""

    client: int
    server: int


@attrs.frozen(kw_only=True)
class Stall(Step):
    """Nothing passes on the links of a client with a server, and then they break, or
    all arrives."""

    client: int
    server: int
    seconds: float = 1.0
    breaks: bool = False


@attrs.frozen(kw_only=True)
class Disturb(Step):
    """For a while, those that tell where servers are do it badly.

    Attributes:
        how: they answer ``"late"``, with an ``"error"``, that there are ``"none"``, as
            it was (``"stale"``), or with one too many (``"wrong"``); or they are
            ``"lost"``, with all leases.
    """

    how: str
    seconds: float = 1.0


# ------------------------------------------------------------ drawing


def draw(seed: int, most_steps: int = 40) -> Script[Setup]:
    """Draw a script. Each uses some kinds of steps and not others, so that what one
    kind hides is seen in another script."""
    chance = Random(f"fleet {seed}")
    setup = _draw_setup(chance)
    steps = _Steps(chance, setup)
    return Script(seed, setup, steps.draw(chance.randint(10, most_steps)))


def _draw_setup(chance: Random) -> Setup:
    return Setup(
        clients=chance.choice((1, 1, 2, 3)),
        servers=chance.choice((1, 2, 3, 3)),
        finding=chance.choice(("static", "lookup", "leases")),
        lease=chance.choice((1.0, 3.0, 10.0)),
        balance=chance.choice(("first", "round robin", "least busy")),
        sessions=chance.choice((1, 1, 1, 2)),
        attempts=chance.choice((1, 2, 3, 3, 5)),
        budget=chance.choice((0.0, 0.2, 0.2, 1.0)),
        reserve=chance.choice((0.0, 1.0, 10.0)),
        has_health=chance.random() < 0.7,
        resumes=chance.random() < 0.2,
        keepalive=chance.random() < 0.3,
        is_named=chance.random() < 0.3,
        tasks=chance.choice((*[MANY_TASKS] * 4, 4)),
        slowest=chance.choice((1, 1, 20, 100)),
    )


class _Steps(Drawing[Step]):
    """Draws the steps of one script."""

    def __init__(self, chance: Random, setup: Setup) -> None:
        super().__init__(chance, chance.choice((0.02, 0.3, 3.0)), rest=60)
        self._clients = setup.clients
        self._servers = setup.servers
        self._keys = 0
        perhaps = (
            (self._cancel, 2),
            (self._kill, 3),
            (self._drain, 4),
            (self._slow, 1),
            (self._refuse, 1),
            (self._hide, 1),
            (self._cut, 2),
            (self._stall, 1),
            (self._disturb, 2),
        )
        self._use(((self._call, 18), (self._start, 4)), perhaps)

    def _client(self) -> int:
        return self._chance.randrange(self._clients)

    def _server(self) -> int:
        return self._chance.randrange(self._servers)

    def _while(self) -> float:
        return self._seconds(self._chance.choice((2, 20))) + TICK

    # ------------------------------------------------ kinds

    def _call(self) -> Step:
        self._keys += 1
        chance = self._chance
        return Call(
            after=self._after(),
            key=self._keys,
            client=self._client(),
            plan=Plan(
                kind=chance.choice(("read",) * 5 + ("write",) * 4 + ("follow",)),
                how=chance.choice(
                    ("return",) * 12 + ("error", "fail", "refuse", "overload")
                ),
                seconds=chance.choice((0.0, 0.0, self._seconds(1), self._seconds(10))),
                deadline=self._seldom(self._seconds(10), 4),
            ),
        )

    def _cancel(self) -> Step:
        key = max(self._keys - int(4 * self._chance.random() ** 2), 1)
        return Cancel(after=self._after(), key=key)

    def _start(self) -> Step:
        if self._servers < 5 and self._chance.random() < 0.1:
            self._servers += 1
            return Start(after=self._after(), server=self._servers - 1)
        moves = self._chance.random() < 0.3
        return Start(after=self._after(), server=self._server(), moves=moves)

    def _kill(self) -> Step:
        return Kill(after=self._after(), server=self._server())

    def _drain(self) -> Step:
        grace = self._chance.choice((0.0, self._seconds(2), 20.0, 20.0))
        return Drain(after=self._after(), server=self._server(), grace=grace)

    def _slow(self) -> Step:
        return Slow(
            after=self._after(),
            server=self._server(),
            by=self._seconds(5),
            seconds=self._while(),
        )

    def _refuse(self) -> Step:
        return Refuse(
            after=self._after(),
            server=self._server(),
            how=self._chance.choice(("denied", "overloaded", "unavailable")),
            seconds=self._while(),
        )

    def _hide(self) -> Step:
        return Hide(after=self._after(), server=self._server(), seconds=self._while())

    def _cut(self) -> Step:
        return Cut(after=self._after(), client=self._client(), server=self._server())

    def _stall(self) -> Step:
        return Stall(
            after=self._after(),
            client=self._client(),
            server=self._server(),
            seconds=self._while(),
            breaks=self._chance.random() < 0.5,
        )

    def _disturb(self) -> Step:
        hows = ("late", "error", "none", "stale", "wrong", "lost")
        return Disturb(
            after=self._after(),
            how=self._chance.choice(hows),
            seconds=self._while(),
        )
