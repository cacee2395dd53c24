"""The dtypes that arrays on the wire can have: numbers of a fixed size."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from ...errors import SchemaError

__all__ = ["DTYPES", "dtype_of", "little_endian"]

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    name: np.dtype(name)
    for name in (
        *("|b1", "|i1", "|u1"),
        *("<i2", "<i4", "<i8", "<u2", "<u4", "<u8"),
        *("<f2", "<f4", "<f8", "<c8", "<c16"),
    )
}
"""By their names on the wire. A name from a peer is only looked up."""


def dtype_of(given: DTypeLike) -> np.dtype[Any]:
    """Return the dtype on the wire for a dtype, or for what numpy makes one of.

    Raises:
        SchemaError: it is none of fixed-size numbers.
    """
    try:
        dtype = np.dtype(given)
    except TypeError as error:
        raise SchemaError(f"not a dtype of numpy: {error}") from None
    found = DTYPES.get(little_endian(dtype).str)
    if found is None:
        raise SchemaError(
            f"arrays of {dtype} have no wire form, only those of bool, integers, "
            "floats and complex numbers up to 64 bits a part; for dates, send "
            "array.view('i8'), and for a structured dtype, one array for each field"
        )
    return found


def little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    try:
        return dtype.newbyteorder("<")
    except TypeError:
        return dtype  # of a kind that has no order, as that of texts of any length
