"""Places of channels in a type, and a function that finds the channels in a value.

The order is that of the wire: fields in the order of declaration, items of a tuple in
turn. Channels in absent options and other variants are skipped
(`rpc.channel.discovery`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen

from ..schema.shape import (
    ChannelShape,
    OptionShape,
    Record,
    Shape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    has_channels,
)
from . import primitives
from .source import Function, Module

__all__ = ["ChannelLocation", "CollectorSource", "channel_locations"]


@frozen
class ChannelLocation:
    """A place where values of a type can have a channel.

    Attributes:
        path: its path, including the names of required variants.
        channel: the plan of the channel.
    """

    path: str
    channel: ChannelShape


def channel_locations(shape: Shape, path: str = "$") -> Iterator[ChannelLocation]:
    """Yield every place of a shape for a channel, in the order of the wire."""
    match shape:
        case ChannelShape():
            yield ChannelLocation(path, shape)
        case OptionShape(inner):
            yield from channel_locations(inner, path)
        case TupleShape(_, items, labels):
            for index, item in enumerate(items):
                step = f".{labels[index]}" if labels else f"[{index}]"
                yield from channel_locations(item, path + step)
        case StructShape(_, record) | TransparentShape(record):
            yield from _in_record(record, path)
        case UnionShape(_, variants):
            for variant in variants:
                yield from _in_record(variant.record, f"{path}.{variant.name}")
        case _:
            return


def _in_record(record: Record, path: str) -> Iterator[ChannelLocation]:
    for field in record.fields:
        yield from channel_locations(field.shape, f"{path}.{field.attribute}")


class CollectorSource:
    """Writes the function ``collect(value, found)``.

    It calls `found` with each handle and its plan. Recursive types have no channels, so
    everything is written inline.
    """

    def __init__(self, module: Module, plan_of: Callable[[ChannelShape], Any]) -> None:
        self._module = module
        self._plan_of = plan_of

    def function(self, shape: Shape) -> str:
        """Return the name of the collector of a shape that has channels."""
        function = self._module.function("collect", "value", "found")
        self._emit(function, shape, "value")
        return function.name

    def _emit(self, to: Function, shape: Shape, value: str) -> None:
        match shape:
            case ChannelShape():
                name = self._module.bind("CHANNEL", self._plan_of(shape))
                to.line(f"found(({value}, {name}))")
            case OptionShape(inner):
                with to.block(f"if {value} is not None:"):
                    self._emit(to, inner, value)
            case TupleShape(_, items, labels):
                hints = labels or ["item"] * len(items)
                values = [f"{value}[{index}]" for index in range(len(items))]
                self._members(to, items, values, hints)
            case StructShape(_, record) | TransparentShape(record):
                self._record(to, record, value)
            case UnionShape():
                self._union(to, shape, value)
            case _:
                raise AssertionError(shape)  # pragma: no cover - has no channels

    def _members(
        self,
        to: Function,
        shapes: Sequence[Shape],
        values: Sequence[str],
        hints: Sequence[str],
    ) -> None:
        for shape, value, hint in zip(shapes, values, hints, strict=True):
            if has_channels(shape):
                name = to.local(hint)
                to.line(f"{name} = {value}")
                self._emit(to, shape, name)

    def _record(self, to: Function, record: Record, value: str) -> None:
        hints = [field.attribute for field in record.fields]
        shapes = [field.shape for field in record.fields]
        self._members(to, shapes, [f"{value}.{hint}" for hint in hints], hints)

    def _union(self, to: Function, shape: UnionShape, value: str) -> None:
        classes = {
            variant.record.cls: index for index, variant in enumerate(shape.variants)
        }
        table = self._module.bind(f"INDEX_{shape.name}", classes)
        nearest = self._module.bind("index_by_class", primitives.index_by_class)
        index = to.local("index")
        to.line(f"{index} = {nearest}({value}, {table})")
        for number, variant in enumerate(shape.variants):
            if any(has_channels(field.shape) for field in variant.record.fields):
                with to.block(f"if {index} == {number!r}:"):
                    self._record(to, variant.record, value)
