"""Workers that are tasks of this process, for tests of their parent."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio
from trio.testing import memory_stream_one_way_pair

from roam_trio.cli.log_format import LogFormat
from roam_trio.cli.server_options import Serving
from roam_trio.cli.workers.parent import Child
from roam_trio.cli.workers.spawning import Spawner
from roam_trio.cli.workers.table import Start
from roam_trio.cli.workers.worker import serve_job

__all__ = ["Spawning", "Task", "copy_of"]


def copy_of(sock: socket.socket) -> socket.socket:
    return socket.socket(fileno=os.dup(sock.fileno()))


class Task(Child):
    """A worker.

    Attributes:
        stop: as a SIGTERM to its process.
        says: what it writes.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.stop = trio.Event()
        self.says, self._output = memory_stream_one_way_pair()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._code = 0

    async def run(self, spawner: Spawner, sockets: Sequence[socket.socket]) -> None:
        *ends, control = sockets
        job = self.job = spawner.job(self.start, ends, control)
        for each in sockets:
            each.detach()  # `serve_job` closes them
        try:
            with self._scope:
                await serve_job(job, self.stop)
        finally:
            while job.ends:  # it had no time to close them
                os.close(job.ends.pop())
            self.end()

    def end(self) -> None:
        self.says.close()
        self._ended.set()

    def output(self) -> trio.abc.ReceiveStream:
        return self._output

    async def wait(self) -> int:
        await self._ended.wait()
        return self._code

    def terminate(self) -> None:
        self.stop.set()

    def kill(self) -> None:
        self._code = -9
        self._scope.cancel()


@attrs.define
class Spawning:
    """Starts workers in a nursery.

    Attributes:
        tasks: the workers so far, by their numbers.
        refuse: whether the system has no room for one more.
        held: slots whose workers take for ever to start.
        slow: until it is set, workers take to start, if there is one.
    """

    nursery: trio.Nursery
    spawner: Spawner
    tasks: dict[int, Task] = attrs.field(factory=dict)
    refuse: bool = False
    held: set[int] = attrs.field(factory=set)
    slow: trio.Event | None = None

    @classmethod
    def of(
        cls,
        nursery: trio.Nursery,
        urls: list[str],
        handlers: str,
        directory: str | None = None,
    ) -> Spawning:
        files: tuple[Path | None, Path | None, Path | None] = (None, None, None)
        resume = directory is not None
        serving = Serving(urls, 10.0, resume, files)
        spawner = Spawner(
            handlers, serving, (LogFormat.TEXT, "info"), 2**30, directory or ""
        )
        return cls(nursery, spawner)

    async def __call__(
        self, start: Start, ends: Sequence[socket.socket], control: socket.socket
    ) -> Child:
        await trio.lowlevel.checkpoint()
        if start.slot in self.held:
            await trio.sleep_forever()
        if self.slow is not None:
            await self.slow.wait()
        if self.refuse:
            raise OSError("no room for another process")
        task = Task(start)
        self.tasks[start.worker] = task
        sockets = [copy_of(each) for each in (*ends, control)]
        self.nursery.start_soon(task.run, self.spawner, sockets)
        return task
