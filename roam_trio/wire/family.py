"""The type of the messages that a conduit carries, together with its codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

__all__ = ["M", "MsgFamily"]

M = TypeVar("M")


class MsgFamily(ABC, Generic[M]):
    """A type of message together with its codec (`conduit.typeplan`)."""

    @abstractmethod
    def encode(self, message: M) -> list[bytes | memoryview]:
        """Return the message's bytes, in pieces; large byte strings are not copied."""

    @abstractmethod
    def decode(self, payload: bytes | memoryview) -> M:
        """Return the message that `payload` is the encoding of.

        Raises:
            DecodeError: it is none.
        """

    def filler(self) -> M | None:
        """Return a message that means nothing to its receiver and is never sent
        otherwise.

        For conduits that have something to say of their own, and can say it only in
        front of a message. None, unless overridden: there is no such message.
        """
        return None
