"""What clients can make a server hold, one of them and all together."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    Limits,
    Overloaded,
    Peer,
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


async def test_server_holds_nothing_of_a_session_that_was_cancelled() -> None:
    """Even if its program holds items of it still."""
    kept: list[Rx[bytes]] = []

    class Keeping(RoomImpl):
        async def drain(self, items: Rx[Any]) -> None:
            kept.append(items)
            await self.morning.wait()

    async with trio.open_nursery() as nursery:
        handler = dispatcher(Room, Keeping())
        server = await nursery.start(serve, "memory://cancelled", handler)
        async with connect("memory://cancelled", Room) as room:
            tx, rx = channel[int]()
            nursery.start_soon(room.drain, rx)
            for number in range(5):
                await tx.send(number)
            await wait_all_tasks_blocked()
            of_server = budget_of(server.sessions[0])._server
            assert of_server is not None
            assert of_server.bytes
            nursery.cancel_scope.cancel()
    assert (of_server.bytes, of_server.tasks, of_server._parts) == (0, 0, {})
    assert kept


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
        assert isinstance(lost[0].__cause__, Overloaded)
        assert lost[0].__cause__.by_peer
        assert str(lost[0]).startswith(
            "the connection has ended: the peer has ended the session (overloaded): "
            "the sessions of this server hold together as much as they may, and this "
            "one "
        )
        assert str(lost[0]).endswith(
            " tasks (limit: tasks; whoever runs the server can raise it in serve())"
        )
        assert await modest.ping() == 1
        assert len(server.sessions) == 1
        impl.morning.set()


async def by_token(peer: Peer) -> None:
    peer.identity = peer.metadata.get("token")


async def test_many_small_sessions_of_one_identity_end_before_a_larger_one() -> None:
    impl = RoomImpl()

    async def sleep(room: Room) -> None:
        with suppress(Overloaded, ConnectionLost):
            await room.sleep()

    async with AsyncExitStack() as stack:
        url = "memory://sybils"
        server = await stack.enter_async_context(
            serving(url, dispatcher(Room, impl), tasks=80, on_session=by_token)
        )

        async def connected(token: str) -> Room:
            opening = connect(url, Room, metadata={"token": token})
            room: Room = await stack.enter_async_context(opening)
            return room

        honest = await connected("ada")
        (of_honest,) = server.sessions
        crowd = [await connected("sybil") for _ in range(12)]
        async with trio.open_nursery() as nursery:
            await asleep(nursery, honest, 8)
            for room in crowd * 6:
                nursery.start_soon(sleep, room)
            await wait_all_tasks_blocked()
            assert len(server.sessions) == 13
            await asleep(nursery, honest, 10)  # none of them is refused
            assert budget_of(of_honest).tasks == 18
            assert [session.peer.identity for session in server.sessions] == (
                ["ada", *["sybil"] * 10]
            )
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


GIB = 2**30


class Machine:
    """A machine with 4 GiB, and what it tells of a process.

    Args:
        monkeypatch: replaces what is asked for it.
        root: a directory of its own.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self._root = root
        sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}
        monkeypatch.setattr(machine.os, "sysconf", sizes.__getitem__, raising=False)
        monkeypatch.setattr(machine, "_PROCESS", root)

    def tells(self, cgroup: str, *mounts: str) -> None:
        """Write where the process is, and what is mounted below ``/sys``."""
        (self._root / "cgroup").write_text(f"{cgroup}\n", encoding="ascii")
        lines = [mount.replace("/sys", f"{self._root}/sys") for mount in mounts]
        (self._root / "mountinfo").write_text("\n".join(lines), encoding="ascii")

    def has(self, path: str, limit: str) -> None:
        """Write a limit."""
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n", encoding="ascii")


@pytest.fixture
def of_4_gib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_default_is_a_quarter_of_what_a_machine_without_cgroups_has(
    of_4_gib: Machine,
) -> None:
    assert machine.default_memory() == GIB


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
DISK = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"


@pytest.mark.parametrize(
    ("limited", "expected"),
    [
        ("app.slice/server.service", GIB // 8),
        ("app.slice", GIB // 8),
        (".", GIB // 8),
        ("app.slice/another.service", GIB),
    ],
)
def test_limit_of_a_cgroup_holds_for_all_within(
    of_4_gib: Machine, limited: str, expected: int
) -> None:
    of_4_gib.tells("0::/app.slice/server.service", DISK, V2)
    for path in (".", "app.slice", "app.slice/server.service"):
        of_4_gib.has(f"sys/fs/cgroup/{path}/memory.max", "max")
    of_4_gib.has(f"sys/fs/cgroup/{limited}/memory.max", str(GIB // 2))
    assert machine.default_memory() == expected


@pytest.mark.parametrize("limited", ["jobs/server", "jobs", "."])
def test_limit_of_a_cgroup_of_version_1_holds_for_all_within(
    of_4_gib: Machine, limited: str
) -> None:
    of_4_gib.tells("9:cpu,memory:/jobs/server\n0::/", V1, V2.replace("cgroup r", "u r"))
    for path in (".", "jobs", "jobs/server"):
        of_4_gib.has(
            f"sys/fs/cgroup/memory/{path}/memory.limit_in_bytes", "9223372036854771712"
        )
    of_4_gib.has(f"sys/fs/cgroup/memory/{limited}/memory.limit_in_bytes", str(GIB // 2))
    assert machine.default_memory() == GIB // 8


@pytest.mark.parametrize("root", ["/docker/1234", "/docker", "/elsewhere", "/.."])
def test_limit_of_a_container_is_found_where_it_sees_only_its_own_cgroup(
    of_4_gib: Machine, root: str
) -> None:
    of_4_gib.tells("0::/docker/1234", V2.replace("0:26 /", f"0:26 {root}"))
    of_4_gib.has("sys/fs/cgroup/memory.max", str(GIB // 2))
    assert machine.default_memory() == GIB // 8


@pytest.mark.parametrize("told", ["", "0", "0::/"])
def test_machine_that_tells_otherwise_of_cgroups_is_taken_for_one_without(
    of_4_gib: Machine, told: str
) -> None:
    of_4_gib.tells(told, "30 - cgroup2")
    assert machine.default_memory() == GIB


def test_default_is_at_least_64_mib(of_4_gib: Machine) -> None:
    of_4_gib.tells("0::/", V2)
    of_4_gib.has("sys/fs/cgroup/memory.max", "4096")
    assert machine.default_memory() == 64 * 2**20


def test_machine_that_does_not_tell_is_taken_for_one_of_4_gib(
    of_4_gib: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(machine.os, "sysconf", raising=False)
    assert machine.default_memory() == GIB


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
    assert Reply().hold(bytes(1))
