"""rsocket, over TCP on loopback.

What is in a payload is up to its user: here a byte that names the method, and numbers
packed by `struct`, or records in MessagePack.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from struct import Struct
from typing import Any, ClassVar

import msgspec
from rsocket.helpers import create_response, single_transport_provider
from rsocket.payload import Payload
from rsocket.request_handler import BaseRequestHandler
from rsocket.rsocket_client import RSocketClient
from rsocket.rsocket_server import RSocketServer
from rsocket.streams.stream_from_async_generator import StreamFromAsyncGenerator
from rsocket.streams.stream_from_generator import StreamFromGenerator
from rsocket.transports.tcp import TransportTCP

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
from .loops import call_many_in_asyncio, run_asyncio
from .record import Record, record_of, row_of

__all__ = ["RsocketAdapter"]

_ADD, _ECHO, _SWAP, _GIVE, _TAKE, _RETURN = (bytes((n,)) for n in range(6))
_TERMS = Struct("<II")
_SUM = Struct("<I")
_U64 = Struct("<Q")
_RECEIPT = Struct("<QQ")

_WINDOW = 256
"""How many items may be under way; the receiver asks for more by the half of it."""

_READ = 64 * 1024
"""By default it reads 1024 bytes at a time, which makes large payloads slow."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


class _Taker:
    """A subscriber that asks for items as it takes them.

    Args:
        take: gets each item's bytes.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._left = _WINDOW
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_subscribe(self, subscription: Any) -> None:
        self.subscription = subscription
        subscription.request(_WINDOW)

    def on_next(self, value: Payload, is_complete: bool = False) -> None:
        if value.data:
            self._take(value.data)
        if is_complete:
            self.on_complete()
            return
        self._left -= 1
        if self._left == _WINDOW // 2:
            self._left = _WINDOW
            self.subscription.request(_WINDOW - _WINDOW // 2)

    def on_complete(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def on_error(self, exception: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(exception)


class _Count:
    """Makes the receipt for items that come."""

    def __init__(self) -> None:
        self.received = self.checksum = 0

    def take(self, item: bytes) -> None:
        (value,) = _U64.unpack(item)
        self.received += 1
        self.checksum = mix(self.checksum, value)


class _Handler(BaseRequestHandler):
    async def request_response(self, payload: Payload) -> Awaitable[Payload]:
        method, body = payload.data[:1], payload.data[1:]
        if method == _ADD:
            left, right = _TERMS.unpack(body)
            return create_response(_SUM.pack(left + right))
        if method == _ECHO:
            return create_response(body)
        return create_response(_encode(_decode(body)))

    async def request_stream(self, payload: Payload) -> StreamFromGenerator:
        (count,) = _U64.unpack(payload.data[1:])
        return StreamFromGenerator(lambda: _numbers(count))

    async def request_channel(self, payload: Payload) -> tuple[Any, Any]:
        if payload.data == _TAKE:
            count = _Count()
            taker = _Taker(count.take)

            async def receipt() -> AsyncIterator[tuple[Payload, bool]]:
                await taker.ended
                yield Payload(_RECEIPT.pack(count.received, count.checksum)), True

            return StreamFromAsyncGenerator(receipt), taker
        items: asyncio.Queue[bytes | None] = asyncio.Queue()
        taker = _Taker(items.put_nowait)
        taker.ended.add_done_callback(lambda _: items.put_nowait(None))

        async def back() -> AsyncIterator[tuple[Payload, bool]]:
            while (item := await items.get()) is not None:
                yield Payload(item), False
            yield Payload(b""), True

        return StreamFromAsyncGenerator(back), taker


def _numbers(count: int) -> Iterator[tuple[Payload, bool]]:
    for number in range(count):
        yield Payload(_U64.pack(number)), number == count - 1


class RsocketClient(Client):
    """Does the works on one connection."""

    def __init__(self, client: RSocketClient) -> None:
        self._client = client

    async def _call(self, number: int) -> None:
        question = Payload(_ADD + _TERMS.pack(number, ADDEND))
        answer = await self._client.request_response(question)
        check_sum(*_SUM.unpack(answer.data), number)

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            await self._call(number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        await call_many_in_asyncio(self._call, count)

    async def items(self, count: int, credit: int) -> Receipt:
        receipts: list[bytes] = []
        taker = _Taker(receipts.append)
        items = StreamFromGenerator(lambda: _numbers(count))
        self._client.request_channel(Payload(_TAKE), items).subscribe(taker)
        await taker.ended
        return Receipt(*_RECEIPT.unpack(receipts[0]))

    async def items_back(self, count: int, credit: int) -> Receipt:
        counted = _Count()
        question = Payload(_GIVE + _U64.pack(count))
        taker = _Taker(counted.take)
        stream = self._client.request_stream(question)
        stream.initial_request_n(_WINDOW).subscribe(taker)
        await taker.ended
        return Receipt(counted.received, counted.checksum)

    async def items_both(self, count: int, credit: int) -> Receipt:
        counted = _Count()
        taker = _Taker(counted.take)
        items = StreamFromGenerator(lambda: _numbers(count))
        self._client.request_channel(Payload(_RETURN), items).subscribe(taker)
        await taker.ended
        return Receipt(counted.received, counted.checksum)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            answer = await self._client.request_response(Payload(_ECHO + block))
            check_echo(answer.data, block, turn)

    def records_of(self, rows: Sequence[Row]) -> list[Record]:
        return [record_of(row) for row in rows]

    async def swap(self, records: object) -> list[Record]:
        question = Payload(_SWAP + _encode(records))
        return _decode((await self._client.request_response(question)).data)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [row_of(record) for record in answer]


class RsocketAdapter(Adapter):
    """rsocket."""

    name: ClassVar[str] = "rsocket"
    packages: ClassVar[Sequence[str]] = ("rsocket", "msgspec")

    def serve(self, started: Callable[[str], None]) -> None:
        def serve_stream(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            transport = TransportTCP(reader, writer, read_buffer_size=_READ)
            RSocketServer(transport, handler_factory=_Handler)

        async def run() -> None:
            server = await asyncio.start_server(serve_stream, "127.0.0.1", 0)
            started(str(server.sockets[0].getsockname()[1]))
            await server.serve_forever()

        asyncio.run(run())

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        streams = await asyncio.open_connection("127.0.0.1", int(address))
        transport = TransportTCP(*streams, read_buffer_size=_READ)
        async with RSocketClient(
            single_transport_provider(transport),
            keep_alive_period=timedelta(minutes=1),
        ) as client:
            yield RsocketClient(client)

    run = staticmethod(run_asyncio)
