"""A family of messages made from a type, without a codec written by hand."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from ..schema.derive import shape_of
from ..schema.shape import Shape
from ..wire.backing import Backing
from ..wire.family import MsgFamily
from .plan import RpcPlan

__all__ = ["ShapedFamily"]

M = TypeVar("M")


class ShapedFamily(MsgFamily[M], Generic[M]):
    """The messages of one type, in postcard, for a conduit to carry.

        class Moved(msgspec.Struct):
            x: i32
            y: i32

        tx, rx = BareConduit(link, ShapedFamily(Moved)).split()

    For protocols of one's own on the links and conduits of this package. A stable
    conduit cannot carry messages of no bytes, such as None.

    A union of classes makes several kinds of message. Type checkers cannot infer it, so
    annotate the family: ``moves: ShapedFamily[Moved | Left] = ShapedFamily(Moved |
    Left)``.

    Args:
        type: the type of the messages, as it would stand in an annotation.
        filler: a message that the receiver ignores, if there is one; see
            `MsgFamily.filler`.

    Raises:
        SchemaError: the type, or a part of it, cannot go on the wire, or is a channel.
        EncodeError: `filler` is not of the type.
    """

    @overload
    def __init__(self, type: type[M], *, filler: M | None = None) -> None: ...
    @overload
    def __init__(self, type: Any, *, filler: M | None = None) -> None: ...
    def __init__(self, type: Any, *, filler: M | None = None) -> None:
        shape = shape_of(type, no_channels="in a message of a conduit")
        self._plan: RpcPlan[M] = RpcPlan(type, shape)
        self._filler = filler
        if filler is not None:
            self._plan.encode(filler)

    @property
    def shape(self) -> Shape:
        """The shape of the messages."""
        return self._plan.shape

    def encode(self, message: M) -> list[bytes | memoryview]:
        """See `MsgFamily.encode`.

        Raises:
            EncodeError: the message is not of the type.
        """
        return self._plan.encode(message)

    def decode(self, payload: Backing) -> M:
        """See `MsgFamily.decode`. A `memoryview` field borrows from `payload`."""
        return self._plan.decode(payload)

    def filler(self) -> M | None:
        return self._filler

    def __repr__(self) -> str:
        return f"<ShapedFamily of {self._plan.title}>"
