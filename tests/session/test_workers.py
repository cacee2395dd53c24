"""Handlers that wait run in tasks that are used again, and nothing of a call stays."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections import Counter
from collections.abc import Coroutine
from contextvars import ContextVar
from functools import partial
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import Limits, client
from roam_trio.errors import ConnectionLost, SessionError
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import Metadata
from roam_trio.rpc.handler import Handler, ReplySink
from roam_trio.service import current_call
from roam_trio.session import AcceptedConnection, Session, acceptor, initiator
from roam_trio.session.caller import DriverCaller
from roam_trio.session.workers import (
    IDLE_SECONDS,
    MOST_IDLE,
    MOST_STOPPED_AT_ONCE,
    Worker,
    discard,
)
from roam_trio.wire.ids import ConnectionId
from roam_trio.wire.messages import ConnectionSettings, Ping, RequestCall
from tests.peer import Peer

from .running import Streams, Task, WithPeer, call_of, caller_of, join, streams

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


class Echo:
    """Handlers that wait, and say in which task they do."""

    def __init__(self) -> None:
        self.tasks: list[trio.lowlevel.Task] = []
        self.found: list[str] = []
        self.gate = trio.Event()

    async def echo(self, text: str) -> str:
        self.tasks.append(trio.lowlevel.current_task())
        self.found.append(whose.get())
        whose.set(text)
        await trio.lowlevel.checkpoint()
        if text == "wait":
            await self.gate.wait()
        return text

    async def joined(
        self, nursery: trio.Nursery, **options: object
    ) -> tuple[Session, Session]:
        return await join(nursery, streams(echo=self.echo), **options)  # type: ignore[arg-type]


async def test_calls_one_after_the_other_are_answered_by_one_task(
    nursery: trio.Nursery,
) -> None:
    echo = Echo()
    left, _ = await echo.joined(nursery)
    for number in range(5):
        assert await caller_of(left).echo(f"{number}") == f"{number}"
    assert len(set(echo.tasks)) == 1


async def test_each_call_has_a_context_of_its_own(nursery: trio.Nursery) -> None:
    echo = Echo()
    left, _ = await echo.joined(nursery)
    for number in range(5):
        await caller_of(left).echo(f"{number}")
    assert echo.found == ["nobody's"] * 5


async def test_calls_at_once_are_answered_by_a_task_each(
    nursery: trio.Nursery,
) -> None:
    echo = Echo()
    left, _ = await echo.joined(nursery)
    calls = [Task(nursery, caller_of(left).echo, "wait") for _ in range(8)]
    await wait_all_tasks_blocked()
    echo.gate.set()
    assert [await call.result() for call in calls] == ["wait"] * 8
    assert len(set(echo.tasks)) == 8


async def test_idle_task_holds_nothing_of_the_last_call(nursery: trio.Nursery) -> None:
    class Thing:
        pass

    things: list[weakref.ref[Thing]] = []
    kept: ContextVar[object] = ContextVar("kept")

    async def echo(text: str) -> str:
        thing = Thing()
        things.append(weakref.ref(thing))
        kept.set((thing, current_call()))
        await trio.lowlevel.checkpoint()
        return text

    left, _ = await join(nursery, streams(echo=echo))
    await caller_of(left).echo("x")
    await wait_all_tasks_blocked()
    gc.collect()
    assert [thing() for thing in things] == [None]


async def test_task_whose_handler_was_cancelled_is_not_used_again(
    nursery: trio.Nursery,
) -> None:
    echo = Echo()
    left, _ = await echo.joined(nursery)
    call = Task(nursery, caller_of(left).echo, "wait")
    await wait_all_tasks_blocked()
    call.cancel()
    await wait_all_tasks_blocked()
    assert call.was_cancelled
    assert await caller_of(left).echo("next") == "next"
    assert len(set(echo.tasks)) == 2


async def test_handler_that_failed_leaves_its_task_to_the_next(
    nursery: trio.Nursery,
) -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def echo(text: str) -> str:
        tasks.append(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        raise ValueError(text)

    left, _ = await join(nursery, streams(echo=echo))
    for _ in range(3):
        with pytest.raises(Exception, match="the handler failed"):
            await caller_of(left).echo("x")
    assert len(set(tasks)) == 1


# ------------------------------------------------------------ how many there are


async def test_idle_connection_returns_to_no_task_after_a_while(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    echo = Echo()
    left, _ = await echo.joined(nursery)
    before = living()
    calls = [Task(nursery, caller_of(left).echo, "wait") for _ in range(8)]
    await wait_all_tasks_blocked()
    echo.gate.set()
    for call in calls:
        await call.result()
    await wait_all_tasks_blocked()
    assert living() == before + 8 + 1  # they are idle, and one looks after them
    await trio.sleep(2.5 * IDLE_SECONDS)
    assert living() == before
    assert await caller_of(left).echo("again") == "again"


async def test_tasks_that_are_needed_stay_and_the_others_go(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    echo = Echo()
    left, _ = await echo.joined(nursery)
    before = living()
    calls = [Task(nursery, caller_of(left).echo, "wait") for _ in range(8)]
    await wait_all_tasks_blocked()
    echo.gate.set()
    for call in calls:
        await call.result()
    for _ in range(12):
        await trio.sleep(IDLE_SECONDS / 4)
        await caller_of(left).echo("x")
    assert living() == before + 1 + 1
    assert len(set(echo.tasks[-12:])) == 1


async def test_idle_tasks_beyond_the_bound_end_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    echo = Echo()
    more = MOST_IDLE + 30
    limits = Limits(warn_after=inf)  # or a task would watch those that wait for room
    accepting = {"max_concurrent_requests": more, "limits": limits}
    left, _ = await echo.joined(nursery, accepting=accepting, limits=limits)
    before = living()
    calls = [Task(nursery, caller_of(left).echo, "wait") for _ in range(more)]
    await wait_all_tasks_blocked()
    assert len(echo.tasks) == more
    echo.gate.set()
    for call in calls:
        await call.result()
    await wait_all_tasks_blocked()
    assert living() == before + MOST_IDLE + 1


async def test_session_with_idle_tasks_ends_with_all_of_them(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    echo = Echo()
    before = living()
    left, right = await echo.joined(nursery)
    await caller_of(left).echo("x")
    await left.shutdown()
    await right.closed()
    await wait_all_tasks_blocked()
    assert living() == before
    assert trio.current_time() < IDLE_SECONDS


# ------------------------------------------------------------ the end of a connection


class Accepting:
    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection:
        return AcceptedConnection()


async def call_until_it_ends(session: Session, connection_id: int) -> None:
    """Call the peer's handler on one of its connections."""
    caller = DriverCaller(session.connections.runs[ConnectionId(connection_id)])
    with contextlib.suppress(ConnectionLost):
        await client(Streams, caller).echo(f"{connection_id}")
        await caller.closed()


