"""Values without classes: the same bytes, with dicts, lists and texts in Python.

`plain_shape` turns the shape of a type into one whose values are plain:

| type | plain value | in JSON |
| --- | --- | --- |
| number, bool, text, None | itself | itself; a float that is not finite is its name |
| bytes, array of u8 | bytes | text in base64 |
| option | None, or the value | |
| option in an option | None, or a list of no item or of one | |
| list, array, set | list | |
| map | dict if a key is a number or a text, otherwise a list of pairs | dict if a key is a text |
| tuple, tuple struct | list | |
| struct | dict by the names of the fields | |
| enum | the name of the variant; with data a dict of one: name and data | |
| channel | `Tx` or `Rx` of plain values | |

A class with a wire type registered has the plain value of its wire type.
"""  # noqa: E501

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeGuard, assert_never

import msgspec
from attrs import evolve
from msgspec import UNSET

from ...schema.shape import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    Field,
    FloatShape,
    IntShape,
    Level,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
    Variant,
    levels,
)
from .safe_names import distinct_names

__all__ = [
    "STEPS_TO_MAKE_PLAIN",
    "Anything",
    "DefaultOf",
    "plain_arguments",
    "plain_shape",
]

STEPS_TO_MAKE_PLAIN: Final = 8
"""Number of steps that `SharedWork` counts for a part of a shape that is made plain. A
struct needs new classes.
"""

DefaultOf: TypeAlias = Callable[[Record, Field], Any]
"""Returns the plain default of a field; UNSET if the field has none."""


def plain_shape(
    shape: Shape,
    *,
    for_json: bool = False,
    default_of: DefaultOf | None = None,
    sorted_sets: bool = False,
) -> Shape:
    """Return a shape with the same bytes whose values are plain.

    Args:
        shape: the shape of any type.
        for_json: whether values are those of JSON.
        default_of: returns the defaults of fields that a dict may leave out.
        sorted_sets: whether the items of sets are read in an order that depends on
            nothing but them. Only for JSON.
    """
    return _Plain(levels(shape), for_json, default_of, sorted_sets).shape(shape)


def plain_arguments(
    shape: TupleShape, *, for_json: bool = False, default_of: DefaultOf
) -> TupleShape:
    """Return the shape of an argument tuple with plain arguments."""
    plain = _Plain(levels(shape), for_json, default_of)
    return evolve(shape, items=tuple(map(plain.shape, shape.items)))


