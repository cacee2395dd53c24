"""Types of a schema as types and codecs in TypeScript."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, assert_never

from attrs import field, frozen

from ...service.description.model import (
    ArrayType,
    ChannelType,
    EnumSchema,
    FieldSchema,
    ListType,
    MapType,
    NamedType,
    OptionType,
    SetType,
    StructSchema,
    TupleType,
    Type,
    TypeSchema,
    VariantSchema,
    parts,
)
from .names import Names, lower_camel, property_name, upper_camel
from .text import comment, is_nested, literal

__all__ = ["Types"]

_NUMBERS: Final = frozenset({"u8", "u16", "u32", "i8", "i16", "i32", "f32", "f64"})
_BIG: Final = {
    "u64": "u64",
    "u128": "u128",
    "i64": "i64",
    "i128": "i128",
    "usize": "u64",
    "isize": "i64",
}
_OTHERS: Final = {
    "bool": ("boolean", "bool"),
    "char": ("string", "char"),
    "str": ("string", "str"),
    "bytes": ("Uint8Array", "bytes"),
    "byte slice": ("Uint8Array", "bytes"),
    "unit": ("null", "unit"),
}


@frozen
class _Given:
    """The names of a definition: of the type, and of its codec."""

    type: str
    codec: str


class Types:
    """Writes the types of services, each definition once.

    Args:
        names: assigns the names.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: list[tuple[TypeSchema, dict[str, TypeSchema], _Given]] = []
        self.written: list[str] = []

    def of(
        self, definitions: Iterable[TypeSchema], aliases: Mapping[str, str]
    ) -> TypesOfService:
        """Return the types of one service, and write those that are new.

        Args:
            definitions: the types of its schema.
            aliases: names of unions by their labels.
        """
        by_name = {each.name: each for each in definitions}
        given: dict[str, _Given] = {}
        new: list[TypeSchema] = []
        for each in by_name.values():
            found = self._same(each, by_name)
            if found is None:
                label = each.name.split(" #")[0]
                type = self._names.give(upper_camel(aliases.get(label, label)))
                found = _Given(type, self._names.give(f"{lower_camel(type)}Codec"))
                self._known.append((each, by_name, found))
                new.append(each)
            given[each.name] = found
        types = TypesOfService(given, by_name)
        types.defined.update(by_name.keys() - {each.name for each in new})
        for each in _in_order(new, by_name):
            self.written.append(types.definition(each))
            types.defined.add(each.name)
        return types

    def _same(
        self, definition: TypeSchema, within: Mapping[str, TypeSchema]
    ) -> _Given | None:
        for known, around, given in self._known:
            if known == definition and all(
                around.get(name) == within[name]
                for name in _reached(definition, within)
            ):
                return given
        return None


