"""The names of methods by their identities, for people to read.

Sessions know methods by their identities only; whoever defines a service tells what it
calls them.
"""

from __future__ import annotations

__all__ = ["method_name", "remember_method_name"]

_names: dict[int, str] = {}


def remember_method_name(method_id: int, name: str) -> None:
    """Remember the name that people call a method by; the last one counts."""
    _names[method_id] = name


def method_name(method_id: int) -> str:
    """Return the name of a method, or its identity in hexadecimal if it is unknown."""
    return _names.get(method_id) or f"0x{method_id:016x}"