@pytest.mark.rule("connection.close")
@pytest.mark.parametrize("early", [False, True])
async def test_handlers_end_with_their_connection_and_with_no_other(
    early: bool, nursery: trio.Nursery
) -> None:
    ended: list[str] = []

    async def echo(text: str) -> str:
        try:
            if early:
                await current_call().ok(text)
            await trio.sleep_forever()
        finally:
            ended.append(text)
        return text

    left, right = await join(nursery, accepting={"on_connection": Accepting()})
    connections = [await left.open_connection(streams(echo=echo)) for _ in range(2)]
    numbers = [each.connection_id for each in connections]
    for number in numbers:
        nursery.start_soon(call_until_it_ends, right, number)
    await wait_all_tasks_blocked()
    connections[0].close()
    await wait_all_tasks_blocked()
    assert ended == [f"{numbers[0]}"]
    connections[1].close()
    await wait_all_tasks_blocked()
    assert ended == [f"{number}" for number in numbers]


@pytest.mark.parametrize("next_deadline", [inf, 60.0])
async def test_deadline_of_the_last_call_never_cancels_the_next(
    next_deadline: float, nursery: trio.Nursery
) -> None:
    clock = MockClock()
    jumps: list[float] = []
    echo = Echo()

    class Late(Handler):
        """Takes so long to take a request up that an old deadline passes."""

        def handle(
            self, call: RequestCall, reply: ReplySink
        ) -> Coroutine[Any, Any, None] | None:
            if jumps:
                clock.jump(jumps.pop())
            return streams(echo=echo.echo).handle(call, reply)

    async def calls() -> None:
        async with trio.open_nursery() as nursery:
            left, _ = await join(nursery, Late())
            with trio.fail_after(1):
                await caller_of(left).echo("first")
            await wait_all_tasks_blocked()
            jumps.append(2)
            with trio.move_on_after(next_deadline):
                assert await caller_of(left).echo("second") == "second"
            nursery.cancel_scope.cancel()

    await trio.to_thread.run_sync(partial(trio.run, calls, clock=clock))
    assert len(set(echo.tasks)) == 1


