"""What of a service is on the wire, as data that can be compared."""

from __future__ import annotations

from typing import Any

from roam_trio import describe
from roam_trio.hash import kebab
from roam_trio.schema import (
    ArrayShape,
    BytesShape,
    ChannelShape,
    ConvertedShape,
    EnumShape,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
)

__all__ = ["wire_of"]


def wire_of(service: Any) -> Any:
    """Names, ids, docs and types of a service, without what is Python's alone."""
    descriptor = describe(service)
    methods = [
        (
            kebab(method.name),
            method.id,
            method.doc,
            _wire(method.args_plan.shape, ()),
            _wire(method.result_plan.ok.shape, ()),
            method.result_plan.error and _wire(method.result_plan.error.shape, ()),
        )
        for method in descriptor.methods
    ]
    return kebab(descriptor.name), descriptor.doc, methods


def _wire(shape: Shape, around: tuple[str, ...]) -> Any:
    match shape:
        case BytesShape(_, is_slice):
            return ("list", "u8", is_slice)
        case ListShape(item, _, is_slice):
            return ("list", _wire(item, around), is_slice)
        case ArrayShape(item, length):
            return ("array", _wire(item, around), length)
        case SetShape(item):
            return ("set", _wire(item, around))
        case MapShape(key, value):
            return ("map", _wire(key, around), _wire(value, around))
        case OptionShape(inner):
            return ("option", _wire(inner, around))
        case ConvertedShape(_, inner):
            return _wire(inner, around)
        case TransparentShape():
            return ("transparent", _wire(shape.inner, around))
        case ChannelShape(direction, item, credit):
            return (direction, _wire(item, ()), credit)
        case TupleShape(_, ()):
            return _wire(UnitShape(), around)
        case TupleShape(name, items):
            return ("tuple", [_wire(each, (*around, name)) for each in items])
        case StructShape(name, record):
            return ("struct", _record(record, (*around, name)))
        case EnumShape(_, _, _, variants):
            return ("enum", [(each, ("unit",)) for each in variants])
        case UnionShape(name, variants):
            inside = (*around, name)
            return ("enum", [(v.name, _record(v.record, inside)) for v in variants])
        case RefShape(name):
            return ("again", around[::-1].index(name))
        case _:
            return getattr(shape, "name", None) or repr(shape)


def _record(record: Record, around: tuple[str, ...]) -> Any:
    if not record.fields:
        return ("unit",)
    if record.tuple_like:
        return [_wire(each.shape, around) for each in record.fields]
    return [(each.name, _wire(each.shape, around)) for each in record.fields]
