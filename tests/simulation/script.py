"""Scripts: all that happens in a world, as data, drawn from one seed.

A script can be printed, pasted into a test and run again, and stays a script when steps
are left out: whatever a step refers to may be missing.
"""

from __future__ import annotations

from random import Random
from typing import Any, Generic, TypeVar

import attrs

from .clockwork import TICK
from .drawing import Drawing
from .network import DOWN, UP

__all__ = [
    "Back",
    "Call",
    "Cancel",
    "Client",
    "Close",
    "Crash",
    "Cut",
    "Double",
    "HalfOpen",
    "Open",
    "Outage",
    "Plan",
    "Rejoin",
    "Script",
    "Setup",
    "ShutDown",
    "Stall",
    "Step",
    "Strangers",
    "draw",
]

S = TypeVar("S")
T = TypeVar("T")


MANY_TASKS = 4096
"""More than there ever are."""


@attrs.frozen(kw_only=True)
class Client:
    """A client: how it is linked, and to whom."""

    is_stable: bool = False
    by_proxy: bool = False


@attrs.frozen(kw_only=True)
class Setup:
    """What does not change.

    Attributes:
        clients: the clients. The proxy is the one after the last, if any has one.
        proxy_is_stable: whether the link from the proxy to the server resumes.
        slowest: longest delay of a write, in ticks.
        room: number of bytes from which links make senders wait.
        requests: `max_concurrent_requests` of all.
        frames: `StableLimits.unacknowledged_frames`.
        keepalive: whether peers ping each other.
        strict: whether sessions are.
        deadlines: whether peers tell each other the time that is left.
        cancel_grace: how long cancelled calls wait.
        most_waiting: `max_waiting`: how many calls may wait for a slot or for room.
        middleware: whether all calls go through middleware on both sides.
        tasks: `Limits.session_tasks`.
    """

    clients: tuple[Client, ...] = (Client(),)
    proxy_is_stable: bool = False
    slowest: int = 20
    room: int = 65536
    requests: int = 8
    frames: int = 4096
    keepalive: bool = False
    strict: bool = True
    deadlines: bool = True
    cancel_grace: float = 1.0
    most_waiting: int | None = None
    middleware: bool = False
    tasks: int = MANY_TASKS

    @property
    def has_few_tasks(self) -> bool:
        """True if sessions refuse calls, as they have no tasks for them."""
        return self.tasks < MANY_TASKS


@attrs.frozen(kw_only=True)
class Back:
    """A call that a handler makes to its caller."""

    key: int
    seconds: float = 0.0
    how: str = "return"


@attrs.frozen(kw_only=True)
class Plan:
    """What becomes of a call.

    Attributes:
        how: the end of the handler: ``"return"``, ``"error"`` (a declared one),
            ``"fail"``, or ``"hang"`` until it is cancelled.
        seconds: how long the handler takes.
        size: length of the body, and of each item.
        credit: that of the channels, or None for a call without channels.
        up: number of items to the handler.
        down: number of items to the caller.
        up_reads: number of items that the handler reads before it resets.
        down_reads: number of items that the caller reads before it resets.
        pace: seconds between items.
        together: number of items that are sent, or received, in one step.
        is_opened: whether `open_call` makes the call.
        patience: seconds after which the caller cancels.
        deadline: seconds that the call may take.
        back: a call of the handler's to its caller.
    """

    how: str = "return"
    seconds: float = 0.0
    size: int = 0
    credit: int | None = None
    up: int = 0
    down: int = 0
    up_reads: int | None = None
    down_reads: int | None = None
    pace: float = 0.0
    together: int = 1
    is_opened: bool = False
    patience: float | None = None
    deadline: float | None = None
    back: Back | None = None


@attrs.frozen(kw_only=True)
class Step:
    """Something that is done, so many seconds after the step before."""

    after: float = 0.0


@attrs.frozen(kw_only=True)
class Call(Step):
    """A call on a connection of a client's, by either side."""

    key: int
    client: int
    connection: int = 0
    by_server: bool = False
    plan: Plan = Plan()


@attrs.frozen(kw_only=True)
class Cancel(Step):
    """The caller of a call is cancelled."""

    key: int


@attrs.frozen(kw_only=True)
class Open(Step):
    """A client asks for a virtual connection.

    Attributes:
        answer: of the acceptor: ``"accept"``, ``"reject"`` or ``"fail"``.
        seconds: how long the acceptor takes.
        patience: how long the client waits.
    """

    client: int
    connection: int
    answer: str = "accept"
    seconds: float = 0.0
    patience: float | None = None


@attrs.frozen(kw_only=True)
class Close(Step):
    """A virtual connection is closed, by either side."""

    client: int
    connection: int
    by_server: bool = False


