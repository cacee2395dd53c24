"""The processes of a run: a server and a client for each implementation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Set
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from .worker import Done, Order, Started
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

    Raises:
        WorkerFailed: one of them did not start.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = _start("server", name)
        self._client: subprocess.Popen[bytes] | None = None
        try:
            started = _read(self._server, Started)
            self._client = _start("client", name, started.address)
        except BaseException:
            self.close()
            raise
        self.versions = started.versions

    def place(self, cpus: Set[int]) -> None:
        """Let both processes run on these CPUs only."""
        assert self._client is not None
        for process in (self._server, self._client):
            os.sched_setaffinity(process.pid, cpus)

    def measure(self, work: Work, count: int) -> float:
        """Do `count` steps of a work.

        Returns:
            The seconds they took.

        Raises:
            WorkerFailed: an answer was wrong, or anything else went wrong.
        """
        assert self._client is not None
        assert self._client.stdin is not None
        order = msgspec.json.encode(Order(work.name, count))
        self._client.stdin.write(order + b"\n")
        self._client.stdin.flush()
        return _read(self._client, Done).seconds

    def close(self) -> None:
        """End both processes."""
        for process in (self._client, self._server):
            if process is not None:
                process.kill()
                process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # an interrupt is for the runner, which ends them
    )


def _read(process: subprocess.Popen[bytes], kind: type[T]) -> T:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise WorkerFailed(f"{process.args!r} ended with status {process.wait()}")
    return msgspec.json.decode(line, type=kind)
