"""What calls and items cost in steps of tasks, in writes and in garbage: exact numbers.

Both sessions run here, on a pair of sockets. A step more for each call shows here long
before it shows on a clock.
"""

from __future__ import annotations

import gc
import socket
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing

import roam_trio
from roam_trio import (
    AnyCall,
    Dispatcher,
    Proceed,
    Rx,
    Server,
    Session,
    channel,
    client,
    initiator,
    serve,
)
from roam_trio.links.tcp import connect_tcp
from roam_trio.session import session_run
from roam_trio.session.turns import next_turn
from roam_trio.wire.envelope import encode_in_python
from roam_trio.wire.ids import ConnectionId, Parity
from roam_trio.wire.messages import PROTOCOL_VERSION, ConnectionSettings, Hello
from tests.pure import steps_in_python  # noqa: F401

from .pair_of_sockets import SocketPair, Steps
from .running import Streams, caller_of, streams


async def add(left: int, right: int) -> int:
    return left + right


async def echo(text: str) -> str:
    if text == "wait":  # never: that it could is why it needs a task
        await trio.sleep_forever()
    return text


async def take(numbers: Rx[int]) -> int:
    return sum([number async for number in numbers])


whose: ContextVar[str] = ContextVar("whose")

HANDLER = streams(add=add, echo=echo, take=take)


async def call(pair: SocketPair, times: int) -> None:
    for number in range(times):
        assert await pair.caller.add(number, 1) == number + 1


async def call_at_once(pair: SocketPair) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call, pair, 1)


async def call_what_can_wait(pair: SocketPair, times: int) -> None:
    for _ in range(times):
        assert await pair.caller.echo("text") == "text"


