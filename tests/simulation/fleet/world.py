"""A fleet that follows a script.

`Fleet.run` lets the script happen and then everything come to its end, and checks that
what has to hold does.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Backoff
from roam_trio.endpoints.announcing import Announcement
from roam_trio.endpoints.lasting.resolving import Resolver
from roam_trio.endpoints.places import Places
from roam_trio.endpoints.registry import trouble
from roam_trio.endpoints.registry.service import RegisteredService
from roam_trio.session.server_budget import ServerBudget

from ..broken import require
from ..clockwork import TICK
from ..determinism import replaced
from ..progress import Progress, first_of, until
from ..script import Script
from .acting import Acting
from .clients import FleetClient
from .finding import Answers, FleetRegistry, Leases
from .network import Network
from .script import Setup
from .servers import Place

__all__ = ["Fleet"]

LONGEST = 300.0
"""Number of seconds in which a fleet has to come to its end, once all is well."""


class Fleet:
    """Everything there is.

    Attributes:
        stage: has the log and the figures.
    """

    def __init__(self, script: Script[Setup]) -> None:
        self.stage = stage = Progress(script.seed)
        self._setup = setup = script.setup
        self._steps = script.steps
        self._network = Network(stage, setup.slowest)
        self._leases = Leases(stage, setup.slowest)
        registry = FleetRegistry(self._leases, setup.lease)
        self._registered = RegisteredService(
            "bank",
            partial(registry.open, "bank"),
            setup.lease,
            advertise=(),
            priority=0,
            weight=1,
            chance=Random(f"spread {script.seed}").random,
        )
        self._clients = [
            FleetClient(index, stage, setup, self._target(index))
            for index in range(setup.clients)
        ]
        self._acting = Acting(
            stage, setup, self._network, self._leases, self._clients, self._place
        )
        self._held: list[Places | ServerBudget] = []

    def _target(self, index: int) -> list[str] | Resolver:
        setup = self._setup
        if setup.finding == "static":
            return [f"virtual://bank-{each}" for each in range(setup.servers)]
        if setup.finding == "leases":
            return self._registered
        return self._answers(f"client {index}")

    def _answers(self, whose: str) -> Answers:
        chance = Random(f"finding {self.stage.seed} {whose}")
        return Answers(self._leases, self._setup.lease, chance)

    def _place(self, index: int) -> Place:
        announce: dict[str, Announcement] = {
            "leases": self._registered,
            "lookup": self._answers("servers"),
        }
        return Place(
            index,
            self.stage,
            self._setup,
            self._network,
            announce.get(self._setup.finding),
            lambda key: self._acting.calls[key],
            lambda call: self._acting.explain_cancelled_handler(call),
        )

    async def run(self) -> None:
        """Follow the script.

        Raises:
            Broken: something that has to hold does not.
            Exception: something has failed in another way.
        """
        stage = self.stage
        stage.begin()
        with stage.watch_log(), self._network.in_use(), self._holding():
            try:
                async with trio.open_nursery() as stage.nursery:
                    await self._run_all()
                    stage.nursery.cancel_scope.cancel()
            except BaseException as error:
                stage.broken = stage.broken or first_of(error)
        stage.finish()

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Keep what counts the places and the budgets of all servers."""
        # The function hides its module.
        serve: Any = sys.modules["roam_trio.endpoints.serve"]
        server_run: Any = sys.modules["roam_trio.endpoints.server_run"]

        def kept(make: Callable[..., Any]) -> Callable[..., Any]:
            def keep(*args: Any, **options: Any) -> Any:
                made = make(*args, **options)
                self._held.append(made)
                return made

            return keep

        # And have all chance come from the seed.
        chance = Random(f"registry {self.stage.seed}")
        with (
            replaced(trouble, "Backoff", partial(Backoff, chance=chance.random)),
            replaced(secrets, "token_hex", lambda size: chance.randbytes(size).hex()),
            replaced(server_run, "Places", kept(Places)),
            replaced(serve, "_budget_of", kept(serve._budget_of)),
        ):
            yield

    async def _run_all(self) -> None:
        stage = self.stage
        stage.nursery.start_soon(stage.clockwork.run)
        for place in self._acting.places:
            place.start()
        for client in self._clients:
            await stage.nursery.start(client.run)
        for step in self._steps:
            if step.after:
                await trio.sleep(step.after)
            stage.note("step", type(step).__name__)
            self._acting.do(step)
        await self._finish()

    # ------------------------------------------------ the end

    async def _finish(self) -> None:
        """Let everything come to its end, and look at what is left."""
        acting, stage = self._acting, self.stage
        await trio.sleep(5)
        await self._until(self._all_are_up, "servers are up")
        await self._until(lambda: not acting.under_way, "calls end")
        await self._until(self._all_are_connected, "clients find all servers")
        await trio.sleep(10 * self._setup.slowest * TICK)
        self._check_rest()
        for client in self._clients:
            client.leave()
        await self._until(lambda: all(c.has_left for c in self._clients), "clients end")
        for place in acting.places:
            place.drain(0.0)
        await self._until(lambda: not any(p.life for p in acting.places), "servers end")
        await wait_all_tasks_blocked()
        left = [task.name for task in stage.nursery.child_tasks]
        require(len(left) == 1, "tasks are left at the end", left)
        self._check_held()

    def _all_are_up(self) -> bool:
        self._acting.heal()
        lives = [place.life for place in self._acting.places]
        return all(each is not None and each.takes_calls for each in lives)

    def _all_are_connected(self) -> bool:
        urls = [f"virtual://{place.name}" for place in self._acting.places]
        return all(client.is_with(urls) for client in self._clients)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what, self._unended, LONGEST)

    def _unended(self) -> list[str]:
        calls = [str(one) for one in self._acting.calls.values() if not one.outcome]
        return calls + [str(one) for one in self._clients if not one.has_left]

    # ------------------------------------------------ what has to hold

    def _check_rest(self) -> None:
        """Check what is held while no call is under way."""
        for place in self._acting.places:
            assert place.life is not None
            assert place.life.server is not None
            for session in place.life.server.sessions:
                sent = session.statistics().sent
                require(
                    not (sent.permits or sent.tasks_waiting or sent.unsent_payloads),
                    "something waits to be sent at rest",
                    sent,
                )
        for call in self._acting.calls.values():
            require(
                all(each.is_over for each in call.handlings),
                "a handler is at work, and nobody waits for it",
                call,
            )

    def _check_held(self) -> None:
        """Check that servers that have ended hold nothing."""
        for held in self._held:
            if isinstance(held, Places):
                is_free = held._free == held._most and not held._counts
            else:
                is_free = not (held.bytes or held.tasks or held._parts)
            require(is_free, "a server holds something after its end", held)
