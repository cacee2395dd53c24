"""Defaults of arguments and of fields, as JSON values."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Final, cast

import attrs
import msgspec
from attrs import frozen

from ...codec.interpret import interpret_decode, interpret_encode
from ...errors import CodecError
from ...schema.derive import shape_of
from ...schema.kinds import NOTHING, kind_of
from ...schema.records import layout_of
from ...schema.shape import (
    BoolShape,
    EnumShape,
    IntShape,
    OptionShape,
    Record,
    Shape,
    StrShape,
)
from .plain_values import plain_shape

__all__ = [
    "COMPUTED",
    "NO_DEFAULT",
    "Told",
    "default_of_argument",
    "defaults_of_fields",
]


@frozen
class Told:
    """A default, as it stands in a schema.

    Attributes:
        value: the value in JSON; UNSET if there is none.
        computed: whether only the program itself can compute it.
    """

    value: Any = msgspec.UNSET
    computed: bool = False


NO_DEFAULT: Final = Told()
COMPUTED: Final = Told(computed=True)

_MOST_BYTES: Final = 1024
"""Length, in bytes, of the longest encoded default that a schema tells."""

_CONSTANT: Final[tuple[Any, ...]] = (
    *(list, dict, set, frozenset, tuple),
    *(str, bytes, int, float, bool),
)
"""Factories that return the same value each time. No others are called."""


def default_of_argument(parameter: inspect.Parameter, shape: Shape) -> Told:
    """Return the default of an argument whose shape is `shape`."""
    if parameter.default is inspect.Parameter.empty:
        return NO_DEFAULT
    return _told(parameter.default, shape, lambda: shape)


def defaults_of_fields(record: Record) -> dict[str, Told]:
    """Return the defaults of the fields of a class, by their attributes."""
    found: dict[str, Told] = {}
    for field in record.fields:
        default, factory = _default_of(record.cls, field.attribute)
        if factory in _CONSTANT:
            default = factory()
        elif factory is not None:
            found[field.attribute] = COMPUTED
            continue
        if default is not NOTHING:
            found[field.attribute] = _told(
                default, field.shape, _whole_shape(record, field.attribute)
            )
    return found


def _whole_shape(record: Record, attribute: str) -> Callable[[], Shape]:
    """Return what derives the shape of a field with all levels in it."""

    def derived() -> Shape:
        layout = layout_of(record.cls, record.args, "")
        assert layout is not None
        types = {field.attribute: field.type for field in layout.fields}
        return shape_of(types[attribute])

    return derived


# ---------------------------------------------------------------- classes


class _WithFactory(msgspec.Struct):
    items: list[int] = msgspec.field(default_factory=list[int])


_a_factory: Any = _WithFactory.__struct_defaults__[0]
_MSGSPEC_FACTORY: Final[type[Any]] = _a_factory.__class__
"""The class of the objects in which msgspec keeps factories."""


# The stubs of attrs have a function of this name.
_ATTRS_FACTORY: Final = cast("type[Any]", attrs.Factory)


def _default_of(cls: type[Any], attribute: str) -> tuple[Any, Any]:
    """Return the default of a field or NOTHING, and its factory or None."""
    if issubclass(cls, msgspec.Struct):
        return _of_msgspec(cls, attribute)
    if attrs.has(cls):
        return _of_attrs(cls, attribute)
    kind = kind_of(cls)
    if kind is not None:
        return kind.default(cls, attribute)
    return _of_dataclass(cls, attribute)


def _of_msgspec(cls: type[Any], attribute: str) -> tuple[Any, Any]:
    index = cls.__struct_fields__.index(attribute) - len(cls.__struct_fields__)
    defaults = cls.__struct_defaults__
    default = defaults[index] if -index <= len(defaults) else msgspec.NODEFAULT
    if default is msgspec.NODEFAULT:
        return NOTHING, None
    if type(default) is _MSGSPEC_FACTORY:
        return NOTHING, default.factory
    return default, None


def _of_attrs(cls: type[Any], attribute: str) -> tuple[Any, Any]:
    default: Any = attrs.fields_dict(cls)[attribute].default
    if default is attrs.NOTHING:
        return NOTHING, None
    if isinstance(default, _ATTRS_FACTORY):
        return NOTHING, default.factory
    return default, None


def _of_dataclass(cls: type[Any], attribute: str) -> tuple[Any, Any]:
    field = cls.__dataclass_fields__[attribute]
    factory = field.default_factory
    if factory is not dataclasses.MISSING:
        return NOTHING, factory
    return (NOTHING if field.default is dataclasses.MISSING else field.default), None


# ---------------------------------------------------------------- values


def _told(value: Any, shape: Shape, whole: Callable[[], Shape]) -> Told:
    scalar = _scalar(value, shape)
    if scalar is not NOTHING:
        return Told(scalar)
    return _through_the_codec(value, whole())


def _scalar(value: Any, shape: Shape) -> Any:
    """Return the JSON form of a value without parts; NOTHING of any other."""
    match shape:
        case OptionShape() if value is None:
            return None
        case OptionShape(BoolShape() | IntShape() | StrShape() as inner):
            return _scalar(value, inner)
        case BoolShape() if isinstance(value, bool):
            return value
        case IntShape() if type(value) is int:
            return value if shape.minimum <= value <= shape.maximum else NOTHING
        case StrShape() if type(value) is str and len(value) <= _MOST_BYTES:
            return value
        case EnumShape(_, cls, members, variants) if isinstance(value, cls):
            return variants[members.index(value)]
        case _:
            return NOTHING


def _through_the_codec(value: Any, shape: Shape) -> Told:
    """Return the default that the encoding of a value decodes to in JSON."""
    try:
        encoded = interpret_encode(shape, value)
    except CodecError:
        # A default such as None in place of a number is for Python alone.
        return COMPUTED
    if len(encoded) > _MOST_BYTES:
        return COMPUTED
    # Sets of texts have another order in each process, and the fingerprint may not.
    in_json = plain_shape(shape, for_json=True, sorted_sets=True)
    return Told(interpret_decode(in_json, encoded))
