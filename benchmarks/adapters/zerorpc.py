"""zerorpc: ZeroMQ and MessagePack in gevent."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import zerorpc
import zmq

from .base import (
    ADDEND,
    CONNECTIONS,
    IN_FLIGHT,
    Adapter,
    Client,
    Receipt,
    Row,
    check_echo,
    check_sum,
    receipt_of,
)
from .loops import run_plain

__all__ = ["ZerorpcAdapter"]

_ONE_WAY = "streams from server to client only"

zerorpc.Context.get_instance().set(zmq.MAX_SOCKETS, 8192)


class _Workplace:
    def add(self, left: int, right: int) -> int:
        return left + right

    @zerorpc.stream
    def give(self, count: int) -> Iterator[int]:
        return iter(range(count))

    def echo(self, data: bytes) -> bytes:
        return data

    def swap(self, records: list[Any]) -> list[Any]:
        return records


class ZerorpcClient(Client):
    """Does the works on one socket."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            check_sum(self._client.add(number, ADDEND), number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        waiting: deque[tuple[int, Any]] = deque()
        for number in range(count):
            if len(waiting) == IN_FLIGHT:
                _check_next(waiting)
            waiting.append(
                (number, self._client.add(number, ADDEND, **{"async": True}))
            )
        while waiting:
            _check_next(waiting)

    async def items_back(self, count: int, credit: int) -> Receipt:
        return receipt_of(self._client.give(count))

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            check_echo(self._client.echo(block), block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return [row._asdict() for row in rows]

    async def swap(self, records: object) -> object:
        return self._client.swap(records)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, (list, tuple))
        return [Row(**fields) for fields in answer]


def _check_next(waiting: deque[tuple[int, Any]]) -> None:
    number, answer = waiting.popleft()
    check_sum(answer.get(), number)


class ZerorpcAdapter(Adapter):
    """zerorpc."""

    name: ClassVar[str] = "zerorpc"
    packages: ClassVar[Sequence[str]] = ("zerorpc", "pyzmq", "gevent", "msgpack")
    lacks: ClassVar[Mapping[str, str]] = {
        "items": _ONE_WAY,
        "items-both": _ONE_WAY,
        CONNECTIONS: "no virtual connections",
    }
    remarks: ClassVar[Mapping[str, str]] = {
        "records": "dicts, since MessagePack has no classes",
    }

    def serve(self, started: Callable[[str], None]) -> None:
        server = zerorpc.Server(_Workplace(), heartbeat=None)
        server.bind("tcp://127.0.0.1:0")
        endpoint = server._events._socket.getsockopt(zmq.LAST_ENDPOINT)
        started(endpoint.rstrip(b"\0").decode())
        server.run()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        client = zerorpc.Client(address, heartbeat=None)
        try:
            yield ZerorpcClient(client)
        finally:
            client.close()

    run = staticmethod(run_plain)
