"""Writes the source of a decoder.

A decoder takes a buffer, a position and the size of the buffer, and returns the value
with the position after it. It reads primitives inline, checks every count against the
remaining bytes before it uses it, and detects truncated values.
"""

from __future__ import annotations

import keyword
import struct
from collections.abc import Sequence
from time import perf_counter
from typing import assert_never

from ..schema.filling import UNWATCHED, UNWATCHED_SETS
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
    has_no_parts,
    is_flat,
    levels,
)
from ..schema.sizes import Sizes
from . import primitives
from .fixed import fixed_format, runs
from .names import Names
from .source import MAX_BLOCKS, Function, Module

__all__ = ["DecoderSource"]

_BLOCK = 4096
_PARAMETERS = ("buf", "pos", "size")


class DecoderSource:
    """Writes decoders of the parts of one shape into a module.

    Args:
        module: the module to write to.
        root: the shape.
        from_bytes: whether the buffer will be `bytes`, from which texts decode faster.
    """

    def __init__(self, module: Module, root: Shape, *, from_bytes: bool) -> None:
        self._module = module
        self._names = Names(module)
        self._from_bytes = from_bytes
        self._levels = levels(root)
        self._sizes = Sizes(root)
        self._functions: dict[str, str] = {}

    def function(self, shape: Shape) -> str:
        """Return the name of the function ``decode(buf, pos, size)`` of a shape."""
        if isinstance(shape, RefShape):
            shape = self._levels[shape.name]
        if not isinstance(shape, TupleShape | StructShape | UnionShape):
            function = self._module.function("decode", *_PARAMETERS)
            value = function.local("value")
            self.emit(function, shape, value)
            function.line(f"return {value}, pos")
            return function.name
        name = self._functions.get(shape.name)
        if name is None:
            function = self._module.function(f"decode_{shape.name}", *_PARAMETERS)
            name = self._functions[shape.name] = function.name
            self._level(function, shape)
        return name

    def _level(
        self, to: Function, shape: TupleShape | StructShape | UnionShape
    ) -> None:
        match shape:
            case TupleShape(_, items, labels):
                names = self._sequence(to, items, labels or ["item"] * len(items))
                to.line(f"return ({''.join(f'{name}, ' for name in names)}), pos")
            case StructShape(_, record):
                to.line(f"return {self._record(to, record)}, pos")
            case UnionShape(_, variants):
                index = to.local("index")
                self._varint(to, index, 32)
                for number, variant in enumerate(variants):
                    with to.block(f"if {index} == {number!r}:"):
                        to.line(f"return {self._record(to, variant.record)}, pos")
                to.line(self._names.refuse("variant"))
            case _:
                assert_never(shape)

    # ------------------------------------------------------------ by shape

    def emit(self, to: Function, shape: Shape, target: str) -> None:
        """Write the lines that decode into a variable."""
        if to.depth > MAX_BLOCKS:
            to.line(f"{target}, pos = {self.function(shape)}(buf, pos, size)")
            return
        match shape:
            case BoolShape():
                to.line(f"{target} = {self._names.primitive('BOOL')}[buf[pos]]")
                to.line("pos += 1")
            case IntShape():
                self._integer(to, shape, target)
            case FloatShape():
                unpack = self._names.unpacker(fixed_format(shape))
                to.line(f"({target},) = {unpack}(buf, pos)")
                to.line(f"pos += {shape.bits // 8}")
            case StrShape() | CharShape():
                self._text(to, target)
                if isinstance(shape, CharShape):
                    to.line(f"if len({target}) != 1: {self._names.refuse('char')}")
            case BytesShape(view):
                self._bytes(to, self._length(to), view, target)
            case UnitShape(skipped=skipped):
                if skipped is not None:
                    self._skip(to, skipped, target)
                to.line(f"{target} = None")
            case OptionShape(inner):
                self._option(to, inner, target)
            case ListShape() | SetShape() | MapShape() | ArrayShape():
                self._collection(to, shape, target)
            case _:
                self._composite(to, shape, target)

    def _skip(self, to: Function, skipped: Shape, target: str) -> None:
        """Write the lines that read a part that only the peer has."""
        own = DecoderSource(self._module, skipped, from_bytes=self._from_bytes)
        if has_no_parts(skipped):
            own.emit(to, skipped, target)
        else:
            to.line(f"{target}, pos = {own.function(skipped)}(buf, pos, size)")

    def _composite(
        self,
        to: Function,
        shape: (
            TransparentShape
            | ConvertedShape
            | ChannelShape
            | EnumShape
            | TupleShape
            | StructShape
            | UnionShape
            | RefShape
        ),
        target: str,
    ) -> None:
        match shape:
            case EnumShape(name, _, members):
                self._varint(to, target, 32)
                table = self._module.bind(f"MEMBERS_{name}", members)
                to.line(f"{target} = {table}[{target}]")
            case TransparentShape(record):
                to.line(f"{target} = {self._record(to, record)}")
            case ConvertedShape(cls, inner, _, structure):
                self.emit(to, inner, target)
                hook = self._module.bind(f"structure_{cls.__name__}", structure)
                name = self._module.bind(cls.__name__, cls)
                to.line(f"{target} = {hook}({target}, {name})")
            case ChannelShape(handle=handle):
                name = self._module.bind(handle.__name__, handle)
                to.line(f"{target} = {name}.__roam_unbound__()")
            case TupleShape() | StructShape() | UnionShape() | RefShape():
                to.line(f"{target}, pos = {self.function(shape)}(buf, pos, size)")
            case _:
                assert_never(shape)

    def _integer(self, to: Function, shape: IntShape, target: str) -> None:
        if shape.bits == 8:
            byte = "(buf[pos] ^ 128) - 128" if shape.signed else "buf[pos]"
            to.line(f"{target} = {byte}")
            to.line("pos += 1")
            return
        self._varint(to, target, shape.bits)
        if shape.signed:
            to.line(f"{target} = {_zigzag(target)}")

    def _varint(self, to: Function, target: str, bits: int) -> None:
        read = self._module.bind(f"read_u{bits}", primitives.READERS[bits])
        to.line(f"{target} = buf[pos]")
        to.line("pos += 1")
        to.line(f"if {target} > 127: {target}, pos = {read}(buf, pos, {target})")

    def _length(self, to: Function) -> str:
        """Write the lines that read a length and check that the bytes exist."""
        length = to.local("end")
        self._varint(to, length, 64)
        to.line(f"{length} += pos")
        to.line(f"if {length} > size: {self._names.refuse('the bytes end early')}")
        return length

    def _text(self, to: Function, target: str) -> None:
        end = self._length(to)
        if self._from_bytes:
            to.line(f"{target} = buf[pos:{end}].decode()")
        else:
            to.line(f'{target} = str(buf[pos:{end}], "utf-8")')
        to.line(f"pos = {end}")

    def _bytes(self, to: Function, end: str, view: bool, target: str) -> None:
        if view:
            to.line(f"{target} = memoryview(buf)[pos:{end}]")
        else:
            to.line(f"{target} = bytes(buf[pos:{end}])")
        to.line(f"pos = {end}")

    def _option(self, to: Function, inner: Shape, target: str) -> None:
        tag = to.local("tag")
        to.line(f"{tag} = buf[pos]")
        to.line("pos += 1")
        with to.block(f"if {tag} == 1:"):
            self.emit(to, inner, target)
        with to.block("else:"):
            to.line(f"if {tag}: {self._names.refuse('option')}")
            to.line(f"{target} = None")

    # ------------------------------------------------------------ collections

    def _collection(
        self,
        to: Function,
        shape: ListShape | SetShape | MapShape | ArrayShape,
        target: str,
    ) -> None:
        match shape:
            case ArrayShape(item, length, "bytes" | "memoryview" as python):
                end = to.local("end")
                to.line(f"{end} = pos + {length!r}")
                to.line(f"if {end} > size: {self._names.refuse('the bytes end early')}")
                self._bytes(to, end, python == "memoryview", target)
            case ArrayShape(item, length, python):
                count = to.local("n")
                to.line(f"{count} = {length!r}")
                self._check_left(to, count, self._sizes.of(item))
                self._items(to, item, count, target)
                if python == "tuple":
                    to.line(f"{target} = tuple({target})")
            case ListShape(item, python):
                self._items(to, item, self._count(to, item), target)
                if python == "tuple":
                    to.line(f"{target} = tuple({target})")
            case SetShape(item, frozen):
                self._set(to, item, "frozenset" if frozen else "set", target)
            case MapShape(key, item):
                self._map(to, key, item, target)
            case _:
                assert_never(shape)

    def _count(self, to: Function, *items: Shape) -> str:
        """Write the lines that read a count and check that the items can exist."""
        count = to.local("n")
        self._varint(to, count, 64)
        self._check_left(to, count, sum(self._sizes.of(item) for item in items))
        return count

    def _check_left(self, to: Function, count: str, size: float) -> None:
        if size == 0:
            to.line(f"{self._names.primitive('check_zero_sized')}({count})")
            return
        needed = count if size == 1 else f"{count} * {size!r}"
        to.line(f"if {needed} > size - pos: {self._names.refuse('too many items')}")

    def _items(self, to: Function, item: Shape, count: str, target: str) -> None:
        match item:
            case FloatShape() | IntShape(bits=8, signed=True):
                unpack = self._module.bind("unpack_from", struct.unpack_from)
                form = fixed_format(item)
                size = self._sizes.of(item)
                to.line(f'{target} = list({unpack}(f"<{{{count}}}{form}", buf, pos))')
                to.line(f"pos += {count} * {size!r}")
            case IntShape(bits=8):
                to.line(f"{target} = list(buf[pos:pos + {count}])")
                to.line(f"pos += {count}")
            case BoolShape():
                flags = self._names.primitive("BOOL")
                each = to.local("item")
                to.line(
                    f"{target} = [{flags}[{each}] for {each} in buf[pos:pos + {count}]]"
                )
                to.line(f"pos += {count}")
            case IntShape():
                self._integers(to, item, count, target)
            case _:
                self._loop(to, item, count, target)

    def _integers(self, to: Function, item: IntShape, count: str, target: str) -> None:
        # If the next `count` bytes are all below 128, each is one item.
        short, left, block = to.local("short"), to.local("left"), to.local("block")
        to.line(f"{short} = bytes(buf[pos:pos + {count}])")
        with to.block(f"if {short}.isascii():"):
            to.line(f"{target} = {self._short_integers(to, item, short)}")
            to.line(f"pos += {count}")
        with to.block("else:"):
            # Do the same block by block, so that a few large numbers do not slow down
            # all.
            to.line(f"{target} = []")
            to.line(f"{left} = {count}")
            with to.block(f"while {left}:"):
                to.line(f"{block} = {left} if {left} < {_BLOCK} else {_BLOCK}")
                to.line(f"{left} -= {block}")
                to.line(f"if {block} == {_BLOCK}:")
                to.line(f"    {short} = bytes(buf[pos:pos + {_BLOCK}])")
                with to.block(
                    f"if {block} == {_BLOCK} == len({short}) and {short}.isascii():"
                ):
                    numbers = self._short_integers(to, item, short)
                    # Extending a list with bytes is faster than with a list.
                    to.line(f"{target} += {numbers if item.signed else short}")
                    to.line(f"pos += {_BLOCK}")
                    to.line("continue")
                self._each(to, item, block, target)

    def _short_integers(self, to: Function, item: IntShape, short: str) -> str:
        if not item.signed:
            return f"list({short})"
        each = to.local("item")
        return f"[{_zigzag(each)} for {each} in {short}]"

    def _loop(self, to: Function, item: Shape, count: str, target: str) -> None:
        to.line(f"{target} = []")
        self._each(to, item, count, target)

    def _each(self, to: Function, item: Shape, count: str, target: str) -> None:
        with to.block(f"for _ in range({count}):"):
            if isinstance(item, StructShape) and is_flat(item.record):
                # Write this inline: a call per item would take a large part of the
                # time.
                each = self._record(to, item.record)
            else:
                each = to.local("item")
                self.emit(to, item, each)
            to.line(f"{target}.append({each})")

    def _set(self, to: Function, item: Shape, python: str, target: str) -> None:
        count = self._count(to, item)
        if is_seeded(item):
            self._items(to, item, count, target)
            to.line(f"{target} = {python}({target})")
            return
        few, started = self._watch(to, item, count)
        self._items(to, item, count, target)
        fill = self._names.filling(f"fill_{python}")
        to.line(
            f"{target} = {python}({target}) if {few} else {fill}({target}, {started})"
        )

    def _map(self, to: Function, key: Shape, item: Shape, target: str) -> None:
        count = self._count(to, key, item)
        each_key, each = to.local("key"), to.local("item")
        if is_seeded(key):
            to.line(f"{target} = {{}}")
            with to.block(f"for _ in range({count}):"):
                self.emit(to, key, each_key)
                self.emit(to, item, each)
                to.line(f"{target}[{each_key}] = {each}")
            return
        few, started = self._watch(to, key, count)
        keys = to.local("keys")
        to.line(f"{keys} = []")
        to.line(f"{target} = []")
        with to.block(f"for _ in range({count}):"):
            self.emit(to, key, each_key)
            to.line(f"{keys}.append({each_key})")
            self.emit(to, item, each)
            to.line(f"{target}.append({each})")
        fill = self._names.filling("fill_dict")
        to.line(
            f"{target} = dict(zip({keys}, {target})) if {few} "
            f"else {fill}({keys}, {target}, {started})"
        )

    def _watch(self, to: Function, key: Shape, count: str) -> tuple[str, str]:
        """Write the line that starts the timer if there are many keys; return both
        names.
        """
        few = f"{count} <= {UNWATCHED_SETS if has_sets(key) else UNWATCHED}"
        started = to.local("started")
        clock = self._module.bind("clock", perf_counter)
        to.line(f"{started} = 0.0 if {few} else {clock}()")
        return few, started

    # ------------------------------------------------------------ classes

    def _record(self, to: Function, record: Record) -> str:
        """Write the lines that decode the fields; return the expression of the
        instance.
        """
        hints = [field.attribute or "skipped" for field in record.fields]
        names = self._sequence(to, [field.shape for field in record.fields], hints)
        cls = self._module.bind(record.cls.__name__, record.cls)
        keywords = [field.keyword for field in record.fields]
        found = [pair for pair in zip(keywords, names, strict=True) if pair[0]]
        if record.positional:
            return f"{cls}({', '.join(name for _, name in found)})"
        given = [_keyword_argument(key, name) for key, name in found]
        return f"{cls}({', '.join(given)})"

    def _sequence(
        self, to: Function, shapes: Sequence[Shape], hints: Sequence[str]
    ) -> list[str]:
        names = [to.local(hint) for hint in hints]
        for run in runs(shapes):
            if len(run) > 1:
                form = "".join(fixed_format(shapes[index]) for index in run)
                targets = ", ".join(names[index] for index in run)
                to.line(f"{targets} = {self._names.unpacker(form)}(buf, pos)")
                to.line(f"pos += {struct.calcsize(f'<{form}')}")
            else:
                self.emit(to, shapes[run[0]], names[run[0]])
        return names


def _keyword_argument(key: str, name: str) -> str:
    """Return the text of an argument; the name of one can be any text."""
    if key.isidentifier() and not keyword.iskeyword(key):
        return f"{key}={name}"
    return f"**{{{key!r}: {name}}}"


def _zigzag(name: str) -> str:
    return f"{name} >> 1 ^ -({name} & 1)"
