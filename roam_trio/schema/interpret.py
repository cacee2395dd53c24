"""The plain interpreter: encodes and decodes by walking a `Shape`.

It is the reference for the compiled codecs, and it is what explains a failure: unlike
them it knows at every moment where in the value it is. `explain_encode` and
`explain_decode` go over a value again that a compiled codec has refused.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..errors import CodecError, DecodeError, EncodeError
from .primitives import as_bytes
from .shape import (
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
from .sizes import MAX_ZERO_SIZED, Sizes

__all__ = ["explain_decode", "explain_encode", "interpret_decode", "interpret_encode"]

Buffer = bytes | memoryview
Error = TypeVar("Error", bound=CodecError)
T = TypeVar("T")

MAX_TEXT = 60
MAX_STEPS = 24

_U32 = IntShape("u32", 32, signed=False)
_USIZE = IntShape("usize", 64, signed=False)


def interpret_encode(shape: Shape, value: Any) -> bytes:
    """Encode a value.

    Raises:
        EncodeError: it is not of the shape; says what is wrong and where.
    """
    encoder = _Encoder(shape)
    _explaining(EncodeError, encoder, lambda: encoder.encode(shape, value))
    return b"".join(encoder.pieces)


def interpret_decode(shape: Shape, buffer: Buffer, start: int = 0) -> Any:
    """Decode a value that extends to the end of a buffer.

    Raises:
        DecodeError: the bytes are not a value of the shape; says what and where.
    """
    decoder = _Decoder(shape, buffer, start)
    return _explaining(DecodeError, decoder, decoder.decode_all)


def explain_encode(shape: Shape, value: Any, cause: Exception) -> EncodeError:
    """The error for a value that a compiled encoder refused with `cause`."""
    try:
        interpret_encode(shape, value)
    except EncodeError as error:
        return error
    return _chain(EncodeError(_raised(cause)), cause)


def explain_decode(
    shape: Shape, buffer: Buffer, start: int, cause: Exception
) -> DecodeError:
    """The error for bytes that a compiled decoder refused with `cause`."""
    try:
        interpret_decode(shape, buffer, start)
    except DecodeError as error:
        return error
    return _chain(DecodeError(_raised(cause)), cause)


# ---------------------------------------------------------------- errors


class _Problem(Exception):
    """What is wrong. Where it is, the walk knows."""


class _Walk:
    """A walk over a value, and the way to where it is."""

    def __init__(self, root: Shape) -> None:
        self.root = root
        self.levels = levels(root)
        self.sizes = Sizes(root)
        self.steps: list[str] = []

    def within(self, step: str, visit: Callable[..., T], *args: Any) -> T:
        # Not undone on an error: the steps then lead to where it happened.
        self.steps.append(step)
        result = visit(*args)
        self.steps.pop()
        return result

    def path(self) -> str:
        steps = self.steps
        if len(steps) > MAX_STEPS:
            half = MAX_STEPS // 2
            steps = [*steps[:half], "…", *steps[-half:]]
        return "$" + "".join(steps)

    def argument(self) -> str:
        """Which argument the walk is in, if the root is an argument tuple."""
        if isinstance(self.root, TupleShape) and self.root.labels and self.steps:
            return f"argument {self.steps[0][1:]!r}: "
        return ""

    def check_zero_sized(self, item: float, count: int) -> None:
        if item == 0 and count > MAX_ZERO_SIZED:
            raise _Problem(
                f"expected at most {MAX_ZERO_SIZED} items without bytes, got {count}"
            )


def _explaining(kind: type[Error], walk: _Walk, run: Callable[[], T]) -> T:
    try:
        return run()
    except MemoryError:
        raise
    except _Problem as problem:
        error = kind(f"{walk.argument()}{problem}", walk.path())
        raise _chain(error, problem.__cause__) from error.__cause__
    except RecursionError as cause:
        deep = "nested too deeply for the recursion limit of the interpreter"
        raise kind(f"{walk.argument()}{deep}", walk.path()) from cause
    except Exception as cause:
        raise kind(f"{walk.argument()}{_raised(cause)}", walk.path()) from cause


def _chain(error: Error, cause: BaseException | None) -> Error:
    error.__cause__ = cause
    return error


def _raised(cause: Exception) -> str:
    return f"{type(cause).__name__}: {cause}"


def _theirs(what: str, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call the user's code; what it raises is why the value is refused."""
    try:
        return call(*args, **kwargs)
    except (MemoryError, RecursionError):
        raise
    except Exception as cause:
        raise _Problem(f"{what}: {_raised(cause)}") from cause


