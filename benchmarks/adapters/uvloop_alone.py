"""uvloop by itself: the floor's frames and works, in asyncio with another loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, TypeVar, cast

import uvloop

from .base import CONNECTIONS, Adapter, Client
from .floor import ByteStream, FloorClient, serve_stream
from .loops import beside_in_asyncio

__all__ = ["UvloopAdapter"]

T = TypeVar("T")

_MOST_UNREAD = 1024 * 1024
"""Number of bytes from which reading is paused."""


class UvloopStream(asyncio.Protocol):
    """A stream on a transport; one task reads and one writes."""

    def __init__(self, connected: Callable[[UvloopStream], None]) -> None:
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._has_ended = False
        self._is_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # ------------------------------------------------ what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connected(self)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread > _MOST_UNREAD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        _wake(self._reader)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writer = self._loop.create_future()

    def resume_writing(self) -> None:
        _wake(self._writer)
        self._writer = None

    # ------------------------------------------------ what the floor calls

    async def send_all(self, data: bytes) -> None:
        self._transport.write(data)
        if self._writer is not None:
            await self._writer

    async def receive_some(self, max_bytes: int) -> bytes:
        while not self._chunks:
            if self._has_ended:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._unread -= len(chunk)
        if self._is_paused and self._unread <= _MOST_UNREAD:
            self._is_paused = False
            self._transport.resume_reading()
        return chunk

    async def aclose(self) -> None:
        self._transport.close()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


class UvloopAdapter(Adapter):
    """uvloop."""

    name: ClassVar[str] = "uvloop"
    packages: ClassVar[Sequence[str]] = ("uvloop", "msgspec")
    lacks: ClassVar[Mapping[str, str]] = {CONNECTIONS: "no virtual connections"}
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "a protocol of asyncio on uvloop; the works are the floor's"
    }

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            loop = asyncio.get_running_loop()
            tasks: set[asyncio.Task[None]] = set()

            def begin(stream: UvloopStream) -> None:
                task = loop.create_task(serve_stream(stream))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            server = await loop.create_server(
                lambda: UvloopStream(begin), "127.0.0.1", 0, backlog=1024
            )
            started(str(server.sockets[0].getsockname()[1]))
            await server.serve_forever()

        uvloop.run(run())

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async def open_stream() -> ByteStream:
            _, stream = await asyncio.get_running_loop().create_connection(
                lambda: UvloopStream(lambda _: None), "127.0.0.1", int(address)
            )
            return stream

        client = FloorClient(open_stream, beside_in_asyncio)
        try:
            yield client
        finally:
            await client.aclose()

    @staticmethod
    def run(use: Callable[[], Awaitable[T]]) -> T:
        """Run it in uvloop."""

        async def main() -> T:
            return await use()

        return uvloop.run(main())
