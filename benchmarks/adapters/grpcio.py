"""grpcio, through its asyncio interface, over TCP on loopback without TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import grpc
import grpc.aio

from . import protobuf
from .base import Adapter, Client, Receipt
from .loops import call_many_in_asyncio, run_asyncio

__all__ = ["GrpcioAdapter"]


async def _add(request: Any, context: Any) -> Any:
    return protobuf.Sum(value=request.left + request.right)


async def _take(items: AsyncIterator[Any], context: Any) -> Any:
    return await protobuf.take(items)


async def _give(request: Any, context: Any) -> AsyncIterator[Any]:
    for number in range(request.value):
        yield protobuf.Item(value=number)


async def _return(items: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async for item in items:
        yield item


async def _echo(request: Any, context: Any) -> Any:
    return request


async def _swap(request: Any, context: Any) -> Any:
    protobuf.read_all(request)
    return request


def _handlers() -> dict[str, grpc.RpcMethodHandler]:
    def handler(make: Any, function: Any, request: Any, answer: Any) -> Any:
        return make(
            function,
            request_deserializer=request.FromString,
            response_serializer=answer.SerializeToString,
        )

    unary = grpc.unary_unary_rpc_method_handler
    item, block, records = protobuf.Item, protobuf.Block, protobuf.Records
    return {
        "Add": handler(unary, _add, protobuf.Terms, protobuf.Sum),
        "Take": handler(
            grpc.stream_unary_rpc_method_handler, _take, item, protobuf.Taken
        ),
        "Give": handler(
            grpc.unary_stream_rpc_method_handler, _give, protobuf.Count, item
        ),
        "Return": handler(grpc.stream_stream_rpc_method_handler, _return, item, item),
        "Echo": handler(unary, _echo, block, block),
        "Swap": handler(unary, _swap, records, records),
    }


class GrpcioClient(protobuf.ProtobufClient):
    """Does the works on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        def method(make: Any, name: str, request: Any, answer: Any) -> Any:
            return make(
                protobuf.path_of(name),
                request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )

        item, block, records = protobuf.Item, protobuf.Block, protobuf.Records
        super().__init__(
            add=method(channel.unary_unary, "Add", protobuf.Terms, protobuf.Sum),
            echo=method(channel.unary_unary, "Echo", block, block),
            swap=method(channel.unary_unary, "Swap", records, records),
        )
        self._take = method(channel.stream_unary, "Take", item, protobuf.Taken)
        self._give = method(channel.unary_stream, "Give", protobuf.Count, item)
        self._return = method(channel.stream_stream, "Return", item, item)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        await call_many_in_asyncio(self.call, count)

    async def items(self, count: int, credit: int) -> Receipt:
        return protobuf.receipt_in(await self._take(protobuf.numbers(count)))

    async def items_back(self, count: int, credit: int) -> Receipt:
        return await protobuf.receive(self._give(protobuf.Count(value=count)))

    async def items_both(self, count: int, credit: int) -> Receipt:
        return await protobuf.receive(self._return(protobuf.numbers(count)))


class GrpcioAdapter(Adapter):
    """grpcio."""

    name: ClassVar[str] = "grpcio"
    packages: ClassVar[Sequence[str]] = ("grpcio", "protobuf")

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            server = grpc.aio.server()
            handlers = grpc.method_handlers_generic_handler(
                protobuf.SERVICE, _handlers()
            )
            server.add_generic_rpc_handlers((handlers,))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            started(f"127.0.0.1:{port}")
            await server.wait_for_termination()

        asyncio.run(run())

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        # By default channels to the same place share one TCP connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            yield GrpcioClient(channel)

    run = staticmethod(run_asyncio)