def _expected(what: str, value: object) -> _Problem:
    return _Problem(f"expected {what}, got {_text(value)}")


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str | bytes | bytearray):
        # All of it could be large.
        value = value[: MAX_TEXT + 1]
    try:
        text = repr(value)
    except Exception as error:
        text = f"<repr raised {type(error).__name__}>"
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}…"
    return text if type(value) is int else f"{text} ({type(value).__qualname__})"


def _range_of(shape: IntShape) -> str:
    return f"{shape.name} ({shape.minimum} to {shape.maximum})"


# ---------------------------------------------------------------- encoding


class _Encoder(_Walk):
    def __init__(self, root: Shape) -> None:
        super().__init__(root)
        self.pieces: list[bytes | memoryview] = []

    def encode(self, shape: Shape, value: Any) -> None:
        match shape:
            case BoolShape():
                self.boolean(value)
            case IntShape():
                self.integer(shape, value)
            case FloatShape(bits):
                self.floating(bits, value)
            case CharShape():
                if not isinstance(value, str) or len(value) != 1:
                    raise _expected("one character", value)
                self.text(value)
            case StrShape():
                self.text(value)
            case BytesShape():
                data = self.data(value)
                self.varint(data_length(data))
                self.pieces.append(data)
            case UnitShape():
                if value is not None:
                    raise _expected("None", value)
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
                self.record(record, value)
            case EnumShape(_, cls, members):
                self.instance(cls, value)
                self.varint(members.index(value))
            case UnionShape():
                self.variant(shape, value)
            case ConvertedShape(cls, inner, unstructure):
                self.instance(cls, value)
                what = f"{cls.__qualname__} was not unstructured"
                self.encode(inner, _theirs(what, unstructure, value))

    def boolean(self, value: Any) -> None:
        if value is not True and value is not False:
            raise _expected("bool", value)
        self.pieces.append(b"\x01" if value else b"\x00")

    def integer(self, shape: IntShape, value: Any) -> None:
        try:
            number = operator.index(value)
        except TypeError:
            raise _expected(_range_of(shape), value) from None
        if not shape.minimum <= number <= shape.maximum:
            raise _expected(_range_of(shape), number)
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
            raise _expected(f"f{bits}", value) from None

    def text(self, value: Any) -> None:
        if not isinstance(value, str):
            raise _expected("str", value)
        try:
            encoded = str.encode(value)
        except UnicodeEncodeError as cause:
            raise _expected("str without lone surrogates", value) from cause
        self.varint(len(encoded))
        self.pieces.append(encoded)

    def data(self, value: Any) -> bytes | memoryview:
        try:
            return as_bytes(value)
        except (TypeError, ValueError) as cause:
            raise _expected("bytes", value) from cause

    def instance(self, cls: type[Any], value: Any) -> None:
        if not isinstance(value, cls):
            raise _expected(cls.__qualname__, value)

    def collection(
        self, shape: ListShape | ArrayShape | SetShape | MapShape, value: Any
    ) -> None:
        match shape:
            case ListShape(item, python):
                self.one_of((list, tuple), python, value)
                self.counted(item, value)
            case ArrayShape(item, length, "bytes" | "memoryview"):
                data = self.data(value)
                self.length("bytes", length, data_length(data), value)
                self.pieces.append(data)
            case ArrayShape(item, length, python):
                self.one_of((list, tuple), python, value)
                self.length("items", length, len(value), value)
                self.items(item, value)
            case SetShape(item):
                self.one_of((set, frozenset), "set", value)
                self.counted(item, value)
            case MapShape(key, item):
                self.one_of((dict,), "dict", value)
                size = self.sizes.of(key) + self.sizes.of(item)
                self.check_zero_sized(size, len(value))
                self.varint(len(value))
                for index, (each_key, each) in enumerate(value.items()):
                    self.within(f".keys()[{index}]", self.encode, key, each_key)
                    self.within(f"[{_text_of_key(each_key)}]", self.encode, item, each)

    def one_of(self, kinds: tuple[type[Any], ...], name: str, value: Any) -> None:
        if not isinstance(value, kinds):
            raise _expected(name, value)

    def length(self, what: str, length: int, actual: int, value: Any) -> None:
        if actual != length:
            raise _Problem(f"expected {length} {what}, got {actual}")

    def counted(self, item: Shape, values: Any) -> None:
        self.check_zero_sized(self.sizes.of(item), len(values))
        self.varint(len(values))
        self.items(item, values)

    def items(self, item: Shape, values: Iterable[Any]) -> None:
        for index, value in enumerate(values):
            self.within(f"[{index}]", self.encode, item, value)

    def tuple(self, shape: TupleShape, value: Any) -> None:
        self.one_of((tuple,), "tuple", value)
        self.length("items", len(shape.items), len(value), value)
        for step, item, each in zip(
            _tuple_steps(shape), shape.items, value, strict=True
        ):
            self.within(step, self.encode, item, each)

    def record(self, record: Record, value: Any) -> None:
        for field in record.fields:
            self.within(f".{field.attribute}", self.field, field, value)

    def field(self, field: Any, value: Any) -> None:
        what = f"the field {field.attribute!r} could not be read"
        self.encode(field.shape, _theirs(what, getattr, value, field.attribute))

    def variant(self, shape: UnionShape, value: Any) -> None:
        by_class = {
            variant.record.cls: index for index, variant in enumerate(shape.variants)
        }
        for cls in type(value).__mro__:
            if cls in by_class:
                self.varint(by_class[cls])
                self.record(shape.variants[by_class[cls]].record, value)
                return
        names = " | ".join(cls.__qualname__ for cls in by_class)
        raise _expected(names, value)


