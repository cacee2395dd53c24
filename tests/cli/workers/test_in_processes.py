"""Several workers in processes of their own, under load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from roam_trio import Disconnected, RoamTrioError, connect, stay_connected
from tests.cli.terminals import PROGRAM, ROOT
from tests.cli.workers.processes import Where
from tests.schemes import client_context, own_certificate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@attrs.define
class Served:
    """A parent in a process, and its URL."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def workers(self, count: int = 40) -> set[int]:
        """Return the processes that answer new sessions."""
        found: set[int] = set()
        for _ in range(count):
            # A worker may begin to drain just when this client has come to it.
            with suppress(RoamTrioError, Disconnected, OSError):
                async with connect(self.url, Where, wait_for=10) as client:
                    found.add(await client.process())
        return found

    async def until(self, is_met: Callable[[set[int]], bool]) -> set[int]:
        """Wait until the processes that answer are as they are to be."""
        with trio.fail_after(60):
            while not is_met(found := await self.workers(4)):
                pass
        return found

    async def until_logged(self, text: str) -> None:
        with trio.fail_after(30):
            while text not in self.log.read_text():
                await moment()


async def moment() -> None:
    await trio.sleep(0.02)


async def gone(path: Path) -> None:
    """Wait until a file is gone, or a process, by its directory in /proc."""
    with trio.fail_after(30):
        while await trio.Path(path).exists():
            await moment()


def parent_of(process: int) -> int:
    """Return the parent of a process; proc(5)."""
    stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[1])


@asynccontextmanager
async def served(directory: Path, *options: str) -> AsyncIterator[Served]:
    """Serve with two workers for the length of a block."""
    log = directory / "log"
    args = ["serve", "tests.cli.workers.processes:handlers", "--workers", "2"]
    args += ["--listen", f"unix://{directory}/s", "--grace", "5", *options]
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [*PROGRAM, *args], stderr=stderr, stdout=subprocess.DEVNULL, cwd=ROOT
        )
    try:
        made = Served(process, f"unix://{directory}/s", log)
        await made.until(lambda found: len(found) == 2)
        yield made
    finally:
        process.terminate()
        await trio.to_thread.run_sync(process.wait)


async def test_a_worker_that_is_killed_ends_its_own_calls_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as server, trio.open_nursery() as nursery:
        failures: dict[int, list[BaseException]] = {}
        done: dict[int, int] = {}

        async def load(session: int, *, task_status: Any) -> None:
            async with connect(server.url, Where) as client:
                worker = await client.process()
                failures.setdefault(worker, [])
                task_status.started()
                try:
                    while True:
                        assert await client.work(session) == session
                        done[worker] = done.get(worker, 0) + 1
                except Disconnected as error:
                    failures[worker].append(error)

        for session in range(8):
            await nursery.start(load, session)
        victim, other = failures
        await trio.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        killed_at = time.perf_counter()
        found = await server.until(lambda found: bool(found - {victim, other}))
        print(f"a new worker was up after {time.perf_counter() - killed_at:.2f} s")
        before = done[other]
        await trio.sleep(0.2)
        assert victim not in found
        assert [type(each).__name__ for each in failures[victim]] == [
            "ConnectionLost"
        ] * 4
        assert failures[other] == []
        assert done[other] > before
        nursery.cancel_scope.cancel()
    assert "has ended (SIGKILL)" in server.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
async def test_no_call_fails_while_all_processes_are_replaced(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with (
        served(tmp_path) as server,
        stay_connected(server.url, Where, sessions=4) as client,
        trio.open_nursery() as nursery,
    ):
        done = 0

        async def load() -> None:
            nonlocal done
            while True:
                assert await client.work(done) >= 0
                done += 1

        before = await server.workers()
        for _ in range(8):
            nursery.start_soon(load)
        await trio.sleep(0.2)
        at_begin = done
        server.tell(number)
        after = await server.until(lambda found: len(found) == 2 and not found & before)
        await trio.sleep(0.5)
        assert done > at_begin
        if number is signal.SIGUSR2:
            with trio.fail_after(30):
                await trio.to_thread.run_sync(server.process.wait)
        assert not await server.workers() & before
        nursery.cancel_scope.cancel()
    if number is signal.SIGUSR2:
        # The old parent has ended by itself; the new one is not its child any more.
        assert server.process.returncode == 0
        assert "a new parent has taken over" in server.log.read_text()
        os.kill(parent_of(after.pop()), signal.SIGTERM)
        await gone(tmp_path / "s")


async def test_calls_in_flight_finish_on_sigterm(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        async with connect(server.url, Where) as client:
            worker = await client.process()

            async def end_it() -> None:
                await client.work(1)  # so the call before it has begun
                server.tell(signal.SIGTERM)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_it)
                assert await client.wait() == worker
        assert await trio.to_thread.run_sync(server.process.wait) == 0


async def test_a_second_control_c_ends_everything_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        workers = await server.workers()
        async with connect(server.url, Where) as client, trio.open_nursery() as nursery:

            async def lose() -> None:
                with pytest.raises(Disconnected):
                    await client.wait_for_ever()

            nursery.start_soon(lose)
            await client.work(1)
            server.tell(signal.SIGINT)
            await server.until_logged("SIGINT")
            server.tell(signal.SIGINT)
            assert await trio.to_thread.run_sync(server.process.wait) == 130
        for each in workers:
            await gone(Path(f"/proc/{each}"))


async def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        workers = await server.workers()
        server.process.kill()
        for each in workers:
            await gone(Path(f"/proc/{each}"))
        os.unlink(tmp_path / "s")


async def test_workers_write_whole_lines_to_one_log(tmp_path: Path) -> None:
    async with served(tmp_path) as server, trio.open_nursery() as nursery:

        async def talk(letter: str) -> None:
            async with connect(server.url, Where) as client:
                for _ in range(50):
                    await client.say(letter * 1000)
                    await client.say(letter * 1000 + "\n")

        for letter in "ab":
            nursery.start_soon(talk, letter)
    lines = [line for line in server.log.read_text().splitlines() if line[:1] == "["]
    assert {line[4:] for line in lines} == {"a" * 2000, "b" * 2000}
    assert {line[:4] for line in lines} == {"[1] ", "[2] "}
    assert len(lines) == 100


async def test_tls_and_websockets_are_spoken_by_the_workers(tmp_path: Path) -> None:
    cert = own_certificate(tmp_path)
    args = ["serve", "tests.cli.workers.processes:handlers", "--workers", "2"]
    args += ["--listen", "wss://127.0.0.1:0/rpc", "--listen", "tls://127.0.0.1:0"]
    args += ["--cert", cert, "--resume", "--json"]
    process = await trio.lowlevel.open_process(
        [*PROGRAM, *args], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    async with process.stdout as stdout:
        printed = b""
        while printed.count(b"\n") < 2:
            printed += await stdout.receive_some()
        for line in printed.splitlines():
            url = json.loads(line)["url"]
            processes: set[int] = set()
            for _ in range(2):
                async with connect(
                    url, Where, ssl_context=client_context(), resume=True
                ) as client:
                    processes.add(await client.process())
            assert len(processes) == 2
        process.terminate()
        assert await process.wait() == 0
