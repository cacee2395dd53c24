"""The plain decoder: walks a `Shape` and the bytes of a value."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, assert_never

from ..schema.filling import CollidingKeys, fill_dict, fill_frozenset, fill_set
from ..schema.kinds import ClassKind, kind_of
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
)
from .fixed import fixed_format
from .walk import (
    KeyStep,
    Problem,
    Walk,
    raised,
    raised_without_values,
    range_of,
    text_of,
    theirs,
    tuple_steps,
)

__all__ = ["Buffer", "InterpretedDecoder"]

Buffer = bytes | memoryview

_U32 = IntShape("u32", 32, signed=False)
_USIZE = IntShape("usize", 64, signed=False)


_SHORT = bytes(range(128))
_FLAGS = b"\x00\x01"
_MOST_TOGETHER = 65536


class InterpretedDecoder(Walk):
    def __init__(
        self, root: Shape, buffer: Buffer, start: int, visits: float = math.inf
    ) -> None:
        super().__init__(root, visits)
        self.buffer = buffer
        self.pos = start
        self.size = len(buffer)

    def decode_all(self) -> Any:
        value = self.decode(self.root)
        if self.pos < self.size:
            left = self.size - self.pos
            raise Problem(f"{left} bytes are left after the value")
        return value

    def decode(self, shape: Shape) -> Any:
        self.visit()
        match shape:
            case BoolShape():
                return self.flag("bool")
            case IntShape():
                return self.integer(shape)
            case FloatShape(32):
                return struct.unpack("<f", self.take(4, "f32"))[0]
            case FloatShape():
                return struct.unpack("<d", self.take(8, "f64"))[0]
            case CharShape():
                return self.char()
            case StrShape():
                return self.text("str")
            case BytesShape(view):
                length = self.integer(_USIZE)
                return self.data(length, "memoryview" if view else "bytes")
            case UnitShape(skipped=skipped):
                if skipped is not None:
                    self.skip(skipped)
                return None
            case OptionShape(inner):
                return self.decode(inner) if self.flag("option") else None
            case ChannelShape():
                return shape.handle.__roam_unbound__()
            case RefShape(name):
                return self.decode(self.levels[name])
            case ListShape() | ArrayShape() | SetShape() | MapShape():
                return self.collection(shape)
            case _:
                return self.composite(shape)

    def skip(self, shape: Shape) -> None:
        """Read a part that only the peer has, which has levels of its own."""
        rest = InterpretedDecoder(shape, self.buffer, self.pos, self.visits_left)
        rest.decode(shape)
        self.pos, self.visits_left = rest.pos, rest.visits_left

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
    ) -> Any:
        match shape:
            case TupleShape(_, items):
                steps = zip(tuple_steps(shape), items, strict=True)
                return tuple(self.within(at, self.decode, item) for at, item in steps)
            case StructShape(_, record) | TransparentShape(record):
                return self.record(record)
            case EnumShape(_, cls, members):
                return members[self.index(len(members), cls.__qualname__)]
            case UnionShape(name, variants):
                return self.record(variants[self.index(len(variants), name)].record)
            case ConvertedShape(cls, inner, _, structure):
                value = self.decode(inner)
                what = f"{cls.__qualname__} was not structured from"
                try:
                    return structure(value, cls)
                except (MemoryError, RecursionError, Problem):
                    raise
                except Exception as cause:
                    raise Problem(
                        f"{what} {text_of(value)}: {raised(cause)}",
                        f"{what} {type(value).__qualname__}: "
                        f"{raised_without_values(cause)}",
                    ) from cause
            case _:
                assert_never(shape)

    # ------------------------------------------------------------ bytes

    def bad(self, expected: str, got: str) -> Problem:
        return Problem(f"expected {expected}, got {got} at byte {self.pos - 1}")

    def take(self, count: int, what: str) -> Buffer:
        left = self.size - self.pos
        if count > left:
            raise Problem(
                f"expected {what}, {count} bytes from byte {self.pos}, got {left}: "
                "the bytes end early"
            )
        self.pos += count
        return self.buffer[self.pos - count : self.pos]

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def flag(self, what: str) -> bool:
        byte = self.byte(what)
        if byte > 1:
            raise self.bad(f"{what} (00 or 01)", f"{byte:02x}")
        return byte == 1

    def integer(self, shape: IntShape) -> int:
        if shape.bits == 8:
            data = self.take(1, shape.name)
            return int.from_bytes(data, "little", signed=shape.signed)
        number = self.varint(shape)
        if shape.signed:
            return (number >> 1) ^ -(number & 1)
        return number

    def varint(self, shape: IntShape) -> int:
        number, shift, more = 0, 0, True
        while more:
            if shift >= shape.bits:
                raise self.bad(f"the varint of {shape.name}", "too many bytes")
            byte = self.byte(shape.name)
            number |= (byte & 0x7F) << shift
            shift += 7
            more = byte > 0x7F
        if number >> shape.bits:
            raise self.bad(range_of(shape), "a larger number")
        return number

    def text(self, what: str) -> str:
        encoded = self.take(self.integer(_USIZE), what)
        try:
            return str(encoded, "utf-8")
        except UnicodeDecodeError as cause:
            raise self.bad(what, f"invalid UTF-8 ({cause.reason})") from cause

    def char(self) -> str:
        text = self.text("char")
        if len(text) != 1:
            raise self.bad("one character", f"{len(text)} characters")
        return text

    def data(self, length: int, python: str) -> bytes | memoryview:
        data = self.take(length, "bytes")
        if python == "bytes":
            return bytes(data)
        return memoryview(self.buffer)[self.pos - length : self.pos]

    def index(self, count: int, name: str) -> int:
        index = self.integer(_U32)
        if index >= count:
            raise self.bad(f"a variant of {name} (0 to {count - 1})", str(index))
        return index

    # ------------------------------------------------------------ collections

    def collection(self, shape: ListShape | ArrayShape | SetShape | MapShape) -> Any:
        match shape:
            case ListShape(item, python):
                items = self.items(item, self.count(item))
                return tuple(items) if python == "tuple" else items
            case ArrayShape(_, length, "bytes" | "memoryview" as python):
                return self.data(length, python)
            case ArrayShape(item, length, python):
                self.check_left(length, self.sizes.of(item))
                items = self.items(item, length)
                return tuple(items) if python == "tuple" else items
            case SetShape(item, frozen):
                started = perf_counter()
                items = self.items(item, self.count(item))
                fill: Callable[..., Any] = fill_frozenset if frozen else fill_set
                return self.filled(fill, items, started)
            case MapShape(key, value):
                return self.map(key, value)
            case _:
                assert_never(shape)

    def count(self, *items: Shape) -> int:
        count = self.integer(_USIZE)
        size = sum(self.sizes.of(item) for item in items)
        self.check_zero_sized(size, count)
        self.check_left(count, size)
        return count

    def check_left(self, count: int, size: float) -> None:
        left = self.size - self.pos
        if count * size > left:
            raise Problem(
                f"expected {count} items of at least {size} bytes each, "
                f"got only {left} more bytes"
            )

    def items(self, item: Shape, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            if self.is_hurried and (run := self.run(item, count - len(found))):
                found += run
            else:
                found.append(self.within(len(found), self.decode, item))
        return found

    def run(self, item: Shape, count: int) -> Sequence[Any]:
        """Return the next items, as long as they are numbers that cannot be wrong.

        A compiled decoder also reads these many at a time, so visiting each would take
        much longer than decoding all.
        """
        form = fixed_format(item)
        if form:
            self.visit()
            form = f"<{count}{form}"
            return struct.unpack(form, self.take(struct.calcsize(form), "numbers"))
        if not isinstance(item, IntShape | BoolShape):
            return ()
        # Varints of one byte, or flags.
        right = _FLAGS if isinstance(item, BoolShape) else _SHORT
        if self.pos == self.size or self.buffer[self.pos] not in right:
            return ()
        self.visit()
        size = min(count, _MOST_TOGETHER)
        data = bytes(self.buffer[self.pos : self.pos + size])
        if right is not _SHORT or not data.isascii():
            data = data[: len(data) - len(data.lstrip(right))]
        self.pos += len(data)
        if isinstance(item, BoolShape):
            return list(map(bool, data))
        return [n >> 1 ^ -(n & 1) for n in data] if item.signed else data

    def map(self, key: Shape, value: Shape) -> dict[Any, Any]:
        keys: list[Any] = []
        values: list[Any] = []
        started = perf_counter()
        for index in range(self.count(key, value)):
            each = self.within(f".keys()[{index}]", self.decode, key)
            keys.append(each)
            values.append(self.within(KeyStep(each, index), self.decode, value))
        found: dict[Any, Any] = self.filled(fill_dict, keys, values, started)
        return found

    def filled(self, fill: Callable[..., Any], *args: Any) -> Any:
        try:
            return theirs("unhashable", fill, *args)
        except Problem as problem:
            cause = problem.__cause__
            if isinstance(cause, CollidingKeys):
                raise Problem(str(cause)) from cause
            raise

    # ------------------------------------------------------------ classes

    def record(self, record: Record) -> Any:
        values: dict[str, Any] = {}
        for field in record.fields:
            step = f".{field.attribute or field.name}"
            value = self.within(step, self.decode, field.shape)
            if field.keyword:
                values[field.keyword] = value
        what = f"{record.cls.__qualname__} refused its fields"
        kind = kind_of(record.cls)
        if kind is not None:
            return self.explained(kind, record.cls, values)
        if record.positional:
            return theirs(what, record.cls, *values.values())
        return theirs(what, record.cls, **values)

    def explained(self, kind: ClassKind, cls: type[Any], values: dict[str, Any]) -> Any:
        """Make an instance of a class whose library can say what is wrong."""
        try:
            return theirs(f"{cls.__qualname__} refused its fields", cls, **values)
        except Problem as problem:
            cause = problem.__cause__
            assert isinstance(cause, Exception)
            explained = kind.explain(cls, cause)
            if explained is None:
                raise
            if explained.attribute:
                self.steps.append(f".{explained.attribute}")
            raise Problem(explained.text, explained.without_values) from cause
