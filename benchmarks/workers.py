"""How many calls several workers finish, in comparison with one.

    python -m benchmarks.workers [--quick] [--rounds N] [--workers N] [--write]

Each call uses the processor of its worker for 200 microseconds. The client is in this
process, on one of the processors, and needs a part of it: little, because it sends
recorded calls (`replay`). Both servers run during the whole run, and take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import trio

from .machine import describe_machine
from .markdown import table
from .options import at_least
from .replay import Replay, record, replay
from .results import Summary, summarize
from .writing import ROOT, fill, to_json

__all__ = ["Served", "Workers", "main", "measure_workers", "write_workers"]

MICROSECONDS = 200
"""Time of the processor that each call takes in its handler."""

_SESSIONS = 4
_IN_FLIGHT = 8
"""Calls in flight on each session; enough that no worker is ever without work."""


class Served(msgspec.Struct, frozen=True):
    """Calls that a server finished, over the rounds.

    Attributes:
        workers: number of its workers.
        rate: calls each second.
        worker_time: processor time of the workers for each call, in seconds.
        client_time: that of the client.
        busiest: share of the calls that the busiest worker has finished.
    """

    workers: int
    rate: Summary
    worker_time: Summary
    client_time: Summary
    busiest: Summary


class Workers(msgspec.Struct, frozen=True):
    """All of one run.

    Attributes:
        ratio: calls of several workers for each call of one, round by round.
    """

    machine: dict[str, str]
    one: Served
    several: Served
    ratio: Summary


class _Round(msgspec.Struct, frozen=True):
    rate: float
    worker_time: float
    client_time: float
    busiest: float


class _Options(argparse.Namespace):
    quick: bool
    rounds: int | None
    workers: int
    write: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers",
        description="How many calls several workers finish.",
    )
    parser.add_argument("--quick", action="store_true", help="shorter rounds")
    parser.add_argument("--rounds", type=at_least(1), metavar="N", help="default 7")
    parser.add_argument(
        "--workers", type=at_least(2), metavar="N", default=2, help="default 2"
    )
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/results and docs"
    )
    options = parser.parse_args(arguments, namespace=_Options())
    rounds = options.rounds or (3 if options.quick else 7)
    seconds = 0.5 if options.quick else 2.0
    workers = measure_workers(options.workers, rounds, seconds)
    print("\n\n".join(_sections(workers)))
    if options.write:
        write_workers(workers)


def measure_workers(count: int, rounds: int, seconds: float) -> Workers:
    """Measure one worker and `count`, in turns."""
    machine = describe_machine()
    with _on_one_processor():
        done = trio.run(_measure, (1, count), rounds, seconds)
    ratio = [
        several.rate / one.rate for one, several in zip(done[0], done[1], strict=True)
    ]
    return Workers(
        machine, _served(1, done[0]), _served(count, done[1]), summarize(ratio)
    )


def _served(workers: int, rounds: Sequence[_Round]) -> Served:
    return Served(
        workers,
        summarize([each.rate for each in rounds]),
        summarize([each.worker_time for each in rounds]),
        summarize([each.client_time for each in rounds]),
        summarize([each.busiest for each in rounds]),
    )


@contextmanager
def _on_one_processor() -> Iterator[None]:
    """Keep the client on the last processor, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):  # pragma: no cover - macOS
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _measure(
    counts: Sequence[int], rounds: int, seconds: float
) -> list[list[_Round]]:
    done: list[list[_Round]] = [[] for _ in counts]
    async with AsyncExitStack() as stack:
        servers: list[_Server] = []
        for count in counts:
            served = await stack.enter_async_context(_serving(count))
            servers.append(served)
            for session in served.sessions:
                stack.callback(session.socket.close)
        for each in servers:
            _round(each, seconds / 4)  # until everything is compiled and warm
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for place, each in enumerate(servers):
                done[place].append(_round(each, seconds))
    return done


class _Server(msgspec.Struct, frozen=True):
    """A server that runs.

    Attributes:
        workers: the processes of its workers.
        sessions: sessions with it.
    """

    workers: list[int]
    sessions: list[Replay]


@asynccontextmanager
async def _serving(workers: int) -> AsyncIterator[_Server]:
    """Serve with a number of workers, on all processors."""
    args = [sys.executable, "-m", "roam_trio", "serve", "benchmarks.working:handlers"]
    args += ["--listen", "tcp://127.0.0.1:0", "--workers", str(workers)]
    args += ["--log-level", "error", "--grace", "1"]
    process = await trio.lowlevel.open_process(
        args, stdout=subprocess.PIPE, cwd=ROOT, preexec_fn=_use_all_processors
    )
    assert process.stdout is not None
    try:
        url = json.loads(await process.stdout.receive_some())["url"]
        recording = await record(url, _IN_FLIGHT, MICROSECONDS)
        yield _Server(
            _children(process.pid), [Replay(url, recording) for _ in range(_SESSIONS)]
        )
    finally:
        with trio.CancelScope(shield=True):
            process.send_signal(signal.SIGTERM)
            await process.wait()
            await process.stdout.aclose()


def _children(process: int) -> list[int]:
    """Return the processes that a process has started; proc(5)."""
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        text = (thread / "children").read_text(encoding="utf-8")
        found += map(int, text.split())
    return found


def _use_all_processors() -> None:
    if hasattr(os, "sched_setaffinity"):  # pragma: no branch - macOS
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _round(server: _Server, seconds: float) -> _Round:
    """Make calls for so many seconds."""
    worker_before = sum(map(_processor_time, server.workers))
    before, client_before = time.perf_counter(), time.process_time()
    number = replay(server.sessions, seconds)
    took = time.perf_counter() - before
    by_worker: dict[bytes, int] = {}
    for session in server.sessions:
        answers = by_worker.get(session.worker, 0) + session.answers
        by_worker[session.worker] = answers
    return _Round(
        number / took,
        (sum(map(_processor_time, server.workers)) - worker_before) / number,
        (time.process_time() - client_before) / number,
        max(by_worker.values()) / number,
    )


def _processor_time(process: int) -> float:
    """Return the processor time that a process has used, in seconds; proc(5)."""
    text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def write_workers(workers: Workers, root: Path = ROOT) -> list[Path]:
    """Write the figures, and fill the block of the docs."""
    places = root / "benchmarks" / "results"
    places.mkdir(exist_ok=True)
    figures = places / "workers.json"
    figures.write_text(to_json(workers), encoding="utf-8")
    docs = root / "docs" / "benchmarks.md"
    fill(docs, "workers", "\n\n".join(_sections(workers)))
    return [figures, docs]


def _sections(workers: Workers) -> Iterator[str]:
    rows = [
        [
            str(each.workers),
            f"{each.rate.median:,.0f}",
            f"{each.worker_time.median * 1e6:.0f}",
            f"{each.client_time.median * 1e6:.0f}",
            f"{each.busiest.median:.2f}",
        ]
        for each in (workers.one, workers.several)
    ]
    heads = ["workers", "calls a second", "µs in workers", "µs in the client"]
    yield table([*heads, "share of the busiest"], rows)
    ratio = workers.ratio
    yield (
        f"{workers.several.workers} workers finish {ratio.median:.2f} times the calls "
        f"of one ({ratio.lowest:.2f} to {ratio.highest:.2f}) on "
        f"{workers.machine['processor']}, where the client uses one of the processors "
        f"too; the load before was {workers.machine.get('load in the last minute')}. "
        "Medians of the rounds; times are those of the processors for each call, "
        f"of which {MICROSECONDS} µs are the work of the handler."
    )


if __name__ == "__main__":
    main()