@attrs.frozen(kw_only=True)
class Cut(Step):
    """The link of a client breaks, when so many more bytes have passed in one
    direction."""

    client: int
    way: int = UP
    after_bytes: int = 0
    cleanly: bool = False


@attrs.frozen(kw_only=True)
class Stall(Step):
    """Nothing passes in one direction for a while."""

    client: int
    way: int = UP
    seconds: float = 1.0


@attrs.frozen(kw_only=True)
class HalfOpen(Step):
    """Nothing passes in one direction any more, and the link breaks after a while."""

    client: int
    way: int = UP
    seconds: float = 1.0


@attrs.frozen(kw_only=True)
class Outage(Step):
    """The link of a client breaks, and there is no other for a while."""

    client: int
    seconds: float = 1.0


@attrs.frozen(kw_only=True)
class Double(Step):
    """Payloads of a stable conduit arrive twice."""

    client: int
    way: int = UP
    count: int = 1


@attrs.frozen(kw_only=True)
class Strangers(Step):
    """Strangers come to the server of a client and are gone without a word, while the
    client has lost its link.

    Attributes:
        seconds: how long the client is away.
        count: number of them, one after the other.
        hosts: number of hosts from which they come.
        guess: whether they present keys, and do not begin sessions.
    """

    client: int
    seconds: float = 5.0
    count: int = 10
    hosts: int = 1
    guess: bool = False


@attrs.frozen(kw_only=True)
class ShutDown(Step):
    """A session is shut down, by either side."""

    client: int
    by_server: bool = False
    grace: float = 0.0


@attrs.frozen(kw_only=True)
class Crash(Step):
    """The task that runs one side of a session is cancelled."""

    client: int
    by_server: bool = False


@attrs.frozen(kw_only=True)
class Rejoin(Step):
    """A client without a session begins another."""

    client: int


