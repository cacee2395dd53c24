"""Shapes: what a type is on the wire, as plain data.

In the Rust crate, these are the shapes of the crate `facet`.

    shape_of(Point)             StructShape("Point", …)
    shape_of(list[u8] | None)   OptionShape(ListShape(IntShape("u8", 8, False)))
    children(shape)             the shapes of which a shape consists
    walked(shape)               a shape and all that is in it

A type that contains itself does so by a `RefShape`, which names the shape around it.
"""

from .schema import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    Field,
    FloatShape,
    IntShape,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
    Variant,
    shape_of,
)
from .schema.shape import children, has_channels, walked

__all__ = [
    "ArrayShape",
    "BoolShape",
    "BytesShape",
    "ChannelShape",
    "CharShape",
    "ConvertedShape",
    "EnumShape",
    "Field",
    "FloatShape",
    "IntShape",
    "ListShape",
    "MapShape",
    "OptionShape",
    "Record",
    "RefShape",
    "SetShape",
    "Shape",
    "StrShape",
    "StructShape",
    "TransparentShape",
    "TupleShape",
    "UnionShape",
    "UnitShape",
    "Variant",
    "children",
    "has_channels",
    "shape_of",
    "walked",
]
