"""The processes of a run: a server and a client for each implementation."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Set
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from .adapters import FLOOR, RAW_TRIO, ROAM, environment_of
from .stopwatch import Done
from .worker import Order, Started
from .works import Work

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Pair", "WorkerFailed"]

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parent.parent


class WorkerFailed(Exception):
    """A process ended where an answer was due; its own words are on standard error."""


class Pair:
    """The server process and the client process of one implementation.

    A context manager, which ends both.

    Args:
        name: the adapter's name.
        beside: another pair of this implementation, to whose server the client
            connects; it has to live as long.

    Raises:
        WorkerFailed: one of them did not start.
    """

    def __init__(self, name: str, beside: Pair | None = None) -> None:
        self.name = name
        self._own: list[subprocess.Popen[bytes]] = []
        try:
            if beside is None:
                self._server = self._start("server", name)
                started = _read(self._server, Started)
            else:
                self._server, started = beside._server, beside._started
            self._started = started
            pid = str(self._server.pid)
            self._client = self._start("client", name, started.address, pid)
        except BaseException:
            self.close()
            raise
        self.about = started.contestant

    def does(self, work: Work) -> bool:
        """Whether the work is for this implementation."""
        if work.name in self.about.lacks:
            return False
        if self.about.only is not None:
            return work.name in self.about.only
        if work.beside:
            return self.name == ROAM
        return work.peers or self.name in (FLOOR, RAW_TRIO, ROAM)

    @property
    def pids(self) -> tuple[int, int]:
        """The numbers of the server's process and the client's."""
        return self._server.pid, self._client.pid

    def afresh(self) -> Pair:
        """The same in new processes."""
        return Pair(self.name)

    def place(self, cpus: Set[int]) -> None:
        """Let both processes run on these CPUs only, with all the threads they have."""
        for pid in self.pids:
            for thread in _threads_of(pid):
                with contextlib.suppress(ProcessLookupError):  # it may have ended
                    os.sched_setaffinity(thread, cpus)

    def measure(self, work: Work, count: int) -> Done:
        """Do `count` steps of a work.

        Returns:
            What they took.

        Raises:
            WorkerFailed: an answer was wrong, or anything else went wrong.
        """
        self.order(work, count)
        return _read(self._client, Done)

    def order(self, work: Work, count: int) -> None:
        """Have a work begun, without waiting until it is done."""
        assert self._client.stdin is not None
        order = msgspec.json.encode(Order(work.name, count))
        self._client.stdin.write(order + b"\n")
        self._client.stdin.flush()

    def close(self) -> None:
        """End the processes that it has started."""
        for process in reversed(self._own):
            process.kill()
            process.communicate()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments],
            cwd=_ROOT,
            env={**os.environ, **environment_of(self.name)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt is for the runner, which ends them
        )
        self._own.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _threads_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.exists() else [process]


def _read(process: subprocess.Popen[bytes], kind: type[T]) -> T:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise WorkerFailed(f"{process.args!r} ended with status {process.wait()}")
    return msgspec.json.decode(line, type=kind)
