"""Servers that come, are slow, refuse, drain, and are killed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import trio

from roam_trio import (
    Limits,
    Overloaded,
    Peer,
    Refused,
    Server,
    SessionKeepaliveConfig,
    Unavailable,
    dispatcher,
    serve,
)
from roam_trio.endpoints.announcing import Announcement

from ..progress import Progress
from .calls import Bank, BankImpl, MadeCall
from .finding import IS_DEAD
from .network import Network
from .script import Setup

__all__ = ["RESUME_SECONDS", "Life", "Place"]

RESUME_SECONDS = 20.0

_REFUSALS: dict[str, Callable[[], Exception]] = {
    "denied": lambda: Refused("denied", "as planned"),
    "overloaded": lambda: Overloaded(text="as planned"),
    "unavailable": lambda: Unavailable(text="as planned"),
}


@attrs.define(eq=False)
class Life:
    """A server, from its start to its end.

    Attributes:
        name: that at which it listens.
        number: its number among all.
        scope: that of all its tasks.
        server: the server, once it listens.
        drains_until: when calls in flight are ended, once it drains.
        killed: when it was killed.
        ended: when it has ended, in whichever way.
    """

    name: str
    number: int
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)
    server: Server | None = None
    drains_until: float = math.inf
    killed: float = math.inf
    ended: float = math.inf

    @property
    def takes_calls(self) -> bool:
        """True if it has begun, and does not end."""
        return self.server is not None and self.drains_until == math.inf

    @property
    def lets_go(self) -> float:
        """From when on it may lose calls."""
        if self.ended < self.drains_until:
            return self.killed
        return min(self.killed, self.drains_until)

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"


class Place:
    """Where a server is, is down, and is again.

    Args:
        index: its number.
        progress: has the time and the log.
        setup: the setup of the fleet.
        network: has the links.
        announce: where servers are announced, if anywhere.
        call_of: returns a call by its number.
        may_be_cancelled: returns True if something explains that the handler of a call
            is cancelled by its client.

    Attributes:
        name: where it listens, or did.
        lives: all servers that it had.
        slower_by: seconds that handlers take longer now.
        refuses: how it turns clients away now, if it does.
    """

    def __init__(
        self,
        index: int,
        progress: Progress,
        setup: Setup,
        network: Network,
        announce: Announcement | None,
        call_of: Callable[[int], MadeCall],
        may_be_cancelled: Callable[[MadeCall], bool],
    ) -> None:
        self.name = f"bank-{index}"
        self.lives: list[Life] = []
        self.slower_by = 0.0
        self.refuses = ""
        self._index = index
        self._stage = progress
        self._setup = setup
        self._network = network
        self._call_of = call_of
        self._may_be_cancelled = may_be_cancelled
        self._options = _options_of(setup)
        if announce is not None:
            self._options["announce"] = announce

    @property
    def life(self) -> Life | None:
        """The server that is there, which may be about to end."""
        life = self.lives[-1] if self.lives else None
        return None if life is None or life.ended < math.inf else life

    def start(self, *, moves: bool = False) -> None:
        """Have a server, unless there is one."""
        if self.life is not None:
            return
        if moves:
            self.name = f"bank-{self._index}-{len(self.lives)}"
        life = Life(self.name, len(self.lives))
        self.lives.append(life)
        self._stage.figures["starts"] += 1
        self._stage.nursery.start_soon(self._run, life)

    async def _run(self, life: Life) -> None:
        self._stage.note("server starts", str(life))
        impl = BankImpl(
            str(life),
            self._call_of,
            lambda: self.slower_by,
            self._stage.note,
            lambda call: (
                life.lets_go <= trio.current_time() or self._may_be_cancelled(call)
            ),
        )
        handler: Any = dispatcher(Bank, impl)
        if self._setup.is_named:
            handler = {"bank": handler}
        url = f"virtual://{life.name}"
        IS_DEAD.set(life.scope)
        with life.scope:
            async with trio.open_nursery() as nursery:
                serving: Any = await nursery.start(
                    lambda task_status: serve(
                        url,
                        handler,
                        on_session=self._welcome,
                        task_status=task_status,
                        **self._options,
                    )
                )
                life.server = serving
                drained = self._draining = trio.Event()
                await drained.wait()
                left = life.drains_until - trio.current_time()
                await serving.shutdown(max(0.0, left))
        life.ended = min(life.ended, trio.current_time())
        self._stage.note("server ends", str(life))

    async def _welcome(self, peer: Peer) -> None:
        if self.refuses:
            self._stage.figures["turned away"] += 1
            raise _REFUSALS[self.refuses]()

    def hurry(self) -> None:
        """Be slow no longer."""
        self.slower_by = 0.0

    def welcome_all(self) -> None:
        """Turn away nobody any more."""
        self.refuses = ""

    # ------------------------------------------------ its end

    def drain(self, grace: float) -> None:
        """Shut the server down in order."""
        life = self.life
        if life is None or life.server is None or life.drains_until < math.inf:
            return
        self._stage.figures["drains"] += 1
        life.drains_until = trio.current_time() + grace
        self._draining.set()

    def kill(self) -> None:
        """Have the server be gone at once, with all that is under way."""
        life = self.life
        if life is None:
            return
        self._stage.figures["kills"] += 1
        life.killed = life.ended = trio.current_time()
        self._network.cut_off(life.name)
        life.scope.cancel()

    def has_lost_since(self, since: float) -> bool:
        """Return True if a server has been losing calls since a time."""
        now = trio.current_time()
        return any(each.lets_go <= now and each.ended >= since for each in self.lives)

    def has_ended_since(self, since: float) -> bool:
        """Return True if a server has ended or drained at some time since."""
        return any(each.ended >= since and not each.takes_calls for each in self.lives)


def _options_of(setup: Setup) -> dict[str, Any]:
    return {
        "limits": Limits(session_tasks=setup.tasks, resume_seconds=RESUME_SECONDS),
        "reflection": setup.has_health,
        "resume": setup.resumes,
        "keepalive": SessionKeepaliveConfig() if setup.keepalive else None,
        "memory": 2**30,
    }
