"""What clients can make a server hold, one of them and all together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    Limits,
    Overloaded,
    Rx,
    channel,
    client,
    connect,
    dispatcher,
    serve,
    service,
    serving,
    u8,
    u32,
)
from roam_trio.codec import CANCELLED
from roam_trio.endpoints import machine
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import Session, acceptor
from roam_trio.session.budgets import TASK_BYTES, Budget
from roam_trio.wire.messages import HelloYourself, RequestCall, RequestResponse
from tests.peer import link_to_peer
from tests.session.running import Custom, WithPeer, run_of


@service
class Room(Protocol):
    async def sleep(self) -> None: ...
    async def ping(self) -> int: ...
    async def drain(self, items: Rx[int]) -> None: ...
    async def keep(self, sets: list[set[u8]]) -> None: ...
    async def store(self, data: bytes) -> None: ...
    async def count(self, sets: list[set[u8]]) -> int: ...
    async def load(self, size: u32) -> bytes: ...


class RoomImpl:
    """Sleeps until it is woken."""

    def __init__(self) -> None:
        self.morning = trio.Event()

    async def sleep(self) -> None:
        await self.morning.wait()

    async def ping(self) -> int:
        return 1

    async def drain(self, items: Rx[int]) -> None:
        async for _ in items:
            pass

    async def keep(self, sets: list[set[int]]) -> None:
        await self.morning.wait()

    async def store(self, data: bytes) -> None:
        await self.morning.wait()

    async def count(self, sets: list[set[int]]) -> int:
        return len(sets)

    async def load(self, size: int) -> bytes:
        await self.morning.wait()
        return bytes(size)


def budget_of(session: Session) -> Budget:
    return run_of(session).port.terms.budget


async def refused(room: Room) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        await room.sleep()
    assert caught.value.was_begun is False
    return caught.value


async def asleep(nursery: trio.Nursery, room: Room, calls: int) -> None:
    for _ in range(calls):
        nursery.start_soon(room.sleep)
    await wait_all_tasks_blocked()


# ------------------------------------------------------------ one session


async def test_call_beyond_the_tasks_of_a_session_is_refused_until_one_is_free() -> (
    None
):
    impl = RoomImpl()
    limits = Limits(session_tasks=2)
    async with (
        serving("memory://tasks", dispatcher(Room, impl), limits=limits),
        connect("memory://tasks", Room) as room,
    ):
        async with trio.open_nursery() as nursery:
            await asleep(nursery, room, 2)
            error = await refused(room)
            assert "3 tasks, at most 2 may be (limit: session_tasks)" in error.text
            assert await room.ping() == 1  # needs no task
            impl.morning.set()
        await room.sleep()


async def test_channel_of_a_refused_call_is_reset() -> None:
    impl = RoomImpl()
    limits = Limits(session_tasks=1)
    async with (
        serving("memory://channels", dispatcher(Room, impl), limits=limits),
        connect("memory://channels", Room) as room,
        trio.open_nursery() as nursery,
    ):
        await asleep(nursery, room, 1)
        tx, rx = channel[int]()
        with pytest.raises(Overloaded):
            await room.drain(rx)
        with pytest.raises(trio.BrokenResourceError):
            await tx.send_many(range(100))
        impl.morning.set()


async def test_peer_that_knows_no_extensions_gets_a_bare_response(
    nursery: trio.Nursery,
) -> None:
    async def sleeping(call: RequestCall, reply: Any) -> None:
        await trio.sleep_forever()

    link, peer = link_to_peer()
    limits = Limits(session_tasks=1)
    nursery.start_soon(acceptor(link, limits=limits).run, Custom(sleeping))
    assert isinstance(await peer.initiate(), HelloYourself)
    await peer.say(RequestCall(0, 1, 7, (), NO_METADATA, b""))
    await peer.say(RequestCall(0, 3, 7, (), NO_METADATA, b""))
    assert await peer.hear(RequestResponse) == RequestResponse(
        0, 3, (), NO_METADATA, CANCELLED
    )
    await peer.tx.close()


# ------------------------------------------------------------ arguments


async def test_arguments_count_at_the_memory_that_they_take() -> None:
    impl = RoomImpl()
    limits = Limits(session_bytes=1024 * 1024)
    sets: list[set[int]] = [set()] * 1500  # 350 KB
    async with (
        serving("memory://sets", dispatcher(Room, impl), limits=limits) as server,
        connect("memory://sets", Room) as room,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.keep, sets)
            nursery.start_soon(room.keep, sets)
            await wait_all_tasks_blocked()
            with pytest.raises(Overloaded, match="limit: session_bytes") as caught:
                await room.keep(sets)
            assert caught.value.was_begun is False
            await asleep(nursery, room, 1)
            budget = budget_of(server.sessions[0])
            assert 700_000 < budget.bytes < 900_000
            impl.morning.set()
        await room.keep(sets)
        assert budget.bytes == budget.tasks * TASK_BYTES


async def test_long_arguments_and_metadata_count_as_long_as_their_handler_runs() -> (
    None
):
    impl = RoomImpl()
    limits = Limits(session_bytes=120_000)
    async with (
        serving("memory://long", dispatcher(Room, impl), limits=limits) as server,
        connect("memory://long") as session,
    ):
        room = client(Room, session.caller)
        noted = client(Room, session.caller, metadata_for_calls={"x": "y" * 40_000})
        budget = budget_of(server.sessions[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.store, bytes(20_000))
            await wait_all_tasks_blocked()
            held = budget.bytes
            assert 40_000 < held < 60_000  # as received, and as decoded
            with pytest.raises(Overloaded, match="limit: session_bytes"):
                await room.store(bytes(30_000))
            with pytest.raises(Overloaded, match="limit: session_bytes"):
                await noted.sleep()
            assert budget.bytes == held
            impl.morning.set()
        await noted.sleep()
        assert budget.bytes == budget.tasks * TASK_BYTES


async def test_metadata_of_calls_in_flight_has_a_share_of_its_own() -> None:
    impl = RoomImpl()
    limits = Limits(call_metadata_bytes=100_000)
    async with (
        serving("memory://noted", dispatcher(Room, impl), limits=limits) as server,
        connect("memory://noted") as session,
    ):
        room = client(Room, session.caller)
        noted = client(Room, session.caller, metadata_for_calls={"x": "y" * 40_000})
        budget = budget_of(server.sessions[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(noted.sleep)
            nursery.start_soon(noted.sleep)
            await wait_all_tasks_blocked()
            held, metadata = budget.bytes, budget.metadata
            assert 80_000 < metadata < 81_000
            with pytest.raises(Overloaded, match="limit: call_metadata_bytes"):
                await noted.sleep()
            assert (budget.bytes, budget.metadata) == (held, metadata)
            nursery.start_soon(room.sleep)  # without metadata
            await wait_all_tasks_blocked()
            assert budget.tasks == 3
            impl.morning.set()
        await noted.sleep()
        assert budget.metadata == 0
        assert budget.bytes == budget.tasks * TASK_BYTES


async def test_arguments_that_could_take_too_much_are_not_decoded() -> None:
    limits = Limits(session_bytes=100_000)
    async with (
        serving("memory://much", dispatcher(Room, RoomImpl()), limits=limits) as server,
        connect("memory://much", Room) as room,
    ):
        assert await room.count([set()] * 700) == 700
        with pytest.raises(Overloaded, match=r"2 times the limit of 100000 may be"):
            await room.count([set()] * 1000)
        assert budget_of(server.sessions[0]).bytes == 0


async def test_arguments_that_could_take_more_than_a_server_has_are_not_decoded() -> (
    None
):
    async with (
        serving("memory://all", dispatcher(Room, RoomImpl()), memory=500_000),
        connect("memory://all", Room) as room,
    ):
        assert await room.count([set()] * 2000) == 2000
        with pytest.raises(Overloaded, match="limit: memory"):
            await room.count([set()] * 4000)


async def test_handler_that_does_not_take_up_a_large_request_holds_nothing() -> None:
    def failing(call: RequestCall, reply: ReplySink) -> None:
        reply.memory.foresee(50_000)
        reply.memory.hold(50_000)
        raise LookupError("not taken up")

    async with WithPeer(Custom(failing)) as (session, peer):
        await peer.say(RequestCall(0, 2, 7, (), NO_METADATA, b""))
        await peer.hear(RequestResponse)
        assert budget_of(session).bytes == 0


# ------------------------------------------------------------ all of a server


async def test_only_the_session_with_the_most_tasks_is_refused() -> None:
    impl = RoomImpl()
    async with (
        serving("memory://all", dispatcher(Room, impl), tasks=8) as server,
        connect("memory://all", Room) as greedy,
        connect("memory://all", Room) as modest,
        trio.open_nursery() as nursery,
    ):
        await asleep(nursery, greedy, 7)
        assert "tasks" in (await refused(greedy)).text
        await asleep(nursery, modest, 1)
        assert len(server.sessions) == 2
        impl.morning.set()


async def test_session_with_the_most_tasks_ends_where_another_needs_them() -> None:
    impl = RoomImpl()
    lost: list[ConnectionLost] = []

    async def sleep(room: Room) -> None:
        try:
            await room.sleep()
        except ConnectionLost as error:
            lost.append(error)

    async with (
        serving("memory://crowd", dispatcher(Room, impl), tasks=80) as server,
        connect("memory://crowd", Room) as greedy,
        connect("memory://crowd", Room) as modest,
        trio.open_nursery() as nursery,
    ):
        for _ in range(60):
            nursery.start_soon(sleep, greedy)
        await wait_all_tasks_blocked()
        await asleep(nursery, modest, 25)
        assert len(lost) == 60
        assert "limit: tasks" in str(lost[0])
        assert await modest.ping() == 1
        assert len(server.sessions) == 1
        impl.morning.set()


async def loads(serving_with: dict[str, Any], calls: int) -> list[Overloaded]:
    """Make calls whose responses of 50 KB come at once. Return those that failed."""
    impl = RoomImpl()
    failed: list[Overloaded] = []

    async def load(room: Room) -> None:
        try:
            assert len(await room.load(50_000)) == 50_000
        except Overloaded as error:
            failed.append(error)

    async with (
        serving(
            "memory://loads",
            dispatcher(Room, impl),
            max_concurrent_requests=calls,
            **serving_with,
        ) as server,
        connect("memory://loads", Room) as room,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                nursery.start_soon(load, room)
            await wait_all_tasks_blocked()
            impl.morning.set()
        assert await room.ping() == 1
        budget = budget_of(server.sessions[0])
        await wait_all_tasks_blocked()
        assert budget.bytes == budget.tasks * TASK_BYTES
    return failed


async def test_peer_that_reads_gets_all_responses_of_its_calls() -> None:
    limits = Limits(session_bytes=2_500_000)
    assert await loads({"limits": limits}, 150) == []


async def test_response_that_a_server_has_no_memory_for_is_given_up_alone() -> None:
    failed = await loads({"memory": 3_000_000}, 150)
    assert 0 < len(failed) < 150
    assert all(error.was_begun for error in failed)
    assert "limit: memory" in failed[0].text


@pytest.mark.parametrize("name", ["memory", "tasks"])
async def test_bound_of_a_server_is_at_least_one(name: str) -> None:
    bad: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name}: expected a whole number from 1"):
        await serve("memory://none", dispatcher(Room, RoomImpl()), **bad)


# ------------------------------------------------------------ the machine


def test_default_is_a_quarter_of_what_the_container_or_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    none, most, limit = tmp_path / "none", tmp_path / "max", tmp_path / "limit"
    most.write_text("max\n", encoding="ascii")
    limit.write_text(f"{2**30}\n", encoding="ascii")
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}
    monkeypatch.setattr(machine.os, "sysconf", sizes.__getitem__, raising=False)
    monkeypatch.setattr(machine, "_LIMITS_OF_CONTAINERS", (none, most))
    assert machine.default_memory() == 2**30
    monkeypatch.setattr(machine, "_LIMITS_OF_CONTAINERS", (none, limit))
    assert machine.default_memory() == 2**28


def test_machine_that_does_not_tell_is_taken_for_one_of_4_gib(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(machine.os, "sysconf", raising=False)
    monkeypatch.setattr(machine, "_LIMITS_OF_CONTAINERS", ())
    assert machine.default_memory() == 2**30


def test_reply_of_another_kind_counts_no_memory() -> None:
    class Reply(ReplySink):
        is_sent = False
        channel_binder: Any = None

        async def send(self, ret: Any, metadata: Any = NO_METADATA) -> None:
            raise NotImplementedError

        def send_nowait(self, ret: Any, metadata: Any = NO_METADATA) -> None:
            raise NotImplementedError

    memory = Reply().memory
    memory.foresee(2**60)
    memory.hold(2**60)
    assert memory is Reply().memory
