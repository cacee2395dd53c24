"""Selection of the types that must be boxed in Rust, so that no value contains itself.

A reference from one definition to another is boxed if the latter leads back to the
former without a collection in between. In a tuple, which has no definition, everything
recursive is boxed, so that equal tuples have the same type everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import assert_never

from attrs import evolve, frozen

from .model import (
    Array,
    Boxed,
    Definition,
    Enum,
    Field,
    Interface,
    Method,
    Named,
    Option,
    Service,
    Struct,
    Tuple,
    Type,
    parts,
    rebuilt,
    types_of,
)

__all__ = ["with_boxes", "without_boxes"]


def with_boxes(interface: Interface) -> Interface:
    """Return the interface, with boxes where Rust needs them."""
    changer = _Changer(_Boxer(interface.types).boxed)
    return changer.interface(interface)


def without_boxes(interface: Interface) -> Interface:
    """Return the interface without pointers, as in Python."""
    changer = _Changer(lambda type, _: _opened(type))
    return changer.interface(interface)


def _opened(type: Type) -> Type:
    return _opened(type.inner) if isinstance(type, Boxed) else rebuilt(type, _opened)


@frozen
class _Changer:
    """Changes every type of an interface.

    Attributes:
        change: returns the new type for a type and the name of its definition.
    """

    change: Callable[[Type, str | None], Type]

    def interface(self, interface: Interface) -> Interface:
        return Interface(
            tuple(map(self._service, interface.services)),
            {name: self._definition(each) for name, each in interface.types.items()},
        )

    def _service(self, service: Service) -> Service:
        return evolve(service, methods=tuple(map(self._method, service.methods)))

    def _method(self, method: Method) -> Method:
        return evolve(
            method,
            args=tuple(
                evolve(each, type=self.change(each.type, None)) for each in method.args
            ),
            ok=self.change(method.ok, None),
            error=method.error and self.change(method.error, None),
        )

    def _definition(self, definition: Definition) -> Definition:
        around = definition.name
        match definition:
            case Struct():
                return evolve(
                    definition, fields=self._fields(definition.fields, around)
                )
            case Enum():
                return evolve(
                    definition,
                    variants=tuple(
                        evolve(each, fields=self._fields(each.fields, around))
                        for each in definition.variants
                    ),
                )
            case _:
                assert_never(definition)

    def _fields(self, fields: tuple[Field, ...], around: str) -> tuple[Field, ...]:
        return tuple(
            evolve(each, type=self.change(each.type, around)) for each in fields
        )


@frozen
class _Boxer:
    types: Mapping[str, Definition]

    def boxed(self, type: Type, around: str | None, in_tuple: bool = False) -> Type:
        match type:
            case Named(name):
                home = name if in_tuple else around
                boxed = home is not None and self._leads(name, home)
                return Boxed(type) if boxed else type
            case Tuple(items):
                made = (self.boxed(item, around, in_tuple=True) for item in items)
                return Tuple(tuple(made))
            case Option() | Array():
                return rebuilt(type, lambda part: self.boxed(part, around, in_tuple))
            case _:
                # Already on the heap, whatever it contains.
                return rebuilt(type, lambda part: self.boxed(part, None))

    def _leads(self, start: str, goal: str) -> bool:
        """Return True if values of `start` can contain values of `goal` outside the
        heap.
        """
        left, seen = [start], set[str]()
        while left:
            for name in _held(self.types[left.pop()]):
                if name == goal:
                    return True
                if name not in seen:
                    seen.add(name)
                    left.append(name)
        return False


def _held(definition: Definition) -> Iterator[str]:
    left = list(types_of(definition))
    while left:
        type = left.pop()
        if isinstance(type, Named):
            yield type.name
        elif isinstance(type, Option | Array | Tuple):
            left.extend(parts(type))
