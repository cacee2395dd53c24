"""grpclib, over TCP on loopback without TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from grpclib.client import (
    Channel,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from . import protobuf
from .base import Adapter, Client, Receipt
from .loops import call_many_in_asyncio, run_asyncio

__all__ = ["GrpclibAdapter"]


class _Workplace:
    async def add(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(protobuf.Sum(value=request.left + request.right))

    async def take(self, stream: Any) -> None:
        await stream.send_message(await protobuf.take(stream))

    async def give(self, stream: Any) -> None:
        request = await stream.recv_message()
        for number in range(request.value):
            await stream.send_message(protobuf.Item(value=number))

    async def return_(self, stream: Any) -> None:
        async for item in stream:
            await stream.send_message(item)

    async def echo(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def swap(self, stream: Any) -> None:
        request = await stream.recv_message()
        protobuf.read_all(request)
        await stream.send_message(request)

    def __mapping__(self) -> dict[str, Handler]:
        unary = Cardinality.UNARY_UNARY
        item, block, records = protobuf.Item, protobuf.Block, protobuf.Records
        handlers = {
            "Add": Handler(self.add, unary, protobuf.Terms, protobuf.Sum),
            "Take": Handler(self.take, Cardinality.STREAM_UNARY, item, protobuf.Taken),
            "Give": Handler(self.give, Cardinality.UNARY_STREAM, protobuf.Count, item),
            "Return": Handler(self.return_, Cardinality.STREAM_STREAM, item, item),
            "Echo": Handler(self.echo, unary, block, block),
            "Swap": Handler(self.swap, unary, records, records),
        }
        return {protobuf.path_of(name): handlers[name] for name in handlers}


class GrpclibClient(protobuf.ProtobufClient):
    """Does the works on one channel."""

    def __init__(self, channel: Channel) -> None:
        def method(make: Any, name: str, request: Any, answer: Any) -> Any:
            return make(channel, protobuf.path_of(name), request, answer)

        item, block, records = protobuf.Item, protobuf.Block, protobuf.Records
        super().__init__(
            add=method(UnaryUnaryMethod, "Add", protobuf.Terms, protobuf.Sum),
            echo=method(UnaryUnaryMethod, "Echo", block, block),
            swap=method(UnaryUnaryMethod, "Swap", records, records),
        )
        self._take = method(StreamUnaryMethod, "Take", item, protobuf.Taken)
        self._give = method(UnaryStreamMethod, "Give", protobuf.Count, item)
        self._return = method(StreamStreamMethod, "Return", item, item)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        await call_many_in_asyncio(self.call, count)

    async def items(self, count: int, credit: int) -> Receipt:
        async with self._take.open() as stream:
            await _send(stream, count)
            return protobuf.receipt_in(await stream.recv_message())

    async def items_back(self, count: int, credit: int) -> Receipt:
        async with self._give.open() as stream:
            await stream.send_message(protobuf.Count(value=count), end=True)
            return await protobuf.receive(stream)

    async def items_both(self, count: int, credit: int) -> Receipt:
        async with self._return.open() as stream:
            await stream.send_request()
            sending = asyncio.create_task(_send(stream, count))
            receipt = await protobuf.receive(stream)
            await sending
            return receipt


async def _send(stream: Any, count: int) -> None:
    for number in range(count):
        await stream.send_message(protobuf.Item(value=number))
    await stream.end()


class GrpclibAdapter(Adapter):
    """grpclib."""

    name: ClassVar[str] = "grpclib"
    packages: ClassVar[Sequence[str]] = ("grpclib", "h2", "protobuf")

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            server = Server([_Workplace()])
            await server.start("127.0.0.1", 0)
            (socket,) = server._server.sockets  # it does not tell its port otherwise
            started(str(socket.getsockname()[1]))
            await server.wait_closed()

        asyncio.run(run())

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async with Channel("127.0.0.1", int(address)) as channel:
            yield GrpclibClient(channel)

    run = staticmethod(run_asyncio)