async def test_deadlines_in_a_row_move_that_of_the_task_seldom_and_never_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    found: list[float] = []

    async def echo(text: str) -> str:
        await trio.lowlevel.checkpoint()
        exact = current_call().deadline
        found.append(trio.current_effective_deadline())
        assert exact <= found[-1] <= exact + 0.01
        return text

    left, _ = await join(nursery, streams(echo=echo))
    for _ in range(40):
        with trio.fail_after(2):
            await caller_of(left).echo("x")
        await trio.sleep(0.001)
    # The first, and every ten milliseconds another.
    assert found == sorted(found)
    assert 4 <= len(set(found)) <= 6


async def test_earlier_deadline_is_kept_by_a_task_that_had_a_later_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    echo = Echo()
    left, _ = await join(nursery, streams(echo=echo.echo))
    with trio.fail_after(100):
        await caller_of(left).echo("x")
    start = trio.current_time()
    with trio.move_on_after(1):
        await caller_of(left).echo("wait")
    assert trio.current_time() == pytest.approx(start + 1)
    assert len(set(echo.tasks)) == 1


async def join_server(
    nursery: trio.Nursery, serving: trio.Nursery, handler: Handler
) -> Session:
    """Return a session with a server that has a nursery of its own."""
    left, right = memory_link_pair(64)
    serving.start_soon(acceptor(right).run, handler)
    session: Session = await nursery.start(initiator(left).run)
    return session


async def test_calls_of_a_cancelled_server_are_lost_and_not_answered(
    nursery: trio.Nursery,
) -> None:
    for _ in range(20):  # the order in which its tasks learn of it is by chance
        echo = Echo()
        async with trio.open_nursery() as serving:
            left = await join_server(nursery, serving, streams(echo=echo.echo))
            call = Task(nursery, caller_of(left).echo, "wait")
            await wait_all_tasks_blocked()
            serving.cancel_scope.cancel()
        with pytest.raises(ConnectionLost, match="has closed the link"):
            await call.result()


def test_worker_shows_whether_it_works() -> None:
    async def nothing() -> None: ...

    coroutine = nothing()
    worker = Worker(None, object(), coroutine)  # type: ignore[arg-type]
    assert repr(worker).startswith("<Worker at work: <object")
    worker.work = None
    assert repr(worker) == "<Worker idle>"
    coroutine.close()


