"""Fingerprints, by which two peers find that they have the same service in mind."""

from __future__ import annotations

import json
from typing import Any

from blake3 import blake3
from msgspec import UNSET

from ...schema.signature import kebab
from .model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    FieldSchema,
    ListType,
    MapType,
    MethodSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    SetType,
    StructSchema,
    TupleType,
    Type,
    TypeSchema,
)

__all__ = ["Layouts", "fingerprint"]


def fingerprint(schema: ServiceSchema) -> bytes:
    """Return 16 bytes that are the same for services that work alike.

    They depend on the ids, names and arguments of methods, on types, also those inside
    results, on credit and on defaults. They do not depend on docstrings, on the names
    of classes, or on the order of methods.
    """
    canonical = json.dumps(
        _Canonical(schema).service(schema), separators=(",", ":"), sort_keys=True
    )
    return blake3(canonical.encode()).digest(length=16)


class Layouts:
    """The layouts of the methods of a schema, made once for methods of the same types.

    Args:
        schema: the schema.
    """

    def __init__(self, schema: ServiceSchema) -> None:
        self._schema = schema
        self._known: dict[Any, str] = {}

    def of(self, method: MethodSchema) -> str:
        """Return a text that is the same for methods of which all values have the same
        bytes, names and credit. It does not depend on defaults, nor on the name and the
        id of the method.
        """
        args = tuple((each.name, each.type) for each in method.args)
        key = args, method.returns, method.fails
        if key not in self._known:
            canonical = _Canonical(self._schema, with_defaults=False)
            types = canonical.types_of(method)
            self._known[key] = json.dumps(types, separators=(",", ":"))
        return self._known[key]


class _Canonical:
    """Replaces the names of types by numbers, in the order in which they are met."""

    def __init__(self, schema: ServiceSchema, *, with_defaults: bool = True) -> None:
        self._with_defaults = with_defaults
        self._types = {each.name: each for each in schema.types}
        self._numbers: dict[str, int] = {}
        self._met: list[TypeSchema] = []

    def service(self, schema: ServiceSchema) -> list[Any]:
        methods = sorted(schema.methods, key=lambda each: each.id)
        return self._with_types([self._method(each) for each in methods])

    def types_of(self, method: MethodSchema) -> list[Any]:
        return self._with_types(self._method(method)[2:])

    def _with_types(self, found: list[Any]) -> list[Any]:
        # The list grows while definitions refer to further types.
        found += (self._definition(type) for type in self._met)
        return found

    def _method(self, method: MethodSchema) -> list[Any]:
        return [
            kebab(method.name),
            method.id,
            [self._field(each, each.name) for each in method.args],
            self._type(method.returns),
            None if method.fails is None else self._type(method.fails),
        ]

    def _field(self, field: FieldSchema | ArgSchema, name: str) -> list[Any]:
        if not self._with_defaults:
            return [name, self._type(field.type)]
        default = [] if field.default is UNSET else [field.default]
        return [name, self._type(field.type), default, field.computed]

    def _fields(
        self, fields: tuple[FieldSchema, ...], *, tuple_like: bool
    ) -> list[Any]:
        return [
            self._field(each, str(index) if tuple_like else each.name)
            for index, each in enumerate(fields)
        ]

    def _definition(self, type: TypeSchema) -> list[Any]:
        if isinstance(type, StructSchema):
            fields = self._fields(type.fields, tuple_like=type.tuple_like)
            return ["struct", type.tuple_like, fields]
        return [
            "enum",
            *(
                [
                    each.name,
                    each.tuple_like,
                    self._fields(each.fields, tuple_like=each.tuple_like),
                ]
                for each in type.variants
            ),
        ]

    def _type(self, type: Type) -> Any:
        match type:
            case NamedType(name):
                if name not in self._numbers:
                    self._numbers[name] = len(self._met)
                    self._met.append(self._types[name])
                return self._numbers[name]
            case OptionType(item):
                return ["option", self._type(item)]
            case ListType(item, is_slice):
                return ["list", self._type(item), is_slice]
            case ArrayType(item, length):
                return ["array", self._type(item), length]
            case SetType(item):
                return ["set", self._type(item)]
            case MapType(key, value):
                return ["map", self._type(key), self._type(value)]
            case TupleType(items):
                return ["tuple", *map(self._type, items)]
            case ChannelType(direction, item, credit):
                return ["channel", direction, self._type(item), credit]
            case _:
                return type
