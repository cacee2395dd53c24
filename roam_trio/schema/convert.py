"""Types without a wire form of their own: cattrs hooks with a declared wire type.

`register_wire_type` says how values of a class become values of another type, which
has a wire form, and back. UUID, the types of `datetime`, Decimal, paths and IP
addresses are registered here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar
from uuid import UUID

import cattrs

from .types import Length, i64

__all__ = ["converter", "register_wire_type", "wire_type_of"]

T = TypeVar("T")

converter = cattrs.Converter()
"""Holds the hooks of every registered type."""

_wire_types: dict[type[Any], Any] = {}


def register_wire_type(
    cls: type[T],
    wire_type: Any,
    *,
    unstructure: Callable[[T], Any],
    structure: Callable[[Any], T],
) -> None:
    """Give a class a wire form: that of `wire_type`.

    Register a class before the first service that uses it is defined: plans made
    earlier keep what they were made with. Subclasses are not registered by it.

    Args:
        cls: the class.
        wire_type: an annotation that has a wire form.
        unstructure: makes a value of `wire_type` from an instance.
        structure: makes an instance. Whatever it raises becomes the cause of a
            `DecodeError`.
    """
    converter.register_unstructure_hook(cls, unstructure)
    converter.register_structure_hook(cls, lambda value, _: structure(value))
    _wire_types[cls] = wire_type


def wire_type_of(cls: object) -> Any | None:
    """The wire type registered for a class, or None."""
    return _wire_types.get(cls) if isinstance(cls, type) else None


def _date_to_text(value: date) -> str:
    if isinstance(value, datetime):
        raise TypeError("a datetime would lose its time of day as a date")
    return value.isoformat()


def _ipv6_to_bytes(value: IPv6Address) -> bytes:
    if value.scope_id is not None:
        raise ValueError(f"the scope of {value} cannot be sent")
    return value.packed


def _timedelta_to_microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


def _register_builtins() -> None:
    register_wire_type(
        UUID,
        Annotated[bytes, Length(16)],
        unstructure=lambda value: value.bytes,
        structure=lambda octets: UUID(bytes=octets),
    )
    register_wire_type(
        datetime,
        str,
        unstructure=datetime.isoformat,
        structure=datetime.fromisoformat,
    )
    register_wire_type(
        date, str, unstructure=_date_to_text, structure=date.fromisoformat
    )
    register_wire_type(
        timedelta,
        i64,
        unstructure=_timedelta_to_microseconds,
        structure=lambda microseconds: timedelta(microseconds=microseconds),
    )
    register_wire_type(Decimal, str, unstructure=str, structure=Decimal)
    register_wire_type(Path, str, unstructure=str, structure=Path)
    register_wire_type(PurePath, str, unstructure=str, structure=PurePath)
    register_wire_type(
        IPv4Address,
        Annotated[bytes, Length(4)],
        unstructure=lambda value: value.packed,
        structure=IPv4Address,
    )
    register_wire_type(
        IPv6Address,
        Annotated[bytes, Length(16)],
        unstructure=_ipv6_to_bytes,
        structure=IPv6Address,
    )


_register_builtins()
