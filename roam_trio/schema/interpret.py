"""The plain interpreter: encodes and decodes by walking a `Shape`.

It is the reference for the compiled codecs, and it is what explains a failure: unlike
them it knows at every moment where in the value it is. `explain_encode` and
`explain_decode` go over a value again that a compiled codec has refused.
"""

from __future__ import annotations

from typing import Any

from ..errors import DecodeError, EncodeError
from .interpret_decode import Buffer, InterpretedDecoder
from .interpret_encode import InterpretedEncoder
from .shape import Shape
from .walk import explaining, raised, raised_without_values

__all__ = ["explain_decode", "explain_encode", "interpret_decode", "interpret_encode"]


def interpret_encode(shape: Shape, value: Any) -> bytes:
    """Encode a value.

    Raises:
        EncodeError: it is not of the shape; says what is wrong and where.
    """
    encoder = InterpretedEncoder(shape)
    explaining(EncodeError, encoder, lambda: encoder.encode(shape, value))
    return b"".join(encoder.pieces)


def interpret_decode(shape: Shape, buffer: Buffer, start: int = 0) -> Any:
    """Decode a value that extends to the end of a buffer.

    Raises:
        DecodeError: the bytes are not a value of the shape; says what and where.
    """
    decoder = InterpretedDecoder(shape, buffer, start)
    return explaining(DecodeError, decoder, decoder.decode_all)


def explain_encode(shape: Shape, value: Any, cause: Exception) -> EncodeError:
    """The error for a value that a compiled encoder refused with `cause`."""
    try:
        interpret_encode(shape, value)
    except EncodeError as error:
        return error
    return EncodeError(raised(cause), without_values=raised_without_values(cause))


def explain_decode(
    shape: Shape, buffer: Buffer, start: int, cause: Exception
) -> DecodeError:
    """The error for bytes that a compiled decoder refused with `cause`."""
    try:
        interpret_decode(shape, buffer, start)
    except DecodeError as error:
        return error
    return DecodeError(raised(cause), without_values=raised_without_values(cause))
