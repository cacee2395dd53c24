"""The type of messages that a conduit carries, and its codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

__all__ = ["M", "MsgFamily"]

M = TypeVar("M")


class MsgFamily(ABC, Generic[M]):
    """A type of message together with its codec (`conduit.typeplan`)."""

    @abstractmethod
    def encode(self, message: M) -> list[bytes | memoryview]:
        """Return the bytes of the message in pieces, without copying large byte
        strings.
        """

    @abstractmethod
    def decode(self, payload: bytes | memoryview) -> M:
        """Return the message that `payload` encodes.

        Raises:
            DecodeError: `payload` is not the encoding of a message.
        """

    def filler(self) -> M | None:
        """Return a message that its receiver ignores and that is not sent otherwise.

        A conduit sends it when it has data of its own, such as an acknowledgement, and
        no message to put that data in front of. None, the default, means that the
        family has no such message.
        """
        return None
