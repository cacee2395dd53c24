"""The ids that the Rust crate gives to the methods of an interface.

Both sides hash the same bytes. To recognise a recursive type, however, the crate
compares types in Rust, and roam_trio compares classes in Python. The results can
differ, so the ids are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from ...schema.finished import FinishedLevels
from ...schema.scalars import MARKED, PLAIN
from ...schema.shape import (
    ArrayShape,
    ChannelShape,
    Field,
    Level,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StructShape,
    TupleShape,
    UnionShape,
    Variant,
)
from ...schema.signature import FALLIBLE_SIGNATURE, method_id, signature_of
from . import model
from .model import Interface, Method, Service, Type, substituted

__all__ = ["PRIMITIVES", "rust_method_id"]

PRIMITIVES: Final[Mapping[str, Shape]] = {
    **{name: shape for name, (_, shape) in MARKED.items()},
    "bool": PLAIN[bool],
    "String": PLAIN[str],
    "()": PLAIN[type(None)],
}
"""Shapes of the model's primitives."""


def rust_method_id(interface: Interface, service: Service, method: Method) -> int:
    """Return the id of a method, as the crate computes it from the Rust source.

    Raises:
        SchemaError: its signature, in which each type is written out, is too long.
    """
    walk = _Walk(interface.types)
    arguments = walk.items(tuple(argument.type for argument in method.args))
    result = FALLIBLE_SIGNATURE
    if method.error is None:
        # Walk the result separately: the arguments do not enclose it.
        result = signature_of(_Walk(interface.types).shape(method.ok))
    return method_id(service.name, method.name, signature_of(arguments) + result)


class _Walk:
    """Makes shapes whose levels are distinguished by their types in Rust."""

    def __init__(self, types: Mapping[str, model.Definition]) -> None:
        self._types = types
        self._open: set[str] = set()
        self._finished = FinishedLevels()

    def shape(self, type: Type) -> Shape:
        match type:
            # `substituted` has replaced all parameters.
            case model.Primitive(name) | model.Parameter(name):
                return PRIMITIVES[name]
            case model.Option(inner):
                return OptionShape(self.shape(inner))
            case model.List(item):
                return ListShape(self.shape(item))
            case model.Slice(item):
                return ListShape(self.shape(item), slice=True)
            case model.Array(item, length):
                return ArrayShape(self.shape(item), length)
            case model.Map(key, value):
                return MapShape(self.shape(key), self.shape(value))
            case model.Set(item):
                return SetShape(self.shape(item))
            case model.Boxed(inner):
                return self.shape(inner)
            case model.Channel(direction, item, credit):
                # An item is a separate payload, with a separate signature. It does not
                # contain its channel: that has been refused before.
                carried = _Walk(self._types).shape(item)
                return ChannelShape(direction, carried, credit, object)
            case model.Tuple(items):
                return self.items(items)
            case model.Named():
                return self._named(type)
            case _:
                assert_never(type)

    def items(self, items: tuple[Type, ...]) -> Shape:
        """Return the tuple of these items; arguments are a tuple, too."""
        if not items:
            return PRIMITIVES["()"]
        return self._level(
            repr(items), lambda key: TupleShape(key, tuple(map(self.shape, items)))
        )

    def _level(self, key: str, make: Callable[[str], Level]) -> Shape:
        if key in self._open:
            self._finished.refer(key)
            return RefShape(key)
        level = self._finished.get(key)
        if level is None:
            self._open.add(key)
            self._finished.enter(key)
            level = make(key)
            self._open.remove(key)
            self._finished.leave(key, level)
        return level

    def _named(self, type: model.Named) -> Shape:
        definition = self._types[type.name]
        given = dict(zip(definition.parameters, type.args, strict=True))
        if isinstance(definition, model.Struct) and definition.transparent:
            return self.shape(substituted(definition.fields[0].type, given))
        name = repr(type) if type.args else type.name
        return self._level(name, lambda key: self._defined(key, definition, given))

    def _defined(
        self, key: str, definition: model.Definition, given: Mapping[str, Type]
    ) -> Level:
        match definition:
            case model.Struct(_, style, fields):
                return StructShape(key, self._record(style, fields, given))
            case model.Enum(_, variants):
                return UnionShape(
                    key,
                    tuple(
                        Variant(each.name, self._record(each.style, each.fields, given))
                        for each in variants
                    ),
                )
            case _:
                assert_never(definition)

    def _record(
        self,
        style: model.Style,
        fields: tuple[model.Field, ...],
        given: Mapping[str, Type],
    ) -> Record:
        made = tuple(
            Field(
                each.name,
                each.name,
                each.name,
                self.shape(substituted(each.type, given)),
            )
            for each in fields
        )
        return Record(object, made, positional=True, tuple_like=style == "tuple")
