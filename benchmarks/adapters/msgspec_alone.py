"""msgspec by itself: what the encoding of records costs, without anything around it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec

from .base import Adapter, Client, Row
from .loops import run_plain
from .record import Record, record_of, row_of

__all__ = ["MsgspecAdapter"]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


class MsgspecClient(Client):
    """Does in one process what two do with records, and nothing else."""

    def records_of(self, rows: Sequence[Row]) -> list[Record]:
        return [record_of(row) for row in rows]

    async def swap(self, records: object) -> list[Record]:
        there = _decode(_encode(records))
        return _decode(_encode(there))

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [row_of(record) for record in answer]


class MsgspecAdapter(Adapter):
    """msgspec: the server does nothing."""

    name: ClassVar[str] = "msgspec"
    packages: ClassVar[Sequence[str]] = ("msgspec",)
    only: ClassVar[Sequence[str] | None] = ("records",)
    remarks: ClassVar[Mapping[str, str]] = {
        "records": "encoding and decoding twice in one process, without any RPC"
    }

    def serve(self, started: Callable[[str], None]) -> None:
        started("nowhere")
        threading.Event().wait()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        yield MsgspecClient()

    run = staticmethod(run_plain)
