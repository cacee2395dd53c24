"""Empty values of described types, for requests to fill in."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from ..service.description.model import (
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
    ServiceSchema,
    SetType,
    TupleType,
    Type,
    VariantSchema,
)
from .exits import UsageError

__all__ = ["MOST_PARTS", "Templates"]

MOST_PARTS = 10_000
"""Number of values in one template: the types of a peer can hold one another so often
that it would have no end."""


def _is_channel(type: Type) -> bool:
    return isinstance(type, ChannelType)


class _Endless(Exception):
    """The value would hold itself."""


class Templates:
    """Makes empty values of the types of a service."""

    def __init__(self, schema: ServiceSchema) -> None:
        self._types = {each.name: each for each in schema.types}
        self._within: list[str] = []
        self._parts = 0

    def arguments(self, method: MethodSchema) -> dict[str, Any]:
        """Return arguments for a method; channels have none.

        Raises:
            UsageError: a template would have more than `MOST_PARTS` values, or no end.
        """
        return self._made(
            {arg.name: arg for arg in method.args if not _is_channel(arg.type)}
        )

    def items(self, method: MethodSchema) -> dict[str, Any]:
        """Return an item for each channel on which the caller sends.

        Raises:
            UsageError: see `arguments`.
        """
        return self._made(
            {
                arg.name: FieldSchema(arg.name, arg.type.item)
                for arg in method.args
                if isinstance(arg.type, ChannelType) and arg.type.direction == "rx"
            }
        )

    def _made(self, fields: Mapping[str, FieldSchema | ArgSchema]) -> dict[str, Any]:
        try:
            return {name: self._of_field(field) for name, field in fields.items()}
        except (_Endless, RecursionError) as error:
            raise UsageError("a template would have no end, or is too deep") from error

    def _of_field(self, field: FieldSchema | ArgSchema) -> Any:
        return self._of(field.type) if field.default is UNSET else field.default

    def _of(self, type: Type) -> Any:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise UsageError(f"a template would have more than {MOST_PARTS} values")
        match type:
            case str():
                return _EMPTY.get(type, 0)
            case OptionType():
                return None
            case ListType() | SetType():
                return []
            case MapType(key="str" | "char"):
                return {}
            case MapType():
                return []
            case ArrayType("u8", length):
                return self._zeros(length)
            case ArrayType(item, length):
                return [self._of(item) for _ in range(length)]
            case TupleType(items):
                return [self._of(each) for each in items]
            case NamedType(name):
                return self._named(name)
            case _:
                raise UsageError("a channel stands within a value")

    def _zeros(self, length: int) -> str:
        if length > MOST_PARTS:
            raise UsageError(f"a template would have {length} bytes")
        return base64.b64encode(bytes(length)).decode()

    def _named(self, name: str) -> Any:
        if name in self._within:
            raise _Endless
        self._within.append(name)
        try:
            definition = self._types[name]
            if isinstance(definition, EnumSchema):
                return self._enum(definition)
            return self._record(definition.fields, definition.tuple_like)
        finally:
            self._within.pop()

    def _enum(self, enum: EnumSchema) -> Any:
        """Return the first variant that does not hold the enum itself."""
        for variant in enum.variants:
            try:
                return self._variant(variant)
            except _Endless:
                continue
        raise _Endless

    def _variant(self, variant: VariantSchema) -> Any:
        if not variant.fields:
            return variant.name
        if variant.tuple_like and len(variant.fields) == 1:
            return {variant.name: self._of_field(variant.fields[0])}
        return {variant.name: self._record(variant.fields, variant.tuple_like)}

    def _record(self, fields: tuple[FieldSchema, ...], tuple_like: bool) -> Any:
        values = {field.name: self._of_field(field) for field in fields}
        return list(values.values()) if tuple_like else values


_EMPTY: dict[str, Any] = {
    "bool": False,
    "f32": 0.0,
    "f64": 0.0,
    "char": "?",
    "str": "",
    "bytes": "",
    "byte slice": "",
    "unit": None,
}
"""The values of types without parts that are no integers."""
