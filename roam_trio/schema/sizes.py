"""Minimum sizes of values, which bound the counts that a peer announces."""

from __future__ import annotations

import math
from typing import Final

from .shape import (
    ArrayShape,
    ChannelShape,
    ConvertedShape,
    FloatShape,
    RefShape,
    Shape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
    children,
    levels,
)

__all__ = ["MAX_ZERO_SIZED", "Sizes"]

MAX_ZERO_SIZED: Final = 65536
"""Maximum number of items without bytes in a list, a set, a map or an array. The length
of the payload does not bound their number.
"""


class Sizes:
    """The minimum size, in bytes, of every part of a shape.

    Args:
        root: the outermost shape, in which references are resolved.
    """

    def __init__(self, root: Shape) -> None:
        found = levels(root)
        self._levels: dict[str, float] = dict.fromkeys(found, math.inf)
        settled = False
        while not settled:
            settled = True
            # The innermost levels come first, so that most sizes are found at once.
            for name in reversed(found):
                size = self._compute(found[name])
                settled = settled and size == self._levels[name]
                self._levels[name] = size

    def of(self, shape: Shape) -> int | float:
        """Return the minimum size of a part; infinite if its values would be."""
        match shape:
            case RefShape(name) | TupleShape(name) | StructShape(name):
                return self._levels[name]
            case UnionShape(name):
                return self._levels[name]
            case _:
                return self._compute(shape)

    def _compute(self, shape: Shape) -> float:
        match shape:
            case UnitShape(written, skipped):
                own = 0 if skipped is None else Sizes(skipped).of(skipped)
                return len(written) + own
            case ChannelShape():
                return 0
            case FloatShape(bits):
                return bits // 8
            case ArrayShape(item, length):
                return self.of(item) * length if length else 0
            case UnionShape(_, variants):
                return 1 + min(
                    sum(self.of(each.shape) for each in variant.record.fields)
                    for variant in variants
                )
            case TupleShape() | StructShape() | TransparentShape() | ConvertedShape():
                return sum(self.of(child) for child in children(shape))
            case _:
                return 1
