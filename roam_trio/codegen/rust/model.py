"""A Rust interface as plain data: services, and the types they use.

Both directions use it: Python classes are converted to an `Interface`, which is written
as Rust, and Rust is read into an `Interface`, which is written as Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, assert_never

from attrs import evolve, frozen

from ...schema.annotations import MAX_SIZE

__all__ = [
    "MAX_SIZE",
    "Argument",
    "Array",
    "Boxed",
    "Channel",
    "Definition",
    "Enum",
    "Field",
    "Interface",
    "List",
    "Map",
    "Method",
    "Named",
    "Option",
    "Parameter",
    "Primitive",
    "Service",
    "Set",
    "Slice",
    "Struct",
    "Style",
    "Tuple",
    "Type",
    "Variant",
    "is_large",
    "parts",
    "rebuilt",
    "substituted",
    "types_of",
    "within",
]

_MAX_DEPTH: Final = 64


@frozen
class Primitive:
    """A number, `bool`, `char`, `String`, or ``()``, by its name in Rust."""

    name: str


@frozen
class Option:
    """``Option<T>``."""

    inner: Type


@frozen
class List:
    """``Vec<T>``."""

    item: Type


@frozen
class Slice:
    """``Box<[T]>``, or another owner or borrower of a slice."""

    item: Type


@frozen
class Array:
    """``[T; N]``."""

    item: Type
    length: int


@frozen
class Map:
    """A map of any kind."""

    key: Type
    value: Type


@frozen
class Set:
    """A set of any kind."""

    item: Type


@frozen
class Tuple:
    """A tuple of at least one item."""

    items: tuple[Type, ...]


@frozen
class Boxed:
    """``Box<T>`` or another pointer: nothing on the wire, but another type in Rust."""

    inner: Type


@frozen
class Channel:
    """``Tx<T, N>`` or ``Rx<T, N>``."""

    direction: Literal["tx", "rx"]
    item: Type
    credit: int


@frozen
class Named:
    """A struct or an enum of the interface."""

    name: str
    args: tuple[Type, ...] = ()


@frozen
class Parameter:
    """A type parameter of its definition."""

    name: str


Type: TypeAlias = (
    Primitive
    | Option
    | List
    | Slice
    | Array
    | Map
    | Set
    | Tuple
    | Boxed
    | Channel
    | Named
    | Parameter
)

Style: TypeAlias = Literal["named", "tuple", "unit"]


@frozen
class Field:
    """A field, by its name on the wire. Those of a tuple struct are "0", "1", …"""

    name: str
    type: Type
    doc: str = ""


@frozen
class Struct:
    """A struct of any style."""

    name: str
    style: Style
    fields: tuple[Field, ...]
    doc: str = ""
    transparent: bool = False
    parameters: tuple[str, ...] = ()


@frozen
class Variant:
    """A variant of an enum, by its name on the wire."""

    name: str
    style: Style
    fields: tuple[Field, ...] = ()
    doc: str = ""


@frozen
class Enum:
    """An enum, with or without data."""

    name: str
    variants: tuple[Variant, ...]
    doc: str = ""
    parameters: tuple[str, ...] = ()


Definition: TypeAlias = Struct | Enum


@frozen
class Argument:
    """An argument of a method; its name is not on the wire."""

    name: str
    type: Type


@frozen
class Method:
    """A method; the error type is None if it declares none."""

    name: str
    args: tuple[Argument, ...]
    ok: Type
    error: Type | None = None
    doc: str = ""


@frozen
class Service:
    """A trait under ``#[roam::service]``."""

    name: str
    methods: tuple[Method, ...]
    doc: str = ""


@frozen
class Interface:
    """Services, and the types that they use, by name."""

    services: tuple[Service, ...]
    types: dict[str, Definition]

    def all_types(self) -> Iterator[Type]:
        """Yield every type in the interface, and the types in those."""
        for service in self.services:
            for method in service.methods:
                yield from within(each.type for each in method.args)
                yield from within([method.ok])
                yield from within(() if method.error is None else [method.error])
        for definition in self.types.values():
            yield from within(types_of(definition))

    def keys(self) -> set[str]:
        """Return the definitions whose values are keys of maps, items of sets, or parts
        of those, and must be hashable.
        """
        left: list[Type] = []
        for each in self.all_types():
            match each:
                case Map(key, _):
                    left.append(key)
                case Set(item):
                    left.append(item)
                case _:
                    pass
        found: set[str] = set()
        while left:
            for each in within([left.pop()]):
                if isinstance(each, Named) and each.name not in found:
                    found.add(each.name)
                    left.extend(types_of(self.types[each.name]))
        return found


def parts(type: Type) -> tuple[Type, ...]:
    """Return the direct parts of a type, without those of definitions."""
    match type:
        case Option(inner) | Boxed(inner):
            return (inner,)
        case List(item) | Slice(item) | Array(item) | Set(item) | Channel(_, item):
            return (item,)
        case Map(key, value):
            return (key, value)
        case Tuple(items):
            return items
        case Named(_, args):
            return args
        case _:
            return ()


def within(types: Iterable[Type]) -> Iterator[Type]:
    """Yield types, and the types in them, without those in definitions."""
    left = list(types)
    while left:
        type = left.pop()
        yield type
        left.extend(parts(type))


def is_large(type: Type) -> bool:
    """Return True if a type has more than `MAX_SIZE` parts, or is nested too deeply."""
    left, count = [(type, 0)], 0
    while left:
        part, depth = left.pop()
        count += 1
        if count > MAX_SIZE or depth > _MAX_DEPTH:
            return True
        left.extend((each, depth + 1) for each in parts(part))
    return False


def types_of(definition: Definition) -> Iterator[Type]:
    """Yield the types of the fields of a definition."""
    match definition:
        case Struct():
            groups = [definition.fields]
        case Enum():
            groups = [variant.fields for variant in definition.variants]
        case _:
            assert_never(definition)
    for fields in groups:
        yield from (field.type for field in fields)


def rebuilt(type: Type, change: Callable[[Type], Type]) -> Type:
    """Return a type with its direct parts changed."""
    match type:
        case Option(inner) | Boxed(inner):
            return evolve(type, inner=change(inner))
        case List(item) | Slice(item) | Array(item) | Set(item) | Channel(_, item):
            return evolve(type, item=change(item))
        case Map(key, value):
            return Map(change(key), change(value))
        case Tuple(items):
            return Tuple(tuple(map(change, items)))
        case Named(name, args):
            return Named(name, tuple(map(change, args)))
        case Primitive() | Parameter():
            return type
        case _:
            assert_never(type)


def substituted(type: Type, given: Mapping[str, Type]) -> Type:
    """Return a type with its type parameters replaced."""
    if isinstance(type, Parameter):
        return given.get(type.name, type)
    return rebuilt(type, lambda part: substituted(part, given))
