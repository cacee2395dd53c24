"""JSON Schema of the plain values of a service, as docs/descriptions.md has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from msgspec import UNSET

from ...errors import SchemaError
from ...schema.scalars import MARKED
from ...schema.shape import IntShape
from .model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    EnumSchema,
    FieldSchema,
    ListType,
    MapType,
    NamedType,
    OptionType,
    ServiceSchema,
    SetType,
    StructSchema,
    TupleType,
    Type,
    TypeSchema,
    VariantSchema,
    parts,
)
from .safe_names import distinct_names

__all__ = ["MOST_TYPES", "JsonSchema", "JsonSchemas"]

JsonSchema: TypeAlias = dict[str, Any]
"""A schema of the dialect 2020-12."""

MOST_TYPES: Final = 2000
"""Number of places of types in one schema."""

_NULL: Final[JsonSchema] = {"type": "null"}
_BASE64: Final[JsonSchema] = {"type": "string", "contentEncoding": "base64"}
_FLOAT: Final[JsonSchema] = {
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]
}
_PRIMITIVES: Final[dict[Type, JsonSchema]] = {
    "bool": {"type": "boolean"},
    "f32": _FLOAT,
    "f64": _FLOAT,
    "char": {"type": "string", "minLength": 1, "maxLength": 1},
    "str": {"type": "string"},
    "bytes": _BASE64,
    "byte slice": _BASE64,
    "unit": _NULL,
}


class JsonSchemas:
    """Makes JSON schemas of the types of one service.

    Args:
        schema: the description of the service.
    """

    def __init__(self, schema: ServiceSchema) -> None:
        self._types = {each.name: each for each in schema.types}
        safe = distinct_names(self._types)
        self._keys = dict(zip(self._types, safe, strict=True))

    def of_members(self, members: Mapping[str, FieldSchema | ArgSchema]) -> JsonSchema:
        """Return the schema of an object with members, and of all that they refer to.

        A member with a default may be left out. One that is a channel is an array of
        its items.

        Raises:
            SchemaError: the schema would have more than `MOST_TYPES` types. Each
                schema repeats the definitions that it refers to, so that those of many
                methods can be far longer than the description of the service.
        """
        return self._whole(
            self._object(members), [each.type for each in members.values()]
        )

    def of_properties(
        self, types: Mapping[str, Type], required: list[str]
    ) -> JsonSchema:
        """Return the schema of an object; not all of its properties are required.

        Raises:
            SchemaError: see `of_members`.
        """
        schema = _object({name: self._type(each) for name, each in types.items()})
        schema["required"] = required
        return self._whole(schema, list(types.values()))

    def _whole(self, schema: JsonSchema, types: list[Type]) -> JsonSchema:
        """Return a schema with the definitions that types refer to."""
        found: dict[str, JsonSchema] = {}
        left = list(types)
        count = 0
        while left:
            count += 1
            if count > MOST_TYPES:
                raise SchemaError(
                    f"its JSON schema would have more than MOST_TYPES ({MOST_TYPES}) "
                    "types"
                )
            type = left.pop()
            left += parts(type)
            if (
                isinstance(type, NamedType)
                and (key := self._keys[type.name]) not in found
            ):
                definition = self._types[type.name]
                found[key] = self._definition(definition)
                left += _types_within(definition)
        return {**schema, "$defs": found} if found else schema

    # ------------------------------------------------------------ types

    def _type(self, type: Type) -> JsonSchema:
        match type:
            case NamedType(name):
                return {"$ref": f"#/$defs/{self._keys[name]}"}
            case OptionType(OptionType() | "unit" as item):
                return {"type": "array", "items": self._type(item), "maxItems": 1}
            case OptionType(item):
                return {"anyOf": [self._type(item), _NULL]}
            case ArrayType("u8", length):
                return {**_BASE64, **_lengths(-(-length // 3) * 4)}
            case ListType(item) | SetType(item) | ChannelType(_, item):
                return {"type": "array", "items": self._type(item)}
            case ArrayType(item, length):
                return {
                    "type": "array",
                    "items": self._type(item),
                    "minItems": length,
                    "maxItems": length,
                }
            case MapType(key, value):
                return self._map(key, value)
            case TupleType(items):
                return _tuple([self._type(each) for each in items])
            case _:
                return _PRIMITIVES.get(type) or _integer(type)

    def _map(self, key: Type, value: Type) -> JsonSchema:
        if key in ("str", "char") or self._is_plain_enum(key):
            return {
                "type": "object",
                "propertyNames": self._type(key),
                "additionalProperties": self._type(value),
            }
        return {"type": "array", "items": _tuple([self._type(key), self._type(value)])}

    def _is_plain_enum(self, type: Type) -> bool:
        definition = self._types[type.name] if isinstance(type, NamedType) else None
        return isinstance(definition, EnumSchema) and not any(
            each.fields for each in definition.variants
        )

    # ------------------------------------------------------------ definitions

    def _definition(self, definition: TypeSchema) -> JsonSchema:
        if isinstance(definition, StructSchema):
            schema = self._fields(definition)
        else:
            schema = self._enum(definition)
        return _with_doc(schema, definition.doc)

    def _enum(self, definition: EnumSchema) -> JsonSchema:
        bare = [each.name for each in definition.variants if not each.fields]
        choices: list[JsonSchema] = [{"enum": bare}] if bare else []
        choices += (
            _object({each.name: _with_doc(self._data(each), each.doc)})
            for each in definition.variants
            if each.fields
        )
        return choices[0] if len(choices) == 1 else {"anyOf": choices}

    def _data(self, variant: VariantSchema) -> JsonSchema:
        if variant.tuple_like and len(variant.fields) == 1:
            return self._type(variant.fields[0].type)
        return self._fields(variant)

    def _fields(self, record: StructSchema | VariantSchema) -> JsonSchema:
        if record.tuple_like:
            return _tuple([self._type(each.type) for each in record.fields])
        return self._object({each.name: each for each in record.fields})

    def _object(self, members: Mapping[str, FieldSchema | ArgSchema]) -> JsonSchema:
        properties = {name: self._member(each) for name, each in members.items()}
        schema = _object(properties)
        schema["required"] = [
            name for name, each in members.items() if each.default is UNSET
        ]
        return schema

    def _member(self, member: FieldSchema | ArgSchema) -> JsonSchema:
        schema = self._type(member.type)
        if member.default is UNSET:
            return schema
        return {**schema, "default": member.default}


def _with_doc(schema: JsonSchema, doc: str) -> JsonSchema:
    return {"description": doc, **schema} if doc else schema


def _types_within(definition: TypeSchema) -> list[Type]:
    if isinstance(definition, StructSchema):
        return [each.type for each in definition.fields]
    return [each.type for variant in definition.variants for each in variant.fields]


def _object(properties: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _tuple(items: list[JsonSchema]) -> JsonSchema:
    count = len(items)
    schema: JsonSchema = {"type": "array", "minItems": count, "maxItems": count}
    return {**schema, "prefixItems": items} if items else schema


def _lengths(length: int) -> JsonSchema:
    return {"minLength": length, "maxLength": length}


def _integer(type: Any) -> JsonSchema:
    shape = MARKED[type][1]
    assert isinstance(shape, IntShape)
    return {"type": "integer", "minimum": shape.minimum, "maximum": shape.maximum}
