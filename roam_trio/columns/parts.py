"""Columns of types with parts: options, lists, records and converted types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, compress, islice, repeat
from typing import Any, Final

from ..codec.interpret import interpret_decode
from ..codec.primitives import refuse
from ..codec.source import Module
from ..schema.shape import ConvertedShape, Record, Shape
from .leaves import (
    Column,
    Texts,
    Values,
    check_count,
    check_flags,
    check_instances,
    check_kind,
    check_kinds,
    check_records,
    pack,
    unpack,
)

__all__ = [
    "Converted",
    "Foreign",
    "Lists",
    "OptionalTexts",
    "Options",
    "Records",
    "Transparent",
    "Tuples",
]


class Options(Column):
    """A flag for each value, and a column of the values that are present."""

    def __init__(self, inner: Column) -> None:
        self._inner = inner
        self.wire = _tuple_of(bytes, inner.wire)

    def take(self, values: Values) -> Any:
        there = [value for value in values if value is not None]
        if len(there) == len(values):
            present = b"\x01" * len(values)
        else:
            present = bytes([value is not None for value in values])
        return present, self._inner.take(there)

    def build(self, column: Any, count: int) -> Values:
        present, inner = column
        check_flags(present, count)
        there = self._inner.build(inner, present.count(1))
        if len(there) == count:
            return there
        return _spread(there, present)


class OptionalTexts(Column):
    """Texts, with None in place of absent ones."""

    wire = list[str | None]
    _kinds: Final[frozenset[type[Any]]] = frozenset((str, type(None)))

    def __init__(self, inner: Column) -> None:
        self._inner = inner
        self._is_plain = type(inner) is Texts

    def take(self, values: Values) -> Any:
        if self._is_plain:
            check_kinds(values, self._kinds)
            return values
        there = self._inner.take([value for value in values if value is not None])
        return _spread(there, [value is not None for value in values])

    def build(self, column: Values, count: int) -> Values:
        check_count(column, count)
        if self._is_plain:
            return column
        there = [text for text in column if text is not None]
        built = self._inner.build(there, len(there))
        return _spread(built, [text is not None for text in column])


def _spread(there: Values, present: Iterable[object]) -> Values:
    """Yield values where they are present, and None elsewhere."""
    following = iter(there).__next__
    return [following() if flag else None for flag in present]


class Lists(Column):
    """The lengths of the lists, and one column of all their items."""

    _kinds: Final = frozenset((list, tuple))

    def __init__(self, python: str, item: Column) -> None:
        self._item = item
        self._is_tuple = python == "tuple"
        self.wire = _tuple_of(bytes, item.wire)

    def take(self, values: Values) -> Any:
        check_kinds(values, self._kinds)
        lengths = pack("I", list(map(len, values)))
        items = values[0] if len(values) == 1 else list(chain.from_iterable(values))
        return lengths, self._item.take(items)

    def build(self, column: Any, count: int) -> Values:
        lengths = unpack("I", column[0], count)
        items = self._item.build(column[1], sum(lengths))
        kind = tuple if self._is_tuple else list
        if count == 1:
            return [items if type(items) is kind else kind(items)]
        each = iter(items)
        return [kind(islice(each, length)) for length in lengths]


class Transparent(Column):
    """A column of the only field of transparent classes."""

    def __init__(self, record: Record, inner: Column) -> None:
        self._record = record
        self._inner = inner
        self._split, self._make = _functions(record)
        self.wire = inner.wire

    def take(self, values: Values) -> Any:
        check_records(values, self._record.cls)
        (inner,) = self._split(values)
        return self._inner.take(inner)

    def build(self, column: Any, count: int) -> Values:
        return list(map(self._make, self._inner.build(column, count)))


class Converted(Column):
    """A column of the wire type of registered classes."""

    def __init__(self, shape: ConvertedShape, inner: Column) -> None:
        self._cls = shape.cls
        self._unstructure = shape.unstructure
        self._structure = shape.structure
        self._inner = inner
        self.wire = inner.wire

    def take(self, values: Values) -> Any:
        check_instances(values, self._cls)
        return self._inner.take(list(map(self._unstructure, values)))

    def build(self, column: Any, count: int) -> Values:
        built = self._inner.build(column, count)
        return list(map(self._structure, built, repeat(self._cls)))


class Foreign(Column):
    """A column that only the peer has; here it is None for each value.

    Args:
        inner: the column of the peer.
        shape: the shape of its values.
        written: the encoding of the default of the peer, for a column that is written.
    """

    def __init__(self, inner: Column, shape: Shape, written: bytes) -> None:
        self._inner = inner
        self._default = interpret_decode(shape, written) if written else None
        self.wire = inner.wire

    def take(self, values: Values) -> Any:
        return self._inner.take([self._default] * len(values))

    def build(self, column: Any, count: int) -> Values:
        self._inner.build(column, count)
        return [None] * count


class Tuples(Column):
    """A column for each item of the tuples."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self.wire = _tuple_of(*(column.wire for column in columns))

    def take(self, values: Values) -> Any:
        check_kind(values, tuple)
        if values and set(map(len, values)) != {len(self._columns)}:
            refuse("length")
        return tuple(
            column.take([value[index] for value in values])
            for index, column in enumerate(self._columns)
        )

    def build(self, column: Any, count: int) -> Values:
        return list(zip(*_build_all(self._columns, column, count), strict=True))


class Records(Column):
    """A column for each field of the records."""

    def __init__(self, record: Record, columns: Sequence[Column]) -> None:
        self._record = record
        self._columns = columns
        self._split, self._make = _functions(record)
        self._is_kept = [bool(field.keyword) for field in record.fields]
        self.wire = _tuple_of(*(column.wire for column in columns))

    def take(self, values: Values) -> Any:
        check_records(values, self._record.cls)
        split = self._split(values)
        return tuple(
            column.take(taken)
            for column, taken in zip(self._columns, split, strict=True)
        )

    def build(self, column: Any, count: int) -> Values:
        built = _build_all(self._columns, column, count)
        if not all(self._is_kept):
            built = list(compress(built, self._is_kept))
            if not built:
                return [self._record.cls() for _ in range(count)]
        return list(map(self._make, *built))


def _tuple_of(*types: Any) -> Any:
    kind: Any = tuple
    return kind[types]


def _build_all(columns: Sequence[Column], taken: Any, count: int) -> list[Values]:
    return [
        column.build(one, count) for column, one in zip(columns, taken, strict=True)
    ]


def _functions(
    record: Record,
) -> tuple[Callable[[Values], tuple[Values, ...]], Callable[..., Any]]:
    """Return a function that splits records into fields, and one that builds records
    from fields.
    """
    module = Module(f"columns of {record.cls.__name__}")
    split = module.function("split", "records")
    lists = [
        f"[each.{field.attribute} for each in records]"
        if field.attribute
        else "[None] * len(records)"
        for field in record.fields
    ]
    split.line(f"return {', '.join(lists)},")
    make: Callable[..., Any] = record.cls
    if not record.positional:
        keywords = [field.keyword for field in record.fields if field.keyword]
        make = partial(_make, record.cls, keywords)
    return module.compile(split.name), make


def _make(cls: type[Any], keywords: Sequence[str], *fields: Any) -> Any:
    return cls(**dict(zip(keywords, fields, strict=True)))
