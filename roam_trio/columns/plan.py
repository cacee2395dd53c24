"""`ColumnsPlan`: encodes and decodes values with lists of records in columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..codec.plan import RpcPlan
from ..codec.source import Module
from ..codec.walk import raised, raised_without_values
from ..errors import DecodeError
from ..schema.shape import (
    ListShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    children,
)

if TYPE_CHECKING:
    from .derive import Column

__all__ = ["FEWEST", "ColumnsPlan", "columns_of"]

FEWEST: Final = 8
"""Number of records from which columns are faster than postcard."""


MOST_PARTS: Final = 1000
"""Number of parts up to which a type uses columns; with more, most columns would be
empty.
"""


class ColumnsPlan:
    """Encodes and decodes values of one type in columns. `columns_of` makes one for a
    type that contains a list of records or texts.
    """

    def __init__(self, title: str, column: Column, count: Callable[[Any], int]) -> None:
        self._title = title
        self._column = column
        self._count = count
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(column.wire).decode

    def encode(self, value: Any) -> bytes | None:
        """Encode a value. Return None if postcard must encode it: there are few
        records, or a part is not exactly of its type. Postcard then accepts it or finds
        the error.
        """
        try:
            if self._count(value) < FEWEST:
                return None
            return self._encode(self._column.take([value]))
        except MemoryError:
            raise
        except Exception:
            return None

    def decode(self, buffer: bytes | memoryview, start: int = 0) -> Any:
        """Decode a value that extends from `start` to the end of a buffer.

        Raises:
            DecodeError: the bytes are not a value of the type in columns.
        """
        try:
            column = self._decode(memoryview(buffer)[start:])
            (value,) = self._column.build(column, 1)
        except MemoryError:
            raise
        except Exception as cause:
            what = f"expected {self._title} in columns"
            raise DecodeError(
                f"{what}: {raised(cause)}",
                without_values=f"{what}: {_without_values(cause)}",
            ) from cause
        return value

    def __repr__(self) -> str:
        return f"<ColumnsPlan {self._title}>"


def columns_of(plan: RpcPlan[Any]) -> ColumnsPlan | None:
    """Return the columns of a type, or None if it cannot use them or would not gain.

    Args:
        plan: the plan of the type.
    """
    shape, title = plan.shape, plan.title
    if _count_parts(shape, {}) > MOST_PARTS:
        return None
    lists = list(_lists(shape, "value"))
    if not lists:
        return None
    # Imported for the first method that has lists: most have none.
    from .derive import column_of

    column = column_of(shape)
    if column is None:
        return None
    module = Module(f"counter of {title}")
    function = module.function("count", "value")
    function.line(f"return {' + '.join(f'len({each})' for each in lists)}")
    return ColumnsPlan(title, column, module.compile(function.name))


def _count_parts(shape: Shape, known: dict[str, int]) -> int:
    """Count the parts of a type; a part that occurs twice counts twice."""
    if not isinstance(shape, TupleShape | StructShape | UnionShape):
        return 1 + sum(_count_parts(each, known) for each in children(shape))
    if shape.name not in known:
        known[shape.name] = 1 + sum(
            _count_parts(each, known) for each in children(shape)
        )
    return known[shape.name]


def _lists(shape: Shape, value: str) -> Iterator[str]:
    """Yield expressions for the lists in a value that can be long and gain from
    columns. Lists within lists and optional lists are left out.
    """
    match shape:
        case ListShape(item) if _is_worth_it(item):
            yield value
        case TupleShape(_, items):
            for index, item in enumerate(items):
                yield from _lists(item, f"{value}[{index}]")
        case StructShape(_, record) | TransparentShape(record):
            for field in record.fields:
                yield from _lists(field.shape, f"{value}.{field.attribute}")
        case _:
            return


_OF_TYPES: Final = re.compile(r"Expected `[^`']*`, got `[^`']*`( - at `[$.\[\]0-9]*`)?")
"""Error texts of msgspec for a value of another type. Other texts may quote the value.
"""


def _without_values(cause: Exception) -> str:
    """Return a cause without any part of the value, which a peer has sent."""
    if _OF_TYPES.fullmatch(str(cause)) or type(cause) is msgspec.DecodeError:
        return raised(cause)
    return raised_without_values(cause)


def _is_worth_it(item: Shape) -> bool:
    match item:
        case StructShape() | TupleShape() | StrShape():
            return True
        case TransparentShape():
            return _is_worth_it(item.inner)
        case _:
            return False
