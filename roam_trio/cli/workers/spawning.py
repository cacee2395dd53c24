"""The processes of workers."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import attrs
import trio

from ...transports.inherited import url_handed
from ..log_format import LogFormat
from ..server_options import Serving
from .inheriting import open_process
from .job import Job
from .parent import Child
from .table import Start

__all__ = ["Spawner"]


_NUMBERS: Final = 65_536
"""Number of workers with different numbers for keys."""


@attrs.frozen
class Spawner:
    """Starts the processes of workers.

    Attributes:
        handlers: see `Job`.
        serving: the options of the servers, with the URLs of the user.
        log: see `Job`.
        memory: see `Job`.
        directory: see `Job.siblings`.
    """

    handlers: str
    serving: Serving
    log: tuple[LogFormat, str]
    memory: int
    directory: str

    def job(
        self, start: Start, ends: Sequence[socket.socket], control: socket.socket
    ) -> Job:
        """Return the job of a worker; see `Spawn`."""
        urls = [
            url_handed(url, end)
            for url, end in zip(self.serving.urls, ends, strict=True)
        ]
        serving = attrs.evolve(self.serving, urls=urls)
        return Job(
            self.handlers,
            serving,
            self.log,
            [end.fileno() for end in ends],
            control.fileno(),
            (self.directory, start.worker % _NUMBERS),
            self.memory,
        )

    async def __call__(
        self, start: Start, ends: Sequence[socket.socket], control: socket.socket
    ) -> Child:
        """Start a process; see `Spawn`."""
        job = self.job(start, ends, control)
        process = await open_process(
            [sys.executable, "-m", "roam_trio", "worker", job.to_text()],
            pass_fds=[each.fileno() for each in (*ends, control)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A Control-C in the terminal is for the parent, which drains its workers.
            start_new_session=True,
        )
        return _Process(process)


class _Process(Child):
    """The process of a worker."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    def output(self) -> trio.abc.ReceiveStream:
        assert self._process.stdout is not None
        return self._process.stdout

    async def wait(self) -> int:
        return await self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
