"""Two sessions on a pair of sockets in one process, and what they cost."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence

import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio.links.base import Buffer
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.stream import StreamLink
from roam_trio.rpc.handler import Handler
from roam_trio.session import AcceptedConnection, Session

from .running import Streams, caller_of, join


class Steps(trio.abc.Instrument):
    """``with Steps() as steps:`` counts how often trio runs which tasks meanwhile."""

    def __init__(self) -> None:
        self._by_name: Counter[str] = Counter()
        self.turns = 0
        """How often the loop has gone round."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._by_name[task.name] += 1

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1

    def by_role(self) -> dict[str, int]:
        """The steps of sessions, which read; of pumps; of handlers; and of all others:
        those who call."""
        found: Counter[str] = Counter()
        for name, steps in self._by_name.items():
            last = name.removeprefix("roam_trio.session.")
            found[_ROLES.get(last, "caller")] += steps
        for other in ("nursery", "trimmer"):
            found.pop(other, None)
        return dict(found)

    def __enter__(self) -> Steps:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *args: object) -> None:
        trio.lowlevel.remove_instrument(self)


_ROLES = {
    "builders._Builder.run": "session",
    "open_session._Starting.run": "session",
    "session_run.SessionRun._pump": "pump",
    "workers.Worker.run": "handler",
    "workers.Workers._trim": "trimmer",
    "connection_tasks.ConnectionTasks.run": "nursery",
}


class _CountingTransport(SocketTransport):
    """A socket that counts how often it is written to."""

    writes = 0

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        self.writes += 1
        return super().send_nowait(buffers)

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        self.writes += 1
        await super().send_all(buffers)


class SocketPair:
    """``async with SocketPair(handler) as pair:`` two sessions with each other.

    Attributes:
        session: the one that calls.
        caller: a client on its root connection.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transports = tuple(map(_CountingTransport, socket.socketpair()))
        self._nursery = trio.open_nursery()
        self.session: Session
        self.caller: Streams

    @property
    def writes(self) -> int:
        """How often the two have written to their sockets."""
        return sum(transport.writes for transport in self._transports)

    async def accept(self, *args: object) -> AcceptedConnection:
        return AcceptedConnection(handler=self._handler)

    async def __aenter__(self) -> SocketPair:
        nursery = await self._nursery.__aenter__()
        left, right = map(StreamLink.over, self._transports)
        self.session, _ = await join(
            nursery,
            self._handler,
            links=(left, right),
            accepting={"on_connection": self},
        )
        self.caller = caller_of(self.session)
        await wait_all_tasks_blocked()
        return self

    async def __aexit__(self, *args: object) -> None:
        try:
            await self.session.shutdown()
        except BaseException as error:
            # The nursery knows whose Cancelled it is.
            if not await self._nursery.__aexit__(type(error), error, None):
                raise
        else:
            await self._nursery.__aexit__(None, None, None)
