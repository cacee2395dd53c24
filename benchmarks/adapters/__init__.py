"""The implementations that are measured, one adapter each.

Each is imported when it is asked for, so that a process holds only what it runs.
"""

from __future__ import annotations

from .base import Adapter

__all__ = ["ADAPTERS", "FLOOR", "ROAM", "Adapter", "load"]

FLOOR = "floor"
ROAM = "roam_trio"
ADAPTERS = (FLOOR, ROAM)
"""The names of all adapters."""


def load(name: str) -> Adapter:
    """The adapter of this name.

    Raises:
        ValueError: there is none.
    """
    if name == FLOOR:
        from .floor import FloorAdapter

        return FloorAdapter()
    if name == ROAM:
        from .roam import RoamAdapter

        return RoamAdapter()
    raise ValueError(f"expected one of {', '.join(ADAPTERS)}, got {name!r}")
