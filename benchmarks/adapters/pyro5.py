"""Pyro5: a server with a selector, and a client that blocks; in MessagePack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import Pyro5
from Pyro5.api import Daemon, Proxy, expose

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

__all__ = ["Pyro5Adapter"]

_NO_STREAMS = "no streams: an iterator is passed by reference, one call per item"

# Its own serializer is slower, and puts bytes into base64.
Pyro5.config.SERIALIZER = "msgpack"
# The other kind has a thread for each connection, and 80 of them at most.
Pyro5.config.SERVERTYPE = "multiplex"
Pyro5.config.SOCK_NODELAY = True


@expose
class Workplace:
    def add(self, left: int, right: int) -> int:
        return left + right

    def echo(self, data: bytes) -> bytes:
        return data

    def swap(self, records: list[Any]) -> list[Any]:
        return records


class Pyro5Client(Client):
    """Does the works through one proxy."""

    def __init__(self, proxy: Any) -> None:
        self._add = proxy.add
        self._echo = proxy.echo
        self._swap = proxy.swap

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            check_sum(self._add(number, ADDEND), number)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            check_echo(self._echo(block), block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return [row._asdict() for row in rows]

    async def swap(self, records: object) -> object:
        return self._swap(records)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [Row(**fields) for fields in answer]


class Pyro5Adapter(Adapter):
    """Pyro5."""

    name: ClassVar[str] = "pyro5"
    packages: ClassVar[Sequence[str]] = ("Pyro5", "msgpack")
    lacks: ClassVar[Mapping[str, str]] = {
        "in-flight": "one call at a time on a connection",
        "items": _NO_STREAMS,
        "items-back": _NO_STREAMS,
        "items-both": _NO_STREAMS,
        CONNECTIONS: "no virtual connections",
    }
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "blocking sockets, without an event loop at the client's side; its "
        "MessagePack and its multiplexing server, which are faster than its defaults",
        "records": "dicts, since MessagePack has no classes",
    }

    def serve(self, started: Callable[[str], None]) -> None:
        with Daemon(host="127.0.0.1", port=0) as daemon:
            started(str(daemon.register(Workplace(), "workplace")))
            daemon.requestLoop()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        with Proxy(address) as proxy:
            yield Pyro5Client(proxy)

    run = staticmethod(run_plain)
