"""The parent of workers, with workers that are tasks of this process."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, memory_stream_one_way_pair, wait_all_tasks_blocked

from roam_trio import (
    Backoff,
    Disconnected,
    Unavailable,
    connect,
    current_call,
    dispatcher,
    service,
)
from roam_trio.cli.log_format import LogFormat
from roam_trio.cli.workers.doors import open_doors
from roam_trio.cli.workers.job import Job
from roam_trio.cli.workers.lines import Lines
from roam_trio.cli.workers.parent import READY, READY_SECONDS, Parent
from roam_trio.cli.workers.table import Start, Table
from roam_trio.transports.handing import Hand, HandedConnections
from tests.cli.workers.in_process import Spawning, Task, copy_of


@service
class Work(Protocol):
    async def add(self, left: int, right: int) -> int: ...
    async def finish_when_draining(self) -> str: ...
    async def finish_when_told(self) -> str: ...


class WorkImpl:
    go_on: trio.Event

    async def finish_when_told(self) -> str:
        await self.go_on.wait()
        return "finished"

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def finish_when_draining(self) -> str:
        await current_call().draining.wait()
        return "finished"


IMPL = WorkImpl()
handlers = dispatcher(Work, IMPL)
HERE = "tests.cli.workers.test_parent:handlers"


@attrs.define
class Family:
    """A parent that runs, with its table, its workers and its log."""

    parent: Parent
    table: Table
    spawning: Spawning
    url: str
    log: list[str]
    ended: trio.Event
    code: int = -1

    @property
    def tasks(self) -> dict[int, Task]:
        return self.spawning.tasks

    def loads(self) -> list[int]:
        return [each.clients for each in self.table.by_load()]

    async def change(self, seconds: float = 0.001) -> None:
        await trio.sleep(seconds)

    async def until_loads(self, *loads: int) -> None:
        """Wait until the workers have so many connections."""
        with trio.fail_after(5):
            while self.loads() != [*loads]:
                await self.change()

    async def until_gone(self, number: int) -> None:
        """Wait until the process of a worker has ended, which starts now."""
        while number in self.table.workers:
            await self.change(0.1)

    async def until_full(self, *numbers: int) -> None:
        """Wait until these workers take connections, and no others."""
        with trio.fail_after(5):
            while sorted(w.number for w in self.table.by_load()) != [*numbers]:
                await self.change()


@asynccontextmanager
async def family(
    url: str = "tcp://127.0.0.1:0", count: int = 2, directory: str | None = None
) -> AsyncIterator[Family]:
    """Run a parent for the length of a block, which ends it by itself or not."""
    async with trio.open_nursery() as nursery:
        spawning = Spawning.of(nursery, [url], HERE, directory)
        doors = await open_doors([url])
        table, log = Table(count), list[str]()
        lines_of = partial(Lines, form=LogFormat.TEXT, write=log.append)
        parent = Parent(table, doors, spawning, lines_of, 10.0)
        made = Family(parent, table, spawning, doors[0].url, log, trio.Event())

        async def run() -> None:
            try:
                made.code = await parent.run()
            finally:
                for door in doors:
                    door.close()
            made.ended.set()

        nursery.start_soon(run)
        try:
            yield made
        finally:
            nursery.cancel_scope.cancel()


async def test_connections_are_divided_evenly() -> None:
    async with family() as one:
        await one.parent.are_all_up.wait()
        async with connect(one.url, Work) as first, connect(one.url, Work) as second:
            async with connect(one.url, Work) as third, connect(one.url, Work) as last:
                for client in (first, second, third, last):
                    assert await client.add(1, 2) == 3
                assert one.loads() == [2, 2]
            await one.until_loads(1, 1)


async def test_clients_wait_until_a_worker_is_ready() -> None:
    async with family(count=1) as one:
        assert not one.parent.is_up.is_set()
        async with connect(one.url, Work) as client:
            assert await client.add(1, 2) == 3


async def test_clients_do_not_wait_for_long_for_a_worker_that_does_not_get_up(
    autojump_clock: MockClock,
) -> None:
    async with family() as one:
        one.spawning.held.add(2)
        await one.parent.is_up.wait()
        assert not one.parent.are_all_up.is_set()
        assert 5 <= trio.current_time() < 6


async def test_a_worker_that_is_killed_takes_its_own_clients_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with family() as one:
        await one.parent.are_all_up.wait()
        async with connect(one.url, Work) as first, connect(one.url, Work) as second:
            await first.add(1, 2)
            one.tasks[1].kill()
            await one.until_full(2, 3)
            results = list[Any]()
            for client in (first, second):
                try:
                    results.append(await client.add(1, 2))
                except Disconnected:
                    results.append("lost")
            assert sorted(map(str, results)) == ["3", "lost"]
        async with connect(one.url, Work) as client:
            assert await client.add(1, 2) == 3
    assert "worker 1 has ended (SIGKILL)" in caplog.text


async def test_calls_finish_when_the_parent_drains() -> None:
    IMPL.go_on = trio.Event()
    async with family() as one, connect(one.url, Work) as client:
        results: list[str] = []

        async def finish() -> None:
            results.append(await client.finish_when_told())

        async with trio.open_nursery() as calling:
            calling.start_soon(finish)
            await client.add(1, 2)  # so the call before it has begun
            one.parent.drain()
            await wait_all_tasks_blocked(0.01)
            with pytest.raises(Unavailable):
                await client.add(1, 2)
            IMPL.go_on.set()
        await one.ended.wait()
        assert (one.code, results) == (0, ["finished"])


async def test_clients_that_lose_their_links_find_the_worker_with_their_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    IMPL.go_on = trio.Event()
    given: list[socket.socket] = []
    give = Hand.give

    def keep(hand: Hand, connection: socket.socket) -> None:
        given.append(copy_of(connection))
        give(hand, connection)

    monkeypatch.setattr(Hand, "give", keep)
    soon = Backoff(initial=0.001, longest=0.01)
    async with family(directory=str(tmp_path)) as one:
        await one.parent.are_all_up.wait()
        async with connect(one.url, Work, resume=soon) as client:
            results: list[str] = []

            async def finish() -> None:
                results.append(await client.finish_when_told())

            async with trio.open_nursery() as calling:
                calling.start_soon(finish)
                for number in range(3):
                    await client.add(1, 2)
                    # The session still counts for the worker that has it.
                    expected = [0, 1] if number == 0 else [1, 1]
                    assert sorted(one.loads()) == expected
                    with given.pop() as connection:
                        connection.shutdown(socket.SHUT_RDWR)
                await client.add(1, 2)
                IMPL.go_on.set()
            assert results == ["finished"]
    for connection in given:
        connection.close()


async def test_workers_are_replaced_without_a_call_that_fails() -> None:
    async with family() as one:
        await one.parent.are_all_up.wait()
        results: list[str] = []

        async def finish() -> None:
            async with connect(one.url, Work) as client:
                results.append(await client.finish_when_draining())

        async with trio.open_nursery() as calling:
            for _ in range(4):
                calling.start_soon(finish)
            await one.until_loads(2, 2)
            await wait_all_tasks_blocked(0.01)
            one.parent.replace()
            await one.until_full(3, 4)
        assert results == ["finished"] * 4
        assert one.parent.next_number == 5
        async with connect(one.url, Work) as client:
            assert await client.add(1, 2) == 3


async def test_a_worker_that_ends_by_itself_is_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with family(count=1) as one:
        await one.parent.are_all_up.wait()
        one.tasks[1].stop.set()
        await one.until_full(2)
    assert "worker 1 has ended (exit code 0)" in caplog.text


async def test_a_worker_that_still_finishes_calls_is_followed_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    IMPL.go_on = trio.Event()
    async with family(count=1) as one, connect(one.url, Work) as client:

        async def finish() -> None:
            assert await client.finish_when_told() == "finished"

        async with trio.open_nursery() as calling:
            calling.start_soon(finish)
            await client.add(1, 2)  # so the call before it has begun
            one.tasks[1].stop.set()
            await one.until_full(2)
            assert set(one.table.workers) == {1, 2}
            IMPL.go_on.set()
    assert "worker 1 takes no more connections" in caplog.text


async def test_if_no_worker_gets_up_the_parent_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with family() as one:
        one.spawning.refuse = True
        await one.ended.wait()
        assert one.code == 1
    assert "cannot be started: no room for another process" in caplog.text
    assert "did not get up (exit code 1)" in caplog.text


async def test_workers_that_end_at_once_start_again_after_a_pause(
    autojump_clock: MockClock,
) -> None:
    async with family() as one:
        await one.parent.are_all_up.wait()
        one.spawning.refuse = True
        one.tasks[1].kill()
        while one.table.next_due == inf:
            await trio.lowlevel.checkpoint()
        assert one.table.next_due == trio.current_time() + 0.5
        one.spawning.refuse = False
        await one.until_full(2, 4)


async def test_parent_that_drains_does_not_wait_for_a_worker_that_only_starts() -> None:
    async with family(count=1) as one:
        await wait_all_tasks_blocked()
        one.parent.drain()
        await one.ended.wait()
        assert one.code == 0


async def test_a_worker_that_was_told_to_drain_before_it_was_there_drains() -> None:
    async with family(count=1) as one:
        one.spawning.slow = trio.Event()
        while not one.table.workers:
            await trio.lowlevel.cancel_shielded_checkpoint()
        await wait_all_tasks_blocked()
        one.parent.drain()
        await wait_all_tasks_blocked()
        one.spawning.slow.set()
        await one.ended.wait()
        assert one.code == 0


@pytest.mark.parametrize("steps", range(12))
async def test_whenever_it_drains_or_kills_it_ends(steps: int) -> None:
    async with family() as one:
        while not one.table.workers:
            await trio.lowlevel.cancel_shielded_checkpoint()
        for _ in range(steps):
            await trio.lowlevel.cancel_shielded_checkpoint()
        one.parent.drain()
        if steps % 2:
            await trio.lowlevel.cancel_shielded_checkpoint()
            one.parent.kill()
        with trio.fail_after(5):
            await one.ended.wait()


async def test_a_worker_that_does_not_end_in_its_grace_is_killed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with family(count=1) as one:
        await one.parent.are_all_up.wait()
        one.tasks[1].stop = trio.Event()  # nobody waits for it
        before = trio.current_time()
        one.parent.drain()
        await one.ended.wait()
        assert trio.current_time() == before + 15
    assert "a worker did not end within 15 s" in caplog.text


async def test_a_second_request_kills_at_once(autojump_clock: MockClock) -> None:
    async with family() as one:
        await one.parent.are_all_up.wait()
        for task in one.tasks.values():
            task.stop = trio.Event()
        before = trio.current_time()
        one.parent.drain()
        one.parent.kill()
        await one.ended.wait()
        assert trio.current_time() == before


async def test_connections_go_to_others_while_a_worker_is_too_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy, give = [True, True, False], Hand.give

    def give_if_not_busy(hand: Hand, connection: socket.socket) -> None:
        if busy and busy.pop(0):
            raise trio.WouldBlock
        give(hand, connection)

    monkeypatch.setattr(Hand, "give", give_if_not_busy)
    async with family() as one:
        await one.parent.are_all_up.wait()
        # Both are busy, and then the first one is not.
        async with connect(one.url, Work) as client:
            assert await client.add(1, 2) == 3
        assert busy == []


async def test_connections_that_a_dead_worker_has_not_taken_go_to_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept, taken_by_the_first = HandedConnections.accept, trio.Event()

    async def never_at_first(handed: HandedConnections) -> trio.SocketStream:
        if not taken_by_the_first.is_set():
            taken_by_the_first.set()
            await trio.sleep_forever()
        return await accept(handed)

    async with family(count=1) as one:
        monkeypatch.setattr(HandedConnections, "accept", never_at_first)
        await one.parent.are_all_up.wait()
        await taken_by_the_first.wait()
        async with trio.open_nursery() as calling:

            async def call() -> None:
                async with connect(one.url, Work) as client:
                    assert await client.add(1, 2) == 3

            calling.start_soon(call)
            await one.until_loads(1)
            one.tasks[1].kill()
            await one.until_full(2)


async def test_connections_wait_for_a_worker_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    IMPL.go_on = trio.Event()
    async with family(count=1) as one:
        await one.parent.are_all_up.wait()
        one.spawning.refuse = True
        one.tasks[1].kill()
        while one.table.workers:
            await one.change()
        async with trio.open_nursery() as calling:

            async def call() -> None:
                async with connect(one.url, Work) as client:
                    assert await client.add(1, 2) == 3

            calling.start_soon(call)
            await wait_all_tasks_blocked(0.01)
            one.spawning.refuse = False
            one.parent.replace()


async def test_connections_that_nobody_takes_end_with_the_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(hand: Hand, connection: socket.socket) -> None:
        raise trio.WouldBlock

    monkeypatch.setattr(Hand, "give", refuse)
    async with family(count=1) as one:
        await one.parent.are_all_up.wait()
        stream = await trio.open_tcp_stream("127.0.0.1", int(one.url[16:]))
        await wait_all_tasks_blocked(0.001)
        one.parent.drain()
        async with stream:
            assert await stream.receive_some() == b""
        await one.ended.wait()


async def test_connections_that_a_dead_worker_has_not_taken_end_while_others_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(handed: HandedConnections) -> trio.SocketStream:
        await trio.sleep_forever()

    monkeypatch.setattr(HandedConnections, "accept", never)
    async with family() as one:
        await one.parent.are_all_up.wait()
        async with await trio.open_tcp_stream("127.0.0.1", int(one.url[16:])) as stream:
            await one.until_loads(0, 1)
            for task in one.tasks.values():
                task.stop = trio.Event()  # nobody waits for it
            one.parent.drain()
            (number,) = [
                each.number for each in one.table.workers.values() if each.clients
            ]
            one.tasks[number].kill()
            with trio.fail_after(5):
                assert await stream.receive_some() == b""
        assert not one.ended.is_set()


async def test_a_successor_that_never_gets_ready_is_killed_and_blocks_no_other(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(job: Job, _: object) -> None:
        with socket.socket(fileno=job.control):
            await trio.sleep_forever()

    async with family() as one:
        await one.parent.are_all_up.wait()
        before = trio.current_time()
        with monkeypatch.context() as hanging, trio.fail_after(2 * READY_SECONDS):
            hanging.setattr("tests.cli.workers.in_process.serve_job", hang)
            one.parent.replace()
            await one.until_gone(3)
        assert READY_SECONDS <= trio.current_time() - before < READY_SECONDS + 1
        await one.until_full(1, 2)
        one.parent.replace()
        await one.until_full(4, 5)
    assert "worker 1 was not ready within 60 s" in caplog.text
    assert "the successor of worker 1 did not get up (SIGKILL)" in caplog.text


async def test_what_workers_write_is_one_log() -> None:
    async with family() as one:
        await one.parent.are_all_up.wait()
        first, second = one.tasks[1], one.tasks[2]
        await first.says.send_all(b"half")
        await second.says.send_all(b"a whole line\n")
        await first.says.send_all(b" a line\nand no end")
        await wait_all_tasks_blocked()
        first.kill()
        await one.until_full(2, 3)
        assert one.log == [
            "[2] a whole line\n",
            "[1] half a line\n",
            "[1] and no end\n",
        ]


async def test_last_lines_that_another_process_holds_back_are_not_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with family(count=1) as one:
        await one.parent.are_all_up.wait()
        task = one.tasks[1]
        held, task.says = task.says, memory_stream_one_way_pair()[0]
        task.kill()
        await one.until_full(2)
        held.close()


async def test_workers_end_when_their_parent_is_gone() -> None:
    async with trio.open_nursery() as nursery:
        spawning = Spawning.of(nursery, ["tcp://127.0.0.1:0"], HERE)
        near, far = socket.socketpair()
        control, theirs = socket.socketpair()
        with far, theirs:
            hand = Hand(near, "tcp://127.0.0.1:1")
            await spawning(Start(1, 1), [far], theirs)
        control.setblocking(False)
        await trio.lowlevel.wait_readable(control)
        assert control.recv(9) == READY
        control.close()
        assert await spawning.tasks[1].wait() == 0
        hand.close()
