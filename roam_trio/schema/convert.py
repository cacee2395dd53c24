"""Types without a wire form of their own: cattrs hooks with a declared wire type.

`register_wire_type` registers the conversion of a class to another type, which has a
wire form, and back. UUID, the types of `datetime`, Decimal, paths and IP addresses are
registered here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PurePath
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    TypeAlias,
    TypeVar,
    overload,
)
from uuid import UUID

from .types import Length, i64

if TYPE_CHECKING:
    from cattrs import BaseConverter, Converter

__all__ = ["converter", "register_wire_type", "wire_type_of"]

T = TypeVar("T")

_Unstructure: TypeAlias = Callable[[Any], Any]
_Structure: TypeAlias = Callable[[Any, Any], Any]

_Hooks: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any], Any]]

_wire_types: dict[type[Any], Any] = {}

_hooks_of_the_library: dict[type[Any], _Hooks] = {}
"""The hooks of each registered class of the standard
library."""


@cache
def converter() -> Converter:
    """Return the converter that holds the hooks of every registered type."""
    # Imported when the first type needs it: few services have one, and cattrs takes
    # a tenth of the time that the import of this package takes.
    import cattrs

    made = cattrs.Converter()
    for cls, hooks in _hooks_of_the_library.items():
        unstructure, structure = hooks
        _register_hooks(made, cls, unstructure, _ignoring_cls(structure))
    return made


_converter_of_all: Final = converter


def _register_hooks(
    made: Converter, cls: type[Any], unstructure: _Unstructure, structure: _Structure
) -> None:
    made.register_unstructure_hook(cls, unstructure)
    made.register_structure_hook(cls, structure)


def _ignoring_cls(structure: Callable[[Any], Any]) -> _Structure:
    """Return a hook of cattrs, which gets the class too."""
    return lambda value, _: structure(value)


@overload
def register_wire_type(
    cls: type[T],
    wire_type: Any,
    *,
    unstructure: Callable[[T], Any],
    structure: Callable[[Any], T],
) -> None: ...
@overload
def register_wire_type(
    cls: type[Any], wire_type: Any, *, converter: BaseConverter
) -> None: ...
def register_wire_type(
    cls: type[T],
    wire_type: Any,
    *,
    unstructure: Callable[[T], Any] | None = None,
    structure: Callable[[Any], T] | None = None,
    converter: BaseConverter | None = None,
) -> None:
    """Give a class a wire form: that of `wire_type`.

    Give `unstructure` and `structure`, or a `converter` that has hooks for the class.
    Register a class before the first service that uses it is defined: plans made
    earlier do not change. Subclasses are not registered.

    Args:
        cls: the class.
        wire_type: an annotation that has a wire form.
        unstructure: makes a value of `wire_type` from an instance, also of a derived
            class. For a value that `structure` would not restore, it raises an
            exception, which becomes the cause of an `EncodeError`.
        structure: makes an instance. Any exception that it raises becomes the cause of
            a `DecodeError`.
        converter: a converter of cattrs, whose methods of these names are used. Hooks
            can be registered with it until a value is first converted.

    Raises:
        TypeError: neither both functions nor a converter are given, or all of them.
    """
    if converter is not None and unstructure is None and structure is None:
        _register_hooks(_converter_of_all(), cls, *_methods_of(converter))
    elif converter is None and unstructure is not None and structure is not None:
        _register_hooks(_converter_of_all(), cls, unstructure, _ignoring_cls(structure))
    else:
        raise TypeError(
            "register_wire_type: expected unstructure= and structure=, or converter= "
            "alone"
        )
    _wire_types[cls] = wire_type


def _methods_of(converter: Any) -> tuple[_Unstructure, _Structure]:
    hooks = [getattr(converter, name, None) for name in ("unstructure", "structure")]
    if isinstance(converter, type) or not all(map(callable, hooks)):
        raise TypeError(
            "register_wire_type: expected a converter of cattrs, such as "
            f"cattrs.Converter(), got {converter!r}"
        )
    return converter.unstructure, converter.structure


def wire_type_of(cls: object) -> Any | None:
    """Return the wire type registered for a class, or None."""
    return _wire_types.get(cls) if isinstance(cls, type) else None


def _date_to_text(value: date) -> str:
    if isinstance(value, datetime):
        raise TypeError("a datetime would lose its time of day as a date")
    return value.isoformat()


def _datetime_to_text(value: datetime) -> str:
    if value.tzinfo is None:
        if value.fold:
            raise ValueError(
                "fold=1 would be lost and the value would be another moment; "
                "add a time zone, as in value.astimezone()"
            )
    elif value.utcoffset() is None:
        raise ValueError(
            f"the tzinfo {type(value.tzinfo).__qualname__} has no offset and would "
            "be lost; use one with an offset, or none"
        )
    return datetime.isoformat(value)


def _same_moment(one: datetime, other: datetime) -> bool:
    if one.tzinfo is None:
        return one == other
    # Compare in UTC: in an hour that occurs twice, a time with a zone equals no other.
    return one.astimezone(UTC) == other.astimezone(UTC)


def _path_to_text(value: PurePath) -> str:
    if not isinstance(value, _OWN_FLAVOUR):
        raise TypeError(
            f"a {type(value).__qualname__} would arrive as a {_OWN_FLAVOUR.__name__}; "
            "send its text as a str"
        )
    return str(value)


_OWN_FLAVOUR: type[PurePath] = type(PurePath())


def _ipv6_to_bytes(value: IPv6Address) -> bytes:
    if value.scope_id is not None:
        raise ValueError(f"the scope of {value} cannot be sent")
    return value.packed


def _timedelta_to_microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


def _register(
    cls: type[T],
    wire_type: Any,
    unstructure: Callable[[T], Any],
    structure: Callable[[Any], T],
    *others: type[T],
    same: Callable[[T, T], bool] = operator.eq,
) -> None:
    """Register a class of the standard library.

    Derived classes may have more state (an `IPv4Interface` has a network, and
    timestamps of pandas have nanoseconds), so the restored value must equal the
    instance.

    Args:
        others: derived classes without more state.
        same: returns whether two values are the same.
    """

    def checked(value: T) -> Any:
        wire = unstructure(value)
        if type(value) is cls:
            return wire
        if type(value) not in others and not same(structure(wire), value):
            raise ValueError(
                f"a part of the {type(value).__qualname__} would be lost; "
                f"make it a {cls.__qualname__}"
            )
        return wire

    _hooks_of_the_library[cls] = checked, structure
    _wire_types[cls] = wire_type


def _register_builtins() -> None:
    _register(
        UUID,
        Annotated[bytes, Length(16)],
        lambda value: value.int.to_bytes(16, "big"),
        lambda octets: UUID(bytes=octets),
    )
    _register(
        datetime, str, _datetime_to_text, datetime.fromisoformat, same=_same_moment
    )
    _register(date, str, _date_to_text, date.fromisoformat)
    _register(
        timedelta,
        i64,
        _timedelta_to_microseconds,
        lambda microseconds: timedelta(microseconds=microseconds),
    )
    _register(Decimal, str, Decimal.__str__, Decimal)
    _register(Path, str, _path_to_text, Path, type(Path()))
    _register(PurePath, str, _path_to_text, PurePath, _OWN_FLAVOUR, type(Path()))
    _register(
        IPv4Address,
        Annotated[bytes, Length(4)],
        lambda value: value.packed,
        IPv4Address,
    )
    _register(IPv6Address, Annotated[bytes, Length(16)], _ipv6_to_bytes, IPv6Address)


_register_builtins()
