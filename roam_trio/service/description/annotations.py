"""Annotations and classes made from a schema.

They are derived as those of a program are, so that a schema from a peer passes the same
checks, and gives the same signatures. Their values are of no use to a program: see
`plain_values`.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final, Union

import msgspec

from ...rpc.channel import Rx, Tx
from ...schema.annotations import Applied, normalise
from ...schema.shape import Field, Record
from ...schema.types import (
    Credit,
    Length,
    Slice,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)
from .model import (
    ArrayType,
    ChannelType,
    EnumSchema,
    FieldSchema,
    ListType,
    MapType,
    NamedType,
    OptionType,
    Primitive,
    ServiceSchema,
    SetType,
    StructSchema,
    TupleType,
    Type,
    VariantSchema,
)
from .safe_names import safe_name

__all__ = ["Annotations"]

_PRIMITIVES: Final[dict[Primitive, Any]] = {
    "bool": bool,
    "u8": normalise(u8),
    "u16": normalise(u16),
    "u32": normalise(u32),
    "u64": normalise(u64),
    "u128": normalise(u128),
    "usize": normalise(usize),
    "i8": normalise(i8),
    "i16": normalise(i16),
    "i32": normalise(i32),
    "i64": normalise(i64),
    "i128": normalise(i128),
    "isize": normalise(isize),
    "f32": normalise(f32),
    "f64": normalise(f64),
    "char": normalise(char),
    "str": str,
    "bytes": bytes,
    "byte slice": normalise(Annotated[bytes, Slice()]),
    "unit": type(None),
}

_NONE: Final = type(None)


class _Unit(msgspec.Struct, frozen=True):
    """None within an option, which Python cannot write."""

    value: None


transparent(_Unit)


class Annotations:
    """The annotations of the types of one schema, made when they are needed.

    Args:
        schema: the schema, which `schema_from_json` has checked.
    """

    def __init__(self, schema: ServiceSchema) -> None:
        self._definitions = {each.name: each for each in schema.types}
        self._made: dict[str, Any] = {}
        self._fields: dict[type[Any], tuple[FieldSchema, ...]] = {}

    def of(self, type: Type) -> Any:
        """Return the normal form of the annotation of a type."""
        match type:
            case NamedType(name):
                return self._named(name)
            case OptionType("unit"):
                return Applied(Union, (_Unit, _NONE))
            case OptionType(item):
                # Normal forms nest, so that an option may be within an option.
                return Applied(Union, (self.of(item), _NONE))
            case ListType(item, is_slice):
                listed = Applied(tuple, (self.of(item), ...))
                return _marked(listed, Slice()) if is_slice else listed
            case ArrayType(item, length):
                return _marked(Applied(tuple, (self.of(item), ...)), Length(length))
            case SetType(item):
                return Applied(frozenset, (self.of(item),))
            case MapType(key, value):
                return Applied(dict, (self.of(key), self.of(value)))
            case TupleType(items):
                return Applied(tuple, tuple(map(self.of, items)))
            case ChannelType(direction, item, credit):
                handle = Tx if direction == "tx" else Rx
                return _marked(Applied(handle, (self.of(item),)), Credit(credit))
            case _:
                return _PRIMITIVES[type]

    def field_of(self, record: Record, field: Field) -> FieldSchema:
        """Return what the schema has of a field of a class that this has made."""
        return self._fields[record.cls][record.fields.index(field)]

    # ------------------------------------------------------------ definitions

    def _named(self, name: str) -> Any:
        if name not in self._made:
            definition = self._definitions[name]
            if isinstance(definition, StructSchema):
                self._struct(definition)
            elif any(each.fields for each in definition.variants):
                self._union(definition)
            else:
                self._enum(definition)
        return self._made[name]

    def _struct(self, schema: StructSchema) -> None:
        cls = self._made[schema.name] = _new_class(schema)
        self._annotate(cls, schema.fields)

    def _union(self, schema: EnumSchema) -> None:
        classes = [_new_class(each, tag=each.name) for each in schema.variants]
        # A normal form, because Python has no union of one class.
        self._made[schema.name] = Applied(Union, tuple(classes))
        for cls, variant in zip(classes, schema.variants, strict=True):
            if variant.tuple_like and len(variant.fields) == 1:
                transparent(cls)
            self._annotate(cls, variant.fields)

    def _enum(self, schema: EnumSchema) -> None:
        members = [
            (f"v{index}", variant.name) for index, variant in enumerate(schema.variants)
        ]
        self._made[schema.name] = enum.Enum(safe_name(schema.name), members)

    def _annotate(self, cls: type[Any], fields: tuple[FieldSchema, ...]) -> None:
        # Only now, when the class exists, because its fields may refer to it.
        self._fields[cls] = fields
        for index, field in enumerate(fields):
            cls.__annotations__[f"f{index}"] = self.of(field.type)


def _marked(annotation: Any, marker: Any) -> Applied:
    return Applied(Annotated, (annotation, marker))


def _new_class(
    schema: StructSchema | VariantSchema, tag: str | None = None
) -> type[Any]:
    """Return a class with the fields of a schema, whose types are still open."""
    names = {f"f{index}": field.name for index, field in enumerate(schema.fields)}
    return msgspec.defstruct(
        safe_name(schema.name),
        [(name, Any) for name in names],
        frozen=True,
        array_like=schema.tuple_like,
        rename=names,
        # The field of the tag is never written, but no other may have its name.
        tag_field=None if tag is None else "\0",
        tag=tag,
    )
