"""The plain interpreter: encodes and decodes by walking a `Shape`.

It is the reference for the compiled codecs, and it explains failures: unlike them, it
keeps its path in the value. `explain_encode` and `explain_decode` walk a value again
that a compiled codec has refused, or the first parts of a large one.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import CodecError, DecodeError, EncodeError
from ..schema.filling import CollidingKeys
from ..schema.shape import Shape
from .compile import where_it_stopped
from .interpret_decode import Buffer, InterpretedDecoder
from .interpret_encode import InterpretedEncoder
from .walk import (
    BYTES_A_VISIT,
    MAX_VISITS,
    MIN_VISITS,
    SMALL,
    Exhausted,
    explaining,
    raised,
    raised_without_values,
)

__all__ = ["explain_decode", "explain_encode", "interpret_decode", "interpret_encode"]

Error = TypeVar("Error", bound=CodecError)


def interpret_encode(shape: Shape, value: Any) -> bytes:
    """Encode a value.

    Raises:
        EncodeError: the value does not match the shape; the error has the place.
    """
    encoder = InterpretedEncoder(shape)
    explaining(EncodeError, encoder, lambda: encoder.encode(shape, value))
    return b"".join(encoder.pieces)


def interpret_decode(shape: Shape, buffer: Buffer, start: int = 0) -> Any:
    """Decode a value that extends to the end of a buffer.

    Raises:
        DecodeError: the bytes are not a value of the shape; the error has the place.
    """
    decoder = InterpretedDecoder(shape, buffer, start)
    return explaining(DecodeError, decoder, decoder.decode_all)


def explain_encode(
    shape: Shape, value: Any, cause: Exception, encoded: int = 0
) -> EncodeError:
    """Return the error for a value that a compiled encoder refused.

    Args:
        shape: the expected shape.
        value: the value.
        cause: the exception of the encoder.
        encoded: number of bytes encoded before the exception.
    """
    visits = _visits(encoded)
    encoder = InterpretedEncoder(shape, visits)
    try:
        explaining(EncodeError, encoder, lambda: encoder.encode(shape, value))
    except EncodeError as error:
        return error
    except Exhausted:
        at = f", after {encoded} bytes; {_not_found(visits)}"
        return _by_the_cause(EncodeError, cause, at)
    return _by_the_cause(EncodeError, cause)


def explain_decode(
    shape: Shape, buffer: Buffer, start: int, cause: Exception
) -> DecodeError:
    """Return the error for bytes that a compiled decoder refused with `cause`."""
    size = len(buffer)
    stopped = where_it_stopped(cause, start)
    visits = _visits(size)
    decoder = InterpretedDecoder(shape, buffer, start, visits)
    try:
        explaining(DecodeError, decoder, decoder.decode_all)
    except DecodeError as error:
        return error
    except Exhausted:
        at = f", at byte {stopped} of {size}; {_not_found(visits)}"
        return _by_the_cause(DecodeError, cause, at)
    return _by_the_cause(DecodeError, cause)


def _visits(size: int) -> int:
    """Return the number of parts of a value of `size` bytes that may be visited."""
    return MIN_VISITS if size < SMALL else min(size // BYTES_A_VISIT, MAX_VISITS)


def _not_found(visits: int) -> str:
    return f"the first {visits} parts of the value are right, and no more are visited"


def _by_the_cause(kind: type[Error], cause: Exception, at: str = "") -> Error:
    if isinstance(cause, CollidingKeys):
        return kind(f"{cause}{at}")  # its text contains no keys
    without_values = f"{raised_without_values(cause)}{at}"
    return kind(f"{raised(cause)}{at}", without_values=without_values)