class _Plain:
    def __init__(
        self,
        levels: dict[str, Level],
        for_json: bool,
        default_of: DefaultOf | None,
        sorted_sets: bool = False,
    ) -> None:
        self._levels = levels
        self._for_json = for_json
        self._default_of = default_of
        self._sorted_sets = sorted_sets
        # Shapes share their parts, and there can be many ways to one part.
        self._made: dict[int, tuple[Shape, Shape]] = {}
        self._wrappers: dict[str, _Hooks] = {}
        self._pairs = 0

    def shape(self, shape: Shape) -> Shape:
        key = id(shape)
        if key not in self._made:
            self._made[key] = shape, self._anew(shape)
        return self._made[key][1]

    def _anew(self, shape: Shape) -> Shape:
        match shape:
            case TransparentShape() | ConvertedShape():
                return self.shape(shape.inner)
            case OptionShape(inner):
                return OptionShape(self._in_option(inner))
            case SetShape(item) if self._sorted_sets:
                return _SORTED.around(ListShape(self.shape(item)))
            case ListShape(item) | SetShape(item):
                return ListShape(self.shape(item))
            case MapShape(key, value):
                return self._map(self.shape(key), self.shape(value))
            case ArrayShape(IntShape(bits=8, signed=False), length):
                return self._bytes(ArrayShape(_U8, length, "bytes"))
            case ArrayShape(item, length):
                return ArrayShape(self.shape(item), length)
            case BytesShape():
                return self._bytes(BytesShape())
            case FloatShape() if self._for_json:
                return _FLOAT.around(shape)
            case ChannelShape(item=item):
                # An item has levels of its own.
                items = _Plain(levels(item), self._for_json, self._default_of)
                return evolve(shape, item=items.shape(item))
            case RefShape(name):
                return self._hooks(self._levels[name]).around(shape)
            case TupleShape() | StructShape() | EnumShape() | UnionShape():
                return self._hooks(shape).around(self._level(shape))
            case _:
                return shape

    def _in_option(self, inner: Shape) -> Shape:
        plain = self.shape(inner)
        if isinstance(plain, OptionShape | UnitShape):
            return _WITHIN.around(plain)
        return plain

    def _bytes(self, shape: Shape) -> Shape:
        return _BASE64.around(shape) if self._for_json else shape

    def _map(self, key: Shape, value: Shape) -> Shape:
        kinds: Any = StrShape | CharShape
        if not self._for_json:
            kinds = kinds | BoolShape | IntShape | BytesShape
        if isinstance(key, kinds):
            return MapShape(key, value)
        if isinstance(key, ConvertedShape) and _has_names_alone(key.inner):
            return MapShape(key, value)
        self._pairs += 1
        pair = TupleShape(f"#pair {self._pairs}", (key, value))
        return ListShape(_tuple_hooks("pair", 2).around(pair))

    # ------------------------------------------------------------ levels

    def _hooks(self, level: Level) -> _Hooks:
        hooks = self._wrappers.get(level.name)
        if hooks is None:
            hooks = self._wrappers[level.name] = self._make_hooks(level)
        return hooks

    def _make_hooks(self, level: Level) -> _Hooks:
        match level:
            case TupleShape(name, items):
                return _tuple_hooks(name, len(items))
            case StructShape(name, record):
                return self._record_hooks(name, record)
            case EnumShape(name, _, members, variants):
                by_name = dict(zip(variants, members, strict=True))
                names = dict(zip(map(id, members), variants, strict=True))
                return _Hooks(
                    name,
                    lambda value: by_name[_known(value, by_name)],
                    lambda member: names[id(member)],
                )
            case UnionShape(name, variants):
                return self._union_hooks(name, variants)
            case _:
                assert_never(level)

    def _level(self, level: Level) -> Shape:
        match level:
            case TupleShape(_, items):
                return evolve(level, items=tuple(map(self.shape, items)))
            case StructShape(_, record):
                holder = self._hooks(level).holders[level.name]
                return evolve(level, record=self._record(record, holder))
            case UnionShape(_, variants):
                holders = self._hooks(level).holders
                return evolve(
                    level,
                    variants=tuple(
                        Variant(
                            each.name, self._record(each.record, holders[each.name])
                        )
                        for each in variants
                    ),
                )
            case _:
                return level

    def _record(self, record: Record, holder: type[Any]) -> Record:
        fields = tuple(
            Field(each.name, attribute, attribute, self.shape(each.shape))
            for each, attribute in zip(record.fields, _attributes(record), strict=True)
        )
        return Record(holder, fields, True, record.tuple_like)

    def _record_hooks(self, name: str, record: Record) -> _Hooks:
        holder, take, give = self._held(name, record)
        return _Hooks(name, take, give, {name: holder})

    def _union_hooks(self, name: str, variants: Sequence[Variant]) -> _Hooks:
        held = {each.name: self._held_variant(each) for each in variants}
        holders = {variant: holder for variant, (holder, _, _) in held.items()}
        names = {holder: variant for variant, holder in holders.items()}

        def take(value: Any) -> Any:
            variant, data = _variant_of(value, held)
            return held[variant][1](data)

        def give(instance: Any) -> Any:
            variant = names[type(instance)]
            data = held[variant][2](instance)
            return variant if data is _NO_DATA else {variant: data}

        return _Hooks(name, take, give, holders)

    def _held_variant(self, variant: Variant) -> _Held:
        name, record = variant.name, variant.record
        if not record.fields:
            holder = _holder(name, record)
            return holder, lambda data: holder(), lambda instance: _NO_DATA
        if record.tuple_like and len(record.fields) == 1:
            holder = _holder(name, record)
            return holder, holder, lambda held: msgspec.structs.astuple(held)[0]
        return self._held(name, record)

    def _held(self, name: str, record: Record) -> _Held:
        """Return a class for the values of fields, and how it is made and taken apart.

        The codec reads attributes and calls a class, so something has to have them.
        """
        holder = _holder(name, record)
        if record.tuple_like:
            return (
                holder,
                lambda value: holder(*_items(value, len(record.fields))),
                lambda instance: list(msgspec.structs.astuple(instance)),
            )
        defaults = self._defaults(record)
        names = [field.name for field in record.fields]

        def take(value: Any) -> Any:
            given = _mapping(value, names, defaults)
            return holder(
                *(given[each] if each in given else defaults[each] for each in names)
            )

        def give(instance: Any) -> Any:
            return dict(zip(names, msgspec.structs.astuple(instance), strict=True))

        return holder, take, give

    def _defaults(self, record: Record) -> dict[str, Any]:
        if self._default_of is None:
            return {}
        found = {field.name: self._default_of(record, field) for field in record.fields}
        return {name: value for name, value in found.items() if value is not UNSET}


