"""Checks for combinations of types that Python cannot express."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from attrs import frozen

from .model import (
    MAX_SIZE,
    Array,
    Boxed,
    Channel,
    Definition,
    Enum,
    Field,
    List,
    Map,
    Named,
    Option,
    Primitive,
    Set,
    Slice,
    Struct,
    Tuple,
    Type,
    is_large,
    parts,
    substituted,
    types_of,
)
from .problems import Problem
from .syntax import Node, refuse

__all__ = ["Root", "check", "endless", "unboxed"]

_UNIT = Primitive("()")
_MAX_USES = 1000


@frozen
class Root:
    """A type, its place, and the reason if channels are forbidden in it."""

    type: Type
    node: Node
    no_channels: str | None = None


def check(roots: Iterable[Root], types: Mapping[str, Definition]) -> list[Problem]:
    """Return the problems of types; a definition without parameters is checked
    separately.
    """
    return [
        refuse(root.node, problem).problem
        for root in roots
        for problem in dict.fromkeys(_Walk(types).problems(root))
    ]


def unboxed(type: Type) -> Type:
    """Return the type that pointers point to."""
    return unboxed(type.inner) if isinstance(type, Boxed) else type


class _Walk:
    def __init__(self, types: Mapping[str, Definition]) -> None:
        self._types = types
        self._seen: set[tuple[Type, str | None]] = set()

    def problems(self, root: Root) -> Iterator[str]:
        left = [(root.type, root.no_channels, True)]
        while left:
            type, no_channels, ours = left.pop()
            if len(self._seen) > _MAX_USES:
                yield (
                    f"it is made of more than {_MAX_USES} types, as read with their "
                    "type arguments; use fewer, or send some of them separately"
                )
                return
            if isinstance(type, Named) and is_large(type):
                yield (
                    "its generic types have other uses of themselves without end: one "
                    f"grows to more than {MAX_SIZE} types, or 64 deep"
                )
                return
            if ours:
                yield from self._own_problems(type)
            if isinstance(type, Channel):
                if no_channels is not None:
                    yield (
                        f"a channel cannot be {no_channels}; pass it as an argument of "
                        "a method, or in a field of one"
                    )
                no_channels = "in the items of a channel"
            elif isinstance(type, List | Slice | Array | Set | Map):
                no_channels = no_channels or "in a collection"
            left += [(each, no_channels, ours) for each in parts(type)]
            if isinstance(type, Named) and (type, no_channels) not in self._seen:
                self._seen.add((type, no_channels))
                left += [
                    (each, no_channels, ours and bool(type.args))
                    for each in self._fields(type)
                ]

    def _fields(self, type: Named) -> Iterator[Type]:
        definition = self._types.get(type.name)
        if definition is not None:
            given = dict(zip(definition.parameters, type.args, strict=True))
            yield from (substituted(each, given) for each in types_of(definition))

    def _own_problems(self, type: Type) -> Iterator[str]:
        match type:
            case Option(inner):
                if isinstance(unboxed(inner), Option):
                    yield (
                        "an option of an option: Python has one None for both; put the "
                        "inner one into a struct"
                    )
                if unboxed(inner) == _UNIT:
                    yield "an option of (): Python has one None for both; use a bool"
            case Map(key, _) | Set(key):
                if any(isinstance(each, Map) for each in self._closure(key)):
                    yield (
                        "a map in the key of a map or the item of a set: a dict is "
                        "not hashable; use a list of pairs"
                    )
            case _:
                pass

    def _closure(self, root: Type) -> Iterator[Type]:
        left, seen = [root], set[Type]()
        while left and len(seen) < _MAX_USES:
            type = left.pop()
            yield type
            left.extend(parts(type))
            if isinstance(type, Named) and not is_large(type) and type not in seen:
                seen.add(type)
                left.extend(self._fields(type))


def endless(types: Mapping[str, Definition]) -> set[str]:
    """Return the definitions of which every value would contain another one."""
    found = set(types)
    while True:
        ended = {name for name in found if _ends(types[name], found)}
        if not ended:
            return found
        found -= ended


def _ends(definition: Definition, endless: set[str]) -> bool:
    match definition:
        case Struct():
            return _all_end(definition.fields, endless)
        case Enum():
            return any(_all_end(each.fields, endless) for each in definition.variants)
        case _:
            assert_never(definition)


def _all_end(fields: Iterable[Field], endless: set[str]) -> bool:
    return all(_type_ends(each.type, endless) for each in fields)


def _type_ends(type: Type, endless: set[str]) -> bool:
    match type:
        case Named(name):
            return name not in endless
        case Boxed() | Tuple() | Array():
            return all(_type_ends(each, endless) for each in parts(type))
        case _:
            return True
