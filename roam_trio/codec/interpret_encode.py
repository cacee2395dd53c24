"""The plain encoder: walks a `Shape` and a value of it."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar, assert_never, cast

from ..schema.shape import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    Field,
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
)
from ..schema.subclasses import lost_fields, lost_text
from .fixed import fixed_format
from .primitives import as_bytes, as_dict, as_items, as_sequence
from .walk import KeyStep, Problem, Walk, expected, range_of, theirs, tuple_steps

__all__ = ["InterpretedEncoder"]

Kind = TypeVar("Kind")


_INTS = frozenset((int,))
_TOGETHER = 1024


class InterpretedEncoder(Walk):
    def __init__(self, root: Shape, visits: float = math.inf) -> None:
        super().__init__(root, visits)
        self.pieces: list[bytes | memoryview] = []

    def encode(self, shape: Shape, value: Any) -> None:
        self.visit()
        match shape:
            case BoolShape():
                self.boolean(value)
            case IntShape():
                self.integer(shape, value)
            case FloatShape(bits):
                self.floating(bits, value)
            case CharShape():
                if not isinstance(value, str) or str.__len__(value) != 1:
                    raise expected("one character", value)
                self.text(value)
            case StrShape():
                self.text(value)
            case BytesShape():
                data = self.data(value)
                self.varint(_data_length(data))
                self.pieces.append(data)
            case UnitShape(written):
                if value is not None:
                    raise expected("None", value)
                self.pieces.append(written)
            case OptionShape(inner, present=True):
                self.pieces.append(b"\x01")
                self.encode(inner, value)
            case OptionShape(inner):
                self.pieces.append(b"\x00" if value is None else b"\x01")
                if value is not None:
                    self.encode(inner, value)
            case ChannelShape():
                self.instance(shape.handle, value)
            case RefShape(name):
                self.encode(self.levels[name], value)
            case ListShape() | ArrayShape() | SetShape() | MapShape():
                self.collection(shape, value)
            case _:
                self.composite(shape, value)

    def composite(
        self,
        shape: (
            TupleShape
            | StructShape
            | EnumShape
            | UnionShape
            | TransparentShape
            | ConvertedShape
        ),
        value: Any,
    ) -> None:
        match shape:
            case TupleShape():
                self.tuple(shape, value)
            case StructShape(_, record) | TransparentShape(record):
                self.instance(record.cls, value)
                self.keeps_its_fields(record.cls, value)
                self.record(record, value)
            case EnumShape(_, cls, members):
                self.instance(cls, value)
                self.varint([each is value for each in members].index(True))
            case UnionShape():
                self.variant(shape, value)
            case ConvertedShape(cls, inner, unstructure):
                self.instance(cls, value)
                what = f"{cls.__qualname__} was not unstructured"
                self.encode(inner, theirs(what, unstructure, value))
            case _:
                assert_never(shape)

    def boolean(self, value: Any) -> None:
        if value is not True and value is not False:
            raise expected("bool", value)
        self.pieces.append(b"\x01" if value else b"\x00")

    def integer(self, shape: IntShape, value: Any) -> None:
        try:
            number = operator.index(value)
        except TypeError:
            raise expected(range_of(shape), value) from None
        if not shape.minimum <= number <= shape.maximum:
            raise expected(range_of(shape), value)
        if shape.bits == 8:
            self.pieces.append(number.to_bytes(1, "little", signed=shape.signed))
        elif shape.signed:
            self.varint(number << 1 if number >= 0 else ~(number << 1))
        else:
            self.varint(number)

    def varint(self, number: int) -> None:
        encoded = bytearray()
        while number > 0x7F:
            encoded.append(number & 0x7F | 0x80)
            number >>= 7
        encoded.append(number)
        self.pieces.append(bytes(encoded))

    def floating(self, bits: int, value: Any) -> None:
        try:
            self.pieces.append(struct.pack("<f" if bits == 32 else "<d", value))
        except (struct.error, TypeError, OverflowError, ValueError):
            raise expected(f"f{bits}", value) from None

    def text(self, value: Any) -> None:
        if not isinstance(value, str):
            raise expected("str", value)
        try:
            encoded = str.encode(value)
        except UnicodeEncodeError as cause:
            raise expected("str without lone surrogates", value) from cause
        self.varint(len(encoded))
        self.pieces.append(encoded)

    def data(self, value: Any) -> bytes | memoryview:
        try:
            return as_bytes(value)
        except (TypeError, ValueError) as cause:
            raise expected("bytes", value) from cause

    def instance(self, cls: type[Any], value: Any) -> None:
        if not isinstance(value, cls):
            raise expected(cls.__qualname__, value)

    def keeps_its_fields(self, cls: type[Any], value: Any) -> None:
        lost = lost_fields(value, cls)
        if lost:
            raise Problem(lost_text(value, cls, lost))

    def collection(
        self, shape: ListShape | ArrayShape | SetShape | MapShape, value: Any
    ) -> None:
        match shape:
            case ListShape(item, python):
                self.counted(item, self.kind(python, as_sequence, value))
            case ArrayShape(item, length, "bytes" | "memoryview"):
                data = self.data(value)
                self.length("bytes", length, _data_length(data))
                if shape.counted:
                    self.varint(length)
                self.pieces.append(data)
            case ArrayShape(item, length, python):
                values = self.kind(python, as_sequence, value)
                self.length("items", length, len(values))
                if shape.counted:
                    self.varint(length)
                self.items(item, values)
            case SetShape(item):
                self.counted(item, self.kind("set", as_items, value))
            case MapShape(key, item):
                entries = self.kind("dict", as_dict, value)
                size = self.sizes.of(key) + self.sizes.of(item)
                self.check_zero_sized(size, len(entries))
                self.varint(len(entries))
                for index, (each_key, each) in enumerate(entries.items()):
                    self.within(f".keys()[{index}]", self.encode, key, each_key)
                    step = KeyStep(each_key, index)
                    self.within(step, self.encode, item, each)
            case _:
                assert_never(shape)

    def kind(self, name: str, convert: Callable[[Any], Kind], value: Any) -> Kind:
        try:
            return convert(value)
        except (TypeError, ValueError) as cause:
            raise expected(name, value) from cause

    def length(self, what: str, length: int, actual: int) -> None:
        if actual != length:
            raise Problem(f"expected {length} {what}, got {actual}")

    def counted(self, item: Shape, values: Any) -> None:
        self.check_zero_sized(self.sizes.of(item), len(values))
        self.varint(len(values))
        self.items(item, values)

    def items(self, item: Shape, values: Iterable[Any]) -> None:
        if self.is_hurried and isinstance(item, IntShape | FloatShape):
            given = cast("list[Any]", values)
            self.numbers(item, given if type(values) is list else list(values))
            return
        for index, value in enumerate(values):
            self.within(index, self.encode, item, value)

    def numbers(self, item: IntShape | FloatShape, values: list[Any]) -> None:
        """Skip correct numbers, many at a time."""
        for start in range(0, len(values), _TOGETHER):
            self.block(item, start, values[start : start + _TOGETHER])

    def block(self, item: IntShape | FloatShape, start: int, values: list[Any]) -> None:
        if _are_right(item, values):
            self.visit()
        elif len(values) > 1:
            half = len(values) // 2
            self.block(item, start, values[:half])
            self.block(item, start + half, values[half:])
        else:
            self.within(start, self.encode, item, values[0])

    def tuple(self, shape: TupleShape, value: Any) -> None:
        self.instance(tuple, value)
        values: list[Any] = list(value)
        self.length("items", len(shape.items), len(values))
        for step, item, each in zip(
            tuple_steps(shape), shape.items, values, strict=True
        ):
            self.within(step, self.encode, item, each)

    def record(self, record: Record, value: Any) -> None:
        for field in record.fields:
            self.within(f".{field.attribute}", self.field, field, value)

    def field(self, field: Field, value: Any) -> None:
        if not field.attribute:
            self.encode(field.shape, None)
            return
        what = f"the field {field.attribute!r} could not be read"
        self.encode(field.shape, theirs(what, getattr, value, field.attribute))

    def variant(self, shape: UnionShape, value: Any) -> None:
        by_class = {
            variant.record.cls: index for index, variant in enumerate(shape.variants)
        }
        for cls in type(value).__mro__:
            if cls in by_class:
                self.keeps_its_fields(cls, value)
                self.varint(by_class[cls])
                self.record(shape.variants[by_class[cls]].record, value)
                return
        names = " | ".join(cls.__qualname__ for cls in by_class)
        raise expected(names, value)


def _data_length(data: bytes | memoryview) -> int:
    return data.nbytes if isinstance(data, memoryview) else len(data)


def _are_right(shape: IntShape | FloatShape, values: list[Any]) -> bool:
    if isinstance(shape, FloatShape):
        with suppress(Exception):
            struct.pack(f"<{len(values)}{fixed_format(shape)}", *values)
            return True
        return False
    with suppress(struct.error, ValueError):
        # the fastest check for small numbers
        if shape.signed:
            struct.pack(f"{len(values)}b", *values)
        else:
            bytes(values)
        return True
    return (
        _INTS.issuperset(map(type, values))
        and min(values) >= shape.minimum
        and max(values) <= shape.maximum
    )
