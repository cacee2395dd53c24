"""A server, clients and perhaps a proxy, on virtual links, which follow a script.

`World.run` lets the script happen and then everything come to its end, and checks that
what has to hold does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import trio

from .acting import Acting
from .broken import Broken, require
from .checks import check_budgets, check_nothing_is_held
from .hosts import Host, Openings, Server
from .progress import first_of, until
from .script import Client, Script
from .sessions import Sitting
from .stage import RESUME_SECONDS, Stage

__all__ = ["World"]


class World:
    """Everything there is.

    Attributes:
        stage: has the log and the figures.
    """

    def __init__(self, script: Script) -> None:
        setup = script.setup
        self._steps = script.steps
        self.stage = stage = Stage(script, lambda key: self._acting.call_of(key))
        self._sittings: list[Sitting] = []
        openings, numbers = Openings(stage), itertools.count()
        server = Server(stage, openings)
        how = Client(is_stable=setup.proxy_is_stable)
        proxy = Host(stage, len(setup.clients), how, server, numbers)
        between = Server(stage, openings.passed_on(lambda: proxy.near))
        self._servers = (server, between)
        self._hosts = [
            Host(stage, index, one, between if one.by_proxy else server, numbers)
            for index, one in enumerate(setup.clients)
        ]
        if any(one.by_proxy for one in setup.clients):
            self._hosts.append(proxy)
        self._acting = Acting(stage, self._hosts, openings, self._join)

    async def run(self) -> None:
        """Follow the script.

        Raises:
            Broken: something that has to hold does not.
            Exception: something has failed in another way.
        """
        stage = self.stage
        stage.begin()
        with stage.watch_log():
            try:
                async with trio.open_nursery() as stage.nursery:
                    await self._run_all()
                    stage.nursery.cancel_scope.cancel()
            except BaseException as error:
                if stage.broken is None:
                    stage.broken = first_of(error)
        stage.finish()

    async def _run_all(self) -> None:
        stage = self.stage
        stage.nursery.start_soon(stage.clockwork.run)
        for server in self._servers:
            stage.nursery.start_soon(server.accept_all)
        for host in reversed(self._hosts):  # the proxy first
            self._join(host)
        await self._until(self._all_are_set_up, "sessions are set up")
        for step in self._steps:
            if step.after:
                await trio.sleep(step.after)
            stage.note("step", type(step).__name__)
            self._acting.do(step)
            self._check()
        await self._finish()

    def _join(self, host: Host) -> None:
        sitting = host.join()
        if sitting is not None:
            self._sittings.append(sitting)

    def _all_are_set_up(self) -> bool:
        return all(one.is_set_up for one in self._sittings if one.at_work)

    # ------------------------------------------------ the end

    async def _finish(self) -> None:
        """Let everything come to its end, and look at what is left."""
        await trio.sleep(5)
        self._heal()
        self._cancel_what_hangs()
        await self._until(lambda: not self._acting.under_way, "what was begun ends")
        await self._until(self._all_are_set_up, "the last sessions are set up")
        await self._rest()
        for sitting in self._sittings:
            if sitting.near is not None:
                sitting.why.append("the end")
                self.stage.nursery.start_soon(sitting.near.shutdown)
        await self._until(
            lambda: not any(one.at_work for one in self._sittings), "sessions end"
        )
        for server in self._servers:
            require(server.is_idle, "a server remembers lost clients")

    def _heal(self) -> None:
        for host in self._hosts:
            host.out_until = 0.0
            if host.link is not None:
                for pipe in host.link.pipes:
                    pipe.heal()

    def _cancel_what_hangs(self) -> None:
        # Calls back do when all slots of both sides are taken by such.
        for call in self._acting.calls.values():
            hangs = call.plan.how == "hang" or call.plan.back is not None
            if hangs and not call.is_done and call.because_of is None:
                call.cancel()

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what, self._unended)

    def _unended(self) -> list[str]:
        calls = [str(one) for one in self._acting.calls.values() if not one.is_done]
        return calls + [str(one.sessions) for one in self._sittings if one.at_work]

    async def _rest(self) -> None:
        """Wait until nothing is held. There are moments in which a Ping is."""
        pause, waited = 0.27, 0.0
        while True:
            try:
                return self._check_idle()
            except Broken:
                if waited > 5 * RESUME_SECONDS:
                    raise
            await trio.sleep(pause)
            waited += pause
            pause *= 1.5

    # ------------------------------------------------ what has to hold

    def _check(self) -> None:
        for host in self._hosts:
            host.look_at_link()
        for sitting in self._sittings:
            for session in sitting.both:
                check_budgets(session, self.stage.setup)

    def _check_idle(self) -> None:
        self._check()
        for sitting in self._sittings:
            for session in sitting.both:
                check_nothing_is_held(session)
        for call in self._acting.calls.values():
            require(
                call.handler or not call.times_handled,
                "a handler is at work, and nobody waits for it",
                call,
            )
