"""Writes the source of an encoder.

An encoder takes a value and the `append` of a list of pieces. Each recursive struct,
enum and tuple gets its own function; everything small is inline. The source checks
every value, but does not describe errors: the interpreter does that.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, assert_never

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
    is_flat,
    levels,
)
from ..schema.sizes import Sizes
from . import primitives
from .fixed import fixed_format, runs
from .names import Names
from .source import MAX_BLOCKS, Function, Module

__all__ = ["EncoderSource"]

_ZERO, _ONE = b"\x00", b"\x01"


class EncoderSource:
    """Writes encoders of the parts of one shape into a module."""

    def __init__(self, module: Module, root: Shape) -> None:
        self._module = module
        self._names = Names(module)
        self._levels = levels(root)
        self._sizes = Sizes(root)
        self._functions: dict[str, str] = {}

    def function(self, shape: Shape) -> str:
        """Return the name of the function ``encode(value, append)`` of a shape."""
        if isinstance(shape, RefShape):
            shape = self._levels[shape.name]
        if not isinstance(shape, TupleShape | StructShape | UnionShape):
            function = self._module.function("encode", "value", "append")
            self._emit(function, shape, "value")
            return function.name
        name = self._functions.get(shape.name)
        if name is None:
            hint = f"encode_{shape.name}"
            function = self._module.function(hint, "value", "append")
            name = self._functions[shape.name] = function.name
            self._level(function, shape)
        return name

    def _level(
        self, to: Function, shape: TupleShape | StructShape | UnionShape
    ) -> None:
        match shape:
            case TupleShape():
                self._tuple(to, shape, "value")
            case StructShape(_, record):
                self._check_record(to, record, "value")
                self._record(to, record, "value")
                if not record.fields:
                    to.line("return")
            case UnionShape():
                self._union(to, shape, "value")
            case _:
                assert_never(shape)

    # ------------------------------------------------------------ by shape

    def _emit(self, to: Function, shape: Shape, value: str) -> None:
        """Write the lines that encode a variable."""
        if to.depth > MAX_BLOCKS:
            to.line(f"{self.function(shape)}({value}, append)")
            return
        match shape:
            case StrShape():
                self._text(to, value)
            case BytesShape():
                self._bytes(to, value)
            case UnitShape(written):
                to.line(f"if {value} is not None: {self._names.refuse('unit')}")
                if written:
                    to.line(f"append({self._module.bind('default', written)})")
            case ChannelShape(handle=handle):
                self._check_class(to, handle, value)
            case OptionShape(inner, present=True):
                to.line(f"append({_ONE!r})")
                self._emit(to, inner, value)
            case OptionShape(inner):
                self._option(to, inner, value)
            case ListShape() | SetShape() | MapShape() | ArrayShape():
                self._collection(to, shape, value)
            case TransparentShape(record):
                self._check_record(to, record, value)
                self._record(to, record, value)
            case ConvertedShape():
                self._converted(to, shape, value)
            case TupleShape() | StructShape() | UnionShape() | RefShape():
                to.line(f"{self.function(shape)}({value}, append)")
            case _:
                to.line(f"append({self._expression(shape, value)})")

    def _expression(
        self,
        shape: BoolShape | IntShape | FloatShape | CharShape | EnumShape,
        value: str,
    ) -> str:
        """Return the expression for the bytes of a variable whose encoding is always
        short.
        """
        match shape:
            case BoolShape():
                otherwise = self._names.refuse("bool")
                return (
                    f"{_ONE!r} if {value} is True else "
                    f"{_ZERO!r} if {value} is False else {otherwise}"
                )
            case IntShape():
                return self._integer(shape, value)
            case FloatShape(bits):
                return f"{self._names.packer('f' if bits == 32 else 'd')}({value})"
            case CharShape():
                return f"{self._names.primitive('one_char')}({value})"
            case EnumShape(name, _, members):
                index = self._names.indices(f"INDEX_{name}", members)
                return f"{index}[id({value})]"
            case _:
                assert_never(shape)

    def _integer(self, shape: IntShape, value: str) -> str:
        byte, zigzag = self._names.primitive("BYTE"), self._names.primitive("ZIGZAG")
        # Two comparisons with `and` are faster than a chained one.
        match shape:
            case IntShape(_, 8, False):
                short = f"{byte}[{value}] if {value} >= 0"
            case IntShape(_, 8, True):
                short = f"{byte}[{value} & 255] if {value} >= -128 and {value} < 128"
            case IntShape(_, _, False):
                short = f"{byte}[{value}] if {value} >= 0 and {value} < 128"
            case _:
                short = f"{zigzag}[{value}] if {value} >= -64 and {value} < 64"
        write = self._names.writer(shape)
        name, writer = f"write_other_{shape.name}", primitives.OTHER_WRITERS[shape.name]
        # Check the class first, because only an exact `int` is certain to compare like
        # one.
        return (
            f"({short} else {write}({value})) if {value}.__class__ is int "
            f"else {self._module.bind(name, writer)}({value})"
        )

    def _text(self, to: Function, value: str) -> None:
        data, length = to.local("data"), to.local("n")
        to.line(f"{data} = {self._module.bind('utf8', str.encode)}({value})")
        to.line(f"{length} = len({data})")
        byte, prefixed = map(self._names.primitive, ("BYTE", "length_prefixed"))
        to.line(
            f"append({byte}[{length}] + {data} if {length} < 128 "
            f"else {prefixed}({data}))"
        )

    def _bytes(self, to: Function, value: str) -> None:
        data, length = to.local("data"), to.local("n")
        as_bytes = self._names.primitive("as_bytes")
        to.line(
            f"{data} = {value} if {value}.__class__ is bytes else {as_bytes}({value})"
        )
        to.line(f"{length} = len({data})")
        with to.block(f"if {length} < 128:"):
            to.line(f"append({self._names.primitive('BYTE')}[{length}] + {data})")
        with to.block("else:"):
            to.line(f"append({self._names.written_length(length)})")
            to.line(f"append({data})")

    def _option(self, to: Function, inner: Shape, value: str) -> None:
        with to.block(f"if {value} is None:"):
            to.line(f"append({_ZERO!r})")
        with to.block("else:"):
            to.line(f"append({_ONE!r})")
            self._emit(to, inner, value)

    def _converted(self, to: Function, shape: ConvertedShape, value: str) -> None:
        self._check_class(to, shape.cls, value)
        hook = self._module.bind(f"unstructure_{shape.cls.__name__}", shape.unstructure)
        wire = to.local("wire")
        to.line(f"{wire} = {hook}({value})")
        self._emit(to, shape.inner, wire)

    # ------------------------------------------------------------ collections

    def _collection(
        self,
        to: Function,
        shape: ListShape | SetShape | MapShape | ArrayShape,
        value: str,
    ) -> None:
        match shape:
            case ArrayShape(item, length, "bytes" | "memoryview"):
                self._byte_array(to, shape, value)
            case ArrayShape(item, length, python):
                self._as_kind(to, python, "as_sequence", value)
                wrong = self._names.refuse("length")
                to.line(f"if len({value}) != {length!r}: {wrong}")
                self._length_of_array(to, shape)
                self._items(to, item, value)
            case ListShape(item, python):
                self._as_kind(to, python, "as_sequence", value)
                self._counted(to, value, self._sizes.of(item))
                self._items(to, item, value)
            case SetShape(item, frozen):
                first = "frozenset" if frozen else "set"
                self._as_kind(to, first, "as_items", value)
                self._counted(to, value, self._sizes.of(item))
                self._items(to, item, value)
            case MapShape(key, item):
                self._as_kind(to, "dict", "as_dict", value)
                size = self._sizes.of(key) + self._sizes.of(item)
                self._counted(to, value, size)
                each_key, each = to.local("key"), to.local("item")
                with to.block(f"for {each_key}, {each} in {value}.items():"):
                    self._emit(to, key, each_key)
                    self._emit(to, item, each)
            case _:
                assert_never(shape)

    def _length_of_array(self, to: Function, shape: ArrayShape) -> None:
        if shape.counted:
            to.line(f"append({primitives.WRITERS['usize'](shape.length)!r})")

    def _byte_array(self, to: Function, shape: ArrayShape, value: str) -> None:
        data = to.local("data")
        as_bytes = self._names.primitive("as_bytes")
        to.line(
            f"{data} = {value} if {value}.__class__ is bytes else {as_bytes}({value})"
        )
        to.line(f"if len({data}) != {shape.length!r}: {self._names.refuse('length')}")
        self._length_of_array(to, shape)
        to.line(f"append({data})")

    def _counted(self, to: Function, value: str, size: float) -> None:
        length = to.local("n")
        to.line(f"{length} = len({value})")
        if size == 0:
            to.line(f"{self._names.primitive('check_zero_sized')}({length})")
        byte = self._names.primitive("BYTE")
        long = self._names.written_length(length)
        to.line(f"append({byte}[{length}] if {length} < 128 else {long})")

    def _items(self, to: Function, item: Shape, value: str) -> None:
        match item:
            case IntShape(bits=8, signed=False):
                to.line(f"append(bytes({value}))")
            case FloatShape() | IntShape(bits=8):
                pack = self._module.bind("pack", struct.pack)
                form = fixed_format(item)
                to.line(f'append({pack}(f"<{{len({value})}}{form}", *{value}))')
            case IntShape():
                each, short = to.local("item"), to.local("short")
                encoded = self._expression(item, each)
                small = "small_signed_numbers" if item.signed else "small_numbers"
                small, block = self._names.primitive(small), to.local("block")
                to.line(f"{short} = {small}({value})")
                to.line(f"if {short} is not None: append({short})")
                blocks = self._names.primitive("blocks")
                with to.block("else:"), to.block(f"for {block} in {blocks}({value}):"):
                    # Encode block by block, so that a few large numbers do not slow
                    # down all.
                    again = f"{small}({block}) if {block} is not {value} else None"
                    to.line(f"{short} = {again}")
                    to.line(f"if {short} is None:")
                    to.line(
                        f'    {short} = b"".join([{encoded} for {each} in {block}])'
                    )
                    to.line(f"append({short})")
            case BoolShape() | EnumShape() | CharShape():
                each = to.local("item")
                encoded = self._expression(item, each)
                to.line(f'append(b"".join([{encoded} for {each} in {value}]))')
            case StructShape(_, record) if is_flat(record):
                # In place, as a call for each would take a good part of the time.
                each = to.local("item")
                with to.block(f"for {each} in {value}:"):
                    self._check_record(to, record, each)
                    self._record(to, record, each)
            case _:
                each = to.local("item")
                with to.block(f"for {each} in {value}:"):
                    self._emit(to, item, each)

    # ------------------------------------------------------------ composites

    def _tuple(self, to: Function, shape: TupleShape, value: str) -> None:
        check = self._names.primitive("check_instance")
        to.line(f"if {value}.__class__ is not tuple: {check}({value}, tuple)")
        labels = shape.labels or ["item"] * len(shape.items)
        names = [to.local(label) for label in labels]
        to.line(f"[{', '.join(names)}] = {value}")
        self._sequence(to, shape.items, names)

    def _record(self, to: Function, record: Record, value: str) -> None:
        shapes = [field.shape for field in record.fields]
        values = [
            f"{value}.{field.attribute}" if field.attribute else "None"
            for field in record.fields
        ]
        self._sequence(to, shapes, values)

    def _sequence(
        self, to: Function, shapes: Sequence[Shape], values: Sequence[str]
    ) -> None:
        for run in runs(shapes):
            if len(run) > 1:
                form = "".join(fixed_format(shapes[index]) for index in run)
                members = ", ".join(values[index] for index in run)
                to.line(f"append({self._names.packer(form)}({members}))")
            else:
                self._emit(to, shapes[run[0]], self._variable(to, values[run[0]]))

    def _variable(self, to: Function, value: str) -> str:
        """Return a variable for an expression, so that it is evaluated once."""
        if "." not in value:
            return value
        name = to.local(value.rpartition(".")[2])
        to.line(f"{name} = {value}")
        return name

    def _union(self, to: Function, shape: UnionShape, value: str) -> None:
        classes = {
            variant.record.cls: index for index, variant in enumerate(shape.variants)
        }
        table = self._module.bind(f"INDEX_{shape.name}", classes)
        nearest = self._names.primitive("index_by_class")
        index = to.local("index")
        to.line(f"{index} = {table}.get({value}.__class__)")
        to.line(f"if {index} is None: {index} = {nearest}({value}, {table})")
        write_index = primitives.varint_writer(2**32 - 1)
        for number, variant in enumerate(shape.variants):
            with to.block(f"if {index} == {number!r}:"):
                to.line(f"append({write_index(number)!r})")
                self._record(to, variant.record, value)
                to.line("return")

    # ------------------------------------------------------------ checks

    def _check_class(self, to: Function, cls: type[Any], value: str) -> None:
        name = self._module.bind(cls.__name__, cls)
        check = self._names.primitive("check_instance")
        to.line(f"if {value}.__class__ is not {name}: {check}({value}, {name})")

    def _check_record(self, to: Function, record: Record, value: str) -> None:
        name = self._module.bind(record.cls.__name__, record.cls)
        check = self._names.primitive("check_record")
        to.line(f"if {value}.__class__ is not {name}: {check}({value}, {name})")

    def _as_kind(self, to: Function, first: str, convert: str, value: str) -> None:
        as_kind = self._names.primitive(convert)
        to.line(f"if {value}.__class__ is not {first}: {value} = {as_kind}({value})")
