"""Objects of one run of trio are refused in another, at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs
import pytest
import trio
import trio.testing

from roam_trio import (
    Rx,
    Server,
    Session,
    Tx,
    channel,
    client,
    connect,
    dispatcher,
    serve,
    service,
    u32,
    with_metadata,
)


@service
class Work(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...
    async def both(self, numbers: Rx[u32], out: Tx[u32]) -> None: ...


class Working:
    def __init__(self) -> None:
        self.ends: list[Any] = []

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def both(self, numbers: Rx[int], out: Tx[int]) -> None:
        self.ends += [numbers, out]
        await out.send(1)
        await trio.sleep_forever()


@attrs.define
class World:
    """A server, a session with it, and what there is on that."""

    server: Server
    session: Session
    work: Work
    connection: Any
    tx: Any
    rx: Any
    waited_for: Any

    async def receive_all(self) -> None:
        async for _ in self.rx:
            pass

    async def open(self) -> None:
        async with self.session.open(Work):
            pass


async def at_once(function: Callable[[], object]) -> None:
    function()


USES: dict[str, Callable[[World], Awaitable[object]]] = {
    "call": lambda w: w.work.add(3, 5),
    "call with metadata": lambda w: with_metadata(w.work.add)(3, 5),
    "call with channels": lambda w: w.work.both(*reversed(channel(int))),
    "open": lambda w: w.open(),
    "open_connection": lambda w: w.session.open_connection(),
    "closed": lambda w: w.session.closed(),
    "shutdown": lambda w: w.session.shutdown(),
    "shutdown with grace": lambda w: w.session.shutdown(1),
    "shutdown of a server": lambda w: w.server.shutdown(),
    "close_connection": lambda w: at_once(
        lambda: w.session.close_connection(w.connection.connection_id)
    ),
    "connection.close": lambda w: at_once(w.connection.close),
    "connection.closed": lambda w: w.connection.closed(),
    "caller.close": lambda w: at_once(w.connection.caller.close),
    "caller.closed": lambda w: w.connection.caller.closed(),
    "send": lambda w: w.tx.send(2),
    "close": lambda w: at_once(w.tx.close),
    "aclose": lambda w: w.tx.aclose(),
    "recv": lambda w: w.rx.recv(),
    "async for": lambda w: w.receive_all(),
    "recv_nowait": lambda w: at_once(w.rx.recv_nowait),
    "grant": lambda w: at_once(lambda: w.rx.grant(1)),
    "reset": lambda w: at_once(w.rx.reset),
    "wait for the other end": lambda w: w.waited_for[1].recv(),
    "bind what others wait for": lambda w: w.work.both(
        w.waited_for[1], channel(int)[0]
    ),
}


@pytest.fixture(params=USES.values(), ids=USES)
def use(request: pytest.FixtureRequest) -> Callable[[World], Awaitable[object]]:
    found: Callable[[World], Awaitable[object]] = request.param
    return found


async def in_a_world(then: Callable[[World], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            serve, "memory://work", {"work": dispatcher(Work, Working())}
        )
        async with connect(server.url) as session:
            connection = await session.open_connection(metadata={"service": "work"})
            work = client(Work, connection.caller)
            tx, numbers = channel(int)
            out, rx = channel(int)
            nursery.start_soon(work.both, numbers, out)
            waited_for = channel(int)
            nursery.start_soon(waited_for[0].send, 1)
            await trio.testing.wait_all_tasks_blocked()
            world = World(server, session, work, connection, tx, rx, waited_for)
            await then(world)
            assert await work.add(3, 5) == 8
            await tx.send(2)
            assert await rx.recv() == 1
            nursery.cancel_scope.cancel()


def run_here(use: Callable[[World], Awaitable[object]], world: World) -> None:
    async def main() -> None:
        with trio.fail_after(5):
            await use(world)

    trio.run(main)


def without_trio(use: Callable[[World], Awaitable[object]], world: World) -> None:
    coroutine: Any = use(world)
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


async def test_another_run_in_another_thread_is_refused_at_once(
    use: Callable[[World], Awaitable[object]],
) -> None:
    async def then(world: World) -> None:
        with pytest.raises(
            RuntimeError, match=r"belongs to another trio\.run"
        ) as caught:
            await trio.to_thread.run_sync(run_here, use, world)
        assert "trio.from_thread.run" in str(caught.value)

    await in_a_world(then)


async def test_a_thread_without_trio_is_refused_at_once(
    use: Callable[[World], Awaitable[object]],
) -> None:
    async def then(world: World) -> None:
        with pytest.raises(RuntimeError, match=r"belongs to another trio\.run"):
            await trio.to_thread.run_sync(without_trio, use, world)

    await in_a_world(then)


KEPT_FROM_BEFORE = ["call", "call with metadata", "open", "open_connection", "send"]
KEPT_FROM_BEFORE += ["recv", "async for", "recv_nowait", "shutdown of a server"]


@pytest.mark.parametrize("name", KEPT_FROM_BEFORE)
def test_what_is_kept_from_a_run_that_is_over_is_refused_at_once(name: str) -> None:
    kept: list[World] = []

    async def keep(world: World) -> None:
        kept.append(world)

    trio.run(in_a_world, keep)
    with pytest.raises(RuntimeError, match=r"belongs to a trio\.run that is over"):
        run_here(USES[name], kept[0])


HARMLESS_AFTERWARDS = ["closed", "shutdown", "connection.close", "connection.closed"]
HARMLESS_AFTERWARDS += ["caller.close", "close", "aclose", "reset"]


@pytest.mark.parametrize("name", HARMLESS_AFTERWARDS)
def test_what_does_nothing_after_the_end_does_so_in_another_run(name: str) -> None:
    kept: list[World] = []

    async def keep(world: World) -> None:
        kept.append(world)

    trio.run(in_a_world, keep)
    run_here(USES[name], kept[0])


async def test_a_call_can_be_handed_to_its_run_from_a_thread() -> None:
    async def then(world: World) -> None:
        def add() -> int:
            return trio.from_thread.run(world.work.add, 20, 22)

        assert await trio.to_thread.run_sync(add) == 42

    await in_a_world(then)


def test_a_pair_of_ends_may_be_made_outside_of_trio() -> None:
    tx, rx = channel(int)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rx.recv)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        tx.close()

    trio.run(main)
