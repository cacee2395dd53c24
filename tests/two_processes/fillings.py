"""Streams of a peer that fill a server, on one virtual connection after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from roam_trio import Metadata, channel
from roam_trio.metadata import NO_METADATA
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelItem,
    ConnectionOpen,
    ConnectionSettings,
    Message,
    RequestCall,
)

from .crowd import METHODS

__all__ = ["FILLINGS", "Filling", "opening"]

Filling = Callable[[int], Iterator[Message]]
"""Returns the messages for one virtual connection, of this id."""


def call(
    connection_id: int,
    request_id: int,
    method: str,
    *args: Any,
    channels: tuple[int, ...] = (),
    metadata: Metadata = NO_METADATA,
) -> RequestCall:
    """A call of `Crowd`; of its channels only the ids are given."""
    descriptor = METHODS[method]
    given = (*args, *(channel[Any]()[1] for _ in channels))
    encoded = b"".join(descriptor.args_plan.encode(given))
    return RequestCall(
        connection_id, request_id, descriptor.id, channels, metadata, encoded
    )


def _calls(method: str, *args: Any, metadata: Metadata = NO_METADATA) -> Filling:
    encoded = call(0, 1, method, *args, metadata=metadata)

    def fill(connection_id: int) -> Iterator[Message]:
        for request_id in range(1, 129, 2):
            yield RequestCall(
                connection_id,
                request_id,
                encoded.method_id,
                (),
                metadata,
                encoded.args,
            )

    return fill


def _items(method: str, count: int, item: bytes) -> Filling:
    def fill(connection_id: int) -> Iterator[Message]:
        for number in range(1, 33, 2):
            yield call(connection_id, number, method, channels=(number,))
            for _ in range(count):
                yield ChannelItem(connection_id, number, item)

    return fill


def _early(connection_id: int) -> Iterator[Message]:
    note = Metadata.of({f"key {n}": "some text" for n in range(100)})
    for number in range(1, 1025, 2):
        yield ChannelItem(connection_id, number, bytes(500))
        yield ChannelClose(connection_id, number, note)


NUMBERS = Metadata.of({f"{n}": n for n in range(1000)})
TEXT = Metadata.of({"x": "\u0100" * 30_000})

FILLINGS: dict[str, Callable[[], Filling]] = {
    "sleeping calls": lambda: _calls("sleep"),
    "sets": lambda: _calls("sets", [set[int]()] * 1000),
    "large sets": lambda: _calls("sets", [set[int]()] * 200_000),
    "lists": lambda: _calls("lists", [list[int]()] * 20_000),
    "sets that are counted": lambda: _calls("count", [set[int]()] * 1_000_000),
    "small blobs": lambda: _calls("blob", bytes(900)),
    "blobs": lambda: _calls("blob", bytes(100_000)),
    "metadata": lambda: _calls(
        "sleep", metadata=Metadata.of({f"{n}": n for n in range(1000)})
    ),
    "long metadata": lambda: _calls(
        "sleep", metadata=Metadata.of({"x": "\u0100" * 30_000})
    ),
    "items": lambda: _items("unread", 16, b"\x88\x27" + bytes(5000)),
    "small items": lambda: _items("unread_numbers", 2000, b"\x07"),
    "early messages": lambda: _early,
    "large results": lambda: _calls("large"),
}
"""What to send, by what is held of it; each is made when it is needed."""


def opening(connection_id: int) -> ConnectionOpen:
    """The open of a virtual connection."""
    return ConnectionOpen(connection_id, ConnectionSettings(Parity.ODD, 64))
