"""Counts of the peer's messages that this side holds.

The unit is the encoded size of a message of any kind, or the memory of its metadata,
which may take twenty times as much. A `HeldMessages` counts the messages held for one
purpose against the two limits of that purpose.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Final, Protocol

from ..errors import LimitExceeded
from ..limits import Limits
from ..metadata import Metadata
from ..wire.entries import encode_metadata
from ..wire.envelope import encode_message
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    Encoded,
    Message,
)
from .bounds import MESSAGE_BYTES

__all__ = [
    "LIGHT_METADATA",
    "HeldMessages",
    "check_metadata",
    "encoded_size",
    "payload_behind",
    "weight_of",
]

_ENTRY: Final = 80
"""Memory of an entry of metadata without its key and its value, in bytes."""


def encoded_size(message: Message) -> int:
    """Return the number of bytes of `message` on the wire.

    Nothing is copied: the encoded value in a message is a piece of its own.
    """
    # The two kinds of which many are held; others are rare, and may have metadata.
    if type(message) is ChannelItem:
        item = message.item
        value = sum(map(len, item)) if isinstance(item, list) else len(item)
    elif type(message) is ChannelGrantCredit:
        value = _varint_size(message.additional)
    else:
        return sum(map(len, encode_message(message)))
    head = _varint_size(message.connection_id) + _varint_size(message.channel_id)
    return head + 2 + value  # two tags


def _varint_size(number: int) -> int:
    return (number.bit_length() + 6) // 7 or 1


def payload_behind(value: Encoded) -> int:
    """Return the length of the payload that a received value keeps in memory. It is 0
    for one of less than 2 KiB, whose value is a copy."""
    return memoryview(value.obj).nbytes if isinstance(value, memoryview) else 0


LIGHT_METADATA: Final = 512
"""Memory of the metadata of a call, in bytes, up to which it is not counted: room for a
deadline and the context of a trace."""


def weight_of(metadata: Metadata) -> int:
    """Return the memory of metadata, in bytes."""
    weight = 0
    for entry in metadata:
        weight += _ENTRY + getsizeof(entry.key) + getsizeof(entry.value)
    return weight


def check_metadata(message: Message, most: int) -> None:
    """Check the metadata of a message of more than `most` bytes.

    Raises:
        LimitExceeded: the metadata alone has more.
    """
    metadata: Metadata | None = getattr(message, "metadata", None)
    if not metadata:
        return
    size = len(encode_metadata(metadata))
    if size > most:
        kind = type(message).__name__
        raise LimitExceeded(
            "metadata_bytes", f"a {kind} came with {size} bytes of metadata"
        )


def _size_of(message: ChannelMessage) -> int:
    size = encoded_size(message)
    if isinstance(message, ChannelClose | ChannelReset):
        size = max(size, weight_of(message.metadata))
    return size


class Memory(Protocol):
    """The interface of a budget for messages that are held."""

    def hold(self, size: int) -> None:
        """Count bytes, or raise `LimitExceeded`."""
        ...

    def give(self, size: int) -> None:
        """Stop counting bytes."""
        ...


class HeldMessages:
    """Counts messages of channels that are held, and their bytes, against two limits.

    Their memory counts against the budget of their session too. It holds no message
    itself.

    Args:
        limits: what the peer can make this side hold.
        most: the name of the limit on the number of messages, a field of `Limits`.
        most_bytes: the name of the limit on their size in bytes.
        why: why they are held, for the error: "… wait for …".
        budget: counts their memory for the session; None for no count.
    """

    __slots__ = (
        "_budget",
        "_limits",
        "_memory",
        "_most",
        "_most_bytes",
        "_why",
        "bytes",
        "count",
    )

    def __init__(
        self,
        limits: Limits,
        most: str,
        most_bytes: str,
        why: str,
        budget: Memory | None = None,
    ) -> None:
        self._limits = limits
        self._budget = budget
        self._memory = 0
        self._most = most
        self._most_bytes = most_bytes
        self._why = why
        self.count = 0
        """Number of messages."""
        self.bytes = 0
        """Their size, in bytes: as encoded, or the memory of their metadata."""

    def add(self, message: ChannelMessage) -> None:
        """Count a message to hold.

        Raises:
            LimitExceeded: it is one too many, or too large together with the others.
                It is not counted then.
        """
        own = _size_of(message)
        count, size = self.count + 1, self.bytes + own
        for name, number, what in (
            (self._most, count, "messages"),
            (self._most_bytes, size, "bytes"),
        ):
            most = getattr(self._limits, name)
            if number > most:
                where = f"channel {message.channel_id}"
                raise LimitExceeded(
                    name, f"{where}: {number} {what} {self._why}, at most {most} may"
                )
        if self._budget is not None:
            memory = MESSAGE_BYTES + own
            self._budget.hold(memory)
            self._memory += memory
        self.count, self.bytes = count, size

    def remove(self, message: ChannelMessage) -> None:
        """Remove a counted message."""
        own = _size_of(message)
        self.count -= 1
        self.bytes -= own
        if self._budget is not None:
            memory = MESSAGE_BYTES + own
            self._budget.give(memory)
            self._memory -= memory

    def clear(self) -> None:
        """Remove all messages."""
        self.count = self.bytes = 0
        if self._budget is not None:
            self._budget.give(self._memory)
            self._memory = 0

    def __repr__(self) -> str:
        return f"<HeldMessages: {self.count}, of {self.bytes} bytes>"
