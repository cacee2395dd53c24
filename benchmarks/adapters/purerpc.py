"""purerpc in trio, over TCP on loopback without TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import purerpc
import trio
from purerpc import Cardinality, RPCSignature

from . import protobuf
from .base import Adapter, Client, Receipt
from .loops import call_many_in_trio, run_trio

__all__ = ["PurerpcAdapter"]

_SIGNATURES = {
    "Add": RPCSignature(Cardinality.UNARY_UNARY, protobuf.Terms, protobuf.Sum),
    "Take": RPCSignature(Cardinality.STREAM_UNARY, protobuf.Item, protobuf.Taken),
    "Give": RPCSignature(Cardinality.UNARY_STREAM, protobuf.Count, protobuf.Item),
    "Return": RPCSignature(Cardinality.STREAM_STREAM, protobuf.Item, protobuf.Item),
    "Echo": RPCSignature(Cardinality.UNARY_UNARY, protobuf.Block, protobuf.Block),
    "Swap": RPCSignature(Cardinality.UNARY_UNARY, protobuf.Records, protobuf.Records),
}


async def _add(message: Any) -> Any:
    return protobuf.Sum(value=message.left + message.right)


async def _take(items: Any) -> Any:
    return await protobuf.take(items)


async def _give(message: Any) -> AsyncIterator[Any]:
    for number in range(message.value):
        yield protobuf.Item(value=number)


async def _return(items: Any) -> AsyncIterator[Any]:
    async for item in items:
        yield item


async def _echo(message: Any) -> Any:
    return message


async def _swap(message: Any) -> Any:
    protobuf.read_all(message)
    return message


_METHODS = {
    "Add": _add,
    "Take": _take,
    "Give": _give,
    "Return": _return,
    "Echo": _echo,
    "Swap": _swap,
}


class PurerpcClient(protobuf.ProtobufClient):
    """Does the works on one channel."""

    def __init__(self, channel: Any) -> None:
        client = purerpc.Client(protobuf.SERVICE, channel)
        stubs = {
            name: client.get_method_stub(name, signature)
            for name, signature in _SIGNATURES.items()
        }
        super().__init__(add=stubs["Add"], echo=stubs["Echo"], swap=stubs["Swap"])
        self._take = stubs["Take"]
        self._give = stubs["Give"]
        self._return = stubs["Return"]

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        await call_many_in_trio(self.call, count)

    async def items(self, count: int, credit: int) -> Receipt:
        return protobuf.receipt_in(await self._take(protobuf.numbers(count)))

    async def items_back(self, count: int, credit: int) -> Receipt:
        return await protobuf.receive(self._give(protobuf.Count(value=count)))

    async def items_both(self, count: int, credit: int) -> Receipt:
        return await protobuf.receive(self._return(protobuf.numbers(count)))


class PurerpcAdapter(Adapter):
    """purerpc."""

    name: ClassVar[str] = "purerpc"
    packages: ClassVar[Sequence[str]] = (
        "purerpc",
        "trio",
        "anyio",
        "h2",
        "protobuf",
    )

    def serve(self, started: Callable[[str], None]) -> None:
        service = purerpc.Service(protobuf.SERVICE)
        for name, method in _METHODS.items():
            service.add_method(name, method, _SIGNATURES[name])

        async def run() -> None:
            server = purerpc.Server(0)
            server.add_service(service)
            async with trio.open_nursery() as nursery:
                started(str(await nursery.start(server.serve_async)))

        trio.run(run)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async with purerpc.insecure_channel("127.0.0.1", int(address)) as channel:
            yield PurerpcClient(channel)

    run = staticmethod(run_trio)
