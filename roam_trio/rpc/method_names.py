"""Readable names of methods, by id.

A session knows only the ids of methods; the definition of a service registers the
names.
"""

from __future__ import annotations

from ..wire.ids import MethodId

__all__ = ["method_name", "remember_method_name"]

_names: dict[MethodId, str] = {}


def remember_method_name(method_id: MethodId, name: str) -> None:
    """Register the readable name of a method; the last one counts."""
    _names[method_id] = name


def method_name(method_id: MethodId) -> str:
    """Return the name of a method, or its id in hexadecimal if it is unknown."""
    return _names.get(method_id) or f"0x{method_id:016x}"
