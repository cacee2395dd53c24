"""What a translated call has to give, by a plain model without codecs.

Values have a form that is the same in all programs: structs and variants by the names
of their fields, collections as tuples.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from roam_trio.schema.scalars import MARKED
from roam_trio.schema.shape import (
    ArrayShape,
    BytesShape,
    EnumShape,
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
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    levels,
)
from roam_trio.service.description.convertible import Member, members, plainly
from roam_trio.service.description.model import (
    ArrayType,
    EnumSchema,
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
)

Definitions = Mapping[str, TypeSchema]
Fields = tuple[tuple[str, Any], ...]


class Unordered:
    """Equal to a collection of the same values in any order."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = list(values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | frozenset):
            return NotImplemented
        return len(other) == len(self._values) and all(
            any(each == value for each in other) for value in self._values
        )

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"<{self._values} in any order>"


class Computed:
    """Equal to everything: a default that only its program can compute."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


ANYTHING = Computed()


def types_of(schema: ServiceSchema) -> Definitions:
    return {each.name: each for each in schema.types}


# ---------------------------------------------------------------- random values


def some(type: Type, types: Definitions, chance: random.Random, depth: int = 0) -> Any:
    """Return a random value of a type."""
    match type:
        case NamedType(name):
            return _some_named(types[name], types, chance, depth)
        case OptionType(item):
            if chance.random() < 0.4 or depth > 4:
                return None
            return ("some", some(item, types, chance, depth + 1))
        case ListType(item) | SetType(item):
            count = chance.randrange(3) if depth < 5 else 0
            found = [some(item, types, chance, depth + 1) for _ in range(count)]
            if isinstance(type, SetType):
                return ("set", frozenset(found))
            return ("list", tuple(found))
        case ArrayType(item, length):
            found = [some(item, types, chance, depth + 1) for _ in range(length)]
            return ("list", tuple(found))
        case MapType(key, value):
            return (
                "map",
                frozenset(
                    {
                        some(key, types, chance, depth + 1): some(
                            value, types, chance, depth + 1
                        )
                        for _ in range(chance.randrange(3))
                    }.items()
                ),
            )
        case TupleType(items):
            return (
                "tuple",
                tuple(some(each, types, chance, depth + 1) for each in items),
            )
        case "bytes" | "byte slice":
            return ("list", tuple(chance.randrange(256) for _ in range(3)))
        case "bool":
            return chance.random() < 0.5
        case "unit":
            return None
        case "char":
            return chance.choice("aé字🎉")
        case "str":
            return chance.choice(("", "a", "längere", "字" * 50))
        case "f32" | "f64":
            return chance.choice((0.0, -1.5, 2.25, 1e10 if type == "f64" else 1024.0))
        case _:
            shape = MARKED[str(type)][1]
            assert isinstance(shape, IntShape)
            near = min(shape.maximum, 100)
            return chance.choice(
                (shape.minimum, shape.maximum, 0, 1, chance.randint(0, near))
            )


def _some_named(
    definition: TypeSchema, types: Definitions, chance: random.Random, depth: int
) -> Any:
    if isinstance(definition, StructSchema):
        record: Any = definition
        name = None
    else:
        record = chance.choice(definition.variants)
        name = record.name
    fields = tuple(
        (key, some(field.type, types, chance, depth + 1))
        for key, field in sorted(members(record).items())
    )
    return ("struct", fields) if name is None else ("enum", name, fields)


# ---------------------------------------------------------------- the model


class Model:
    """What a reader gets of what a writer has written.

    Args:
        writer: the types of the schema of the writer.
        reader: the types of the schema of the reader.
    """

    def __init__(self, writer: Definitions, reader: Definitions) -> None:
        self._writer = writer
        self._reader = reader

    def read(self, written: Type, read: Type, value: Any) -> Any:
        one, other = plainly(written), plainly(read)
        if isinstance(other, OptionType):
            if not isinstance(one, OptionType):
                return ("some", self.read(one, other.item, value))
            if value is None:
                return None
            return ("some", self.read(one.item, other.item, value[1]))
        match one, other:
            case NamedType(name), NamedType(into):
                return self._named(self._writer[name], self._reader[into], value)
            case (
                (ListType(item) | ArrayType(item) | SetType(item)),
                (ListType(into) | ArrayType(into)),
            ):
                found = [self.read(item, into, each) for each in value[1]]
                return ("list", Unordered(found) if value[0] == "set" else tuple(found))
            case SetType(item), SetType(into):
                found = [self.read(item, into, each) for each in value[1]]
                return ("set", Unordered(found))
            case MapType(key, item), MapType(into_key, into):
                return (
                    "map",
                    Unordered(
                        (
                            self.read(key, into_key, each_key),
                            self.read(item, into, each),
                        )
                        for each_key, each in value[1]
                    ),
                )
            case TupleType(items), TupleType(intos):
                parts = zip(items, intos, value[1], strict=True)
                return ("tuple", tuple(self.read(*each) for each in parts))
            case _:
                return value

    def _named(self, one: TypeSchema, other: TypeSchema, value: Any) -> Any:
        if isinstance(one, StructSchema):
            assert isinstance(other, StructSchema)
            fields = self.members(members(one), members(other), dict(value[1]))
            return ("struct", fields)
        assert isinstance(other, EnumSchema)
        (variant,) = (each for each in one.variants if each.name == value[1])
        (into,) = (each for each in other.variants if each.name == value[1])
        fields = self.members(members(variant), members(into), dict(value[2]))
        return ("enum", value[1], fields)

    def members(
        self,
        written: Mapping[str, Member],
        read: Mapping[str, Member],
        values: Mapping[str, Any],
    ) -> Fields:
        return tuple(
            (
                name,
                self.read(written[name].type, member.type, values[name])
                if name in written
                else self._default(member),
            )
            for name, member in sorted(read.items())
        )

    def _default(self, member: Member) -> Any:
        if member.default is UNSET:
            return ANYTHING
        return from_json(member.type, member.default, self._reader)


def from_json(type: Type, value: Any, types: Definitions) -> Any:
    """Return the value that a default in JSON stands for."""
    match type:
        case OptionType(item):
            return None if value is None else ("some", from_json(item, value, types))
        case ListType(item):
            return ("list", tuple(from_json(item, each, types) for each in value))
        case NamedType(name):
            definition = types[name]
            assert isinstance(definition, EnumSchema), "the only one in the tests"
            return ("enum", value, ())
        case "bytes":
            return ("list", tuple(base64.b64decode(value)))
        case _:
            return value


# ---------------------------------------------------------------- values of Python


class Values:
    """Converts values of one shape to the common form, and back."""

    def __init__(self, root: Shape) -> None:
        self._root = root
        self._levels: dict[str, Level] = levels(root)

    def common(self, value: Any) -> Any:
        return self._common(self._root, value)

    def python(self, common: Any) -> Any:
        return self._python(self._root, common)

    def _common(self, shape: Shape, value: Any) -> Any:
        match shape:
            case RefShape(name):
                return self._common(self._levels[name], value)
            case TransparentShape():
                (field,) = shape.record.fields
                return self._common(field.shape, getattr(value, field.attribute))
            case OptionShape(inner):
                return None if value is None else ("some", self._common(inner, value))
            case ListShape(item) | ArrayShape(item):
                return ("list", tuple(self._common(item, each) for each in value))
            case BytesShape():
                return ("list", tuple(value))
            case SetShape(item):
                return ("set", frozenset(self._common(item, each) for each in value))
            case MapShape(key, item):
                return (
                    "map",
                    frozenset(
                        (self._common(key, each_key), self._common(item, each))
                        for each_key, each in value.items()
                    ),
                )
            case TupleShape(_, items):
                parts = zip(items, value, strict=True)
                return ("tuple", tuple(self._common(*each) for each in parts))
            case StructShape(_, record):
                return ("struct", self._fields(record, value))
            case EnumShape(_, _, members, names):
                return ("enum", names[members.index(value)], ())
            case UnionShape(_, variants):
                (found,) = (v for v in variants if v.record.cls is type(value))
                return ("enum", found.name, self._fields(found.record, value))
            case _:
                assert value is None or type(value) in (bool, int, float, str)
                return value

    def _fields(self, record: Record, value: Any) -> Fields:
        return tuple(
            sorted(
                (
                    str(index) if record.tuple_like else field.name,
                    self._common(field.shape, getattr(value, field.attribute)),
                )
                for index, field in enumerate(record.fields)
            )
        )

    def _python(self, shape: Shape, common: Any) -> Any:
        match shape:
            case RefShape(name):
                return self._python(self._levels[name], common)
            case TransparentShape(record):
                (field,) = record.fields
                return record.cls(self._python(field.shape, common))
            case OptionShape(inner):
                return None if common is None else self._python(inner, common[1])
            case ListShape(item) | ArrayShape(item):
                values = [self._python(item, each) for each in common[1]]
                kinds = {"tuple": tuple, "bytes": bytes, "memoryview": bytes}
                return kinds.get(shape.python, list)(values)
            case BytesShape():
                return bytes(common[1])
            case SetShape(item):
                return frozenset(self._python(item, each) for each in common[1])
            case MapShape(key, item):
                return {
                    self._python(key, each_key): self._python(item, each)
                    for each_key, each in common[1]
                }
            case TupleShape(_, items):
                parts = zip(items, common[1], strict=True)
                return tuple(self._python(*each) for each in parts)
            case StructShape(_, record):
                return self._instance(record, dict(common[1]))
            case EnumShape(_, _, members, names):
                return members[names.index(common[1])]
            case UnionShape(_, variants):
                (found,) = (each for each in variants if each.name == common[1])
                return self._instance(found.record, dict(common[2]))
            case FloatShape() | IntShape():
                return common
            case _:
                return common

    def _instance(self, record: Record, values: Mapping[str, Any]) -> Any:
        return record.cls(
            **{
                field.keyword: self._python(
                    field.shape,
                    values[str(index) if record.tuple_like else field.name],
                )
                for index, field in enumerate(record.fields)
            }
        )
