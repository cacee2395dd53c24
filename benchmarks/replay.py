"""A client that costs little: it sends recorded calls again, and counts the answers.

The calls of a real client are recorded on their way to the server. They are all the
same and under way at a time, and the server answers them in their order. Each answer
therefore lets the oldest call be sent once more.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Sequence

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import connect

from .working import Working

__all__ = ["Recording", "Replay", "record", "replay"]

_LENGTH = struct.Struct("<I")
_AT_ONCE = 65_536


@attrs.frozen
class Recording:
    """What a client sends, each with its frame.

    Attributes:
        hello: the first message of the handshake.
        more: what comes between the handshake and the calls.
        calls: the calls.
    """

    hello: bytes
    more: bytes
    calls: list[bytes]


async def record(url: str, calls: int, microseconds: int) -> Recording:
    """Record a session with calls that are under way at a time."""
    sent = bytearray()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve_relay, url, sent)
        port = listeners[0].socket.getsockname()[1]
        async with (
            connect(f"tcp://127.0.0.1:{port}", Working) as client,
            trio.open_nursery() as calling,
        ):
            for _ in range(calls):
                calling.start_soon(client.work, microseconds)
            await wait_all_tasks_blocked(0.01)
            recorded = bytes(sent)
        nursery.cancel_scope.cancel()
    frames = _frames_of(recorded)
    return Recording(frames[0], b"".join(frames[1:-calls]), frames[-calls:])


async def _serve_relay(
    url: str,
    sent: bytearray,
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    host, port = url.removeprefix("tcp://").split(":")

    async def relay(client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream(host, int(port))
        async with client, server, trio.open_nursery() as nursery:

            async def answer() -> None:
                async for data in server:
                    await client.send_all(data)

            nursery.start_soon(answer)
            async for data in client:
                sent.extend(data)
                await server.send_all(data)
            nursery.cancel_scope.cancel()

    await trio.serve_tcp(relay, 0, host="127.0.0.1", task_status=task_status)


def _frames_of(data: bytes) -> list[bytes]:
    frames: list[bytes] = []
    while data:
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        frames.append(data[:end])
        data = data[end:]
    return frames


class Replay:
    """One session of recorded calls.

    Attributes:
        answers: number of answers since `begin`.
        worker: identifies the process that answers.
    """

    def __init__(self, url: str, recording: Recording) -> None:
        host, port = url.removeprefix("tcp://").split(":")
        self.answers = 0
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(recording.hello)
        self._frame()
        self._size = len(recording.calls[0])
        self._count = len(recording.calls)
        # Twice, so that a number of calls from any place on is one slice.
        self._calls = b"".join(recording.calls * 2)
        self._next = self._rest = self._under_way = 0
        self.socket.sendall(recording.more + recording.calls[0])
        first = self._frame()
        self._answer = len(first)
        self.worker = first[_OF_THE_CALL:]

    def _frame(self) -> bytes:
        header = self.socket.recv(_LENGTH.size, socket.MSG_WAITALL)
        size = _LENGTH.unpack(header)[0]
        return header + self.socket.recv(size, socket.MSG_WAITALL)

    def begin(self) -> None:
        """Send all calls."""
        self.answers = self._next = self._rest = 0
        self._under_way = self._count
        self.socket.sendall(self._calls[: self._count * self._size])

    def go_on(self) -> None:
        """Read answers, and send as many calls again."""
        answered = self._read()
        start = self._next * self._size
        self.socket.sendall(self._calls[start : start + answered * self._size])
        self._next = (self._next + answered) % self._count
        self._under_way += answered

    def end(self) -> None:
        """Read the answers to calls that are under way."""
        while self._under_way:
            self._read()

    def _read(self) -> int:
        data = self.socket.recv(_AT_ONCE)
        if not data:
            raise EOFError("the server has closed a session")
        answered, self._rest = divmod(self._rest + len(data), self._answer)
        self.answers += answered
        self._under_way -= answered
        return answered


_OF_THE_CALL = _LENGTH.size + 3
"""Length of the part of an answer that names its call: the frame, and in the message
the connection, its kind and the call, each of which is below 128."""


def replay(sessions: Sequence[Replay], seconds: float) -> int:
    """Keep all calls under way for so many seconds; return the number of answers."""
    with selectors.DefaultSelector() as selector:
        for session in sessions:
            selector.register(session.socket, selectors.EVENT_READ, session)
            session.begin()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for key, _ in selector.select(1.0):
                key.data.go_on()
        for session in sessions:
            session.end()
    return sum(session.answers for session in sessions)
