"""Derivation of columns, which encode many values of one type field by field.

A *column* contains one field of every record. Numbers become one byte string,
little-endian and of one size. Texts become a list. A list of lists becomes its lengths
and one column of all items. The result is a small number of objects, however many
records there are, and msgspec converts them to MessagePack and back.

    [Point(x=1, y="a"), Point(x=2, y="b")]  ->  [01 02, ["a", "b"]]

The format depends only on the wire types: a class and a tuple with the same fields, or
a class with another name, have the same columns. A column accepts no value that
postcard would refuse, but may refuse values that postcard accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from ..schema.shape import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ConvertedShape,
    EnumShape,
    FloatShape,
    IntShape,
    ListShape,
    OptionShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnitShape,
)
from .leaves import (
    TEXTS,
    Bools,
    ByteArrays,
    ByteStrings,
    Column,
    Floats,
    Members,
    Numbers,
    Texts,
)
from .parts import (
    Converted,
    Foreign,
    Lists,
    OptionalTexts,
    Options,
    Records,
    Transparent,
    Tuples,
)

__all__ = ["Column", "column_of"]

_MOST_MEMBERS: Final = 256
_U8: Final = IntShape("u8", 8, signed=False)


def column_of(shape: Shape) -> Column | None:
    """Return the column of a shape, or None if it has none."""
    match shape:
        case BoolShape():
            return Bools()
        case IntShape(_, bits, signed) if bits <= 64:
            return Numbers(bits, signed=signed)
        case FloatShape(bits):
            return Floats(bits)
        case StrShape():
            return Texts()
        case BytesShape(view=False, slice=False):
            return ByteStrings()
        case ArrayShape(_, length, "bytes", counted=False) if length:
            return ByteArrays(length)
        case EnumShape(members=members) if len(members) <= _MOST_MEMBERS:
            return Members(members)
        case OptionShape(present=True):
            return None  # a column would take a wrong None for one
        case OptionShape() | ListShape() | TransparentShape() | ConvertedShape():
            return _around(shape)
        case UnitShape(written, skipped) if skipped is not None:
            inner = column_of(skipped)
            return None if inner is None else Foreign(inner, skipped, written)
        case TupleShape(_, items):
            columns = _columns_of(items)
            return None if columns is None else Tuples(columns)
        case StructShape(_, record):
            columns = _columns_of([each.shape for each in record.fields])
            return None if columns is None else Records(record, columns)
        case _:
            return None


def _around(
    shape: OptionShape | ListShape | TransparentShape | ConvertedShape,
) -> Column | None:
    inner_shape = shape.item if isinstance(shape, ListShape) else shape.inner
    inner = column_of(inner_shape)
    if inner is None:
        return None
    match shape:
        case OptionShape():
            return OptionalTexts(inner) if inner.wire == TEXTS else Options(inner)
        case ListShape():
            # A peer may declare a list of u8 as bytes.
            is_bytes = shape.item == _U8
            return None if is_bytes or shape.slice else Lists(shape.python, inner)
        case TransparentShape(record):
            return Transparent(record, inner)
        case ConvertedShape():
            return Converted(shape, inner)
        case _:
            assert_never(shape)


def _columns_of(shapes: Sequence[Shape]) -> list[Column] | None:
    """Return a column for each shape, or None if one has none. Also None for no shapes,
    because no column would tell the number of values.
    """
    columns = [column for shape in shapes if (column := column_of(shape)) is not None]
    return columns if columns and len(columns) == len(shapes) else None