def _has_names_alone(shape: Shape) -> bool:
    """Return True if the plain values of a shape are the names of its variants."""
    if isinstance(shape, UnionShape):
        return not any(each.record.fields for each in shape.variants)
    return isinstance(shape, EnumShape)


_Held: TypeAlias = tuple[type[Any], Callable[[Any], Any], Callable[[Any], Any]]

_U8 = IntShape("u8", 8, signed=False)
_NO_DATA = object()


class Anything(type):
    """The class of classes that every value is an instance of."""

    def __instancecheck__(cls, instance: object) -> bool:
        return True


class _Hooks:
    """Converts plain values of one type.

    Args:
        name: the name of the type, for errors.
        take: makes what the codec encodes.
        give: makes the plain value of what the codec has decoded.
        holders: the classes of what `take` makes, by struct or variant.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[Any], Any],
        give: Callable[[Any], Any],
        holders: Mapping[str, type[Any]] | None = None,
    ) -> None:
        # The codec checks the class of a value, and its errors have the name of it.
        self._cls = Anything(name, (), {})
        self._take = take
        self._give: Callable[[Any, Any], Any] = lambda value, _: give(value)
        self.holders = holders or {}

    def around(self, inner: Shape) -> ConvertedShape:
        return ConvertedShape(self._cls, inner, self._take, self._give)


def _holder(name: str, record: Record) -> type[Any]:
    return msgspec.defstruct(name, [(each, Any) for each in _attributes(record)])


def _attributes(record: Record) -> list[str]:
    """Return the attributes of a holder: the names that errors have, if possible."""
    return distinct_names(each.name for each in record.fields)


def _tuple_hooks(name: str, count: int) -> _Hooks:
    return _Hooks(name, lambda value: tuple(_items(value, count)), list)


# ---------------------------------------------------------------- checks


def _is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _known(value: Any, names: Mapping[str, Any]) -> str:
    if isinstance(value, str) and value in names:
        return value
    raise ValueError(f"expected one of {_listed(names)}, got {_said(value)}")


def _variant_of(value: Any, held: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the variant that a plain value names, and its data."""
    if _is_mapping(value) and len(value) == 1:
        ((variant, data),) = value.items()
        return _known(variant, held), data
    variant = _known(value, held)
    if msgspec.structs.fields(held[variant][0]):
        raise ValueError(
            f"expected the data of {variant} as well, as in {{{variant!r}: …}}"
        )
    return variant, None


def _items(value: Any, count: int) -> Sequence[Any]:
    if _is_sequence(value) and len(value) == count:
        return value
    raise ValueError(f"expected a list of {count}, got {_said(value)}")


def _mapping(
    value: Any, names: Sequence[str], defaults: Mapping[str, Any]
) -> Mapping[str, Any]:
    if not _is_mapping(value):
        raise ValueError(f"expected a dict with {_listed(names)}, got {_said(value)}")
    missing = [each for each in names if each not in value and each not in defaults]
    if missing:
        raise ValueError(f"expected {_listed(missing)} as well")
    unknown = [each for each in value if each not in names]
    if unknown:
        raise ValueError(
            f"expected no {_listed(unknown)}: the fields are {_listed(names)}"
        )
    return value


_MOST_LISTED = 10


def _listed(names: Any) -> str:
    shown = [*map(str, names)]
    rest = ", …" if len(shown) > _MOST_LISTED else ""
    return ", ".join(shown[:_MOST_LISTED]) + rest if shown else "no fields"


def _said(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value[:100])
    return type(value).__qualname__


# ---------------------------------------------------------------- JSON


def _of_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _to_float(value: Any) -> float:
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise ValueError(
                f"expected a number, NaN, Infinity or -Infinity, got {_said(value)}"
            )
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {_said(value)}")
    return float(value)


def _to_bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"expected text in base64, got {_said(value)}")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ValueError(f"expected text in base64, got {_said(value)}") from None


def _of_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _of_within(value: Any) -> list[Any]:
    return [] if value is None else [value]


def _to_within(value: Any) -> Any:
    if _is_sequence(value) and len(value) <= 1:
        return value[0] if value else None
    raise ValueError(f"expected a list of no item or of one, got {_said(value)}")


def _sorted_by_text(items: list[Any]) -> list[Any]:
    return sorted(items, key=json.dumps)


_SORTED = _Hooks("set", list, _sorted_by_text)
_FLOAT = _Hooks("float", _to_float, _of_float)
_BASE64 = _Hooks("bytes", _to_bytes, _of_bytes)
_WITHIN = _Hooks("option", _to_within, _of_within)
