"""Servers in processes of their own that are restarted one by one, under load."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import trio

from roam_trio import Backoff, ConnectionLost, Resolver, Retry, stay_connected
from tests.endpoints.lasting.fleet_server import Bank

ROOT = Path(__file__).parents[3]

SERVERS = 3
CLIENTS = 20
CALLS = 50_000

SIGNALS = [signal.SIGTERM, signal.SIGKILL]

RETRY = Retry(attempts=5, backoff=Backoff(initial=0.02, longest=0.5))

Target: TypeAlias = str | Sequence[str] | Resolver


class ServerProcess:
    """A server that writes what has been paid to a file.

    Args:
        file: the file.
        options: options of `serving`, which JSON can have.
        seconds: the time that a call takes.
    """

    def __init__(self, file: Path, options: dict[str, Any], seconds: float) -> None:
        self._file = file
        self._seconds = seconds
        self._options = options
        self._process: trio.Process | None = None
        self.url = "tcp://127.0.0.1:0"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def paid(self) -> list[int]:
        return [int(line) for line in self._file.read_text(encoding="ascii").split()]

    async def start(self, url: str) -> None:
        """Start it, and return when it takes calls."""
        program = "tests.endpoints.lasting.fleet_server"
        arguments = [url, str(self._file), str(self._seconds)]
        arguments.append(json.dumps(self._options))
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-m", program, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = await self._process.stdout.receive_some()
        assert line, "the server has ended, see its errors above"
        self.url = line.decode("ascii").strip()

    async def stop(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            await self._process.wait()
            assert self._process.stdout is not None
            await self._process.stdout.aclose()
            self._process = None


@asynccontextmanager
async def fleet(
    directory: Path,
    options: dict[str, Any] | None = None,
    seconds: Sequence[float] = (0.0,) * SERVERS,
) -> AsyncIterator[list[ServerProcess]]:
    """Have some servers, each on a port that was free.

    Args:
        directory: gets their files.
        options: options of `serving`, which JSON can have.
        seconds: for each server, the time that a call takes.
    """
    servers = [
        ServerProcess(directory / f"paid-{number}", options or {}, each)
        for number, each in enumerate(seconds)
    ]
    try:
        async with trio.open_nursery() as nursery:
            for each in servers:
                nursery.start_soon(each.start, each.url)
        yield servers
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            for each in servers:
                await each.stop(signal.SIGKILL)


class Load:
    """Clients that call all the time, and what became of the calls.

    Args:
        calls: the number of calls of all clients together, at least.
    """

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.goes_on = True
        """Whether clients go on after this number."""
        self.paid: set[int] = set()
        self.unsure: set[int] = set()
        self.failed: list[Exception] = []
        self.seconds: list[float] = []
        self.made = 0
        self._waiting: list[tuple[int, trio.Event]] = []

    async def until(self, count: int) -> None:
        """Wait until so many calls have been made."""
        if self.made >= count:
            return
        event = trio.Event()
        self._waiting.append((count, event))
        await event.wait()

    async def run(self, client: Bank) -> None:
        while self.goes_on or self.made < self.calls:
            self.made += 1
            number = self.made
            for count, event in self._waiting:
                if number >= count:
                    event.set()
            began = trio.current_time()
            try:
                if number % 2:
                    assert await client.balance(number) == number
                else:
                    await client.pay(number)
                    self.paid.add(number)
            except ConnectionLost as error:
                if number % 2 or error.was_begun is False:
                    self.failed.append(error)
                self.unsure.add(number)
            self.seconds.append(trio.current_time() - began)

    def check(self, servers: list[ServerProcess]) -> None:
        """Check that no call was lost, or done twice."""
        done = Counter(number for each in servers for number in each.paid)
        assert self.failed == []
        assert [number for number, count in done.items() if count > 1] == []
        assert self.paid <= done.keys()

    def __str__(self) -> str:
        seconds = sorted(self.seconds)
        p99 = seconds[len(seconds) * 99 // 100]
        return (
            f"{self.made} calls, p99 {p99 * 1000:.1f} ms, "
            f"longest {seconds[-1] * 1000:.0f} ms, {len(self.unsure)} unsure"
        )


async def restart_each(
    servers: list[ServerProcess],
    how: signal.Signals,
    target: Callable[[], Target],
    *,
    has_new_ports: bool = False,
    moved: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
    **options: Any,
) -> None:
    """Restart servers one by one while clients call them, and check what became of it.

    No call may fail that is idempotent or was not begun, and none may be done twice.
    Those that are not idempotent may fail where a server was killed under them.

    Args:
        servers: the servers.
        how: the signal that ends a server.
        target: returns the target of a client.
        has_new_ports: whether a server gets another port when it starts again.
        moved: called after a server has started again.
        options: further options of `stay_connected`.
    """
    load = Load(CALLS)

    async def client() -> None:
        async with stay_connected(target(), Bank, retry=RETRY, **options) as bank:
            await load.run(bank)

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)
        await load.until(CALLS // 10)
        for each in servers:
            before = load.made
            await each.stop(how)
            await each.start("tcp://127.0.0.1:0" if has_new_ports else each.url)
            await moved()
            await load.until(before + CALLS // 10)
        load.goes_on = False
    load.check(servers)
    # Each client has one call at a time, and so loses at most one with a server.
    most = 0 if how is signal.SIGTERM else CLIENTS * SERVERS
    assert len(load.unsure) <= most
    print(f"{how.name}: {load}")
