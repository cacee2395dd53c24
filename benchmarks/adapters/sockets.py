"""Sockets with nothing between them and the floor's program: what is possible at all.

Frames and works are those of `floor`; only the stream below them is another:

- "raw trio" reads and writes a socket that does not block, and asks trio only to wait
  until it can be read or written. There is no `trio.SocketStream`, and there are no
  checkpoints: a library on trio cannot take less time for a call.
- "blocking sockets" waits in the system, without a loop, with a thread for each client.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar

import trio
from trio.lowlevel import wait_readable, wait_writable

from .base import CONNECTIONS, Adapter, Client
from .floor import ByteStream, FloorClient, serve_stream
from .loops import run_plain, run_trio

__all__ = ["BlockingSocketsAdapter", "RawTrioAdapter", "RawTrioStream"]

_BACKLOG = 1024


class RawTrioStream:
    """A socket in trio, without what `trio.SocketStream` adds."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._has_more = False

    async def send_all(self, data: bytes) -> None:
        sock = self._socket
        with memoryview(data) as view:
            sent = 0
            while sent < len(data):
                try:
                    sent += sock.send(view[sent:] if sent else data)
                except BlockingIOError:
                    await wait_writable(sock)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Look at the socket at once only if the last read was a full one."""
        if not self._has_more:
            await wait_readable(self._socket)
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await wait_readable(self._socket)
            else:
                self._has_more = len(data) == max_bytes
                return data

    async def aclose(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


class RawTrioAdapter(Adapter):
    """Trio with sockets of the standard library."""

    name: ClassVar[str] = "raw trio"
    packages: ClassVar[Sequence[str]] = ("trio", "msgspec")
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "sockets that do not block, on which trio waits, without "
        "trio.SocketStream and without checkpoints; the works are the floor's"
    }

    def serve(self, started: Callable[[str], None]) -> None:
        trio.run(_serve_in_trio, started)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async def open_stream() -> ByteStream:
            return RawTrioStream(_connect(address))

        client = FloorClient(open_stream)
        try:
            yield client
        finally:
            await client.aclose()

    run = staticmethod(run_trio)


async def _serve_in_trio(started: Callable[[str], None]) -> None:
    listener = _listen()
    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        started(str(listener.getsockname()[1]))
        while True:
            await wait_readable(listener)
            sock = _accept(listener)
            nursery.start_soon(serve_stream, RawTrioStream(sock))


class BlockingStream:
    """A socket that blocks: its methods never wait as a coroutine."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def send_all(self, data: bytes) -> None:
        self._socket.sendall(data)

    async def receive_some(self, max_bytes: int) -> bytes:
        return self._socket.recv(max_bytes)

    async def aclose(self) -> None:
        self._socket.close()


class BlockingSocketsAdapter(Adapter):
    """Sockets of the standard library, without a loop."""

    name: ClassVar[str] = "blocking sockets"
    packages: ClassVar[Sequence[str]] = ("msgspec",)
    lacks: ClassVar[Mapping[str, str]] = {
        "items-both": "it either sends or receives",
        CONNECTIONS: "no virtual connections",
    }
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "no event loop, and a thread for each connection; the works are the "
        "floor's"
    }

    def serve(self, started: Callable[[str], None]) -> None:
        listener = _listen()
        started(str(listener.getsockname()[1]))
        while True:
            sock = _accept(listener)
            serve = partial(serve_stream, BlockingStream(sock))
            threading.Thread(target=run_plain, args=(serve,), daemon=True).start()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async def open_stream() -> ByteStream:
            return BlockingStream(_connect(address))

        client = FloorClient(open_stream)
        try:
            yield client
        finally:
            await client.aclose()

    run = staticmethod(run_plain)


def _listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)


def _accept(listener: socket.socket) -> socket.socket:
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connect(address: str) -> socket.socket:
    """Connect to a port of this host, which takes no time that would block others."""
    sock = socket.create_connection(("127.0.0.1", int(address)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
