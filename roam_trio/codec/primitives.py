"""Helpers of generated codecs: tables of short encodings, varints, checks.

A codec handles the short form of a varint inline, and calls these functions for others.
They raise any exception (`ValueError`, `TypeError`, `IndexError`): the plan then walks
the value again with the interpreter to find the error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from operator import index
from typing import Any, Final, NoReturn, SupportsIndex, TypeVar, cast

from ..schema.sizes import MAX_ZERO_SIZED
from ..schema.subclasses import check_subclass
from ..wire.varint import BYTE, long_varint

__all__ = [
    "BOOL",
    "BYTE",
    "OTHER_WRITERS",
    "READERS",
    "WRITERS",
    "ZIGZAG",
    "as_bytes",
    "as_dict",
    "as_items",
    "as_sequence",
    "blocks",
    "check_instance",
    "check_record",
    "check_zero_sized",
    "index_by_class",
    "length_prefixed",
    "one_char",
    "refuse",
    "small_numbers",
    "small_signed_numbers",
    "trust_views_of",
    "varint_reader",
    "varint_writer",
    "zigzag_writer",
]

T = TypeVar("T")

BOOL: Final = (False, True)
"""The bools by their byte."""

_BLOCK: Final = 1024

_MORE: Final = BYTE[128:]

ZIGZAG: Final = tuple(
    BYTE[number << 1 if number >= 0 else ~(number << 1)]
    for number in (*range(64), *range(-64, 0))
)
"""The signed varints of one byte, by number: negative ones count from the end."""


def refuse(problem: str) -> NoReturn:
    raise ValueError(problem)


# ---------------------------------------------------------------- encoding


def varint_writer(maximum: int) -> Callable[[int], bytes]:
    """Return a function that encodes integers from 0 to `maximum`."""

    def write(number: int) -> bytes:
        if number >= 0x80 and number < 0x4000:  # faster than a chained comparison
            return _MORE[number & 0x7F] + BYTE[number >> 7]
        if number >= 0x4000 and number < 0x20_0000 and number <= maximum:
            return _MORE[number & 0x7F] + _MORE[number >> 7 & 0x7F] + BYTE[number >> 14]
        if not 0 <= number <= maximum:
            refuse("out of range")
        return long_varint(number) if number > 0x7F else BYTE[number]

    return write


def zigzag_writer(maximum: int) -> Callable[[int], bytes]:
    """Return a function that encodes integers from ``-maximum - 1`` to `maximum`."""
    minimum = ~maximum

    def write(number: int) -> bytes:
        if not minimum <= number <= maximum:
            refuse("out of range")
        number = number << 1 if number >= 0 else ~(number << 1)
        return long_varint(number) if number > 0x7F else BYTE[number]

    return write


def _write_u8(number: int) -> bytes:
    return BYTE[number] if number >= 0 else refuse("out of range")


def _write_i8(number: int) -> bytes:
    return BYTE[number & 255] if -128 <= number < 128 else refuse("out of range")


WRITERS: Final[dict[str, Callable[[int], bytes]]] = {
    "u8": _write_u8,
    "u16": varint_writer(2**16 - 1),
    "u32": varint_writer(2**32 - 1),
    "u64": varint_writer(2**64 - 1),
    "u128": varint_writer(2**128 - 1),
    "usize": varint_writer(2**64 - 1),
    "i8": _write_i8,
    "i16": zigzag_writer(2**15 - 1),
    "i32": zigzag_writer(2**31 - 1),
    "i64": zigzag_writer(2**63 - 1),
    "i128": zigzag_writer(2**127 - 1),
    "isize": zigzag_writer(2**63 - 1),
}
"""The encoders of integers, by the name of the type. They require an exact `int`."""


def _other_writer(write: Callable[[int], bytes]) -> Callable[[SupportsIndex], bytes]:
    def write_other(number: SupportsIndex) -> bytes:
        return write(index(number))

    return write_other


OTHER_WRITERS: Final[dict[str, Callable[[SupportsIndex], bytes]]] = {
    name: _other_writer(write) for name, write in WRITERS.items()
}
"""The encoders of numbers of any other class, such as `numpy.uint32` or one derived
from `int`. Such numbers have their own arithmetic: for example, they wrap at their
width when they are shifted. Each is therefore converted to an `int` first.
"""


def blocks(values: Collection[int]) -> Iterator[Collection[int]]:
    """Yield the values, a thousand at a time."""
    if len(values) <= _BLOCK:
        return iter((values,))
    items = list(values)
    return (items[at : at + _BLOCK] for at in range(0, len(items), _BLOCK))


def small_numbers(values: Collection[int]) -> bytes | None:
    """Return the encoding of numbers if all are below 128, or else None."""
    try:
        encoded = bytes(values)
    except ValueError:
        return None
    return encoded if encoded.isascii() else None


def small_signed_numbers(values: Collection[int]) -> bytes | None:
    """Return the encoding of numbers if all are from -64 to 63, or else None."""
    first = next(iter(values), 0)
    if type(first) is int and not -64 <= first < 64:
        return None  # large numbers rarely come alone
    try:
        encoded = struct.pack(f"{len(values)}b", *values).translate(_ZIGZAG_OF_I8)
    except struct.error as error:
        if str(error) == _NO_INTEGER:
            raise  # which the other encodings refuse as well
        return None
    return encoded if encoded.isascii() else None


def _text_for_no_integer() -> str:
    try:
        struct.pack("b", None)
    except struct.error as error:
        return str(error)
    raise AssertionError  # pragma: no cover - None is no integer


_NO_INTEGER: Final = _text_for_no_integer()


_ZIGZAG_OF_I8: Final = bytes(
    number << 1 & 255 if number < 128 else ~(number << 1) & 255 for number in range(256)
)
"""The signed varints of the numbers of one byte; 128 and above mark longer ones.
"""


def length_prefixed(encoded: bytes) -> bytes:
    """Return the encoding of text or bytes of 128 bytes or more, with the length in
    front.
    """
    return long_varint(len(encoded)) + encoded


_TRUSTED: Final[set[type[Any]]] = {bytes}


def trust_views_of(cls: type[Any]) -> None:
    """Send views of instances of a class, whose memory never changes, uncopied."""
    _TRUSTED.add(cls)


def as_bytes(value: object) -> bytes | memoryview:
    """Return a value of type `bytes` as a piece of a payload.

    Immutable values are passed without a copy: bytes, and views of bytes, or of a class
    that `trust_views_of` was called with. Everything else is copied, because it is
    unknown when it will be sent. A read-only view can show memory that changes.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, bytes | bytearray):
        # A derived class may override methods.
        return memoryview(value).tobytes()
    if not isinstance(value, memoryview):
        raise TypeError("expected bytes")
    view = cast("memoryview[int]", value)
    if type(view.obj) not in _TRUSTED or not view.c_contiguous or not view.nbytes:
        return view.tobytes()
    if view.ndim == 1 and view.format == "B":
        return memoryview(view)  # because its owner may release it before it is sent
    return view.cast("B")


