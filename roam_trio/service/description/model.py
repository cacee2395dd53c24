"""The schema of a service as plain data.

A `ServiceSchema` has everything that a peer needs to call a service, and nothing of
Python. Classes become types by name, so that a type may refer to itself. `to_json`
shows it to people; `encoding.schema_from_json` reads it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from ..effects import Effect

__all__ = [
    "PRIMITIVES",
    "ArgSchema",
    "ArrayType",
    "ChannelType",
    "EnumSchema",
    "FieldSchema",
    "ListType",
    "MapType",
    "MethodSchema",
    "NamedType",
    "OptionType",
    "Primitive",
    "ServiceSchema",
    "SetType",
    "StructSchema",
    "TupleType",
    "Type",
    "TypeSchema",
    "VariantSchema",
    "parts",
]

Primitive: TypeAlias = Literal[
    "bool",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "char",
    "str",
    "bytes",
    "byte slice",
    "unit",
]
"""A type without parts. ``byte slice`` is Rust's ``&[u8]``."""

PRIMITIVES: tuple[Primitive, ...] = Primitive.__args__  # type: ignore[attr-defined]


class OptionType(msgspec.Struct, frozen=True, tag_field="is", tag="option"):
    """A value or None."""

    item: Type


class ListType(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="is", tag="list"
):
    """A list. `slice` is Rust's ``&[T]``, which differs in the ids of methods only."""

    item: Type
    slice: bool = False


class ArrayType(msgspec.Struct, frozen=True, tag_field="is", tag="array"):
    """A list of exactly `length` items."""

    item: Type
    length: int


class SetType(msgspec.Struct, frozen=True, tag_field="is", tag="set"):
    """A set."""

    item: Type


class MapType(msgspec.Struct, frozen=True, tag_field="is", tag="map"):
    """A map."""

    key: Type
    value: Type


class TupleType(msgspec.Struct, frozen=True, tag_field="is", tag="tuple"):
    """A tuple."""

    items: tuple[Type, ...]


class ChannelType(msgspec.Struct, frozen=True, tag_field="is", tag="channel"):
    """A channel: ``tx`` if the handler sends the items, ``rx`` if the caller does.

    Attributes:
        credit: number of items that may be sent before the first grant.
    """

    direction: Literal["tx", "rx"]
    item: Type
    credit: int


class NamedType(msgspec.Struct, frozen=True, tag_field="is", tag="type"):
    """One of the types of the service, by its name."""

    name: str


Type: TypeAlias = (
    Primitive
    | OptionType
    | ListType
    | ArrayType
    | SetType
    | MapType
    | TupleType
    | ChannelType
    | NamedType
)
"""A type where it is used."""


class FieldSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of a struct or of a variant.

    Attributes:
        name: its name on the wire.
        type: its type.
        default: its default as a JSON value, if it has one that can be told.
        computed: whether it has a default that only its own program can compute.
    """

    name: str
    type: Type
    default: Any | UnsetType = UNSET
    computed: bool = False


class ArgSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """An argument of a method; its attributes are those of a field.

    Attributes:
        keyword_only: whether Python takes it by name only. On the wire, arguments go
            by position.
    """

    name: str
    type: Type
    default: Any | UnsetType = UNSET
    computed: bool = False
    keyword_only: bool = False


class StructSchema(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="is", tag="struct"
):
    """A class with fields.

    Attributes:
        tuple_like: its fields have no names on the wire.
    """

    name: str
    fields: tuple[FieldSchema, ...] = ()
    tuple_like: bool = False
    doc: str = ""


class VariantSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """A variant of an enum.

    Attributes:
        tuple_like: its fields have no names on the wire. With one field it is a
            newtype variant.
    """

    name: str
    fields: tuple[FieldSchema, ...] = ()
    tuple_like: bool = False
    doc: str = ""


class EnumSchema(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="is", tag="enum"
):
    """An enum, or a union of classes."""

    name: str
    variants: tuple[VariantSchema, ...]
    doc: str = ""


TypeSchema: TypeAlias = StructSchema | EnumSchema
"""The definition of a type that has a name."""


class MethodSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """A method.

    Attributes:
        name: its name in Python.
        id: its id on the wire (`rpc.method-id`).
        args: its arguments, in order.
        returns: its success type.
        fails: its error type; None for a method that declares none.
        doc: its docstring.
        effect: what calling it again can do, as `idempotent` has marked it.
    """

    name: str
    id: int
    args: tuple[ArgSchema, ...] = ()
    returns: Type = "unit"
    fails: Type | None = None
    doc: str = ""
    effect: Effect = "any"


class ServiceSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service: its methods, and the types that they use.

    `ServiceDescriptor.schema` returns one.
    """

    name: str
    methods: tuple[MethodSchema, ...] = ()
    types: tuple[TypeSchema, ...] = ()
    doc: str = ""

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return it as JSON, with `indent` spaces a level; None for the compact form.

        Attributes that have their default values are left out.
        """
        # Only now, because most programs describe nothing.
        from .json_text import json_text

        return json_text(self, indent)


def parts(type: Type) -> tuple[Type, ...]:
    """Return the types that stand in a type; the items of a channel are one."""
    match type:
        case OptionType(item) | ListType(item) | ArrayType(item) | SetType(item):
            return (item,)
        case ChannelType(_, item):
            return (item,)
        case MapType(key, value):
            return (key, value)
        case TupleType(items):
            return items
        case _:
            return ()
