"""Types without parts: the wire types of `int` and its markers."""

from __future__ import annotations

from typing import Any

from ..wire.ids import ChannelId, ConnectionId, MethodId, RequestId
from .shape import (
    BoolShape,
    BytesShape,
    CharShape,
    FloatShape,
    IntShape,
    Shape,
    StrShape,
    UnitShape,
)

__all__ = ["MARKED", "PLAIN", "U8"]


def _integer(name: str, bits: int) -> IntShape:
    return IntShape(name, bits, signed=name.startswith("i"))


U8 = _integer("u8", 8)
_U64 = _integer("u64", 64)
_I64 = _integer("i64", 64)
MARKED: dict[str, tuple[type[Any], Shape]] = {
    **{
        f"{sign}{bits}": (int, _integer(f"{sign}{bits}", bits))
        for bits in (8, 16, 32, 64, 128)
        for sign in "ui"
    },
    "usize": (int, _integer("usize", 64)),
    "isize": (int, _integer("isize", 64)),
    "f32": (float, FloatShape(32)),
    "f64": (float, FloatShape(64)),
    "char": (str, CharShape()),
}
PLAIN: dict[Any, Shape] = {
    bool: BoolShape(),
    int: _I64,
    float: FloatShape(64),
    str: StrShape(),
    bytes: BytesShape(),
    memoryview: BytesShape(view=True),
    type(None): UnitShape(),
    # As in Rust, for statistics and the like that are sent as values.
    ConnectionId: _U64,
    RequestId: _U64,
    ChannelId: _U64,
    MethodId: _U64,
}
