"""pycapnp: Cap'n Proto in asyncio, over TCP on loopback."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import capnp

from .base import (
    ADDEND,
    Adapter,
    Client,
    Receipt,
    Row,
    check_echo,
    check_sum,
    mix,
)
from .loops import call_many_in_asyncio

__all__ = ["PycapnpAdapter"]

T = TypeVar("T")

_schema = capnp.load(str(Path(__file__).with_name("workplace.capnp")))

_WINDOW = 256
"""How many items are put before the first is acknowledged. Methods that stream, which
leave that to the library, have been several times slower."""


class _Counter(_schema.Sink.Server):
    """Makes the receipt for items that come."""

    def __init__(self) -> None:
        self._received = self._checksum = 0

    async def put(self, item: int, **_: Any) -> None:
        self._received += 1
        self._checksum = mix(self._checksum, item)

    async def end(self, **_: Any) -> tuple[int, int]:
        return self._received, self._checksum


class _Mirror(_schema.Sink.Server):
    """Sends each item back as it comes."""

    def __init__(self, back: Any) -> None:
        self._back = back

    async def put(self, item: int, **_: Any) -> None:
        await self._back.put(item)

    async def end(self, **_: Any) -> tuple[int, int]:
        receipt = await self._back.end()
        return receipt.received, receipt.checksum


class _Workplace(_schema.Workplace.Server):
    async def add(self, left: int, right: int, **_: Any) -> int:
        return left + right

    async def echo(self, data: bytes, **_: Any) -> bytes:
        return data

    async def swap(self, records: Any, _context: Any, **_: Any) -> None:
        _read_all(records)
        _context.results.records = records

    async def take(self, **_: Any) -> Any:
        return _Counter()

    async def give(self, count: int, sink: Any, **_: Any) -> None:
        await _put(sink, count)

    async def mirror(self, back: Any, **_: Any) -> Any:
        return _Mirror(back)


async def _put(sink: Any, count: int) -> None:
    waiting: deque[Awaitable[Any]] = deque()
    for number in range(count):
        if len(waiting) == _WINDOW:
            await waiting.popleft()
        waiting.append(sink.put(number))
    while waiting:
        await waiting.popleft()


def _read_all(records: Any) -> list[Row]:
    """The value of every field, each of which becomes one of Python's only now."""
    return [Row(r.number, r.name, r.score, r.active, r.note) for r in records]


class PycapnpClient(Client):
    """Does the works through the bootstrap interface of one connection."""

    def __init__(self, workplace: Any) -> None:
        self._workplace = workplace

    async def _call(self, number: int) -> None:
        answer = await self._workplace.add(number, ADDEND)
        check_sum(answer.sum, number)

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            await self._call(number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        await call_many_in_asyncio(self._call, count)

    async def items(self, count: int, credit: int) -> Receipt:
        sink = (await self._workplace.take()).sink
        await _put(sink, count)
        return _receipt_in(await sink.end())

    async def items_back(self, count: int, credit: int) -> Receipt:
        counter = _Counter()
        await self._workplace.give(count, counter)
        return Receipt(*await counter.end())

    async def items_both(self, count: int, credit: int) -> Receipt:
        counter = _Counter()
        sink = (await self._workplace.mirror(counter)).sink
        await _put(sink, count)
        return _receipt_in(await sink.end())

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            check_echo((await self._workplace.echo(block)).data, block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return _schema.Records.new_message(records=[row._asdict() for row in rows])

    async def swap(self, records: Any) -> list[Row]:
        return _read_all((await self._workplace.swap(records.records)).records)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return answer


def _receipt_in(answer: Any) -> Receipt:
    return Receipt(answer.received, answer.checksum)


class PycapnpAdapter(Adapter):
    """pycapnp."""

    name: ClassVar[str] = "pycapnp"
    packages: ClassVar[Sequence[str]] = ("pycapnp",)
    remarks: ClassVar[Mapping[str, str]] = {
        "items": "calls of an object that is passed, 256 of them outstanding"
    }

    def serve(self, started: Callable[[str], None]) -> None:
        async def serve_stream(stream: Any) -> None:
            await capnp.TwoPartyServer(stream, bootstrap=_Workplace()).on_disconnect()

        async def run() -> None:
            server = await capnp.AsyncIoStream.create_server(
                serve_stream, "127.0.0.1", 0
            )
            started(str(server.sockets[0].getsockname()[1]))
            await server.serve_forever()

        asyncio.run(capnp.run(run()))

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        stream = await capnp.AsyncIoStream.create_connection("127.0.0.1", int(address))
        client = capnp.TwoPartyClient(stream)
        try:
            yield PycapnpClient(client.bootstrap().cast_as(_schema.Workplace))
        finally:
            client.close()

    def run(self, use: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            return await use()

        made: T = asyncio.run(capnp.run(main()))
        return made
