"""The messages of the gRPC libraries, and the names of the methods.

What protoc would generate from a file with these messages is made here when it is
imported: protobuf's own classes, by the same code of protobuf's.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .base import ADDEND, Client, Receipt, Row, check_echo, check_sum, mix

__all__ = [
    "SERVICE",
    "Block",
    "Count",
    "Item",
    "ProtobufClient",
    "Records",
    "Sum",
    "Taken",
    "Terms",
    "numbers",
    "path_of",
    "read_all",
    "receipt_in",
    "receive",
    "take",
]

PACKAGE = "benchmarks"
SERVICE = f"{PACKAGE}.Workplace"

_Field = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, Sequence[tuple[str, Any]]] = {
    "Terms": [("left", _Field.TYPE_UINT32), ("right", _Field.TYPE_UINT32)],
    "Sum": [("value", _Field.TYPE_UINT32)],
    "Count": [("value", _Field.TYPE_UINT64)],
    "Item": [("value", _Field.TYPE_UINT64)],
    "Taken": [("received", _Field.TYPE_UINT64), ("checksum", _Field.TYPE_UINT64)],
    "Block": [("data", _Field.TYPE_BYTES)],
    "Record": [
        ("number", _Field.TYPE_UINT32),
        ("name", _Field.TYPE_STRING),
        ("score", _Field.TYPE_DOUBLE),
        ("active", _Field.TYPE_BOOL),
        ("note", _Field.TYPE_STRING),
    ],
    "Records": [("records", "Record")],  # repeated
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmarks/workplace.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            added = message.field.add(name=field, number=number)
            if isinstance(kind, str):
                added.type = _Field.TYPE_MESSAGE
                added.type_name = f".{PACKAGE}.{kind}"
                added.label = _Field.LABEL_REPEATED
            else:
                added.type = kind
                added.label = _Field.LABEL_OPTIONAL
    return file


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_describe())
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
        )
        for name in _MESSAGES
    }


_made = _classes()
Terms = _made["Terms"]
Sum = _made["Sum"]
Count = _made["Count"]
Item = _made["Item"]
Taken = _made["Taken"]
Block = _made["Block"]
Record = _made["Record"]
Records = _made["Records"]


def path_of(method: str) -> str:
    """Of a method, in HTTP."""
    return f"/{SERVICE}/{method}"


def read_all(records: Any) -> list[Row]:
    """The value of every field, each of which becomes one of Python's only now."""
    return [Row(r.number, r.name, r.score, r.active, r.note) for r in records.records]


async def numbers(count: int) -> AsyncIterator[Any]:
    """The items to send."""
    for number in range(count):
        yield Item(value=number)


async def receive(items: AsyncIterable[Any]) -> Receipt:
    """The receipt for items that come."""
    count = checksum = 0
    async for item in items:
        count += 1
        checksum = mix(checksum, item.value)
    return Receipt(count, checksum)


async def take(items: AsyncIterable[Any]) -> Any:
    """The message with the receipt for items that come."""
    return Taken(**(await receive(items))._asdict())


def receipt_in(taken: Any) -> Receipt:
    """The receipt that such a message carries."""
    return Receipt(taken.received, taken.checksum)


class ProtobufClient(Client):
    """What is the same with every gRPC library: a method is an async function from a
    message to a message.

    Args:
        add: the method of this name.
        echo: the same.
        swap: the same.
    """

    def __init__(
        self,
        *,
        add: Callable[[Any], Awaitable[Any]],
        echo: Callable[[Any], Awaitable[Any]],
        swap: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._add = add
        self._echo = echo
        self._swap = swap

    async def call(self, number: int) -> None:
        """One call."""
        answer = await self._add(Terms(left=number, right=ADDEND))
        check_sum(answer.value, number)

    async def calls(self, count: int, *, can_wait: bool) -> None:
        for number in range(count):
            await self.call(number)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            answer = await self._echo(Block(data=block))
            check_echo(answer.data, block, turn)

    def records_of(self, rows: Sequence[Row]) -> object:
        return Records(records=[Record(**row._asdict()) for row in rows])

    async def swap(self, records: object) -> list[Row]:
        return read_all(await self._swap(records))

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return answer
