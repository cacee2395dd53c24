"""What one process holds: sessions, calls in flight, and how much work each of them is.

python -m benchmarks.holding [--sessions 1000 5000] [--calls 20000] [--without-gc]

A server and its clients are two processes on the loopback interface. Work is given as
the processor time of the server, which hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from resource import getpagesize
from time import process_time
from typing import Final, Protocol

import attrs
import msgspec
import trio

from roam_trio import connect, dispatcher, service, serving

from .machine import describe_machine
from .markdown import table

__all__ = ["Held", "main", "measure"]

_ROOT = Path(__file__).resolve().parent.parent

_ROOM: Final = 2**20
"""More sessions, bytes and calls than are ever held."""

_AT_ONCE: Final = 32
"""Number of clients that connect, or call, at the same time."""

_EACH: Final = 20
"""Number of calls in flight in each session, while such are held."""


@service
class Held(Protocol):
    """What a server holds."""

    async def add(self, left: int, right: int) -> int: ...

    async def hold(self) -> None:
        """Wait until cancelled."""

    async def used(self) -> tuple[float, int]:
        """Return the seconds of the processor, and the bytes of memory, used so far."""
        ...


class _HeldImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right

    async def hold(self) -> None:
        await trio.sleep_forever()

    async def used(self) -> tuple[float, int]:
        return process_time(), _resident_bytes()


def _resident_bytes() -> int:
    """Return the memory of this process, as the system counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


@attrs.frozen
class Figures:
    """The figures of a server with so many sessions.

    Attributes:
        sessions: number of sessions.
        connect_us: microseconds of the server for a new session.
        session_bytes: memory of a session that has made one call.
        call_us: microseconds of the server for a call in one session after the other.
        held_bytes: memory of a call in flight.
    """

    sessions: int
    connect_us: float
    session_bytes: float
    call_us: float
    held_bytes: float

    @property
    def row(self) -> Sequence[str]:
        """The figures as they stand in the table."""
        return (
            f"{self.sessions:,}",
            f"{self.connect_us:.0f} µs",
            f"{1e6 / self.connect_us:,.0f}",
            f"{self.session_bytes / 1024:.1f} KB",
            f"{self.call_us:.0f} µs",
            f"{1e6 / self.call_us:,.0f}",
            f"{self.held_bytes / 1024:.1f} KB",
        )


_HEADER: Final = (
    "sessions",
    "server time for a session",
    "sessions a second, on one core",
    "memory of a session",
    "server time for a call",
    "calls a second, on one core",
    "memory of a call in flight",
)


async def measure(url: str, sessions: int, calls: int) -> Figures:
    """Open sessions with a server that has none, and call."""
    async with AsyncExitStack() as stack:
        asking = await stack.enter_async_context(connect(url, Held))
        await asking.used()
        clients: list[Held] = []

        async def join(_: int) -> None:
            joining = connect(url, Held, cancel_grace=0)
            client = await stack.enter_async_context(joining)
            await client.add(1, 2)
            clients.append(client)

        began, empty = await asking.used()
        # One after the other, since a stack is left by the task that has entered it.
        for number in range(sessions):
            await join(number)
        joined, full = await asking.used()

        async def call(number: int) -> None:
            await clients[number % sessions].add(number, 1)

        await _each(range(sessions), call)
        before, _ = await asking.used()
        await _each(range(calls), call)
        after, _ = await asking.used()
        held = min(sessions, 500) * _EACH
        async with trio.open_nursery() as nursery:
            _, before_held = await asking.used()
            for number in range(held):
                nursery.start_soon(clients[number // _EACH].hold)
            await trio.lowlevel.checkpoint()
            for client in clients[: held // _EACH]:
                await client.add(1, 2)
            _, with_held = await asking.used()
            nursery.cancel_scope.cancel()
        return Figures(
            sessions,
            1e6 * (joined - began) / sessions,
            (full - empty) / sessions,
            1e6 * (after - before) / calls,
            (with_held - before_held) / held,
        )


async def _each(numbers: range, function: Callable[[int], Awaitable[None]]) -> None:
    """Call a function with each number, some at a time."""
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            await function(number)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(work)


async def _serve(*, without_gc: bool) -> None:
    if without_gc:
        gc.disable()
    handler = dispatcher(Held, _HeldImpl())
    url = "tcp://127.0.0.1:0"
    options = {"max_sessions": _ROOM, "memory": 2**34, "tasks": _ROOM}
    async with serving(url, handler, **options) as server:
        print(msgspec.json.encode(server.url).decode(), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


def _measure_one(sessions: int, calls: int, *, without_gc: bool) -> Figures:
    """Measure with a server of its own, which holds nothing yet."""
    command = [sys.executable, "-m", "benchmarks.holding", "--serve"]
    command += ["--without-gc"] * without_gc
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        url = msgspec.json.decode(server.stdout.readline(), type=str)
        return trio.run(measure, url, sessions, calls)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--calls", type=int, default=20_000)
    about = "let the server never look for cycles of objects"
    parser.add_argument("--without-gc", action="store_true", help=about)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.serve:
        trio.run(partial(_serve, without_gc=chosen.without_gc))
        return
    rows = [
        _measure_one(count, chosen.calls, without_gc=chosen.without_gc).row
        for count in chosen.sessions
    ]
    print(table(_HEADER, rows))
    for name, value in describe_machine().items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
