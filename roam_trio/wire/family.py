"""The type of messages that a conduit carries, and its codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from .backing import Backing

__all__ = ["M", "MsgFamily"]

M = TypeVar("M")


class MsgFamily(ABC, Generic[M]):
    """A type of message together with its codec (`conduit.typeplan`)."""

    @abstractmethod
    def encode(self, message: M) -> list[bytes | memoryview]:
        """Return the bytes of the message in pieces, without copying large byte
        strings.
        """

    def encode_frame(self, message: M) -> bytes | list[bytes | memoryview]:
        """Return the frame of the message, as a link on a byte stream sends it, or its
        pieces if it is so long that these are not copied.

        The default returns the pieces.
        """
        return self.encode(message)

    def encode_all(self, messages: Sequence[M]) -> Sequence[list[bytes | memoryview]]:
        """Return the bytes of several messages, each as `encode` does."""
        return list(map(self.encode, messages))

    def gather(self, payloads: Sequence[Backing]) -> Sequence[Any]:
        """Prepare payloads that were received together.

        The result is in the same order. It may have, in place of several payloads, one
        object that the user of the conduit takes for all of them: a session takes an
        `ItemRun`. The default changes nothing.
        """
        return payloads

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
