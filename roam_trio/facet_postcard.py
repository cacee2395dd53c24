"""Values as postcard, without a call: for files, caches and tests.

    data = to_bytes(Point, Point(1, 2))
    assert from_bytes(Point, data) == Point(1, 2)

The bytes are those that the value has in a call, so that Rust reads and writes them
with the crate `facet_postcard`, or with `postcard`.
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

from .codec import RpcPlan, rpc_plan
from .errors import SchemaError

__all__ = ["from_bytes", "to_bytes"]

T = TypeVar("T")


@overload
def to_bytes(type: type[T], value: T) -> bytes: ...
@overload
def to_bytes(type: Any, value: Any) -> bytes: ...
def to_bytes(type: Any, value: Any) -> bytes:
    """Return a value in postcard.

    Args:
        type: its type, as it would stand in the annotation of an argument.
        value: the value.

    Raises:
        EncodeError: the value is not of the type.
        SchemaError: the type, or a part of it, has no wire form, or is a channel.
    """
    return b"".join(_plan(type).encode(value))


@overload
def from_bytes(type: type[T], data: bytes | memoryview) -> T: ...
@overload
def from_bytes(type: Any, data: bytes | memoryview) -> Any: ...
def from_bytes(type: Any, data: bytes | memoryview) -> Any:
    """Return the value of which `data` is the whole encoding.

    Args:
        type: its type, as it would stand in the annotation of an argument. A field
            annotated as `memoryview` borrows from `data`; `RpcPlan.borrow` returns the
            two together.
        data: the bytes; a view must be one of bytes.

    Raises:
        DecodeError: `data` is not the encoding of a value of the type.
        SchemaError: the type, or a part of it, has no wire form, or is a channel.
    """
    return _plan(type).decode(data)


def _plan(type: Any) -> RpcPlan[Any]:
    plan = rpc_plan(type)
    if plan.has_channels:
        raise SchemaError(
            "a channel is not a value: it goes from peer to peer in the arguments of a "
            "call",
            plan.title,
        )
    return plan
