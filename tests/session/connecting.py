"""Virtual connections for tests: who decides on them, and short ways to one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import client
from roam_trio.metadata import Metadata
from roam_trio.rpc.handler import Handler
from roam_trio.session import AcceptedConnection, ConnectionHandle, Session
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionAccept,
    ConnectionOpen,
    ConnectionSettings,
    Message,
)
from tests.peer import Peer

from .running import (
    Streams,
    Task,
)

ODD = ConnectionSettings(Parity.ODD, 64)
EVEN = ConnectionSettings(Parity.EVEN, 64)

M = TypeVar("M", bound=Message)


async def add(left: int, right: int) -> int:
    return left + right


async def hang(*args: object) -> Any:
    await trio.sleep_forever()


class Acceptor:
    """A `ConnectionAcceptor` that notes what it is asked, and what it set up."""

    def __init__(
        self,
        verdict: Any = None,
        *,
        decide: Callable[[], Awaitable[Any]] | None = None,
        handler: Handler | None = None,
        **accepted: Any,
    ) -> None:
        if verdict is None:
            verdict = AcceptedConnection(
                handler=handler, setup=self._set_up, **accepted
            )
        self._verdict = verdict
        self._decide = decide
        self.asked: list[tuple[int, ConnectionSettings, Metadata]] = []
        self.handles: list[ConnectionHandle] = []
        self.deciding = 0

    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> Any:
        self.asked.append((connection_id, settings, metadata))
        if self._decide is not None:
            self.deciding += 1
            try:
                return await self._decide()
            finally:
                self.deciding -= 1
        if isinstance(self._verdict, Exception):
            raise self._verdict
        return self._verdict

    async def _set_up(self, handle: ConnectionHandle) -> None:
        self.handles.append(handle)


def on(connection_id: int, message: M) -> M:
    """The message, on another connection."""
    return msgspec.structs.replace(message, connection_id=connection_id)


def streams_on(connection: ConnectionHandle) -> Streams:
    return client(Streams, connection.caller)


async def hear_bytes(peer: Peer) -> str:
    payload = await peer.rx.recv()
    assert payload is not None, "the link has ended"
    return bytes(payload).hex(" ")


async def opened_to(session: Session, peer: Peer, **options: Any) -> ConnectionHandle:
    """A connection that the session opens, and the scripted peer accepts."""
    async with trio.open_nursery() as nursery:
        task = Task(nursery, lambda: session.open_connection(**options))
        connection_id = (await peer.hear(ConnectionOpen)).connection_id
        await peer.say(ConnectionAccept(connection_id, EVEN))
        return await task.result()


async def opened_by(peer: Peer, connection_id: int) -> None:
    """A connection that the scripted peer opens, and the session accepts."""
    await peer.say(ConnectionOpen(connection_id, EVEN))
    assert (await peer.hear(ConnectionAccept)).connection_id == connection_id


async def has_only_the_root(session: Session) -> None:
    await wait_all_tasks_blocked()
    assert [c.connection_id for c in session.statistics().connections] == [0]
    connections = session._run.connections
    assert connections is not None
    assert not connections._table.has_virtual


def encoded(message: Message) -> bytes:
    """A message as a peer sends it."""
    return b"".join(encode_message(message))
