"""A server with little memory, in a process of its own.

    python -m tests.two_processes.crowd MEMORY

Prints its URL, and serves until its standard input ends. The limits of a session are
far above `MEMORY` there, in MiB, so that only this one holds.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Annotated, Protocol

import trio

from roam_trio import (
    AcceptedConnection,
    Credit,
    Limits,
    Rx,
    describe,
    dispatcher,
    serve,
    service,
    u8,
    u32,
)

from .memory import MIB
from .server import serve_until_input_ends

__all__ = ["CROWD", "METHODS", "Accepting", "Crowd"]


@service
class Crowd(Protocol):
    """Methods whose handlers keep what they get; `ping` shows that others go on."""

    async def ping(self) -> u32: ...
    async def sleep(self) -> None: ...
    async def sets(self, sets: list[set[u8]]) -> None: ...
    async def lists(self, lists: list[list[u8]]) -> None: ...
    async def count(self, sets: list[set[u8]]) -> u32: ...
    async def blob(self, data: bytes) -> None: ...
    async def unread(self, items: Rx[bytes]) -> None: ...
    async def unread_numbers(
        self, items: Annotated[Rx[u8], Credit(10_000)]
    ) -> None: ...
    async def large(self) -> bytes: ...


class _Keeping:
    async def ping(self) -> int:
        return 1

    async def sleep(self, *args: object) -> None:
        await trio.sleep_forever()

    sets = lists = blob = unread = unread_numbers = sleep

    async def count(self, sets: list[set[int]]) -> int:
        return len(sets)

    async def large(self) -> bytes:
        return bytes(MIB)


CROWD = dispatcher(Crowd, _Keeping())
METHODS = {method.name: method for method in describe(Crowd).methods}


class Accepting:
    """Accepts every connection, for calls of `Crowd`."""

    async def accept(self, *args: object) -> AcceptedConnection:
        return AcceptedConnection(max_concurrent_requests=64, handler=CROWD)


def main(memory: str) -> int:
    """Returns the exit code."""
    logging.disable()
    huge = 2**40
    run = partial(
        serve,
        handler=CROWD,
        on_connection=Accepting(),
        memory=int(memory) * MIB,
        tasks=10**6,
        limits=Limits(
            session_bytes=huge,
            session_tasks=10**6,
            call_metadata_bytes=huge,
            connection_bytes=huge,
            early_bytes=huge,
        ),
        keepalive=None,
    )
    trio.run(serve_until_input_ends, run, "tcp://127.0.0.1:0")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