async def test_end_of_a_session_stops_each_handler_once(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each connection: there may be thousands of both."""
    looks: list[object] = []
    stop = Worker.stop

    def count(worker: Worker) -> None:
        looks.append(worker)
        stop(worker)

    monkeypatch.setattr(Worker, "stop", count)
    echo = Echo()

    async def accept(*args: object) -> AcceptedConnection:
        return AcceptedConnection(handler=streams(echo=echo.echo))

    accepting = {"on_connection": SimpleNamespace(accept=accept)}
    left, right = await join(nursery, accepting=accepting)
    connections = [await left.open_connection() for _ in range(10)]
    calls = [Task(nursery, caller_of(one).echo, "wait") for one in connections]
    await wait_all_tasks_blocked()
    await right.shutdown()
    for call in calls:
        with pytest.raises(ConnectionLost):
            await call.result()
    assert len(echo.tasks) == 10
    # Once as the session ends, and once as the connection of the call does.
    assert len(looks) == 20


# ------------------------------------------------------------ the end of many


MANY = 5 * MOST_STOPPED_AT_ONCE + 1


class Crowd:
    """Many handlers that wait, and note when they are cancelled."""

    def __init__(self) -> None:
        self.turns = 0
        self.cancelled_at: list[int] = []

    async def echo(self, text: str) -> str:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled_at.append(self.turns)
        return text

    async def count_turns(self) -> None:
        while True:
            self.turns += 1
            await trio.lowlevel.checkpoint()

    async def gather(self, peer: Peer) -> None:
        await peer.say(*(call_of("echo", 2 * n, "text") for n in range(MANY)))
        await wait_all_tasks_blocked()


def with_crowd(crowd: Crowd) -> WithPeer:
    handler = streams(echo=crowd.echo)
    return WithPeer(handler, buffer=MANY, max_concurrent_requests=MANY)


async def test_other_tasks_run_while_the_handlers_of_a_session_end() -> None:
    crowd = Crowd()
    async with with_crowd(crowd) as (session, peer), trio.open_nursery() as nursery:
        await crowd.gather(peer)
        waiting = Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        nursery.start_soon(crowd.count_turns)
        await peer.leave()
        with pytest.raises(ConnectionLost):
            await waiting.result()
        assert len(crowd.cancelled_at) == MANY
        at_once = max(Counter(crowd.cancelled_at).values())
        assert at_once <= 2 * MOST_STOPPED_AT_ONCE
        nursery.cancel_scope.cancel()


async def test_nothing_is_dispatched_while_the_handlers_of_a_session_end() -> None:
    crowd = Crowd()
    async with with_crowd(crowd) as (session, peer):
        await crowd.gather(peer)
        received = session.statistics().received.payloads
        session._run.end(SessionError("enough"))
        await peer.say(Ping(0, 1), call_of("echo", 2 * MANY, "text"))
        await wait_all_tasks_blocked()
        assert session.statistics().received.payloads > received
        assert len(crowd.cancelled_at) == MANY
        await peer.hear_end()


async def test_cancelled_session_cancels_all_of_its_handlers_at_once() -> None:
    crowd = Crowd()
    async with trio.open_nursery() as nursery:
        left, right = await join(
            nursery,
            streams(echo=crowd.echo),
            accepting={"max_concurrent_requests": MANY},
        )
        for number in range(MANY):
            nursery.start_soon(caller_of(left).echo, f"{number}")
        await wait_all_tasks_blocked()
        right._run.end(SessionError("enough"))
        nursery.cancel_scope.cancel()
    assert len(crowd.cancelled_at) == MANY
    assert "enough" in str(right.ended_because)


def test_handler_that_is_discarded_drops_its_arguments_at_once() -> None:
    class Arguments:
        """Something that a weak reference can refer to."""

    async def handler(arguments: Arguments) -> None:
        raise AssertionError("it must not begin")

    arguments = Arguments()
    held = weakref.ref(arguments)
    coroutine = handler(arguments)
    del arguments
    discard(coroutine)
    assert held() is None
    with pytest.raises(RuntimeError, match="cannot reuse"):
        coroutine.send(None)
