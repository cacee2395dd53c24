"""Servers in processes of their own that are restarted one by one, under load."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trio

from roam_trio import (
    Backoff,
    ConnectionLost,
    Retry,
    idempotent,
    service,
    stay_connected,
    u32,
)

ROOT = Path(__file__).parents[3]

CLIENTS = 20
CALLS = 10_000


@service
class Bank(Protocol):
    @idempotent
    async def balance(self, account: u32) -> u32: ...
    async def pay(self, number: u32) -> None: ...


PROGRAM = """
import signal, sys, trio
from roam_trio import dispatcher, serving
from tests.endpoints.lasting.test_rolling_restart import Bank

class BankImpl:
    async def balance(self, account):
        return account

    async def pay(self, number):
        print(number, flush=True)

async def main():
    url = "tcp://127.0.0.1:" + sys.argv[1]
    handler = dispatcher(Bank, BankImpl())
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with serving(url, handler, reflection=True, grace=10) as server:
            await anext(signals)

trio.run(main)
"""


class Process:
    """A server on a port of its own, which writes what it has done to a file."""

    def __init__(self, directory: Path, number: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        self.done = directory / f"done-{number}"
        self._process: trio.Process | None = None

    async def start(self) -> None:
        with self.done.open("ab") as done:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-c", PROGRAM, str(self.port)],
                cwd=ROOT,
                stdout=done,
                stdin=subprocess.DEVNULL,
            )

    async def restart(self, number: signal.Signals) -> None:
        await self.stop(number)
        await self.start()

    async def stop(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()


@asynccontextmanager
async def processes(directory: Path) -> AsyncIterator[list[Process]]:
    found = [Process(directory, number) for number in range(3)]
    try:
        for each in found:
            await each.start()
        yield found
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            for each in found:
                await each.stop(signal.SIGKILL)


class Load:
    """Clients that call all the time, and what became of the calls."""

    def __init__(self) -> None:
        self.paid: set[int] = set()
        self.unsure: set[int] = set()
        self.failed: list[Exception] = []
        self.seconds: list[float] = []
        self.made = 0
        self._waiting: list[tuple[int, trio.Event]] = []

    async def until(self, count: int) -> None:
        """Wait until so many calls have been made, or all."""
        count = min(count, CALLS)
        if self.made >= count:
            return
        event = trio.Event()
        self._waiting.append((count, event))
        await event.wait()

    async def run(self, client: Bank) -> None:
        while self.made < CALLS:
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


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_no_call_is_lost_or_done_twice_while_servers_restart(
    how: signal.Signals, tmp_path: Path
) -> None:
    load = Load()
    retry = Retry(attempts=5, backoff=Backoff(initial=0.02, longest=0.5))
    async with processes(tmp_path) as servers, trio.open_nursery() as nursery:
        urls = [f"tcp://127.0.0.1:{each.port}" for each in servers]

        async def client() -> None:
            staying = stay_connected(urls, Bank, retry=retry, balance="round robin")
            async with staying as bank:
                await load.run(bank)

        for _ in range(CLIENTS):
            nursery.start_soon(client)
        await load.until(CALLS // 10)
        for each in servers:
            before = load.made
            await each.restart(how)
            await load.until(before + CALLS // 10)
    done = Counter(
        int(line) for each in servers for line in each.done.read_text().split()
    )
    assert load.failed == []
    assert [number for number, count in done.items() if count > 1] == []
    assert load.paid <= done.keys()
    if how is signal.SIGTERM:
        assert load.unsure == set()
    load.seconds.sort()
    p99 = load.seconds[len(load.seconds) * 99 // 100]
    print(f"{how.name}: p99 {p99 * 1000:.1f} ms, {len(load.unsure)} unsure")
