"""Conversion of arrays to structs on the wire and back."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy as np
from attrs import frozen

from ...codec.primitives import trust_views_of
from ...codec.walk import Problem, text_of
from ...schema.sizes import MAX_ZERO_SIZED
from ...schema.types import u64
from .dtypes import DTYPES, little_endian

__all__ = ["AnyDtype", "Arrays", "FixedDtype"]

_MOST_AXES: Final = 32
"""The number of axes that every release of numpy can have."""


class FixedDtype(msgspec.Struct):
    """An array on the wire, whose dtype both sides know."""

    shape: list[u64]
    data: memoryview


class AnyDtype(msgspec.Struct):
    """An array on the wire, with the name of its dtype, such as ``<f4``."""

    dtype: str
    shape: list[u64]
    data: memoryview


class _Unchanging(np.ndarray[Any, Any]):
    """The class of arrays whose memory is sent without a copy."""


trust_views_of(_Unchanging)


@frozen(eq=False)
class Arrays:
    """The arrays that an annotation allows.

    Attributes:
        dtype: their dtype; None for any.
        shape: the length of each axis or None; None for any number of axes.
    """

    dtype: np.dtype[Any] | None
    shape: tuple[int | None, ...] | None

    def unstructure(self, value: np.ndarray[Any, Any]) -> FixedDtype | AnyDtype:
        """Return what is sent for an array.

        Raises:
            Problem: it is not one of these arrays.
        """
        if type(value) not in (np.ndarray, np.memmap):
            name = type(value).__qualname__
            raise Problem(
                f"expected numpy.ndarray, got {name}, a part of which could be lost; "
                "send numpy.asarray(array)"
            )
        dtype = self._dtype_to_send(value)
        self._check_shape(value.shape)
        shape = list(value.shape)
        data = _bytes_of(value, dtype)
        if self.dtype is None:
            return AnyDtype(dtype.str, shape, data)
        return FixedDtype(shape, data)

    def structure(
        self, wire: FixedDtype | AnyDtype, cls: type[Any]
    ) -> np.ndarray[Any, Any]:
        """Return the array of what a peer sent, as a view of its bytes.

        Raises:
            Problem: it is not one of these arrays.
        """
        dtype = self.dtype
        if isinstance(wire, AnyDtype):
            dtype = DTYPES.get(wire.dtype)
            if dtype is None:
                names = ", ".join(DTYPES)
                raise _problem(
                    f"expected one of the dtypes {names}", text_of(wire.dtype)
                )
        assert dtype is not None
        self._check_shape(tuple(wire.shape))
        _check_size(wire, dtype)
        array: np.ndarray[Any, Any] = np.ndarray(wire.shape, dtype, wire.data)
        if dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
            raise Problem("expected bools (00 or 01), got another byte")
        array.setflags(write=False)
        return array

    def _dtype_to_send(self, value: np.ndarray[Any, Any]) -> np.dtype[Any]:
        dtype = little_endian(value.dtype)
        if self.dtype is not None and dtype != self.dtype:
            raise Problem(
                f"expected an array of {self.dtype}, got one of {value.dtype}; convert "
                f"it with array.astype({self.dtype.name!r})"
            )
        if dtype.str not in DTYPES:
            raise Problem(f"expected an array of numbers, got one of {value.dtype}")
        return dtype

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if self.shape is None:
            if len(shape) > _MOST_AXES:
                raise _problem(f"expected at most {_MOST_AXES} axes", str(len(shape)))
            return
        if len(shape) != len(self.shape) or any(
            length not in (None, given)
            for length, given in zip(self.shape, shape, strict=True)
        ):
            axes = ", ".join(
                "any" if each is None else str(each) for each in self.shape
            )
            raise _problem(
                f"expected an array of shape ({axes})", str(shape[:_MOST_AXES])
            )


def _check_size(wire: FixedDtype | AnyDtype, dtype: np.dtype[Any]) -> None:
    size = math.prod(wire.shape) * dtype.itemsize
    if size != wire.data.nbytes:
        raise _problem(
            "expected as many bytes as the shape and the dtype need",
            f"{wire.data.nbytes} for {tuple(wire.shape)} of {dtype}",
        )
    if not size:
        # A sum along the empty axis would have so many items.
        most = math.prod(each for each in wire.shape if each)
        if most > MAX_ZERO_SIZED:
            raise _problem(
                "expected axes of an array without items whose lengths, without the "
                f"zeros, have a product of at most {MAX_ZERO_SIZED}",
                str(tuple(wire.shape)),
            )


def _problem(expected: str, got: str) -> Problem:
    """Return the problem with what a peer sent, which its log may not quote."""
    return Problem(f"{expected}, got {got}", expected)


def _bytes_of(value: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> Any:
    """Return the bytes of an array in C order; a read-only one is not copied."""
    if value.dtype != dtype:
        return value.astype(dtype).tobytes()
    if value.flags.writeable or not value.flags.c_contiguous or not value.size:
        return value.tobytes()
    return value.reshape(-1).view(np.uint8).view(_Unchanging).data
