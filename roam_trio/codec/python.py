"""The codec of a shape in Python, and what each codec offers to plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from ..errors import DecodeError
from ..schema.shape import Shape
from ..wire.messages import Encoded
from .compile import Decoder, Encoder, compile_decoder, compile_encoder
from .interpret import explain_decode, explain_encode

__all__ = ["Codec", "EncodedRun", "PythonCodec"]


class EncodedRun(NamedTuple):
    """Values that were encoded together.

    Attributes:
        values: each as its pieces, or as the only one; or their `Frames`.
        is_cut: whether they have reached the size that was given.
        failure: the exception of the value after them, or of the iterator.
    """

    values: Sequence[Any]
    is_cut: bool
    failure: Exception | None = None


class Codec(Protocol):
    """Encodes and decodes the values of one shape; `RpcPlan` describes the methods."""

    def encode(self, value: Any, /) -> list[bytes | memoryview]: ...
    def encode_into(self, value: Any, pieces: list[bytes | memoryview], /) -> None: ...
    def encode_run(
        self, values: Iterable[Any], head: bytes, most_bytes: int, /
    ) -> EncodedRun: ...
    def decode(self, buffer: bytes | memoryview, start: int = 0, /) -> Any: ...
    def decode_each(
        self, buffers: Iterable[bytes | memoryview], values: list[Any], /
    ) -> None: ...


class PythonCodec:
    """The codec in Python, which is compiled when it is first needed.

    Args:
        shape: the shape of the values.
        title: the name of their type.
    """

    def __init__(self, shape: Shape, title: str) -> None:
        self._shape = shape
        self._title = title

    @cached_property
    def _encoder(self) -> Encoder:
        return compile_encoder(self._shape, self._title)

    @cached_property
    def _decoder(self) -> Decoder:
        return compile_decoder(self._shape, self._title)

    def encode(self, value: Any) -> list[bytes | memoryview]:
        """Encode a value into pieces (`zerocopy.scatter.plan`).

        Large byte strings, and views of them, become pieces without a copy. A buffer
        that can change is copied.

        Raises:
            EncodeError: the value does not match the type.
        """
        pieces: list[bytes | memoryview] = []
        try:
            self._encoder(value, pieces.append)
        except MemoryError:
            raise
        except Exception as cause:
            encoded = _size_of(pieces)
            raise explain_encode(self._shape, value, cause, encoded) from cause
        return pieces

    def encode_into(self, value: Any, pieces: list[bytes | memoryview]) -> None:
        """Encode to the end of a list, which is unchanged on an error; see `encode`."""
        before = len(pieces)
        try:
            self._encoder(value, pieces.append)
        except MemoryError:
            raise
        except Exception as cause:
            encoded = _size_of(pieces[before:])
            del pieces[before:]
            raise explain_encode(self._shape, value, cause, encoded) from cause

    def encode_run(
        self, values: Iterable[Any], head: bytes, most_bytes: int
    ) -> EncodedRun:
        """Encode several values, up to a size and to the first that is wrong; see
        `RpcPlan.encode_run`."""
        encoded: list[Encoded] = []
        try:
            return EncodedRun(encoded, self._encode_each(values, encoded, most_bytes))
        except Exception as error:  # of a value, or of the iterator
            return EncodedRun(encoded, False, error)

    def _encode_each(
        self,
        values: Iterable[Any],
        encoded: list[Encoded],
        most_bytes: int,
    ) -> bool:
        """Encode values to the end of a list. Return True if that has reached a size.

        Raises:
            EncodeError: a value does not match the type.
        """
        encoder, size = self._encoder, 0
        pieces: list[bytes | memoryview] = []
        add_piece, add = pieces.append, encoded.append
        for value in values:
            try:
                encoder(value, add_piece)
            except MemoryError:
                raise
            except Exception as cause:
                size = _size_of(pieces)
                raise explain_encode(self._shape, value, cause, size) from cause
            if len(pieces) == 1:  # most often; a list for each takes longer
                piece = pieces.pop()
                size += len(piece)
                add(piece)
            else:
                size += _size_of(pieces)
                add(pieces.copy())
                pieces.clear()
            if size >= most_bytes:
                return True
        return False

    def decode_each(
        self, buffers: Iterable[bytes | memoryview], values: list[Any]
    ) -> None:
        """Decode several values to the end of `values`, each as `decode` does.

        On an error, `values` has those before the error.

        Raises:
            DecodeError: the bytes are not the encoding of a value of the type.
        """
        decoder = self._decoder
        for buffer in buffers:
            size = len(buffer)
            try:
                value, end = decoder(buffer, 0, size)
            except MemoryError:
                raise
            except Exception as cause:
                raise explain_decode(self._shape, buffer, 0, cause) from cause
            if end != size:
                raise DecodeError(f"{size - end} bytes are left after the value")
            values.append(value)

    def decode(self, buffer: bytes | memoryview, start: int = 0) -> Any:
        """Decode a value that extends from `start` to the end of a buffer.

        A field annotated as `memoryview` borrows from the buffer and keeps it alive;
        everything else is copied.

        Args:
            buffer: the bytes; a view must be one of bytes.
            start: the position of the first byte.

        Raises:
            DecodeError: the bytes are not the encoding of a value of the type.
        """
        size = len(buffer)
        try:
            value, end = self._decoder(buffer, start, size)
        except MemoryError:
            raise
        except Exception as cause:
            raise explain_decode(self._shape, buffer, start, cause) from cause
        if end != size:
            raise DecodeError(f"{size - end} bytes are left after the value")
        return value


def _size_of(pieces: list[bytes | memoryview]) -> int:
    return sum(map(len, pieces))
