"""Adjacent fields of fixed size, which are packed and unpacked together."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..schema.shape import FloatShape, IntShape, Shape

__all__ = ["fixed_format", "packer", "runs", "unpacker"]


@cache
def packer(form: str) -> Callable[..., bytes]:
    """Packs values of the formats of `fixed_format`, one after another."""
    return struct.Struct(f"<{form}").pack


@cache
def unpacker(form: str) -> Callable[..., tuple[Any, ...]]:
    """Unpacks them from a buffer and a position."""
    return struct.Struct(f"<{form}").unpack_from


def fixed_format(shape: Shape) -> str:
    """Return the `struct` format of a shape of fixed size, otherwise ``""``."""
    match shape:
        case FloatShape(32):
            return "f"
        case FloatShape():
            return "d"
        case IntShape(_, 8, signed):
            return "b" if signed else "B"
        case _:
            return ""


def runs(shapes: Sequence[Shape]) -> list[list[int]]:
    """Return the indices of shapes, grouped by what is faster to pack together.

    A single byte is cheaper to handle alone, so a longer run contains a float.
    """
    grouped: list[list[int]] = []
    for index, shape in enumerate(shapes):
        if grouped and fixed_format(shape) and fixed_format(shapes[grouped[-1][-1]]):
            grouped[-1].append(index)
        else:
            grouped.append([index])
    return [part for run in grouped for part in _worthwhile(run, shapes)]


def _worthwhile(run: list[int], shapes: Sequence[Shape]) -> list[list[int]]:
    if any(isinstance(shapes[index], FloatShape) for index in run):
        return [run]
    return [[index] for index in run]
