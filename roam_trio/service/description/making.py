"""Schemas of services, made from the shapes of their methods."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Hashable, Mapping
from typing import Any, Final, assert_never, cast

from ...legible import legible
from ...schema.shape import (
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
    Level,
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
    levels,
)
from ...wire.ids import MethodId
from ..effects import Effect
from .defaults import NO_DEFAULT, default_of_argument, defaults_of_fields
from .model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    EnumSchema,
    FieldSchema,
    ListType,
    MapType,
    MethodSchema,
    NamedType,
    OptionType,
    Primitive,
    ServiceSchema,
    SetType,
    StructSchema,
    TupleType,
    Type,
    TypeSchema,
    VariantSchema,
)

__all__ = ["SchemaMaker"]

_LOCAL: Final = re.compile(r"[\w.]*<locals>\.")
"""The start of the names of classes that a function defines."""

_MOST_LABEL: Final = 200
"""Length, in characters, to which the names of types are cut: that of a union has the
names of all its classes.
"""


class SchemaMaker:
    """Makes the schema of one service, method by method.

    Args:
        name: the name of the service.
        doc: its docstring.
    """

    def __init__(self, name: str, doc: str) -> None:
        self._name = name
        self._doc = doc
        self._methods: list[MethodSchema] = []
        self._types: dict[str, TypeSchema | None] = {}
        self._names: dict[Hashable, str] = {}

    def add(
        self,
        name: str,
        id: MethodId,
        arguments: Shape,
        ok: Shape,
        error: Shape | None,
        signature: inspect.Signature,
        doc: str,
        effect: Effect,
    ) -> None:
        """Add a method.

        Args:
            name: its name.
            id: its id on the wire.
            arguments: the shape of the argument tuple.
            ok: the shape of its success type.
            error: the shape of its error type, if it declares one.
            signature: its signature in Python, which has defaults.
            doc: its docstring.
            effect: what calling it again can do.
        """
        assert isinstance(arguments, TupleShape)
        within = levels(arguments)
        args = tuple(
            self._argument(parameter, shape, within)
            for parameter, shape in zip(
                signature.parameters.values(), arguments.items, strict=True
            )
        )
        self._methods.append(
            MethodSchema(
                name,
                id,
                args,
                self._type(ok, levels(ok)),
                None if error is None else self._type(error, levels(error)),
                doc,
                effect,
            )
        )

    def made(self) -> ServiceSchema:
        """Return the schema."""
        types = cast("dict[str, TypeSchema]", self._types)
        return ServiceSchema(
            self._name, tuple(self._methods), tuple(types.values()), self._doc
        )

    # ------------------------------------------------------------ types

    def _argument(
        self, parameter: inspect.Parameter, shape: Shape, within: Mapping[str, Level]
    ) -> ArgSchema:
        told = default_of_argument(parameter, shape)
        return ArgSchema(
            parameter.name,
            self._type(shape, within),
            told.value,
            told.computed,
            parameter.kind is inspect.Parameter.KEYWORD_ONLY,
        )

    def _type(self, shape: Shape, within: Mapping[str, Level]) -> Type:
        """Return the type of a shape.

        Args:
            shape: the shape.
            within: the levels to which references in it refer.
        """
        match shape:
            case TransparentShape() | ConvertedShape():
                return self._type(shape.inner, within)
            case OptionShape(inner):
                return OptionType(self._type(inner, within))
            case ListShape(item, _, is_slice):
                return ListType(self._type(item, within), is_slice)
            case ArrayShape(item, length):
                return ArrayType(self._type(item, within), length)
            case SetShape(item):
                return SetType(self._type(item, within))
            case MapShape(key, value):
                return MapType(self._type(key, within), self._type(value, within))
            case TupleShape(_, items):
                return TupleType(tuple(self._type(each, within) for each in items))
            case ChannelShape(direction, item, credit):
                return ChannelType(direction, self._type(item, levels(item)), credit)
            case RefShape(name):
                return self._type(within[name], within)
            case StructShape() | EnumShape() | UnionShape():
                return self._named(shape, within)
            case _:
                return _primitive(shape)

    def _named(
        self, shape: StructShape | EnumShape | UnionShape, within: Mapping[str, Level]
    ) -> NamedType:
        key = _key(shape)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._new_name(shape.name)
            # Its place comes first, because its definition may refer to it.
            self._types[name] = None
            self._types[name] = self._definition(name, shape, within)
        return NamedType(name)

    def _new_name(self, label: str) -> str:
        # A shape counts the types of one name in it; here they are those of a service.
        base = legible(_LOCAL.sub("", label.split(" #")[0]), _MOST_LABEL)
        number = 1
        while (name := base if number == 1 else f"{base} #{number}") in self._types:
            number += 1
        return name

    def _definition(
        self,
        name: str,
        shape: StructShape | EnumShape | UnionShape,
        within: Mapping[str, Level],
    ) -> TypeSchema:
        match shape:
            case StructShape(_, record):
                fields = self._fields(record, within)
                doc = _doc(record.cls)
                return StructSchema(name, fields, record.tuple_like, doc)
            case EnumShape(_, cls, _, variants):
                return EnumSchema(name, tuple(map(VariantSchema, variants)), _doc(cls))
            case UnionShape(_, variants):
                return EnumSchema(
                    name, tuple(self._variant(each, within) for each in variants)
                )
            case _:
                assert_never(shape)

    def _variant(self, variant: Variant, within: Mapping[str, Level]) -> VariantSchema:
        record = variant.record
        fields = self._fields(record, within)
        doc = _doc(record.cls)
        return VariantSchema(variant.name, fields, record.tuple_like, doc)

    def _fields(
        self, record: Record, within: Mapping[str, Level]
    ) -> tuple[FieldSchema, ...]:
        defaults = defaults_of_fields(record)

        def schema_of(field: Field) -> FieldSchema:
            told = defaults.get(field.attribute, NO_DEFAULT)
            type = self._type(field.shape, within)
            return FieldSchema(field.name, type, told.value, told.computed)

        return tuple(map(schema_of, record.fields))


def _key(shape: StructShape | EnumShape | UnionShape) -> Hashable:
    match shape:
        case StructShape(_, record):
            return record.cls, record.args
        case EnumShape(_, cls):
            return cls
        case UnionShape(_, variants):
            return tuple((each.record.cls, each.record.args) for each in variants)
        case _:
            assert_never(shape)


def _primitive(
    shape: (
        BoolShape
        | IntShape
        | FloatShape
        | CharShape
        | StrShape
        | BytesShape
        | UnitShape
    ),
) -> Primitive:
    match shape:
        case BoolShape():
            return "bool"
        case IntShape(name):
            return cast("Primitive", name)
        case FloatShape(bits):
            return "f32" if bits == 32 else "f64"
        case CharShape():
            return "char"
        case StrShape():
            return "str"
        case BytesShape():
            return "byte slice" if shape.slice else "bytes"
        case UnitShape():
            return "unit"
        case _:
            assert_never(shape)


def _doc(cls: type[Any]) -> str:
    """Return the docstring that a class itself has."""
    doc = cls.__dict__.get("__doc__")
    if not isinstance(doc, str) or (
        dataclasses.is_dataclass(cls) and doc.startswith(f"{cls.__name__}(")
    ):
        return ""  # dataclasses makes one of the signature
    return inspect.cleandoc(doc)
