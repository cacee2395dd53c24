"""thriftpy2: a threaded server, and a client that blocks."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import thriftpy2
from thriftpy2.protocol import TCyBinaryProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TProcessor
from thriftpy2.transport import TCyBufferedTransportFactory, TServerSocket

from .base import (
    ADDEND,
    CONNECTIONS,
    Adapter,
    Client,
    Row,
    check_echo,
    check_sum,
)
from .loops import run_plain

__all__ = ["Thriftpy2Adapter"]

_NO_STREAMS = "no streams"

_schema = thriftpy2.load(
    str(Path(__file__).with_name("workplace.thrift")), module_name="workplace_thrift"
)


class _Workplace:
    def add(self, left: int, right: int) -> int:
        return left + right

    def echo(self, data: bytes) -> bytes:
        return data

    def swap(self, records: list[Any]) -> list[Any]:
        return records


class _Listener(TServerSocket):
    """Tells the port that it was given."""

    def __init__(self, started: Callable[[str], None]) -> None:
        super().__init__("127.0.0.1", 0, client_timeout=None, backlog=1024)
        self._started = started

    def listen(self) -> None:
        super().listen()
        # It sets this on the sockets of clients only; those accepted here inherit it.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._started(str(self.sock.getsockname()[1]))


class Thriftpy2Client(Client):
    """Does the works on one connection."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            check_sum(self._client.add(number, ADDEND), number)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            check_echo(self._client.echo(block), block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return [_schema.Record(**row._asdict()) for row in rows]

    async def swap(self, records: object) -> object:
        return self._client.swap(records)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [Row(r.number, r.name, r.score, r.active, r.note) for r in answer]


class Thriftpy2Adapter(Adapter):
    """thriftpy2."""

    name: ClassVar[str] = "thriftpy2"
    packages: ClassVar[Sequence[str]] = ("thriftpy2",)
    lacks: ClassVar[Mapping[str, str]] = {
        "in-flight": "one call at a time on a connection",
        "items": _NO_STREAMS,
        "items-back": _NO_STREAMS,
        "items-both": _NO_STREAMS,
        CONNECTIONS: "no virtual connections",
    }
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "blocking sockets, without an event loop, and a thread per connection; "
        "its protocol in Cython, which is faster than the default in Python",
    }

    def serve(self, started: Callable[[str], None]) -> None:
        TThreadedServer(
            TProcessor(_schema.Workplace, _Workplace()),
            _Listener(started),
            iprot_factory=TCyBinaryProtocolFactory(),
            itrans_factory=TCyBufferedTransportFactory(),
        ).serve()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        client = make_client(
            _schema.Workplace,
            "127.0.0.1",
            int(address),
            proto_factory=TCyBinaryProtocolFactory(),
            trans_factory=TCyBufferedTransportFactory(),
            timeout=None,
        )
        try:
            yield Thriftpy2Client(client)
        finally:
            client.close()

    run = staticmethod(run_plain)
