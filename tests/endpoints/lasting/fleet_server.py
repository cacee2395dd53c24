"""A server of a fleet, as a program: see `fleet`.

Usage: ``python -m tests.endpoints.lasting.fleet_server URL FILE [OPTIONS]``. It writes
what has been paid to the file, and its URL to its output when it takes calls. The
options are those of `serving`, as JSON. SIGTERM ends it gracefully.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any, Protocol, TextIO

import trio

from roam_trio import dispatcher, idempotent, service, serving, u32


@service
class Bank(Protocol):
    @idempotent
    async def balance(self, account: u32) -> u32: ...
    async def pay(self, number: u32) -> None: ...


class BankImpl:
    def __init__(self, paid: TextIO) -> None:
        self._paid = paid

    async def balance(self, account: int) -> int:
        return account

    async def pay(self, number: int) -> None:
        print(number, file=self._paid, flush=True)


async def main(url: str, paid: TextIO, options: dict[str, Any]) -> None:
    handler = dispatcher(Bank, BankImpl(paid))
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with serving(
            url, handler, reflection=True, grace=10, **options
        ) as server:
            print(server.url, flush=True)
            await anext(signals)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", encoding="ascii") as file:
        trio.run(main, sys.argv[1], file, json.loads(sys.argv[3]))
