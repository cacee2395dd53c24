"""The annotation of an array: its dtype and its shape."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import numpy as np
from attrs import field, frozen
from numpy.typing import DTypeLike

from ...errors import SchemaError
from ...schema.annotations import Applied
from ...schema.types import Conversion, WireForm
from .arrays import AnyDtype, Arrays, FixedDtype
from .dtypes import DTYPES, dtype_of

__all__ = ["ArrayOf"]


def _name(given: DTypeLike | None) -> str | None:
    # Not the dtype itself, since that of float64 equals None.
    return None if given is None else dtype_of(given).str


def _shape(given: Iterable[int | None] | None) -> tuple[int | None, ...] | None:
    if given is None:
        return None
    with suppress(TypeError):  # it is a number
        axes = tuple(given)
        if all(each is None or (type(each) is int and each >= 0) for each in axes):
            return axes
    raise SchemaError(
        "the shape of an array is a tuple of whole numbers, and of None for any "
        f"length, as in (None, 3), not {given!r}"
    )


@frozen
class ArrayOf(WireForm):
    """Gives an array a wire form, as in ``Annotated[NDArray[np.float32], ArrayOf()]``.

    On the wire, an array is a struct of its shape and its bytes, little-endian and in C
    order (the last axis varies fastest).

    A received array is a read-only view of the received buffer, which it keeps alive. A
    sent array that is read-only (``array.setflags(write=False)``) and in C order is not
    copied: its memory may not change until the call has returned, or the item was
    received. Any other array is copied once when it is sent.

    Attributes:
        dtype: the dtype, as in ``"f4"``; by default that of the annotation. If there is
            none either, any dtype of numbers, which is then sent with the array. Arrays
            of another dtype are refused, and not converted. Strings, dates, objects and
            structured dtypes are not possible.
        shape: the length of each axis, or None for any length; by default, any number
            of axes of any length.

    Raises:
        SchemaError: the dtype or the shape is none that can be sent.
    """

    dtype: str | None = field(default=None, converter=_name)
    shape: tuple[int | None, ...] | None = field(default=None, converter=_shape)

    def conversion(self, inner: Any) -> Conversion:
        """Return how arrays of the annotated type are converted."""
        name = self._dtype_with(inner)
        arrays = Arrays(None if name is None else DTYPES[name], self.shape)
        wire_type = AnyDtype if name is None else FixedDtype
        return Conversion(np.ndarray, wire_type, arrays.unstructure, arrays.structure)

    def _dtype_with(self, inner: Any) -> str | None:
        annotated = _dtype_in(inner)
        if None not in (self.dtype, annotated) and self.dtype != annotated:
            raise SchemaError(
                f"ArrayOf has the dtype {self.dtype}, and the array is annotated with "
                f"{annotated}"
            )
        return annotated if self.dtype is None else self.dtype


_CONCRETE: Final = frozenset(np.sctypeDict.values())


def _dtype_in(inner: Any) -> str | None:
    """Return the name of the dtype of an annotation such as ``NDArray[np.float32]``."""
    match inner:
        case np.ndarray if inner is np.ndarray:
            return None
        case Applied(origin, (_, Applied(_, (scalar,)))) if origin is np.ndarray:
            return _name(scalar) if scalar in _CONCRETE else None
        case Applied(origin) if origin is np.ndarray:
            return None
        case _:
            raise SchemaError("ArrayOf is for numpy.ndarray and NDArray[...]")
