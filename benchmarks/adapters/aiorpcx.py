"""aiorpcX: JSON-RPC in asyncio, a line of JSON for each message."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aiorpcx

from .base import (
    ADDEND,
    CONNECTIONS,
    Adapter,
    Client,
    Row,
    check_echo,
    check_sum,
)
from .loops import call_many_in_asyncio, run_asyncio

__all__ = ["AiorpcxAdapter"]

_NO_STREAMS = "no streams: notifications are the nearest, which nothing holds back"


class _Session(aiorpcx.RPCSession):
    """What it does against peers that ask for too much is switched off."""

    cost_hard_limit = 0

    def default_framer(self) -> aiorpcx.NewlineFramer:
        return aiorpcx.NewlineFramer(max_size=0)


class _ServerSession(_Session):
    async def handle_request(self, request: Any) -> Any:
        handler = _HANDLERS.get(request.method)
        return await aiorpcx.handler_invocation(handler, request)()


async def _add(left: int, right: int) -> int:
    return left + right


async def _echo(data: str) -> str:
    return _to_text(base64.b64decode(data))


async def _swap(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return records


_HANDLERS = {"add": _add, "echo": _echo, "swap": _swap}


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class AiorpcxClient(Client):
    """Does the works on one connection."""

    def __init__(self, session: aiorpcx.RPCSession) -> None:
        self._ask = session.send_request

    async def _call(self, number: int) -> None:
        check_sum(await self._ask("add", (number, ADDEND)), number)

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            await self._call(number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        await call_many_in_asyncio(self._call, count)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            answer = await self._ask("echo", (_to_text(block),))
            check_echo(base64.b64decode(answer), block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return [row._asdict() for row in rows]

    async def swap(self, records: object) -> object:
        return await self._ask("swap", (records,))

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [Row(**fields) for fields in answer]


class AiorpcxAdapter(Adapter):
    """aiorpcX."""

    name: ClassVar[str] = "aiorpcx"
    packages: ClassVar[Sequence[str]] = ("aiorpcX",)
    lacks: ClassVar[Mapping[str, str]] = {
        "items": _NO_STREAMS,
        "items-back": _NO_STREAMS,
        "items-both": _NO_STREAMS,
        CONNECTIONS: "no virtual connections",
    }
    remarks: ClassVar[Mapping[str, str]] = {
        "echo": "in base64, since JSON has no bytes",
        "records": "dicts, since JSON has no classes",
    }

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            server = await aiorpcx.serve_rs(_ServerSession, "127.0.0.1", 0)
            started(str(server.sockets[0].getsockname()[1]))
            await server.serve_forever()

        asyncio.run(run())

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async with aiorpcx.connect_rs(
            "127.0.0.1", int(address), session_factory=_Session
        ) as session:
            yield AiorpcxClient(session)

    run = staticmethod(run_asyncio)
