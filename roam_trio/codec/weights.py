"""The memory of decoded values, which may be far more than their encoding.

An empty set is one byte on the wire, and 216 bytes in memory. `Weights` knows from a
shape how much memory values can take at most for the bytes of their encoding, before
these are decoded, and how much a decoded value takes, within a factor of two or so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias, assert_never

from ..schema.kinds import kind_of
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
    walked,
)
from ..schema.sizes import MAX_ZERO_SIZED, Sizes

__all__ = ["Weights"]

# Bytes of memory, as measured on 64-bit systems and rounded up.
_INT: Final = 40
_FLOAT: Final = 32
_TEXT: Final = 80
_BYTES: Final = 48
_VIEW: Final = 320
_TUPLE: Final = 48
_LIST: Final = 64
_LIST_ITEM: Final = 9
_SET: Final = 224
_SET_ITEM: Final = 102
_MAP: Final = 232
_MAP_ITEM: Final = 60
_RECORD: Final = 48
_RECORD_WITH_DICT: Final = 88
_FIELD: Final = 8
_CONVERTED: Final = 256
"""Taken for a value that a hook of the program makes."""

_TEXT_BYTE: Final = 4
"""Memory for each encoded byte of a long text, at most."""

_Weigh: TypeAlias = Callable[[Any], int]


class Weights:
    """The memory of the values of one shape, in bytes.

    Attributes:
        base: that of a value whose encoding is as short as possible.
        rate: that of each further byte of an encoding, at most.

    Args:
        root: the shape.
    """

    def __init__(self, root: Shape) -> None:
        self._root = root
        self._sizes = Sizes(root)
        self._levels = levels(root)
        self._bases: dict[str, float] = dict.fromkeys(self._levels, 0)
        self._rates: dict[str, float] = dict.fromkeys(self._levels, 0)
        self._weighing: dict[str, _Weigh | None] = {}
        for known, compute in (
            (self._bases, self._base),
            (self._rates, self._rate),
        ):
            before: dict[str, float] | None = None
            while before != known:
                before = dict(known)
                for name, level in self._levels.items():
                    known[name] = compute(level)
        self.base = math.ceil(self._base(root))
        self.rate = math.ceil(self._rate(root))
        parts = tuple(walked(root))
        # No such collection is repeated: `derive` refuses that.
        self._without_bytes = math.ceil(sum(map(self._of_no_bytes, parts)))
        has_text = any(isinstance(part, StrShape | CharShape) for part in parts)
        self._per_byte = _TEXT_BYTE if has_text else 1
        self._weigh = self._weigher(root)

    def at_most(self, length: int) -> int:
        """Return the memory of a value whose encoding has `length` bytes, at most."""
        return self.base + self._without_bytes + self.rate * length

    def length_of(self, size: int) -> int:
        """Return the length of encodings whose values take at most `size` bytes of
        memory; it may be negative."""
        return (size - self.at_most(0)) // self.rate

    def of(self, value: Any, length: int) -> int:
        """Return the memory of a decoded value.

        Args:
            value: the value.
            length: number of bytes of its encoding.
        """
        parts = 0
        if self._weigh is not None:
            try:
                parts = self._weigh(value)
            except RecursionError:
                return self.at_most(length)
        return self.base + parts + self._per_byte * length

    # ------------------------------------------------------------ before decoding

    def _base(self, shape: Shape) -> float:
        match shape:
            case RefShape(name):
                return self._bases[name]
            case UnitShape() | BoolShape() | EnumShape() | ChannelShape():
                return 0
            case IntShape():
                return 0 if shape.bits == 8 and not shape.signed else _INT
            case FloatShape():
                return _FLOAT
            case CharShape() | StrShape():
                return _TEXT
            case BytesShape(view):
                return _VIEW if view else _BYTES
            case OptionShape(inner):
                return 0 if self._sizes.of(inner) else self._base(inner)
            case ListShape():
                return _LIST
            case SetShape():
                return _SET
            case MapShape():
                return _MAP
            case ArrayShape(item, length, python):
                if python in ("bytes", "memoryview"):
                    return (_VIEW if python == "memoryview" else _BYTES) + length
                return _LIST + length * (_LIST_ITEM + self._base(item))
            case TupleShape(_, items):
                return _TUPLE + sum(_FIELD + self._base(each) for each in items)
            case StructShape(_, record) | TransparentShape(record):
                return self._base_of(record)
            case UnionShape(_, variants):
                sizes = [self._size_of(each.record) for each in variants]
                return max(
                    self._base_of(each.record)
                    for each, size in zip(variants, sizes, strict=True)
                    if size == min(sizes)
                )
            case ConvertedShape(_, inner):
                return _CONVERTED + self._base(inner)
            case _:
                assert_never(shape)

    def _base_of(self, record: Record) -> float:
        kind = kind_of(record.cls)
        if kind is not None:
            own = kind.weight(record.cls)
        else:
            own = _RECORD if record.cls.__dictoffset__ == 0 else _RECORD_WITH_DICT
        return own + sum(_FIELD + self._base(each.shape) for each in record.fields)

    def _size_of(self, record: Record) -> float:
        return sum(self._sizes.of(each.shape) for each in record.fields)

    def _of_no_bytes(self, shape: Shape) -> float:
        """Return the memory of the items of a collection if they have no bytes."""
        match shape:
            case ListShape(item) | SetShape(item) if not self._sizes.of(item):
                return MAX_ZERO_SIZED * (_SET_ITEM + self._base(item))
            case MapShape(key, value) if not self._sizes.of(key):
                return MAX_ZERO_SIZED * (
                    _MAP_ITEM + self._base(key) + self._base(value)
                )
            case _:
                return 0

    def _rate(self, shape: Shape) -> float:
        match shape:
            case RefShape(name):
                return self._rates[name]
            case StrShape() | CharShape():
                return _TEXT_BYTE
            case OptionShape(inner):
                return max(self._rate(inner), self._dense(0, inner))
            case ListShape(item):
                return max(self._rate(item), self._dense(_LIST_ITEM, item))
            case SetShape(item):
                return max(self._rate(item), self._dense(_SET_ITEM, item))
            case MapShape(key, value):
                pair = _MAP_ITEM + self._base(key) + self._base(value)
                size = self._sizes.of(key) + self._sizes.of(value)
                rates = self._rate(key), self._rate(value)
                return max(*rates, pair / size if size else 0)
            case ArrayShape(item) | ConvertedShape(_, item):
                return self._rate(item)
            case TupleShape(_, items):
                return max(map(self._rate, items), default=1)
            case StructShape(_, record) | TransparentShape(record):
                return self._rate_of(record)
            case UnionShape(_, variants):
                base, least = self._base(shape), self._sizes.of(shape) - 1
                return max(
                    max(
                        self._rate_of(each.record),
                        (self._base_of(each.record) - base)
                        / max(self._size_of(each.record) - least, 1),
                    )
                    for each in variants
                )
            case _:
                return 1

    def _rate_of(self, record: Record) -> float:
        return max((self._rate(each.shape) for each in record.fields), default=1)

    def _dense(self, slot: int, item: Shape) -> float:
        """Return the memory for each byte of many items that are as short as can be."""
        size = self._sizes.of(item)
        return (slot + self._base(item)) / size if size else 0

    # ------------------------------------------------------------ after decoding

    def _weigher(self, shape: Shape) -> _Weigh | None:
        """Return a function of a value: the memory of its parts, beyond the base of the
        shape; None if there are none of variable number."""
        match shape:
            case RefShape(name):
                return lambda value: self._weighing_of(name)(value)
            case OptionShape(inner):
                return self._of_option(inner)
            case ListShape(item) | SetShape(item):
                slot = _SET_ITEM if isinstance(shape, SetShape) else _LIST_ITEM
                return self._of_items(slot, item)
            case ArrayShape(item):
                return self._of_items(0, item, is_counted=True)
            case MapShape(key, value):
                return self._of_map(key, value)
            case TupleShape(name, items):
                parts = [(self._weigher(each), n) for n, each in enumerate(items)]
                return self._named(name, _of_tuple(_present(parts)))
            case StructShape(name, record):
                return self._named(name, self._of_record(record))
            case TransparentShape(record):
                return self._of_record(record)
            case UnionShape(name, variants):
                base = math.ceil(self._base(shape))
                return self._named(
                    name,
                    _of_union(
                        {
                            each.record.cls: (
                                math.ceil(self._base_of(each.record)) - base,
                                self._of_record(each.record),
                            )
                            for each in variants
                        }
                    ),
                )
            case _:
                return None

    def _named(self, name: str, weigh: _Weigh | None) -> _Weigh | None:
        self._weighing[name] = weigh
        return weigh

    def _weighing_of(self, name: str) -> _Weigh:
        return self._weighing[name] or _nothing

    def _of_option(self, inner: Shape) -> _Weigh | None:
        parts = self._weigher(inner) or _nothing
        base = math.ceil(self._base(inner)) if self._sizes.of(inner) else 0
        if not base and parts is _nothing:
            return None
        return lambda value: 0 if value is None else base + parts(value)

    def _of_items(
        self, slot: int, item: Shape, *, is_counted: bool = False
    ) -> _Weigh | None:
        parts = self._weigher(item)
        each = 0 if is_counted else slot + math.ceil(self._base(item))
        if parts is None:
            return None if is_counted else lambda value: each * len(value)
        return lambda value: each * len(value) + sum(map(parts, value))

    def _of_map(self, key: Shape, value: Shape) -> _Weigh:
        of_key = self._weigher(key) or _nothing
        of_value = self._weigher(value) or _nothing
        each = _MAP_ITEM + math.ceil(self._base(key) + self._base(value))

        if of_key is of_value is _nothing:
            return lambda found: each * len(found)
        return lambda found: (
            each * len(found)
            + sum(map(of_key, found))
            + sum(map(of_value, found.values()))
        )

    def _of_record(self, record: Record) -> _Weigh | None:
        parts = [(self._weigher(f.shape), f.attribute) for f in record.fields]
        present = _present(parts)
        if not present:
            return None
        return lambda value: sum(weigh(getattr(value, at)) for weigh, at in present)


def _nothing(value: Any) -> int:
    return 0


def _present(parts: list[tuple[_Weigh | None, Any]]) -> list[tuple[_Weigh, Any]]:
    return [(weigh, at) for weigh, at in parts if weigh is not None]


def _of_tuple(parts: list[tuple[_Weigh, int]]) -> _Weigh | None:
    if not parts:
        return None
    return lambda value: sum(weigh(value[at]) for weigh, at in parts)


def _of_union(
    variants: dict[type[Any], tuple[int, _Weigh | None]],
) -> _Weigh | None:
    if not any(more or weigh for more, weigh in variants.values()):
        return None

    def weigh(value: Any) -> int:
        more, parts = variants[type(value)]
        return more + (parts(value) if parts is not None else 0)

    return weigh
