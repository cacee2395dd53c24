"""A server of a fleet, as a program: see `fleet`.

Usage: ``python -m tests.endpoints.lasting.fleet_server URL FILE SECONDS OPTIONS``. It
writes what has been paid to the file, and its URL to its output when it takes calls. A
call takes so many seconds. The options are those of `serving`, as JSON; `announce` is
the URL of a Redis. SIGTERM ends it gracefully.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any, Protocol, TextIO

import trio

from roam_trio import RedisRegistry, dispatcher, idempotent, service, serving, u32
from roam_trio.lowlevel import RegisteredService


@service
class Bank(Protocol):
    @idempotent
    async def balance(self, account: u32) -> u32: ...
    async def pay(self, number: u32) -> None: ...


class BankImpl:
    def __init__(self, paid: TextIO, seconds: float) -> None:
        self._paid = paid
        self._seconds = seconds

    async def balance(self, account: int) -> int:
        await self._work()
        return account

    async def pay(self, number: int) -> None:
        await self._work()
        print(number, file=self._paid, flush=True)

    async def _work(self) -> None:
        if self._seconds:
            await trio.sleep(self._seconds)


def registered(url: str) -> RegisteredService:
    """Return the service of a fleet in a registry."""
    return RedisRegistry(url, lease=2).service("bank")


async def main(url: str, impl: BankImpl, options: dict[str, Any]) -> None:
    handler = dispatcher(Bank, impl)
    if "announce" in options:
        options["announce"] = registered(options["announce"])
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with serving(
            url, handler, reflection=True, grace=10, **options
        ) as server:
            print(server.url, flush=True)
            await anext(signals)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", encoding="ascii") as file:
        bank = BankImpl(file, float(sys.argv[3]))
        trio.run(main, sys.argv[1], bank, json.loads(sys.argv[4]))
