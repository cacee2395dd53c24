"""Readable names of methods, by id.

A session knows only the ids of methods; the definition of a service registers the
names.
"""

from __future__ import annotations

from ..wire.ids import MethodId

__all__ = [
    "is_method_here",
    "is_method_name_here",
    "method_name",
    "remember_method_name",
    "remember_method_of_peer",
]

_names: dict[MethodId, str] = {}
_names_at_peers: dict[MethodId, str] = {}

_MOST = 4096
"""Maximum number of methods of peers whose names are kept."""


def remember_method_name(method_id: MethodId, name: str) -> None:
    """Register the readable name of a method; the last one counts."""
    _names[method_id] = name


def remember_method_of_peer(method_id: MethodId, name: str) -> None:
    """Register the name of a method that has another id at a peer; the last ones
    count."""
    _names_at_peers.pop(method_id, None)
    _names_at_peers[method_id] = name
    if len(_names_at_peers) > _MOST:
        del _names_at_peers[next(iter(_names_at_peers))]


def is_method_here(method_id: MethodId) -> bool:
    """Return True if a service of this program has the method."""
    return method_id in _names


def is_method_name_here(name: str) -> bool:
    """Return True if a service of this program has a method with the name."""
    return name in _names.values()


def method_name(method_id: MethodId) -> str:
    """Return the name of a method, or its id in hexadecimal if it is unknown."""
    name = _names.get(method_id) or _names_at_peers.get(method_id)
    return name or f"0x{method_id:016x}"