def data_length(data: bytes | memoryview) -> int:
    return data.nbytes if isinstance(data, memoryview) else len(data)


def _tuple_steps(shape: TupleShape) -> list[str]:
    if shape.labels is not None:
        return [f".{label}" for label in shape.labels]
    return [f"[{index}]" for index in range(len(shape.items))]


def _text_of_key(key: object) -> str:
    return _text(key) if isinstance(key, int) else _text(key).rpartition(" (")[0]


# ---------------------------------------------------------------- decoding


class _Decoder(_Walk):
    def __init__(self, root: Shape, buffer: Buffer, start: int) -> None:
        super().__init__(root)
        self.buffer = buffer
        self.pos = start
        self.size = len(buffer)

    def decode_all(self) -> Any:
        value = self.decode(self.root)
        if self.pos < self.size:
            left = self.size - self.pos
            raise _Problem(f"{left} bytes are left after the value")
        return value

    def decode(self, shape: Shape) -> Any:
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
            case UnitShape():
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
                steps = zip(_tuple_steps(shape), items, strict=True)
                return tuple(self.within(at, self.decode, item) for at, item in steps)
            case StructShape(_, record) | TransparentShape(record):
                return self.record(record)
            case EnumShape(_, cls, members):
                return members[self.index(len(members), cls.__qualname__)]
            case UnionShape(name, variants):
                return self.record(variants[self.index(len(variants), name)].record)
            case ConvertedShape(cls, inner, _, structure):
                value = self.decode(inner)
                what = f"{cls.__qualname__} was not structured from {_text(value)}"
                return _theirs(what, structure, value, cls)

    # ------------------------------------------------------------ bytes

    def bad(self, expected: str, got: str) -> _Problem:
        return _Problem(f"expected {expected}, got {got} at byte {self.pos - 1}")

    def take(self, count: int, what: str) -> Buffer:
        left = self.size - self.pos
        if count > left:
            raise _Problem(
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
            raise self.bad(_range_of(shape), "a larger number")
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
                items = self.items(item, self.count(item))
                python_type: type[Any] = frozenset if frozen else set
                return _theirs("unhashable", python_type, items)
            case MapShape(key, value):
                return self.map(key, value)

    def count(self, *items: Shape) -> int:
        count = self.integer(_USIZE)
        size = sum(self.sizes.of(item) for item in items)
        self.check_zero_sized(size, count)
        self.check_left(count, size)
        return count

    def check_left(self, count: int, size: float) -> None:
        left = self.size - self.pos
        if count * size > left:
            raise _Problem(
                f"expected {count} items of at least {size} bytes each, "
                f"got only {left} more bytes"
            )

    def items(self, item: Shape, count: int) -> list[Any]:
        return [self.within(f"[{index}]", self.decode, item) for index in range(count)]

    def map(self, key: Shape, value: Shape) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for index in range(self.count(key, value)):
            each = self.within(f".keys()[{index}]", self.decode, key)
            what = self.within(f"[{_text_of_key(each)}]", self.decode, value)
            _theirs("unhashable", found.__setitem__, each, what)
        return found

    # ------------------------------------------------------------ classes

    def record(self, record: Record) -> Any:
        values = {
            field.keyword: self.within(f".{field.attribute}", self.decode, field.shape)
            for field in record.fields
        }
        what = f"{record.cls.__qualname__} refused its fields"
        if record.positional:
            return _theirs(what, record.cls, *values.values())
        return _theirs(what, record.cls, **values)
