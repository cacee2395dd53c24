"""What each kind of step does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import singledispatchmethod
from typing import Any

import trio

from roam_trio import (
    ConnectionHandle,
    ConnectionLost,
    Session,
    SessionRejected,
    Unavailable,
    client,
)
from tests.session.wire import LEFT, RIGHT

from .broken import require
from .hosts import Host, Openings
from .network import VirtualLink
from .script import (
    Call,
    Cancel,
    Close,
    Crash,
    Cut,
    Double,
    HalfOpen,
    Open,
    Outage,
    Plan,
    Rejoin,
    ShutDown,
    Stall,
    Step,
    Strangers,
)
from .sessions import Joint
from .stage import Stage
from .strangers import Stranger
from .work import MadeCall, Work

__all__ = ["Acting"]


class Acting:
    """Does steps. What a step refers to may be missing, and then nothing is done.

    Args:
        stage: what all share.
        hosts: the clients, and the proxy after them if there is one.
        openings: decides on connections.
        join: begins a session of a client's, unless it has one.

    Attributes:
        calls: all calls, by number.
        under_way: number of tasks that do what steps have begun.
    """

    def __init__(
        self,
        stage: Stage,
        hosts: Sequence[Host],
        openings: Openings,
        join: Callable[[Host], None],
    ) -> None:
        self.calls: dict[int, MadeCall] = {}
        self.under_way = 0
        self._stage = stage
        self._hosts = hosts
        self._openings = openings
        self._join = join

    def call_of(self, key: int) -> MadeCall:
        """Return a call; that of a handler's is made when it is asked for."""
        call = self.calls.get(key)
        if call is None:
            self._stage.figures["calls"] += 1
            call = self.calls[key] = MadeCall(key, Plan(), Joint(()), self._stage.setup)
        return call

    @singledispatchmethod
    def do(self, step: Step) -> None:
        """Do one step."""
        raise TypeError(f"expected a step, got {step!r}")

    def _host(self, index: int) -> Host | None:
        return self._hosts[index] if index < len(self._hosts) else None

    def _joint(self, index: int, connection: int) -> Joint | None:
        host = self._host(index)
        return None if host is None else host.joints.get(connection)

    def _begin(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        self.under_way += 1
        self._stage.nursery.start_soon(self._run, function, args)

    async def _run(self, function: Callable[..., Awaitable[None]], args: Any) -> None:
        try:
            await function(*args)
        finally:
            self.under_way -= 1

    # ------------------------------------------------ calls

    @do.register
    def _call(self, step: Call) -> None:
        joint = self._joint(step.client, step.connection)
        handle = _end(joint, by_server=step.by_server)
        if joint is None or handle is None or step.key in self.calls:
            return
        self._stage.figures["calls"] += 1
        call = self.calls[step.key] = MadeCall(
            step.key, step.plan, joint, self._stage.setup
        )
        self._begin(self._make, call, handle)

    async def _make(self, call: MadeCall, handle: ConnectionHandle) -> None:
        figures, note = self._stage.figures, self._stage.note
        note("call", call.key)
        work = client(Work, handle.caller, middleware=self._stage.middleware)
        await call.make(work)
        note("ended", call.key, call.outcome)
        figures[call.outcome] += 1
        figures["items"] += len(call.up.received) + len(call.down.received)

    @do.register
    def _cancel(self, step: Cancel) -> None:
        call = self.calls.get(step.key)
        if call is not None and not call.is_done and call.because_of is None:
            self._stage.figures["cancels"] += 1
            call.cancel()

    # ------------------------------------------------ connections and sessions

    @do.register
    def _open(self, step: Open) -> None:
        host = self._host(step.client)
        session = None if host is None else host.near
        if host is None or session is None or step.connection in host.joints:
            return
        hosts = [host]
        if host.how.by_proxy:
            hosts.append(self._hosts[-1])
        way = tuple(one.sitting for one in hosts if one.sitting is not None)
        joint = host.joints[step.connection] = Joint(way)
        self._stage.figures["opens"] += 1
        self._begin(self._ask, step, joint, session)

    async def _ask(self, step: Open, joint: Joint, session: Session) -> None:
        outcome = "cancelled"
        patience = trio.CancelScope()
        if step.patience is not None:
            patience.deadline = trio.current_time() + step.patience
        with patience:
            try:
                joint.ends[LEFT] = await session.open_connection(
                    self._stage.worker,
                    metadata=self._openings.ask(step, joint),
                    max_concurrent_requests=self._stage.setup.requests,
                )
                outcome = "open"
            except (SessionRejected, Unavailable, ConnectionLost) as error:
                outcome = type(error).__name__
        self._stage.note("opened", step.connection, outcome)
        match outcome:
            case "open":
                fits = step.answer == "accept"
            case "cancelled":
                fits = step.patience is not None
                joint.is_closed = True
            case SessionRejected.__name__:
                fits = (
                    step.answer != "accept"
                    or bool(joint.disturbances)
                    or self._stage.setup.has_few_tasks
                )
            case _:
                fits = bool(joint.disturbances)
        require(fits, f"an opening has ended as nothing explains ({outcome})", step)

    @do.register
    def _close(self, step: Close) -> None:
        joint = self._joint(step.client, step.connection)
        handle = _end(joint, by_server=step.by_server)
        if joint is not None and handle is not None and step.connection:
            joint.is_closed = True
            handle.close()

    @do.register
    def _shut_down(self, step: ShutDown) -> None:
        host = self._host(step.client)
        if host is None or host.sitting is None:
            return
        session = host.sitting.far if step.by_server else host.sitting.near
        if session is not None:
            host.sitting.why.append("shut down")
            self._stage.figures["shutdowns"] += 1
            self._begin(session.shutdown, step.grace)

    @do.register
    def _crash(self, step: Crash) -> None:
        host = self._host(step.client)
        if host is None or host.sitting is None:
            return
        session = host.sitting.far if step.by_server else host.sitting.near
        if session is not None:
            host.sitting.why.append("crash")
            self._stage.figures["crashes"] += 1
            host.sitting.scopes[RIGHT if step.by_server else LEFT].cancel()

    @do.register
    def _rejoin(self, step: Rejoin) -> None:
        host = self._host(step.client)
        if host is not None:
            self._join(host)

    # ------------------------------------------------ links

    @do.register
    def _cut(self, step: Cut) -> None:
        for link in self._disturbed(step.client, "cut", ends=True):
            link.cut_after(step.way, step.after_bytes, cleanly=step.cleanly)

    @do.register
    def _stall(self, step: Stall) -> None:
        for link in self._disturbed(step.client, "stall"):
            pipe = link.pipes[step.way]
            pipe.stall()
            self._stage.clockwork.after(step.seconds, pipe.heal)

    @do.register
    def _half_open(self, step: HalfOpen) -> None:
        for link in self._disturbed(step.client, "half open", ends=True):
            link.pipes[step.way].stall()
            self._stage.clockwork.after(step.seconds, link.cut)

    @do.register
    def _outage(self, step: Outage) -> None:
        for link in self._disturbed(step.client, "outage", ends=True):
            link.cut()
            self._hosts[step.client].out_until = trio.current_time() + step.seconds

    @do.register
    def _double(self, step: Double) -> None:
        host = self._host(step.client)
        if host is not None and host.link is not None:
            host.link.double(step.way, step.count)

    @do.register
    def _strangers(self, step: Strangers) -> None:
        host = self._host(step.client)
        if host is None or not host.how.is_stable:
            return
        for other in self._hosts:
            if other.sitting is not None and not other.sitting.has_worked:
                # If it is lost, it is nothing but another stranger.
                other.sitting.why.append("strangers")
        self._outage(Outage(client=step.client, seconds=step.seconds))
        self._begin(self._let_them_come, step, host)

    async def _let_them_come(self, step: Strangers, host: Host) -> None:
        for number in range(step.count):
            self._stage.figures["strangers"] += 1
            where = f"stranger {number % step.hosts}"
            stranger = Stranger(self._stage, host.server, where, guess=step.guess)
            await stranger.come_and_go()
            self._begin(stranger.be_forgotten)

    def _disturbed(
        self, index: int, what: str, *, ends: bool = False
    ) -> Iterator[VirtualLink]:
        """Yield the link of a client, if it has one, and note what happens to it.

        Args:
            index: the client.
            what: what is about to happen.
            ends: whether it ends the link.
        """
        host = self._host(index)
        if host is None or host.sitting is None or host.link is None:
            return
        if host.link.is_over:
            return
        sitting = host.sitting
        self._stage.figures[what] += 1
        sitting.lost_at = min(sitting.lost_at, trio.current_time())
        if not (sitting.is_set_up and host.survives(ends=ends)):
            sitting.why.append(what)
        yield host.link


def _end(joint: Joint | None, *, by_server: bool) -> ConnectionHandle | None:
    """Return a side of a connection, if it is open there."""
    return None if joint is None else joint.ends[RIGHT if by_server else LEFT]
