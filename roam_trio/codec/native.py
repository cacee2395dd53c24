"""Codecs of the extension in Rust.

The extension gets the parts of a shape as a list of tuples, which refer to each other
by index. It leaves every value and every encoding that it refuses to the codec in
Python, which raises the error, so the errors are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import getattr_static
from time import perf_counter
from types import MemberDescriptorType
from typing import Any, Final, TypeAlias, assert_never

import msgspec
from msgspec.structs import astuple

from ..native import NATIVE
from ..schema.filling import (
    UNWATCHED,
    UNWATCHED_SETS,
    fill_dict,
    fill_frozenset,
    fill_set,
)
from ..schema.hashing import has_sets, is_seeded
from ..schema.shape import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    FloatShape,
    IntShape,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
    levels,
)
from ..schema.sizes import MAX_ZERO_SIZED, Sizes
from ..wire.frames import Frames
from . import primitives
from .python import Codec, PythonCodec

__all__ = ["codec_of", "native_codec"]

_Part: TypeAlias = tuple[Any, ...]

_MAX_SIZE: Final = 1 << 62


def codec_of(shape: Shape, title: str) -> Codec:
    """Return the codec of a shape, in Rust if the extension is there.

    Args:
        shape: the shape of the values.
        title: the name of their type.
    """
    python = PythonCodec(shape, title)
    return python if NATIVE is None else native_codec(NATIVE, shape, python) or python


def native_codec(extension: Any, shape: Shape, python: Codec) -> Codec | None:
    """Return the codec of the extension; None if it cannot have one for the shape.

    Args:
        extension: the module.
        shape: the shape of the values.
        python: the codec for what the extension refuses.
    """
    parts = _Parts()
    try:
        root = parts.add_root(shape)
    except _Unbounded:
        return None
    codec: Codec = extension.Codec(parts.told, root, _Helpers, python)
    return codec


class _Helpers:
    """Functions that the extension calls for unusual values."""

    as_bytes = staticmethod(primitives.as_bytes)
    as_sequence = staticmethod(primitives.as_sequence)
    as_items = staticmethod(primitives.as_items)
    as_dict = staticmethod(primitives.as_dict)
    check_record = staticmethod(primitives.check_record)
    index_by_class = staticmethod(primitives.index_by_class)
    clock = staticmethod(perf_counter)
    framed = Frames
    max_zero_sized = MAX_ZERO_SIZED

    @staticmethod
    def as_tuples(records: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
        return map(astuple, records)


class _Unbounded(Exception):
    """A part has no size that the extension could count with."""


class _Parts:
    """The parts of a shape, told in the way of the extension."""

    def __init__(self) -> None:
        self.told: list[_Part] = []

    def add_root(self, root: Shape) -> int:
        """Add all parts of a shape with its levels; return the index of the first.

        Raises:
            _Unbounded: the extension cannot encode its values.
        """
        return _Adding(self, root).add(root)


class _Adding:
    """Adds the parts of one shape, within which the names of levels are unique."""

    def __init__(self, parts: _Parts, root: Shape) -> None:
        self._parts = parts
        self._told = parts.told
        self._levels = levels(root)
        self._sizes = Sizes(root)
        self._places: dict[str, int] = {}

    def add(self, shape: Shape) -> int:
        if isinstance(shape, RefShape):
            shape = self._levels[shape.name]
        if not isinstance(shape, TupleShape | StructShape | UnionShape):
            return self._append(self._leaf(shape))
        if shape.name not in self._places:
            # Its parts may refer to it, so it takes its place before them.
            place = self._places[shape.name] = self._append(())
            self._told[place] = self._level(shape)
        return self._places[shape.name]

    def _append(self, part: _Part) -> int:
        self._told.append(part)
        return len(self._told) - 1

    def _leaf(self, shape: Shape) -> _Part:
        match shape:
            case BoolShape():
                return ("bool",)
            case IntShape(_, bits, signed):
                return "int", bits, signed
            case FloatShape(bits):
                return (f"f{bits}",)
            case CharShape():
                return ("char",)
            case StrShape():
                return ("str",)
            case BytesShape(view):
                return "bytes", view
            case UnitShape(written, skipped):
                rest = None if skipped is None else self._parts.add_root(skipped)
                return "unit", written, rest
            case OptionShape(inner, present):
                return "option", self.add(inner), present
            case EnumShape(_, _, members):
                return "enum", list(members)
            case TransparentShape(record):
                return "record", *self._record(record)
            case ConvertedShape(cls, inner, unstructure, structure):
                return "converted", cls, self.add(inner), unstructure, structure
            case ChannelShape(handle=handle):
                return "channel", handle
            case _:
                return self._collection(shape)

    def _collection(self, shape: Shape) -> _Part:
        match shape:
            case ListShape(item, python):
                return "list", self.add(item), self._size(item), python == "tuple"
            case ArrayShape(_, length, "bytes" | "memoryview" as python, counted):
                return "octets", length, counted, python == "memoryview"
            case ArrayShape(item, length, python, counted):
                size, is_tuple = self._size(item), python == "tuple"
                return "array", self.add(item), size, length, counted, is_tuple
            case SetShape(item, frozen):
                fill = fill_frozenset if frozen else fill_set
                watch = self._watch(item, fill)
                return "set", self.add(item), self._size(item), frozen, watch
            case MapShape(key, value):
                watch = self._watch(key, fill_dict)
                size = self._size(key, value)
                return "map", self.add(key), self.add(value), size, watch
            case _:
                raise AssertionError(shape)  # pragma: no cover - there are no others

    def _level(self, shape: TupleShape | StructShape | UnionShape) -> _Part:
        match shape:
            case TupleShape(_, items):
                return "tuple", [self.add(item) for item in items]
            case StructShape(_, record):
                return "record", *self._record(record)
            case UnionShape(_, variants):
                records = [variant.record for variant in variants]
                table = {record.cls: index for index, record in enumerate(records)}
                return "union", [self._record(record) for record in records], table
            case _:
                assert_never(shape)

    def _record(self, record: Record) -> _Part:
        fields = [
            (self.add(field.shape), field.attribute or None, field.keyword or None)
            for field in record.fields
        ]
        return record.cls, record.positional, _is_as_tuple(record), fields

    def _size(self, *items: Shape) -> int:
        size = sum(self._sizes.of(item) for item in items)
        if size >= _MAX_SIZE:
            raise _Unbounded
        return int(size)

    def _watch(self, key: Shape, fill: Any) -> tuple[Any, int] | None:
        """Return what adds keys whose hashes a peer can choose; None for others."""
        if is_seeded(key):
            return None
        return fill, UNWATCHED_SETS if has_sets(key) else UNWATCHED


def _is_as_tuple(record: Record) -> bool:
    """Return True if `astuple` returns the attributes of an instance as they are."""
    cls, names = record.cls, tuple(field.attribute for field in record.fields)
    return (
        issubclass(cls, msgspec.Struct)
        and cls.__struct_fields__ == names
        and cls.__getattribute__ is object.__getattribute__
        and all(
            isinstance(getattr_static(cls, name), MemberDescriptorType)
            for name in names
        )
    )
