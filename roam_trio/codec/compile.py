"""Compilation of a `Shape` to functions that encode, decode and find channels.

The source of a codec is generated once per type, and stored in ``linecache``, so that
tracebacks and debuggers show it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ..schema.shape import (
    ArrayShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ListShape,
    MapShape,
    SetShape,
    Shape,
    StrShape,
    children,
    walked,
)
from .decoder import DecoderSource
from .discovery import CollectorSource
from .encoder import EncoderSource
from .source import Module, is_generated

__all__ = [
    "Collector",
    "Decoder",
    "Encoder",
    "compile_collector",
    "compile_decoder",
    "compile_encoder",
    "where_it_stopped",
]

_DECODER: Final = "decoder of"

Encoder: TypeAlias = Callable[[Any, Callable[[bytes | memoryview], None]], None]
"""Takes a value and the `append` of a list of pieces."""

Decoder: TypeAlias = Callable[[bytes | memoryview, int, int], tuple[Any, int]]
"""Takes a buffer, a position and the size of the buffer; returns the value and the
position after it."""

Collector: TypeAlias = Callable[[Any, Callable[[tuple[Any, Any]], None]], None]
"""Takes a value and the `append` of a list of handles with their plans."""


def compile_encoder(shape: Shape, title: str) -> Encoder:
    """Return the encoder of a shape; it raises any exception for a wrong value."""
    module = Module(f"encoder of {title}")
    return module.compile(EncoderSource(module, shape).function(shape))


def compile_decoder(shape: Shape, title: str) -> Decoder:
    """Return the decoder of a shape; it raises any exception for wrong bytes.

    If a shape can contain many texts, the decoder converts a view to bytes first,
    because slicing texts out of bytes is faster.
    """
    module = Module(f"{_DECODER} {title}")
    from_bytes = _has_many_texts(shape) and not _has_bytes(shape)
    source = DecoderSource(module, shape, from_bytes=from_bytes)
    decode: Decoder = module.compile(source.function(shape))
    if not from_bytes:
        return decode

    def decode_bytes(
        buffer: bytes | memoryview, start: int, size: int
    ) -> tuple[Any, int]:
        return decode(bytes(buffer), start, size)

    return decode_bytes


def where_it_stopped(error: Exception, start: int) -> int:
    """Return the position at which a decoder raised an error.

    The position is in the frames of the traceback, so that decoders need not keep it.
    The decoded values in these frames are released, because they can be large.

    Args:
        error: the exception of the decoder.
        start: the position at which it started.
    """
    position = start
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if is_generated(frame.f_code, _DECODER):
            seen = frame.f_locals
            position = seen.get("pos", position)
            if sys.version_info < (3, 13):  # a copy, not yet a view
                seen.clear()
            frame.clear()
        traceback = traceback.tb_next
    return position


def _has_many_texts(shape: Shape) -> bool:
    kinds = ListShape | ArrayShape | SetShape | MapShape
    return any(
        _has_texts(child)
        for part in walked(shape)
        if isinstance(part, kinds)
        for child in children(part)
    )


def _has_texts(shape: Shape) -> bool:
    return any(isinstance(part, StrShape | CharShape) for part in walked(shape))


def _has_bytes(shape: Shape) -> bool:
    """Return True if parts of a value are bytes, which should not be copied twice."""
    return any(
        isinstance(part, BytesShape)
        or (isinstance(part, ArrayShape) and part.python in ("bytes", "memoryview"))
        for part in walked(shape)
    )


def compile_collector(
    shape: Shape, title: str, plan_of: Callable[[ChannelShape], Any]
) -> Collector:
    """Compile the collector of a shape with channels.

    Args:
        shape: the shape of the values.
        title: the name of their type.
        plan_of: makes the plan that is collected with each handle.
    """
    module = Module(f"channel collector of {title}")
    return module.compile(CollectorSource(module, plan_of).function(shape))
