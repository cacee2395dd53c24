"""Runs of items: several items of one channel that are sent or received together.

What is done for each message is done once for a run. Nothing of this is on the wire:
each item is a message, and a payload, of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

from ..errors import DecodeError
from .backing import Backing
from .ids import ChannelId, ConnectionId
from .messages import ChannelItem
from .varint import U64_MAX, read_varint

__all__ = ["BORROW_FROM", "MOST_IN_RUN", "ItemRun", "gather_in_python"]

BORROW_FROM = 2048
"""Size of a payload, in bytes, from which its value is a view and not a copy."""

MOST_IN_RUN = 256
"""Number of items in a run at most: its receiver handles it without a pause."""

_CHANNEL = 8
_ITEM = 0

_FIRST_STEP = 8
"""Number of payloads that are compared at first, and twice as many each time."""

_LEAST = 2
"""Number of items from which they are a run."""


class ItemRun(Sequence[ChannelItem]):
    """Items of one channel that follow each other, as a sequence of messages.

    Args:
        connection_id: the connection.
        channel_id: the channel.
        items: the encoded values (`Encoded`), in order; or their `Frames`.
    """

    __slots__ = ("channel_id", "connection_id", "items")

    def __init__(
        self,
        connection_id: ConnectionId,
        channel_id: ChannelId,
        items: Sequence[Any],
    ) -> None:
        self.connection_id = connection_id
        self.channel_id = channel_id
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> ChannelItem: ...
    @overload
    def __getitem__(self, place: slice) -> list[ChannelItem]: ...
    def __getitem__(self, place: int | slice) -> ChannelItem | list[ChannelItem]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        return ChannelItem(self.connection_id, self.channel_id, self.items[place])

    def __repr__(self) -> str:
        return f"<ItemRun of {len(self.items)} items of channel {self.channel_id}>"


class _Head(NamedTuple):
    """The start of the payload of an item."""

    connection_id: ConnectionId
    channel_id: ChannelId
    bytes: bytes


def gather_in_python(payloads: Sequence[Backing]) -> Sequence[Backing | ItemRun]:
    """Replace payloads that are items of one channel and follow each other by runs.

    Everything else, and an item whose value would be a view of its payload, remains as
    it is. A run has `MOST_IN_RUN` items at most. Only looks for runs if there is one in
    the middle, because a search that finds none costs more than it saves.
    """
    middle = len(payloads) // 2
    head = _head_of_item(payloads[middle])
    if head is None or payloads[middle - 1][: len(head.bytes)] != head.bytes:
        return payloads
    if set(map(type, payloads)) != {bytes}:
        return payloads
    gathered: list[Backing | ItemRun] = []
    start = 0
    while start < len(payloads):
        first = payloads[start]
        head = _head_of_item(first)
        items = [] if head is None else _items_from(payloads, start, head.bytes)
        if head is None or len(items) < _LEAST:
            gathered.append(first)
            start += 1
        else:
            gathered.append(ItemRun(head.connection_id, head.channel_id, items))
            start += len(items)
    return gathered


def _items_from(payloads: Sequence[Any], start: int, head: bytes) -> list[bytes]:
    """Return the values of the items that begin with `head`, up to the first other."""
    end, last = start + 1, min(start + MOST_IN_RUN, len(payloads))
    step = _FIRST_STEP
    while end < last:
        some = payloads[end : min(end + step, last)]
        # All begin with it if the first and the last of them do, when they are sorted.
        if not (
            max(map(len, some)) < BORROW_FROM
            and min(some).startswith(head)
            and max(some).startswith(head)
        ):
            end += _count_items(some, head)
            break
        end += len(some)
        step *= 2
    length = len(head)
    return [payload[length:] for payload in payloads[start:end]]


def _count_items(payloads: Sequence[bytes], head: bytes) -> int:
    """Return how many of the first are items, of payloads that are not all items."""
    return next(
        count
        for count, payload in enumerate(payloads)
        if len(payload) >= BORROW_FROM or not payload.startswith(head)
    )


def _head_of_item(payload: Backing) -> _Head | None:
    """Return the start of an item; None for any other payload."""
    if type(payload) is not bytes or len(payload) >= BORROW_FROM:
        return None
    try:
        connection_id, pos = read_varint(payload, 0, U64_MAX, "$.connection_id")
        if payload[pos] != _CHANNEL:
            return None
        channel_id, pos = read_varint(payload, pos + 1, U64_MAX, "$.channel.id")
        if payload[pos] != _ITEM:
            return None
    except (DecodeError, IndexError):
        return None
    head = payload[: pos + 1]
    return _Head(ConnectionId(connection_id), ChannelId(channel_id), head)
