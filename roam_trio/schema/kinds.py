"""Classes with fields, and the kinds of them that other libraries define.

msgspec Structs, attrs classes and dataclasses are known to `records`. The classes of
another library become records once a `ClassKind` for them is registered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

from attrs import frozen

__all__ = [
    "NOTHING",
    "ClassKind",
    "Explained",
    "Layout",
    "LayoutField",
    "generic_of",
    "kind_of",
    "register_kind",
]

NOTHING: Final = object()
"""Stands for the default of a field that has none."""


@frozen
class LayoutField:
    """A field: its names, and the normal form of its type."""

    name: str
    attribute: str
    keyword: str
    type: Any


@frozen
class Layout:
    """The fields of a class in the order of declaration, base classes first.

    Attributes:
        positional: the constructor takes all of them by position, in this order.
        tuple_like: they have no names on the wire.
        tag: the name of the class as a variant of a union.
        transparent: the class has the wire form of its only field.
    """

    fields: tuple[LayoutField, ...]
    positional: bool
    tuple_like: bool
    tag: str
    transparent: bool = False


class Explained(NamedTuple):
    """The reason why a constructor refused its fields.

    Attributes:
        attribute: the field; empty if it is none in particular.
        text: the reason, of bounded length.
        without_values: the same without any part of a value.
    """

    attribute: str
    text: str
    without_values: str


class ClassKind(Protocol):
    """A kind of classes with fields."""

    def owns(self, cls: type[Any]) -> bool:
        """Return True if a class is of this kind."""
        ...

    def layout(self, cls: type[Any], path: str) -> Layout:
        """Return the layout of a class; raise a SchemaError if it has none."""
        ...

    def declared(self, cls: type[Any]) -> Iterable[str]:
        """Return the names of all fields of a class, in its attributes."""
        ...

    def generic(self, cls: type[Any]) -> tuple[type[Any], tuple[Any, ...]] | None:
        """Return the generic class and its arguments that a class was made from."""
        ...

    def default(self, cls: type[Any], attribute: str) -> tuple[Any, Any]:
        """Return the default of a field or NOTHING, and its factory or None."""
        ...

    def explain(self, cls: type[Any], error: Exception) -> Explained | None:
        """Return what an exception of a constructor says; None for a strange one."""
        ...

    def weight(self, cls: type[Any]) -> int:
        """Return the memory of an instance without its values, in bytes."""
        ...


_kinds: Final[list[ClassKind]] = []


def register_kind(kind: ClassKind) -> None:
    """Make the classes of a kind known; once is enough for each kind."""
    if kind not in _kinds:
        _kinds.append(kind)


def generic_of(cls: type[Any]) -> tuple[type[Any], tuple[Any, ...]] | None:
    """Return the generic class and its arguments that a class was made from.

    None for other classes, and for those of `typing`, which are not classes.
    """
    kind = kind_of(cls)
    return None if kind is None else kind.generic(cls)


def kind_of(cls: type[Any]) -> ClassKind | None:
    """Return the registered kind of a class, or None."""
    return next((kind for kind in _kinds if kind.owns(cls)), None)
