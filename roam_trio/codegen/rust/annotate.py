"""Types of the model as annotations in Python, and the imports they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from ...schema.types import DEFAULT_CREDIT
from .model import (
    Array,
    Boxed,
    Channel,
    List,
    Map,
    Named,
    Option,
    Parameter,
    Primitive,
    Set,
    Slice,
    Tuple,
    Type,
)

__all__ = ["Annotator"]

_U8: Final = Primitive("u8")
_PLAIN: Final = {
    "bool": "bool",
    "String": "str",
    "()": "None",
    "i64": "int",
    "f64": "float",
}


class Annotator:
    """Writes annotations.

    Args:
        names: the names in Python of the definitions and of the type parameters.

    Attributes:
        typing: the names of `typing` needed so far.
        roam: the names of `roam_trio` needed so far.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self.typing: set[str] = set()
        self.roam: set[str] = set()

    def text(self, type: Type, *, hashable: bool = False) -> str:
        """Return the annotation of a type.

        Args:
            type: the type.
            hashable: whether its values must be hashable, as keys must.
        """

        def part(type: Type) -> str:
            return self.text(type, hashable=hashable)

        match type:
            case Primitive(name):
                return _PLAIN[name] if name in _PLAIN else self._of_roam(name)
            case Parameter(name):
                return self._names[name]
            case Boxed(inner):
                return part(inner)
            case Option(inner):
                return f"{part(inner)} | None"
            case Named(name, args):
                given = f"[{', '.join(map(part, args))}]" if args else ""
                return f"{self._names[name]}{given}"
            case Tuple(items):
                return f"tuple[{', '.join(map(part, items))}]"
            case List(item) if item == _U8:
                return "bytes"
            case List(item):
                return _sequence(part(item), hashable)
            case Slice(item):
                held = "bytes" if item == _U8 else _sequence(part(item), hashable)
                return self._annotated(held, f"{self._of_roam('Slice')}()")
            case Array():
                return self._array(type, part(type.item), hashable)
            case Set(item):
                kind = "frozenset" if hashable else "set"
                return f"{kind}[{self.text(item, hashable=True)}]"
            case Map(key, value):
                return f"dict[{self.text(key, hashable=True)}, {part(value)}]"
            case Channel(direction, item, credit):
                return self._channel(direction, self.text(item), credit)
            case _:
                assert_never(type)

    def need(self, name: str) -> str:
        """Return a name of `typing`, and import it."""
        self.typing.add(name)
        return name

    def _of_roam(self, name: str) -> str:
        self.roam.add(name)
        return name

    def _annotated(self, inner: str, marker: str) -> str:
        return f"{self.need('Annotated')}[{inner}, {marker}]"

    def _array(self, array: Array, item: str, hashable: bool) -> str:
        if array.item == _U8 or hashable:
            inner = "bytes" if array.item == _U8 else _sequence(item, hashable)
            return self._annotated(inner, f"{self._of_roam('Length')}({array.length})")
        length = f"{self.need('Literal')}[{array.length}]"
        return f"{self._of_roam('Array')}[{item}, {length}]"

    def _channel(self, direction: str, item: str, credit: int) -> str:
        channel = f"{self._of_roam(direction.capitalize())}[{item}]"
        if credit == DEFAULT_CREDIT:
            return channel
        return self._annotated(channel, f"{self._of_roam('Credit')}({credit})")


def _sequence(item: str, hashable: bool) -> str:
    return f"tuple[{item}, ...]" if hashable else f"list[{item}]"
