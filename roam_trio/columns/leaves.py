"""Columns of types without parts: numbers, texts, byte strings, members of enums."""

from __future__ import annotations

import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat
from operator import countOf, index
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from ..codec.primitives import check_record, refuse

__all__ = [
    "TEXTS",
    "Bools",
    "ByteArrays",
    "ByteStrings",
    "Column",
    "Floats",
    "Members",
    "Numbers",
    "Texts",
    "Values",
    "check_count",
    "check_flags",
    "check_instances",
    "check_kind",
    "check_kinds",
    "check_records",
    "pack",
    "unpack",
]

Values: TypeAlias = Sequence[Any]

TEXTS: Final[Any] = list[str]
"""The type of a column of texts."""

_FLAGS: Final = b"\x00\x01"


class Column(ABC):
    """The encoding of one field of all records.

    Attributes:
        wire: the type that msgspec decodes a column to.
    """

    wire: Any

    @abstractmethod
    def take(self, values: Values) -> Any:
        """Return the column of some values.

        Raises:
            Exception: any, if a value is not exactly of the type.
        """

    @abstractmethod
    def build(self, column: Any, count: int) -> Values:
        """Return the values in a column of the type `wire`.

        Args:
            column: the column.
            count: the required number of values.

        Raises:
            Exception: any, if the column does not hold that many values of the type.
        """


def pack(form: str, values: Sequence[Any]) -> bytes:
    """Pack numbers of one `struct` format. Accepts what postcard accepts: whole numbers
    in range, and for a float any number that converts to one.
    """
    return struct.pack(f"<{len(values)}{form}", *values)


def unpack(form: str, column: bytes, count: int) -> Values:
    """Unpack exactly `count` numbers of one format, lazily. A number made on demand
    lies in memory beside its record, which improves cache locality.
    """
    if sys.byteorder == "big":
        return struct.unpack(f"<{count}{form}", column)
    numbers = memoryview(column).cast(cast("Literal['I']", form))
    check_count(numbers, count)
    return numbers


def check_flags(column: bytes, count: int) -> None:
    """Require `count` bytes, each 00 or 01."""
    if len(column) != count or column.translate(None, _FLAGS):
        refuse("flags")


def check_kinds(values: Values, kinds: frozenset[type[Any]]) -> None:
    """Require that the class of each value is one of these, and no derived one."""
    if not kinds.issuperset(map(type, values)):
        refuse("of another class")


def check_kind(values: Values, kind: type[Any]) -> None:
    """Require that values are of this class, and not of a derived one."""
    if countOf(map(type, values), kind) != len(values):
        refuse("of another class")


def check_instances(values: Values, cls: type[Any]) -> None:
    """Require that values are of a class, or of one derived from it."""
    if countOf(map(type, values), cls) != len(values) and not all(
        map(isinstance, values, repeat(cls))
    ):
        refuse("of another class")


def check_records(values: Values, cls: type[Any]) -> None:
    """Require that values are of a class with fields, or of a derived class without
    additional fields.
    """
    if countOf(map(type, values), cls) != len(values):
        for value in values:
            check_record(value, cls)


def check_count(column: Sequence[Any], count: int) -> None:
    if len(column) != count:
        refuse("another number of values")


# ---------------------------------------------------------------- of fixed size


class Numbers(Column):
    """Whole numbers, each packed into as few bytes as the largest needs.

    Args:
        bits: the size of the type.
        signed: whether it has a sign.
    """

    wire = bytes

    def __init__(self, bits: int, *, signed: bool) -> None:
        sizes = [size for size in (1, 2, 4, 8) if size * 8 <= bits]
        forms = "bhiq" if signed else "BHIQ"
        self._forms = dict(zip(sizes, forms, strict=False))
        self._widest = self._forms.pop(bits // 8)

    def take(self, values: Values) -> Any:
        for size, form in self._forms.items():
            # Skip the widths that the first number exceeds: it is quicker than a pack
            # that fails.
            if values and abs(index(values[0])) >> size * 8:
                continue
            with suppress(struct.error):
                return pack(form, values)
        return pack(self._widest, values)

    def build(self, column: Any, count: int) -> Values:
        form = self._forms.get(len(column) // count) if count else None
        return unpack(form or self._widest, column, count)


class Floats(Column):
    """Floats of one size, packed."""

    wire = bytes

    def __init__(self, bits: int) -> None:
        self._form = "f" if bits == 32 else "d"

    def take(self, values: Values) -> Any:
        return pack(self._form, values)

    def build(self, column: Any, count: int) -> Values:
        return unpack(self._form, column, count)


class Bools(Column):
    """A byte each, 00 or 01."""

    wire = bytes

    def take(self, values: Values) -> Any:
        msgspec.convert(values, list[bool])  # the fastest check
        return bytes(values)

    def build(self, column: Any, count: int) -> Values:
        check_flags(column, count)
        return memoryview(column).cast("?")


class Members(Column):
    """The members of an enum, as their indices."""

    wire = bytes

    def __init__(self, members: Sequence[Any]) -> None:
        self._members = members
        self._indices = {id(member): index for index, member in enumerate(members)}

    def take(self, values: Values) -> Any:
        return bytes(map(self._indices.__getitem__, map(id, values)))

    def build(self, column: Any, count: int) -> Values:
        check_count(column, count)
        return list(map(self._members.__getitem__, column))


class ByteArrays(Column):
    """Byte strings of one length, one after another."""

    wire = bytes

    def __init__(self, length: int) -> None:
        self._length = length

    def take(self, values: Values) -> Any:
        check_kind(values, bytes)
        if values and set(map(len, values)) != {self._length}:
            refuse("length")
        return b"".join(values)

    def build(self, column: Any, count: int) -> Values:
        length = self._length
        if len(column) != count * length:
            refuse("another number of values")
        return [column[at : at + length] for at in range(0, len(column), length)]


# ---------------------------------------------------------------- texts and bytes


class Texts(Column):
    """Texts as a list, which msgspec encodes faster than any code in Python."""

    wire = TEXTS

    def take(self, values: Values) -> Any:
        # Refuse derived classes: msgspec would encode the value of an enum member.
        check_kind(values, str)
        return values

    def build(self, column: Values, count: int) -> Values:
        check_count(column, count)
        return column


class ByteStrings(Column):
    """Byte strings as a list."""

    wire = list[bytes]

    def take(self, values: Values) -> Any:
        check_kind(values, bytes)
        return values

    def build(self, column: Values, count: int) -> Values:
        check_count(column, count)
        return column
