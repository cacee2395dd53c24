"""From a `Shape` to the functions that encode, decode and find channels.

The source of a codec is generated once per type. It is in tracebacks and in the
debugger like any other: ``linecache`` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from .decoder import DecoderSource
from .discovery import CollectorSource
from .encoder import EncoderSource
from .shape import ChannelShape, Shape
from .source import Module

__all__ = [
    "Collector",
    "Decoder",
    "Encoder",
    "compile_collector",
    "compile_decoder",
    "compile_encoder",
]

Encoder: TypeAlias = Callable[[Any, Callable[[bytes | memoryview], None]], None]
"""Takes a value and the `append` of a list of pieces."""

Decoder: TypeAlias = Callable[[bytes | memoryview, int, int], tuple[Any, int]]
"""Takes a buffer, a position and the size of the buffer; returns the value and the
position after it."""

Collector: TypeAlias = Callable[[Any, Callable[[tuple[Any, ChannelShape]], None]], None]
"""Takes a value and the `append` of a list of handles with their shapes."""


def compile_encoder(shape: Shape, title: str) -> Encoder:
    """The encoder of a shape; raises any exception on a value that does not fit."""
    module = Module(f"encoder of {title}")
    return module.compile(EncoderSource(module, shape).function(shape))


def compile_decoder(shape: Shape, title: str) -> Decoder:
    """The decoder of a shape; raises any exception on bytes that do not fit."""
    module = Module(f"decoder of {title}")
    return module.compile(DecoderSource(module, shape).function(shape))


def compile_collector(shape: Shape, title: str) -> Collector:
    """What finds the channels in values of a shape that has some."""
    module = Module(f"channel collector of {title}")
    return module.compile(CollectorSource(module).function(shape))