def one_char(value: str) -> bytes:
    """Return the encoding of a `char`."""
    encoded = str.encode(value)
    if str.__len__(value) != 1:
        refuse("expected one character")
    return BYTE[len(encoded)] + encoded


def as_sequence(value: object) -> list[Any] | tuple[Any, ...]:
    """Return a list or tuple; for a derived class, a list of its items."""
    check_instance(value, (list, tuple))
    given = cast("list[Any] | tuple[Any, ...]", value)
    return given if type(value) in (list, tuple) else list(given)


def as_items(value: object) -> set[Any] | frozenset[Any] | list[Any]:
    """Return a set; for a derived class, a list of its items."""
    check_instance(value, (set, frozenset))
    given = cast("set[Any] | frozenset[Any]", value)
    return given if type(value) in (set, frozenset) else list(given)


def as_dict(value: object) -> dict[Any, Any]:
    """Return a dict; for a derived class, a dict of its items."""
    check_instance(value, dict)
    given = cast("dict[Any, Any]", value)
    return given if type(value) is dict else dict(given.items())


def check_instance(value: object, kind: type[Any] | tuple[type[Any], ...]) -> None:
    if not isinstance(value, kind):
        raise TypeError("of another class")


def check_record(value: object, cls: type[Any]) -> None:
    """Require an instance of a class with fields, or of a derived class without
    additional fields.
    """
    check_instance(value, cls)
    check_subclass(value, cls)


def check_zero_sized(count: int) -> None:
    if count > MAX_ZERO_SIZED:
        refuse("too many items without bytes")


def index_by_class(value: object, table: dict[type[Any], T]) -> T:
    """Return the entry of a table for the class of a value, or for its nearest base if
    the class has no additional fields.
    """
    for cls in type(value).__mro__:
        if cls in table:
            check_subclass(value, cls)
            return table[cls]
    raise TypeError("of none of the classes")


# ---------------------------------------------------------------- decoding


def varint_reader(bits: int) -> Callable[[Any, int, int], tuple[int, int]]:
    """Return a function that reads the rest of a varint of more than one byte.

    The function takes the buffer, the position after the first byte, and that byte. It
    returns the number and the position after it.
    """
    return _narrow_reader(bits) if bits < 32 else _wide_reader(bits)


def _narrow_reader(bits: int) -> Callable[[Any, int, int], tuple[int, int]]:
    """Return a reader of numbers of up to three bytes."""
    too_large = 1 << bits

    def read(buf: bytes | memoryview, pos: int, first: int) -> tuple[int, int]:
        second = buf[pos]
        if second < 0x80:
            return first + (second << 7) - 0x80, pos + 1
        third = buf[pos + 1]
        number = first + (second << 7) + (third << 14) - 0x4080
        if number >= too_large:
            refuse("varint out of range")
        return number, pos + 2

    return read


def _wide_reader(bits: int) -> Callable[[Any, int, int], tuple[int, int]]:
    """Return a reader of numbers of five bytes and more. It reads the first four bytes
    one by one, because a loop is slower.
    """
    shifts = tuple(range(28, bits, 7))
    too_large = 1 << bits

    def read(buf: bytes | memoryview, pos: int, first: int) -> tuple[int, int]:
        second = buf[pos]
        if second < 0x80:
            return first + (second << 7) - 0x80, pos + 1
        number = first + (second << 7) - 0x4080
        third = buf[pos + 1]
        if third < 0x80:
            return number + (third << 14), pos + 2
        number += third - 0x80 << 14
        fourth = buf[pos + 2]
        if fourth < 0x80:
            return number + (fourth << 21), pos + 3
        number += fourth - 0x80 << 21
        pos += 3
        for shift in shifts:
            byte = buf[pos]
            pos += 1
            if byte < 0x80:
                number += byte << shift
                if number >= too_large:
                    refuse("varint out of range")
                return number, pos
            number += byte - 0x80 << shift
        refuse("varint too long")

    return read


READERS: Final[dict[int, Callable[[Any, int, int], tuple[int, int]]]] = {
    bits: varint_reader(bits) for bits in (16, 32, 64, 128)
}
"""The readers of varints of more than one byte, by the bits of the number."""
