"""rpyc: a threaded server, and a client that blocks."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import rpyc
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.utils.server import ThreadedServer

from .base import (
    ADDEND,
    CONNECTIONS,
    IN_FLIGHT,
    Adapter,
    Client,
    Row,
    check_echo,
    check_sum,
)
from .loops import run_plain

__all__ = ["RpycAdapter"]

_NO_STREAMS = "no streams: an iterator is passed by reference, one call per item"


Channel.COMPRESSION_THRESHOLD = 1 << 40


class _Workplace(rpyc.Service):
    def exposed_add(self, left: int, right: int) -> int:
        return left + right

    def exposed_echo(self, data: bytes) -> bytes:
        return data

    def exposed_swap(self, records: tuple[tuple[Any, ...], ...]) -> Any:
        return records


class RpycClient(Client):
    """Does the works through the root object of one connection."""

    def __init__(self, connection: Any) -> None:
        self._add = connection.root.add
        self._add_soon = rpyc.async_(connection.root.add)
        self._echo = connection.root.echo
        self._swap = connection.root.swap

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            check_sum(self._add(number, ADDEND), number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        waiting: deque[tuple[int, Any]] = deque()
        for number in range(count):
            if len(waiting) == IN_FLIGHT:
                _check_next(waiting)
            waiting.append((number, self._add_soon(number, ADDEND)))
        while waiting:
            _check_next(waiting)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            check_echo(self._echo(block), block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return tuple(map(tuple, rows))

    async def swap(self, records: object) -> object:
        return self._swap(records)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, tuple)
        return [Row(*fields) for fields in answer]


def _check_next(waiting: deque[tuple[int, Any]]) -> None:
    number, answer = waiting.popleft()
    check_sum(answer.value, number)


class RpycAdapter(Adapter):
    """rpyc."""

    name: ClassVar[str] = "rpyc"
    packages: ClassVar[Sequence[str]] = ("rpyc",)
    lacks: ClassVar[Mapping[str, str]] = {
        "items": _NO_STREAMS,
        "items-back": _NO_STREAMS,
        "items-both": _NO_STREAMS,
        CONNECTIONS: "no virtual connections",
    }
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "blocking sockets, without an event loop, and a thread per connection",
        "echo": "without its compression of what is large, which is for slow networks",
        "records": "tuples without names, since it passes nothing else by value",
    }

    def serve(self, started: Callable[[str], None]) -> None:
        server = ThreadedServer(_Workplace, hostname="127.0.0.1", port=0)
        # Those that are accepted inherit it.
        server.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started(str(server.port))
        server.start()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        stream = SocketStream.connect("127.0.0.1", int(address), nodelay=True)
        with rpyc.connect_stream(stream) as connection:
            yield RpycClient(connection)

    run = staticmethod(run_plain)