@frozen
class TypesOfService:
    """The types of one service, by their names in its schema."""

    given: Mapping[str, _Given]
    definitions: Mapping[str, TypeSchema]
    defined: set[str] = field(factory=set[str])

    def type(self, type: Type) -> str:
        """Return a type as it is written in TypeScript."""
        match type:
            case str(name) if name in _NUMBERS:
                return "number"
            case str(name) if name in _BIG:
                return "bigint"
            case str(name):
                return _OTHERS[name][0]
            case OptionType(item):
                inner = self.type(item)
                return f"[] | [{inner}]" if is_nested(type) else f"{inner} | null"
            case ArrayType("u8", _):
                return "Uint8Array"
            case ListType(item) | ArrayType(item):
                inner = self.type(item)
                return f"({inner})[]" if "|" in inner else f"{inner}[]"
            case SetType(item):
                return f"Set<{self.type(item)}>"
            case MapType(key, value):
                return f"Map<{self.type(key)}, {self.type(value)}>"
            case TupleType(items):
                return f"[{', '.join(map(self.type, items))}]"
            case ChannelType(direction, item):
                return f"{direction.capitalize()}<{self.type(item)}>"
            case NamedType(name):
                return self.given[name].type
            case _:
                assert_never(type)

    def codec(self, type: Type) -> str:
        """Return the codec of a type, as an expression."""
        match type:
            case str(name) if name in _NUMBERS:
                return name
            case str(name):
                return _BIG[name] if name in _BIG else _OTHERS[name][1]
            case OptionType(item):
                kind = "nestedOption" if is_nested(type) else "option"
                return f"{kind}({self.codec(item)})"
            case ListType(item):
                return f"list({self.codec(item)})"
            case ArrayType("u8", length):
                return f"byteArray({length})"
            case ArrayType(item, length):
                return f"array({self.codec(item)}, {length})"
            case SetType(item):
                return f"set({self.codec(item)})"
            case MapType(key, value):
                return f"map({self.codec(key)}, {self.codec(value)})"
            case TupleType(items):
                return self.tuple_codec(items)
            case ChannelType(direction, item, credit):
                return f"{direction}({self.codec(item)}, {credit})"
            case NamedType(name):
                codec = self.given[name].codec
                return codec if name in self.defined else f"lazy(() => {codec})"
            case _:
                assert_never(type)

    def tuple_codec(self, items: Sequence[Type]) -> str:
        """Return the codec of a tuple."""
        types = ", ".join(map(self.type, items))
        return f"tuple<[{types}]>({', '.join(map(self.codec, items))})"

    # ------------------------------------------------------------ definitions

    def definition(self, schema: TypeSchema) -> str:
        """Return the definition of a type, and of its codec."""
        given = self.given[schema.name]
        match schema:
            case StructSchema():
                written, codec = self._struct(schema, given.type)
            case EnumSchema(_, variants):
                if any(each.fields for each in variants):
                    written, codec = self._variants(schema, given.type)
                else:
                    written, codec = _enumeration(schema, given.type)
            case _:
                assert_never(schema)
        head = f"export const {given.codec}: Codec<{given.type}> = "
        return f"{comment(schema.doc)}{written}\n{head}{codec};\n"

    def _struct(self, schema: StructSchema, name: str) -> tuple[str, str]:
        if not schema.fields:
            return (
                f"export type {name} = Record<string, never>;",
                f"struct<{name}>({{}})",
            )
        types: list[Type] = [each.type for each in schema.fields]
        if schema.tuple_like:
            text = self.type(TupleType(tuple(types)))
            return f"export type {name} = {text};", self.tuple_codec(types)
        fields = self._fields(schema.fields, schema.name, self.type, ";")
        codecs = self._fields(schema.fields, schema.name, self.codec, ",")
        return (
            f"export interface {name} {{\n{_lines(fields)}}}",
            f"struct<{name}>({{\n{_lines(codecs)}}})",
        )

    def _fields(
        self,
        fields: Iterable[FieldSchema],
        path: str,
        text: Callable[[Type], str],
        end: str,
    ) -> list[str]:
        return [
            f"{property_name(each.name, f'{path}.{each.name}')}: {text(each.type)}{end}"
            for each in fields
        ]

    def _variants(self, schema: EnumSchema, name: str) -> tuple[str, str]:
        types: list[str] = []
        codecs: list[str] = []
        for each in schema.variants:
            path = f"{schema.name}.{each.name}"
            data, codec = self._data(each, path)
            value = f"; value: {data}" if data else ""
            types.append(f"| {{ is: {literal(each.name)}{value} }}")
            codecs.append(f"{property_name(each.name, path)}: {codec},")
        return (
            f"export type {name} =\n{_lines(types)[:-1]};",
            f"variants<{name}>({{\n{_lines(codecs)}}})",
        )

    def _data(self, variant: VariantSchema, path: str) -> tuple[str, str]:
        """Return the type and the codec of the data of a variant."""
        if not variant.fields:
            return "", "null"
        types: list[Type] = [each.type for each in variant.fields]
        if variant.tuple_like and len(types) == 1:
            return self.type(types[0]), self.codec(types[0])
        if variant.tuple_like:
            return self.type(TupleType(tuple(types))), self.tuple_codec(types)
        fields = "; ".join(self._fields(variant.fields, path, self.type, ""))
        codecs = ", ".join(self._fields(variant.fields, path, self.codec, ""))
        return f"{{ {fields} }}", f"struct<{{ {fields} }}>({{ {codecs} }})"


def _enumeration(schema: EnumSchema, name: str) -> tuple[str, str]:
    names = [literal(each.name) for each in schema.variants]
    return (
        f"export type {name} = {' | '.join(names)};",
        f"enumeration({', '.join(names)})",
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"  {line}\n" for line in lines)


# ---------------------------------------------------------------- order


def _in_order(
    new: Sequence[TypeSchema], definitions: Mapping[str, TypeSchema]
) -> list[TypeSchema]:
    """Return definitions, each after those in it, but for recursive ones."""
    wanted = {each.name for each in new}
    seen: set[str] = set()
    ordered: list[TypeSchema] = []

    def visit(name: str) -> None:
        if name in seen or name not in wanted:
            return
        seen.add(name)
        for each in _direct(definitions[name]):
            visit(each)
        ordered.append(definitions[name])

    for definition in new:
        visit(definition.name)
    return ordered


def _reached(definition: TypeSchema, definitions: Mapping[str, TypeSchema]) -> set[str]:
    """Return the names of the definitions in one, at any depth."""
    found: set[str] = set()
    left = _direct(definition)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _direct(definitions[name])
    return found


def _direct(definition: TypeSchema) -> list[str]:
    left: list[Type]
    match definition:
        case StructSchema(_, fields):
            left = [each.type for each in fields]
        case EnumSchema(_, variants):
            left = [each.type for variant in variants for each in variant.fields]
        case _:
            assert_never(definition)
    found: list[str] = []
    while left:
        type = left.pop(0)
        if isinstance(type, NamedType):
            found.append(type.name)
        left += parts(type)
    return found
