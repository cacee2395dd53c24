"""The number of bytes that a peer's message makes this side hold."""

from __future__ import annotations

from ..wire.envelope import encode_message
from ..wire.messages import ChannelItem, Encoded, Message, joined

__all__ = ["payload_behind", "weight"]


def weight(message: Message) -> int:
    """Return the length of an item, or of an encoded message if it carries metadata.

    What else is in a message is a few bytes, of which a limit on the number of messages
    takes care.
    """
    if type(message) is ChannelItem:
        return len(joined(message.item))
    if getattr(message, "metadata", None):
        return sum(map(len, encode_message(message)))
    return 0


def payload_behind(value: Encoded) -> int:
    """Return the length of the payload that a received value keeps in memory. It is 0
    for one of less than 2 KiB, whose value is a copy."""
    return memoryview(value.obj).nbytes if isinstance(value, memoryview) else 0
