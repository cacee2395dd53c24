"""What each kind of step does to a fleet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import singledispatchmethod

import attrs
import trio

from ..clockwork import TICK
from ..network import VirtualLink
from ..progress import Progress
from ..script import Step
from .calls import MadeCall
from .clients import CONNECT_TIMEOUT, LONGEST_PAUSE, FleetClient
from .finding import Leases
from .network import Network
from .script import (
    Call,
    Cancel,
    Cut,
    Disturb,
    Drain,
    Hide,
    Kill,
    Refuse,
    Setup,
    Slow,
    Stall,
    Start,
)
from .servers import RESUME_SECONDS, Place

__all__ = ["Acting"]


@attrs.define(eq=False)
class Trouble:
    """A time in which something was not as it should be.

    Attributes:
        what: ``"link"`` or ``"refusal"``.
        client: the client that has it; None for all.
        ended: when it was over.
    """

    what: str
    client: int | None
    ended: float = math.inf


class Acting:
    """Does steps. What a step refers to may be missing, and then nothing is done.

    Args:
        stage: has the time and the log.
        setup: the setup of the fleet.
        network: has the links.
        leases: tell where servers are.
        clients: the clients.
        make_place: makes the place of a server.

    Attributes:
        calls: all calls, by number.
        places: those of all servers.
        under_way: number of calls under way.
    """

    def __init__(
        self,
        stage: Progress,
        setup: Setup,
        network: Network,
        leases: Leases,
        clients: Sequence[FleetClient],
        make_place: Callable[[int], Place],
    ) -> None:
        self.calls: dict[int, MadeCall] = {}
        self.places = [make_place(index) for index in range(setup.servers)]
        self.under_way = 0
        self._stage = stage
        self._setup = setup
        self._network = network
        self._leases = leases
        self._clients = clients
        self._make_place = make_place
        self._troubles: list[Trouble] = []
        # An end is known to the other side after a while.
        self._slack = 10 * setup.slowest * TICK
        if setup.resumes:
            self._slack += 2 * RESUME_SECONDS

    @singledispatchmethod
    def do(self, step: Step) -> None:
        """Do one step."""
        raise TypeError(f"expected a step, got {step!r}")

    # ------------------------------------------------ what explains the ends of calls

    def explain_loss(self, call: MadeCall) -> bool:
        """See `Troubles`."""
        since = call.began - self._slack
        return self._was("link", call, since) or any(
            each.has_lost_since(since) for each in self.places
        )

    def explain_refusal(self, call: MadeCall) -> bool:
        """See `Troubles`."""
        # A client that was refused tries again after a pause.
        since = call.began - self._slack - LONGEST_PAUSE - CONNECT_TIMEOUT
        return (
            self._setup.has_few_tasks
            or self._was("refusal", call, since)
            or any(each.has_ended_since(since) for each in self.places)
        )

    def explain_cancelled_handler(self, call: MadeCall) -> bool:
        """Return True if the client of a call may have cancelled it or be lost."""
        if self._stage.nursery.cancel_scope.cancel_called:
            return True
        now = trio.current_time()
        return now >= call.to_end_at - self._slack or self._was("link", call, -math.inf)

    def _was(self, what: str, call: MadeCall, since: float) -> bool:
        return any(
            each.what == what
            and each.client in (None, call.client)
            and each.ended >= since
            for each in self._troubles
        )

    def _while(
        self, trouble: Trouble, seconds: float, end: Callable[[], object]
    ) -> None:
        """Have trouble for so many seconds."""
        self._troubles.append(trouble)

        def over() -> None:
            trouble.ended = min(trouble.ended, trio.current_time())
            end()

        self._stage.clockwork.after(seconds, over)

    # ------------------------------------------------ calls

    @do.register
    def _call(self, step: Call) -> None:
        if step.client >= len(self._clients) or step.key in self.calls:
            return
        call = MadeCall(step.key, step.client, step.plan, self._setup.attempts)
        self.calls[step.key] = call
        self.under_way += 1
        self._stage.figures["calls"] += 1
        self._stage.nursery.start_soon(self._make, call)

    async def _make(self, call: MadeCall) -> None:
        self._stage.note("call", call.key)
        try:
            await self._clients[call.client].call(call, self)
        finally:
            self.under_way -= 1
        figures = self._stage.figures
        self._stage.note("ended", call.key, call.outcome)
        figures[call.outcome] += 1
        figures["handled"] += len(call.handlings)
        figures["again"] += max(len(call.handlings) - 1, 0)

    @do.register
    def _cancel(self, step: Cancel) -> None:
        call = self.calls.get(step.key)
        if call is not None and not call.outcome:
            self._stage.figures["cancels"] += 1
            call.cancel()

    # ------------------------------------------------ servers

    def _place(self, index: int) -> Place | None:
        return self.places[index] if index < len(self.places) else None

    @do.register
    def _start(self, step: Start) -> None:
        is_fixed = self._setup.finding == "static"
        if step.server == len(self.places) and not is_fixed:
            self.places.append(self._make_place(step.server))
        place = self._place(step.server)
        if place is not None:
            place.start(moves=step.moves and not is_fixed)

    @do.register
    def _kill(self, step: Kill) -> None:
        if place := self._place(step.server):
            place.kill()

    @do.register
    def _drain(self, step: Drain) -> None:
        if place := self._place(step.server):
            place.drain(step.grace)

    @do.register
    def _slow(self, step: Slow) -> None:
        if place := self._place(step.server):
            place.slower_by = step.by
            self._stage.clockwork.after(step.seconds, place.hurry)

    @do.register
    def _refuse(self, step: Refuse) -> None:
        if place := self._place(step.server):
            place.refuses = step.how
            self._while(Trouble("refusal", None), step.seconds, place.welcome_all)

    @do.register
    def _hide(self, step: Hide) -> None:
        if place := self._place(step.server):
            name = place.name
            self._network.hidden.add(name)
            hidden = self._network.hidden
            self._stage.clockwork.after(step.seconds, lambda: hidden.discard(name))

    # ------------------------------------------------ links

    @do.register
    def _cut(self, step: Cut) -> None:
        if place := self._place(step.server):
            links = self._network.links(place.name, step.client)
            self._stage.figures["cut"] += len(links)
            for link in links:
                link.cut()
                now = trio.current_time()
                self._troubles.append(Trouble("link", step.client, now))

    @do.register
    def _stall(self, step: Stall) -> None:
        place = self._place(step.server)
        links = self._network.links(place.name, step.client) if place else []
        for link in links:
            self._stage.figures["stall"] += 1
            for pipe in link.pipes:
                pipe.stall()

            def end(link: VirtualLink = link) -> None:
                if step.breaks:
                    link.cut()
                for pipe in link.pipes:
                    pipe.heal()

            self._while(Trouble("link", step.client), step.seconds, end)

    # ------------------------------------------------ finding

    @do.register
    def _disturb(self, step: Disturb) -> None:
        self._stage.figures["disturbed"] += 1
        self._leases.disturb(step.how)
        self._stage.clockwork.after(step.seconds, self._leases.heal)

    def heal(self) -> None:
        """Have all servers be there, and all links and answers be right."""
        self._leases.heal()
        self._network.heal()
        for place in self.places:
            place.hurry()
            place.welcome_all()
            place.start()
        now = trio.current_time()
        for trouble in self._troubles:
            trouble.ended = min(trouble.ended, now)