@attrs.frozen
class Script(Generic[S]):
    """A world and what happens in it."""

    seed: int
    setup: S
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Return the script as Python, without what is at its default."""
        steps = "".join(f"\n        {_told(step)}," for step in self.steps)
        return (
            f"Script(\n    {self.seed},\n    {_told(self.setup)},\n"
            f"    ({steps}\n    ),\n)"
        )


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({''.join(_told(one) + ', ' for one in value)})"
    if not attrs.has(type(value)):
        return repr(value)
    told = [
        f"{field.name}={_told(getattr(value, field.name))}"
        for field in attrs.fields(type(value))
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(told)})"


# ------------------------------------------------------------ drawing


def draw(seed: int, most_steps: int = 40) -> Script[Setup]:
    """Draw a script. Each uses some kinds of steps and not others, so that what one
    kind hides is seen in another script."""
    chance = Random(seed)
    # By itself, so that the rest of a seed is the same for any number of tasks.
    tasks = Random(f"tasks of {seed}").choice((*[MANY_TASKS] * 4, 6, 2))
    setup = attrs.evolve(_draw_setup(chance), tasks=tasks)
    steps = _Steps(chance, setup)
    return Script(seed, setup, steps.draw(chance.randint(5, most_steps)))


def _draw_setup(chance: Random) -> Setup:
    has_proxy = chance.random() < 0.3
    clients = tuple(
        Client(
            is_stable=chance.random() < 0.5,
            by_proxy=has_proxy and chance.random() < 0.7,
        )
        for _ in range(chance.choice((1, 1, 2, 2, 3)))
    )
    return Setup(
        clients=clients,
        proxy_is_stable=chance.random() < 0.5,
        slowest=chance.choice((1, 1, 20, 200)),
        room=chance.choice((256, 4096, 65536)),
        requests=chance.choice((1, 2, 8)),
        frames=chance.choice((4, 16, 4096)),
        keepalive=chance.random() < 0.3,
        strict=chance.random() < 0.7,
        deadlines=chance.random() < 0.8,
        cancel_grace=chance.choice((0.0, 0.05, 1.0, 1.0)),
        most_waiting=chance.choice((None, None, None, 0, 3)),
        middleware=chance.random() < 0.3,
    )


class _Steps(Drawing[Step]):
    """Draws the steps of one script."""

    def __init__(self, chance: Random, setup: Setup) -> None:
        super().__init__(chance, chance.choice((0.02, 0.3, 3.0)))
        self._clients = len(setup.clients)
        self._links = self._clients + any(one.by_proxy for one in setup.clients)
        self._keys = 0
        self._opened: list[tuple[int, int]] = []
        perhaps = (
            (self._cancel, 3),
            (self._open, 3),
            (self._close, 1),
            (self._cut, 1),
            (self._stall, 2),
            (self._half_open, 1),
            (self._outage, 1),
            (self._double, 2),
            (self._shut_down, 1),
            (self._crash, 1),
            (self._strangers, 1),
        )
        self._use(((self._call, 12), (self._rejoin, 3)), perhaps)

    def _client(self) -> int:
        return self._chance.randrange(self._clients)

    def _link(self) -> int:
        return self._chance.randrange(self._links)

    def _way(self) -> int:
        return self._chance.choice((UP, DOWN))

    def _connection(self) -> tuple[int, int]:
        if self._opened and self._chance.random() < 0.6:
            return self._chance.choice(self._opened)
        return self._client(), 0

    def _key(self) -> int:
        self._keys += 1
        return self._keys

    # ------------------------------------------------ kinds

    def _call(self) -> Step:
        client, connection = self._connection()
        return Call(
            after=self._after(),
            key=self._key(),
            client=client,
            connection=connection,
            by_server=self._chance.random() < 0.25,
            plan=self._plan(),
        )

    def _plan(self) -> Plan:
        chance = self._chance
        how = chance.choice(("return",) * 8 + ("error", "fail", "hang"))
        plan = Plan(
            how=how,
            seconds=chance.choice((0.0, 0.0, self._seconds(1), self._seconds(20))),
            size=chance.choice((0, 8, 8, 100, 3000)),
            patience=self._seldom(self._seconds(4), 4),
            deadline=self._seldom(self._seconds(4), 5),
        )
        if chance.random() < 0.15:
            return attrs.evolve(plan, back=self._back())
        if chance.random() < 0.5:
            return plan
        up, down = (chance.choice((0, 1, 3, 6, 20)) for _ in range(2))
        return attrs.evolve(
            plan,
            credit=chance.choice((0, 2, 16)),
            up=up,
            down=down,
            up_reads=self._seldom(chance.randint(0, up), 4),
            down_reads=self._seldom(chance.randint(0, down), 4),
            pace=chance.choice((0.0, 0.0, self._seconds(1))),
            together=chance.choice((1, 1, 3)),
            is_opened=chance.random() < 0.3,
        )

    def _back(self) -> Back:
        how = self._chance.choice(("return", "return", "error", "hang"))
        return Back(key=self._key(), seconds=self._seconds(1), how=how)

    def _cancel(self) -> Step:
        key = max(self._keys - int(4 * self._chance.random() ** 2), 1)
        return Cancel(after=self._after(), key=key)

    def _open(self) -> Step:
        opened = self._client(), len(self._opened) + 1
        self._opened.append(opened)
        return Open(
            after=self._after(),
            client=opened[0],
            connection=opened[1],
            answer=self._chance.choice(("accept",) * 6 + ("reject", "fail")),
            seconds=self._chance.choice((0.0, 0.0, self._seconds(2))),
            patience=self._seldom(self._seconds(2), 4),
        )

    def _close(self) -> Step:
        client, connection = self._connection()
        return Close(
            after=self._after(),
            client=client,
            connection=connection,
            by_server=self._chance.random() < 0.5,
        )

    def _cut(self) -> Step:
        return Cut(
            after=self._after(),
            client=self._link(),
            way=self._way(),
            after_bytes=self._chance.choice((0, self._chance.randint(1, 2000))),
            cleanly=self._chance.random() < 0.3,
        )

    def _stall(self) -> Step:
        seconds = self._seconds(self._chance.choice((1, 30)))
        return Stall(
            after=self._after(),
            client=self._link(),
            way=self._way(),
            seconds=seconds + TICK,
        )

    def _half_open(self) -> Step:
        return HalfOpen(
            after=self._after(),
            client=self._link(),
            way=self._way(),
            seconds=self._seconds(60) + TICK,
        )

    def _outage(self) -> Step:
        seconds = self._seconds(self._chance.choice((5, 5, 100)))
        return Outage(after=self._after(), client=self._link(), seconds=seconds)

    def _double(self) -> Step:
        return Double(
            after=self._after(),
            client=self._link(),
            way=self._way(),
            count=self._chance.randint(1, 5),
        )

    def _shut_down(self) -> Step:
        return ShutDown(
            after=self._after(),
            client=self._link(),
            by_server=self._chance.random() < 0.5,
            grace=self._chance.choice((0.0, self._seconds(5))),
        )

    def _crash(self) -> Step:
        by_server = self._chance.random() < 0.5
        return Crash(after=self._after(), client=self._link(), by_server=by_server)

    def _strangers(self) -> Step:
        return Strangers(
            after=self._after(),
            client=self._link(),
            seconds=self._seconds(20),
            count=self._chance.randint(1, 20),
            hosts=self._chance.choice((1, 5, 20)),
            guess=self._chance.random() < 0.3,
        )

    def _rejoin(self) -> Step:
        return Rejoin(after=self._after(), client=self._link())
