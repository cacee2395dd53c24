"""An interface as Rust source: traits for the crate roam, types with ``derive(Facet)``.

The macro ``#[roam::service]`` parses the types in a signature itself, and knows fewer
forms than Rust: no arrays, no slices, no credit of a channel. These get an alias. It
also binds the channels of an argument only if the last word of its type is ``Tx`` or
``Rx``, so a struct with channels gets an alias of that name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, assert_never

from ...schema.types import DEFAULT_CREDIT
from .model import (
    Array,
    Boxed,
    Channel,
    Definition,
    Enum,
    Field,
    Interface,
    List,
    Map,
    Method,
    Named,
    Option,
    Parameter,
    Primitive,
    Service,
    Set,
    Slice,
    Struct,
    Style,
    Tuple,
    Type,
    Variant,
    types_of,
    within,
)
from .names import Names, rust_identifier, snake

__all__ = ["write_rust"]

ROAM: Final = "7.3.0"
FACET: Final = "0.44.1"
"""The release of facet with which this release of roam is built."""

_WIDTH: Final = 100
_INDENT: Final = "    "
_PLAIN_TUPLE: Final = 4
"""Length of the longest tuple that facet supports without its feature tuples-12."""
_SMALL_ENUM: Final = 256
_SHORT_VARIANT: Final = 35


def write_rust(interface: Interface) -> str:
    """Return the source of a Rust module with the traits and the types of an
    interface."""
    return _Writer(interface).module()


class _Writer:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._types = interface.types
        self._aliases = _Aliases(interface)
        self._keys = interface.keys()

    def module(self) -> str:
        # Write the services first, which determine the aliases.
        services = [self._service(each) for each in self._interface.services]
        types = [self._definition(each) for each in self._types.values()]
        blocks = ["\n".join(self._uses()), *self._aliases.written, *types, *services]
        head = "\n".join(self._head())
        return "\n\n".join([head, *filter(None, blocks)]) + "\n"

    # ------------------------------------------------------------ head

    def _head(self) -> Iterator[str]:
        yield "// Made by `python -m roam_trio rust`. It needs, in Cargo.toml:"
        yield "//"
        yield f'//     roam = "={ROAM}"'
        if not self._needs_facet():
            return
        features = ', features = ["tuples-12"]' if self._has_long_tuples() else ""
        version = f'version = "={FACET}"{features}'
        yield (
            f"//     facet = {{ {version} }}"
            if features
            else f'//     facet = "={FACET}"'
        )

    def _needs_facet(self) -> bool:
        return bool(self._types) or self._has_long_tuples()

    def _has_long_tuples(self) -> bool:
        arguments = (
            len(method.args)
            for service in self._interface.services
            for method in service.methods
        )
        tuples = (
            len(type.items)
            for type in self._interface.all_types()
            if isinstance(type, Tuple)
        )
        return max([0, *arguments, *tuples]) > _PLAIN_TUPLE

    def _uses(self) -> Iterator[str]:
        found = list(self._interface.all_types())
        if self._types:
            yield "use facet::Facet;"
        channels = sorted(
            {
                each.direction.capitalize()
                for each in found
                if isinstance(each, Channel) and each.credit == DEFAULT_CREDIT
            }
            | {
                each.direction.capitalize()
                for definition in self._types.values()
                for each in within(types_of(definition))
                if isinstance(each, Channel)
            }
        )
        if channels:
            yield f"use roam::{_braced(channels)};"
        collections = [
            name
            for name, kind in (("BTreeMap", Map), ("BTreeSet", Set))
            if any(isinstance(each, kind) for each in found)
        ]
        if collections:
            yield f"use std::collections::{_braced(collections)};"

    # ------------------------------------------------------------ services

    def _service(self, service: Service) -> str:
        body = "\n\n".join(map(self._method, service.methods))
        lines = [*_doc(service.doc), "#[roam::service]"]
        lines.append(f"pub trait {service.name} {{")
        return "\n".join([*lines, *filter(None, [body]), "}"])

    def _method(self, method: Method) -> str:
        args = [f"{each.name}: {self._aliases.text(each.type)}" for each in method.args]
        ok = self._aliases.text(method.ok)
        result = "" if ok == "()" else f" -> {ok}"
        if method.error is not None:
            result = f" -> Result<{ok}, {self._aliases.text(method.error)}>"
        line = f"async fn {method.name}({', '.join(['&self', *args])}){result};"
        lines = [line]
        if len(_INDENT) + len(line) > _WIDTH:
            broken = [f"{_INDENT}{each}," for each in ["&self", *args]]
            lines = [f"async fn {method.name}(", *broken, f"){result};"]
        return _indented([*_doc(method.doc), *lines])

    # ------------------------------------------------------------ types

    def _definition(self, definition: Definition) -> str:
        lines = [*_doc(definition.doc), f"#[derive({self._derives(definition)})]"]
        match definition:
            case Struct():
                lines += self._struct(definition)
            case Enum():
                lines += self._enum(definition)
            case _:
                assert_never(definition)
        return "\n".join(lines)

    def _derives(self, definition: Definition) -> str:
        held = list(_closure(definition, self._types))
        if any(isinstance(each, Channel) for each in held):
            return "Facet"
        derives = ["Debug", "Clone", "PartialEq"]
        if not any(each in _FLOATS for each in held):
            derives.append("Eq")
        if definition.name in self._keys:
            derives += ["PartialOrd", "Ord"]
        return ", ".join([*derives, "Facet"])

    def _struct(self, struct: Struct) -> Iterator[str]:
        if struct.transparent:
            yield "#[facet(transparent)]"
        if any(each.name != each.name.lower() for each in struct.fields):
            yield "#[allow(non_snake_case)]"
        body = _fields(struct.style, struct.fields, "pub ")
        end = "" if struct.style == "named" else ";"
        yield from _headed(f"pub struct {struct.name}", body, end)

    def _enum(self, enum: Enum) -> Iterator[str]:
        yield f"#[repr({'u8' if len(enum.variants) <= _SMALL_ENUM else 'u16'})]"
        if not all(_is_camel(each.name) for each in enum.variants):
            yield "#[allow(non_camel_case_types)]"
        fields = [field for each in enum.variants for field in each.fields]
        if any(each.name != each.name.lower() for each in fields):
            yield "#[allow(non_snake_case)]"
        yield f"pub enum {enum.name} {{"
        short = [_one_line(each) for each in enum.variants]
        for variant, line in zip(enum.variants, short, strict=True):
            yield from (f"{_INDENT}{each}" for each in _doc(variant.doc))
            # As in rustfmt: either all of them on one line each, or none.
            lines = [line] if line and None not in short else self._variant(variant)
            yield _indented(lines)
        yield "}"

    def _variant(self, variant: Variant) -> list[str]:
        body = _fields(variant.style, variant.fields, "")
        return _headed(str(rust_identifier(variant.name)), body, ",")


_FLOATS: Final = (Primitive("f32"), Primitive("f64"))


# ---------------------------------------------------------------- types


def _text(type: Type) -> str:
    """Return a type, as written anywhere except in a signature."""
    match type:
        case Primitive(name) | Parameter(name):
            return name
        case Option(inner):
            return f"Option<{_text(inner)}>"
        case Boxed(inner):
            return f"Box<{_text(inner)}>"
        case List(item):
            return f"Vec<{_text(item)}>"
        case Slice(item):
            return f"Box<[{_text(item)}]>"
        case Array(item, length):
            return f"[{_text(item)}; {length}]"
        case Map(key, value):
            return f"BTreeMap<{_text(key)}, {_text(value)}>"
        case Set(item):
            return f"BTreeSet<{_text(item)}>"
        case Tuple(items):
            return _tuple_text([_text(each) for each in items])
        case Channel(direction, item, credit):
            given = "" if credit == DEFAULT_CREDIT else f", {credit}"
            return f"{direction.capitalize()}<{_text(item)}{given}>"
        case Named(name, args):
            return f"{name}<{', '.join(map(_text, args))}>" if args else name
        case _:
            assert_never(type)


def _tuple_text(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


class _Aliases:
    """Types as written in signatures, and their aliases."""

    def __init__(self, interface: Interface) -> None:
        self._types = interface.types
        self._names = Names(frozenset[str]().__contains__)
        for taken in [*interface.types, *(each.name for each in interface.services)]:
            self._names.take(taken)
        self._given: dict[object, str] = {}
        self.written: list[str] = []

    def text(self, type: Type) -> str:
        match type:
            case Option(inner):
                return f"Option<{self.text(inner)}>"
            case Boxed(inner):
                return f"Box<{self.text(inner)}>"
            case List(item):
                return f"Vec<{self.text(item)}>"
            case Map(key, value):
                return f"BTreeMap<{self.text(key)}, {self.text(value)}>"
            case Set(item):
                return f"BTreeSet<{self.text(item)}>"
            case Tuple(items):
                return _tuple_text([self.text(each) for each in items])
            case Slice(item):
                return f"{self._slice()}<{self.text(item)}>"
            case Array(item, length):
                return f"{self._array(length)}<{self.text(item)}>"
            case Channel(direction, item, credit):
                name = direction.capitalize()
                if credit != DEFAULT_CREDIT:
                    name = f"{self._credit(credit)}::{name}"
                return f"{name}<{self.text(item)}>"
            case Named(name) if _has_channels(type, self._types):
                return f"{self._channels_of(name)}::Tx"
            case _:
                return _text(type)

    def _slice(self) -> str:
        return self._alias(Slice, "Slice", "pub type {}<T> = Box<[T]>;")

    def _array(self, length: int) -> str:
        alias = f"pub type {{}}<T> = [T; {length}];"
        return self._alias((Array, length), f"Array{length}", alias)

    def _credit(self, credit: int) -> str:
        lines = [
            f"/// Channels with an initial credit of {credit}.",
            "pub mod {} {{",
            *(
                f"{_INDENT}pub type {name}<T> = ::roam::{name}<T, {credit}>;"
                for name in ("Rx", "Tx")
            ),
            "}}",
        ]
        return self._alias((Channel, credit), f"credit_{credit}", "\n".join(lines))

    def _channels_of(self, name: str) -> str:
        lines = [
            "/// By a name that makes roam bind the channels in it.",
            "pub mod {} {{",
            f"{_INDENT}pub type Tx = super::{name};",
            "}}",
        ]
        return self._alias(name, f"{snake(name)}_channels", "\n".join(lines))

    def _alias(self, key: object, wish: str, written: str) -> str:
        if key not in self._given:
            name = self._given[key] = self._names.give(wish)
            self.written.append(written.format(name))
        return self._given[key]


# ---------------------------------------------------------------- what types hold


def _closure(definition: Definition, types: Mapping[str, Definition]) -> Iterator[Type]:
    left, seen = [definition], {definition.name}
    while left:
        for type in within(types_of(left.pop())):
            yield type
            if isinstance(type, Named) and type.name not in seen:
                seen.add(type.name)
                left.append(types[type.name])


def _has_channels(type: Named, types: Mapping[str, Definition]) -> bool:
    return any(isinstance(each, Channel) for each in _closure(types[type.name], types))


# ---------------------------------------------------------------- text


def _fields(style: Style, fields: Sequence[Field], visibility: str) -> list[str]:
    """Return the lines from the bracket after a name to its counterpart."""
    if style == "unit":
        return [""]
    if style == "tuple":
        return [f"({', '.join(visibility + _text(each.type) for each in fields)})"]
    lines = [" {"]
    for each in fields:
        lines += [f"{_INDENT}{line}" for line in _doc(each.doc)]
        name = rust_identifier(each.name)
        lines.append(f"{_INDENT}{visibility}{name}: {_text(each.type)},")
    return [*lines, "}"]


def _one_line(variant: Variant) -> str | None:
    """Return a variant on a single line, or None if it is too long."""
    name = rust_identifier(variant.name)
    if variant.style != "named":
        return f"{name}{_fields(variant.style, variant.fields, '')[0]},"
    fields = [
        f"{rust_identifier(each.name)}: {_text(each.type)}" for each in variant.fields
    ]
    line = f"{name} {{ {', '.join(fields)} }}"
    if len(line) > _SHORT_VARIANT or any(each.doc for each in variant.fields):
        return None
    return f"{line},"


def _headed(head: str, body: Sequence[str], end: str) -> list[str]:
    """Return lines with a head before the first and an end after the last."""
    lines = [f"{head}{body[0]}", *body[1:]]
    return [*lines[:-1], f"{lines[-1]}{end}"]


def _doc(doc: str) -> Iterator[str]:
    for line in doc.split("\n") if doc else ():
        yield f"/// {''.join(map(_shown, line))}".rstrip()


def _shown(char: str) -> str:
    """Escape line ends of any kind, and characters that hide or reorder text."""
    if char == "\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char
    return f"\\u{{{ord(char):x}}}"


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"{_INDENT}{line}" for line in lines)


def _braced(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{{{', '.join(names)}}}"


def _is_camel(name: str) -> bool:
    return re.fullmatch(r"[^\W_a-z][^\W_]*", name) is not None