async def send_items(pair: SocketPair, count: int) -> None:
    tx, rx = channel[int]()

    async def send() -> None:
        async with tx:
            for number in range(count):
                await tx.send(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await pair.caller.take(rx) == sum(range(count))


# ------------------------------------------------------------ steps


async def test_lone_call_takes_a_step_of_each_reader_and_one_of_its_caller() -> None:
    async with SocketPair(HANDLER) as pair:
        await call(pair, 1)
        before = pair.writes
        with Steps() as steps:
            await call(pair, 100)
        assert steps.by_role() == {"session": 200, "caller": 100}
        assert steps.turns == 300
        assert pair.writes - before == 200


async def test_handler_that_can_wait_takes_one_step_more() -> None:
    async with SocketPair(HANDLER) as pair:
        await call_what_can_wait(pair, 1)
        before = pair.writes
        with Steps() as steps:
            await call_what_can_wait(pair, 100)
        assert steps.by_role() == {"session": 200, "caller": 100, "handler": 100}
        assert pair.writes - before == 200


async def test_calls_at_once_go_out_in_one_write_and_so_do_their_responses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Turns end with time, of which a busy machine takes more.
    monkeypatch.setattr(session_run, "next_turn", partial(next_turn, seconds=inf))
    rounds = 10
    async with SocketPair(HANDLER) as pair:
        await call_what_can_wait(pair, 1)  # what comes next is not a lone call
        before = pair.writes
        with Steps() as steps:
            async with trio.open_nursery() as nursery:
                for _ in range(64):
                    nursery.start_soon(call, pair, rounds)
        taken = steps.by_role()
        # Trio shuffles the tasks, so some of the first calls may go out by themselves,
        # and come back so. One by one, they would be 1,280 writes.
        assert rounds * 2 <= pair.writes - before <= rounds * 4 + 10
        assert taken["session"] <= rounds * 4 + 10
        assert taken["pump"] <= rounds * 2 + 5


async def test_items_of_a_window_cost_a_step_of_each_task() -> None:
    count, window = 1600, 16
    async with SocketPair(HANDLER) as pair:
        await send_items(pair, 100)
        before = pair.writes
        with Steps() as steps:
            await send_items(pair, count)
        windows = count // window
        assert 2 * windows <= pair.writes - before <= 2 * windows + 6
        taken = steps.by_role()
        assert taken["session"] <= 2 * windows + 6  # the items, and the credit
        assert taken["pump"] <= 2 * windows + 6
        assert taken["handler"] <= windows + 3


async def test_idle_connection_has_no_task() -> None:
    async with SocketPair(HANDLER) as pair:
        first = [await pair.session.open_connection() for _ in range(2)]
        tasks = trio.lowlevel.current_statistics().tasks_living
        connections = [await pair.session.open_connection() for _ in range(10)]
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for connection in [*first, *connections]:
            connection.close()


async def test_idle_session_that_only_answers_is_one_task() -> None:
    begun = trio.lowlevel.current_statistics().tasks_living
    async with SocketPair(HANDLER) as pair:
        assert trio.lowlevel.current_statistics().tasks_living == begun + 2
        await call(pair, 10)
        assert trio.lowlevel.current_statistics().tasks_living == begun + 2
        await call_at_once(pair)
        # The other one's pump, which writes what is called by several at once.
        assert trio.lowlevel.current_statistics().tasks_living == begun + 3


async def test_session_at_rest_is_ended_without_another_task() -> None:
    names: list[str] = []

    class Spawned(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            names.append(task.name.rpartition(".")[2])

    spawned = Spawned()
    async with SocketPair(HANDLER) as pair:
        await call(pair, 3)
        trio.lowlevel.add_instrument(spawned)
    trio.lowlevel.remove_instrument(spawned)
    assert names == []


async def test_idle_session_of_a_server_is_one_task(nursery: trio.Nursery) -> None:
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", HANDLER)
    port = int(server.url.rpartition(":")[2])
    begun = trio.lowlevel.current_statistics().tasks_living
    for number in range(5):
        link = await connect_tcp("127.0.0.1", port)
        session: Session = await nursery.start(initiator(link).run)
        assert await caller_of(session).add(number, 1) == number + 1
    await trio.testing.wait_all_tasks_blocked()
    # Beside the one of each client, and one that pings all clients.
    assert trio.lowlevel.current_statistics().tasks_living == begun + 5 * 2 + 1
    await server.shutdown()


def tasks_named(ending: str) -> list[trio.lowlevel.Task]:
    left, found = [trio.lowlevel.current_root_task()], []
    while left:
        task = left.pop()
        assert task is not None
        found += [task] if task.name.endswith(ending) else []
        left += [each for n in task.child_nurseries for each in n.child_tasks]
    return found


async def test_idle_session_of_a_server_waits_in_few_coroutines(
    nursery: trio.Nursery,
) -> None:
    """Each of them takes 200 to 300 bytes, and a nursery about 1,100."""
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", HANDLER)
    link = await connect_tcp("127.0.0.1", int(server.url.rpartition(":")[2]))
    session: Session = await nursery.start(initiator(link).run)
    assert await caller_of(session).add(1, 1) == 2
    await trio.testing.wait_all_tasks_blocked()
    [task] = tasks_named("_serve_client")
    frames = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
    assert frames[:4] == ["_serve_client", "run", "recv_batch", "wait_readable"]
    assert [len(each.child_tasks) for each in task.child_nurseries] == [0]
    await server.shutdown()


async def test_idle_session_of_a_server_takes_little_memory(
    nursery: trio.Nursery,
) -> None:
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", HANDLER)
    port, count = int(server.url.rpartition(":")[2]), 20
    settings = ConnectionSettings(Parity.ODD, 64)
    hello = b"".join(
        encode_in_python(Hello(ConnectionId.ROOT, PROTOCOL_VERSION, settings))
    )
    hello = len(hello).to_bytes(4, "little") + hello

    async def let_in() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(hello)
        await trio.testing.wait_all_tasks_blocked(0.001)
        return sock

    with ExitStack() as clients:
        clients.enter_context(await let_in())  # the first makes what all share
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(count):
                clients.enter_context(await let_in())
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(server.sessions) == count + 1
        # 11,200 to 11,500, on CPython 3.11 to 3.13; coverage adds 1,300.
        assert taken / count < (13_500 if "coverage" in sys.modules else 12_000)
    await server.shutdown()


async def test_pump_keeps_no_context_of_whoever_needs_it_first() -> None:
    async with SocketPair(HANDLER) as pair:
        whose.set("the caller's")
        await call_at_once(pair)
        pumps = tasks_named("SessionRun._pump")
        assert [whose in pump.context for pump in pumps] == [False]


# ------------------------------------------------------------ what is added to calls


async def do_nothing_around(call: AnyCall, proceed: Proceed) -> Any:
    return await proceed()


async def call_under_deadline(pair: SocketPair, times: int) -> None:
    for number in range(times):
        with trio.fail_after(60):
            assert await pair.caller.add(number, 1) == number + 1


async def call_through_middleware(pair: SocketPair, times: int) -> None:
    around = client(Streams, pair.session.caller, middleware=[do_nothing_around])
    for number in range(times):
        assert await around.add(number, 1) == number + 1


async def test_deadline_takes_no_step_and_no_write_more() -> None:
    async with SocketPair(HANDLER) as pair:
        await call_under_deadline(pair, 1)
        before = pair.writes
        with Steps() as steps:
            await call_under_deadline(pair, 100)
        assert steps.by_role() == {"session": 200, "caller": 100}
        assert steps.turns == 300
        assert pair.writes - before == 200


async def test_middleware_takes_the_step_of_a_handler_that_can_wait() -> None:
    async with SocketPair(HANDLER.with_middleware([do_nothing_around])) as pair:
        await call_through_middleware(pair, 1)
        before = pair.writes
        with Steps() as steps:
            await call_through_middleware(pair, 100)
        assert steps.by_role() == {"session": 200, "caller": 100, "handler": 100}
        assert pair.writes - before == 200


async def functions_in_a_call(
    work: Callable[[SocketPair, int], Awaitable[None]], handler: Dispatcher = HANDLER
) -> float:
    """How many functions of roam_trio a call enters, steps of coroutines included."""
    entered: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered[frame.f_code.co_filename] += 1

    async with SocketPair(handler) as pair:
        await work(pair, 10)  # what is cached is cached now
        previous = sys.getprofile()
        sys.setprofile(count)
        try:
            await work(pair, 100)
        finally:
            sys.setprofile(previous)
    package = str(Path(roam_trio.__file__).parent)
    return sum(n for name, n in entered.items() if name.startswith(package)) / 100


async def test_deadline_and_middleware_enter_few_functions_more() -> None:
    plain = await functions_in_a_call(call)
    can_wait = await functions_in_a_call(call_what_can_wait)
    deadline = await functions_in_a_call(call_under_deadline)
    around = HANDLER.with_middleware([do_nothing_around])
    middleware = await functions_in_a_call(call_through_middleware, around)
    assert plain <= 110
    # A busy machine adds some: a reader looks at the clock now and then.
    assert 0 < deadline - plain <= 7.5
    assert 0 < middleware - can_wait <= 15.5  # its client is made here as well


# ------------------------------------------------------------ garbage


@pytest.mark.parametrize("work", [call, call_what_can_wait, send_items])
async def test_no_garbage_is_left_to_the_collector(
    work: Callable[[SocketPair, int], Awaitable[None]],
) -> None:
    async with SocketPair(HANDLER) as pair:
        await work(pair, 10)
        gc.collect()
        gc.disable()
        try:
            await work(pair, 20)
            once = gc.collect()
            await work(pair, 520)
            assert gc.collect() == once  # that of one piece of work, whatever its size
        finally:
            gc.enable()
