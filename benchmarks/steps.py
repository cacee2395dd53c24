"""What a call and an item cost in steps: counts that do not depend on the machine.

    python -m benchmarks.steps            # prints the table
    python -m benchmarks.steps --write    # and puts it into docs/performance.md

Client and server run in one process and one run of trio, on TCP. Counted are bytecodes
and calls of functions in Python, in tasks: those of roam_trio, trio and the standard
library, not of the benchmark; then turns of trio's loop, and calls of the system on
sockets and epoll. Bytecodes are those of `REFERENCE`; other versions of CPython and
trio have other ones.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import attrs
import trio
import trio.testing

from roam_trio import connect, dispatcher, serve
from roam_trio.native import NATIVE
from roam_trio.session import session_run
from roam_trio.session.turns import next_turn

from .adapters.roam import RoamClient, Workplace, WorkplaceHandler
from .markdown import table
from .writing import ROOT, fill

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "REFERENCE",
    "STEP_WORKS",
    "StepWork",
    "Steps",
    "count_steps",
    "steps_table",
    "versions_here",
]

REFERENCE: Final = ("CPython 3.11", "trio 0.35", "the codec in Python")
"""The versions whose bytecodes the table has, on Linux."""

_HERE = str(Path(__file__).parent)

_SYSTEM_CALLS: Final = {
    *("recv", "recv_into", "recvmsg", "send", "sendmsg", "accept", "connect"),
    *("poll", "register", "modify", "unregister"),
}
"""Names of methods of C that call the system."""


@attrs.frozen
class Steps:
    """Counts for one step of a work.

    Attributes:
        client: bytecodes in tasks of the client.
        server: the same in tasks of the server.
        calls: calls of functions in Python, with every step of a coroutine, in tasks.
        turns: turns of trio's loop.
        system: calls of the system.
    """

    client: float
    server: float
    calls: float
    turns: float
    system: float


@attrs.frozen
class StepWork:
    """What is counted.

    Attributes:
        name: for the table.
        unit: what a step is.
        count: how many steps are done.
        do: does so many with a client, which is connected to a server at a URL.
        resume: whether the session outlives its links.
    """

    name: str
    unit: str
    count: int
    do: Callable[[RoamClient, int, str], Awaitable[object]]
    resume: bool = False


def _works(resume: bool) -> tuple[StepWork, ...]:
    where = ", resume=True" if resume else ""
    make = partial(StepWork, resume=resume)
    return (
        make(f"call{where}", "call", 20, _call),
        make(f"call, handler waits{where}", "call", 20, _call_what_waits),
        make(f"64 in flight{where}", "call", 640, _call_at_once),
        make(f"items there{where}", "item", 1280, _send_items),
        make(f"items back{where}", "item", 1280, _receive_items),
        make(f"items there, 64 at once{where}", "item", 2560, _send_many_items),
    )


async def _call(client: RoamClient, count: int, url: str) -> None:
    await client.calls(count, can_wait=False)


async def _call_what_waits(client: RoamClient, count: int, url: str) -> None:
    await client.calls(count, can_wait=True)


async def _call_at_once(client: RoamClient, count: int, url: str) -> None:
    await client.calls_in_flight(count, can_wait=False)


async def _send_items(client: RoamClient, count: int, url: str) -> None:
    await client.items(count, 256)


async def _send_many_items(client: RoamClient, count: int, url: str) -> None:
    await client.items_many(count, 256)


async def _receive_items(client: RoamClient, count: int, url: str) -> None:
    await client.items_back(count, 256)


async def _connect(client: RoamClient, count: int, url: str) -> None:
    for _ in range(count):
        async with connect(url, Workplace) as workplace:
            await RoamClient(workplace).calls(1, can_wait=False)


_CONNECT: Final = StepWork("connect, call once, close", "session", 10, _connect)

STEP_WORKS: Final = (*_works(resume=False), _CONNECT, *_works(resume=True))


class _Counter(trio.abc.Instrument):
    """``with _Counter(server) as counter:`` counts what runs meanwhile.

    Args:
        server: the task of the server; what runs below it is the server's.
    """

    def __init__(self, server: trio.lowlevel.Task) -> None:
        self._server = server
        self._sides: dict[trio.lowlevel.Task, str] = {}
        self._side = "client"  # this task's
        self.bytecodes = {"client": 0, "server": 0, "loop": 0}
        self.calls = self.turns = 0
        self.system = 0
        self._before: Any = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._side = self._sides.get(task) or self._side_of(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._side = "loop"

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1

    def _side_of(self, task: trio.lowlevel.Task) -> str:
        above: trio.lowlevel.Task | None = task
        while above is not None and above is not self._server:
            nursery = above.parent_nursery
            above = None if nursery is None else nursery.parent_task
        side = self._sides[task] = "client" if above is None else "server"
        return side

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename.startswith(_HERE):
            return None
        self.calls += self._side != "loop"
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._trace_frame

    def _trace_frame(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            self.bytecodes[self._side] += 1
        return self._trace_frame

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if (
            event == "c_call"
            and function.__name__ in _SYSTEM_CALLS
            and type(function.__self__).__name__ in ("socket", "epoll")
        ):
            self.system += 1

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        self._before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profile)
        sys.settrace(self._trace)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        trace, profile = self._before
        sys.settrace(trace)
        sys.setprofile(profile)
        trio.lowlevel.remove_instrument(self)


def count_steps(work: StepWork) -> Steps:
    """Count what one step of `work` takes, between a client and a server of its own."""
    # No timer goes off, however long counting takes.
    return trio.run(_count_steps, work, clock=trio.testing.MockClock())


async def _count_steps(work: StepWork) -> Steps:
    # A turn of a reader ends with time, of which counting takes much.
    endless = partial(next_turn, seconds=inf)
    with mock.patch.object(session_run, "next_turn", endless):
        async with trio.open_nursery() as nursery:
            handler = dispatcher(Workplace, WorkplaceHandler())
            run_server = partial(serve, resume=work.resume)
            server = await nursery.start(run_server, "tcp://127.0.0.1:0", handler)
            [task] = nursery.child_tasks
            async with connect(server.url, Workplace, resume=work.resume) as workplace:
                client = RoamClient(workplace)
                # Numbers of messages grow by a byte at 128: count those after it.
                await client.calls(150, can_wait=False)
                await work.do(client, work.count, server.url)
                await trio.testing.wait_all_tasks_blocked()
                with _Counter(task) as counter:
                    await work.do(client, work.count, server.url)
            nursery.cancel_scope.cancel()
    return Steps(
        client=counter.bytecodes["client"] / work.count,
        server=counter.bytecodes["server"] / work.count,
        calls=counter.calls / work.count,
        turns=counter.turns / work.count,
        system=counter.system / work.count,
    )


def versions_here() -> tuple[str, str, str]:
    """Return the versions in use, in the form of `REFERENCE`."""
    python = ".".join(platform.python_version_tuple()[:2])
    version = ".".join(trio.__version__.split(".")[:2])
    return (
        f"{platform.python_implementation()} {python}",
        f"trio {version}",
        "the codec in Rust" if NATIVE else "the codec in Python",
    )


def steps_table(counted: dict[StepWork, Steps]) -> str:
    """Return the table of docs/performance.md."""
    rows = [
        [
            f"{work.name}, for each {work.unit}",
            *(f"{n:,.0f}" for n in (one.client, one.server, one.calls)),
            *(f"{n:,.2f}" for n in (one.turns, one.system)),
        ]
        for work, one in counted.items()
    ]
    head = ["", "client", "server", "Python calls", "turns", "system calls"]
    return table(head, rows)


def main() -> None:
    """Count, and print or write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/performance.md"
    )
    options = parser.parse_args()
    written = steps_table({work: count_steps(work) for work in STEP_WORKS})
    print(written)
    if options.write:
        if versions_here() != REFERENCE or platform.system() != "Linux":
            sys.exit(f"the table is that of {', '.join(REFERENCE)}, on Linux")
        fill(ROOT / "docs" / "performance.md", "steps", written)


if __name__ == "__main__":
    main()
