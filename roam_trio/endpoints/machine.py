"""The memory that this process may use, from which the default of a server follows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["default_memory"]

_UNKNOWN: Final = 4 * 1024**3
"""Taken for the memory of a machine that does not tell, in bytes."""

_LEAST: Final = 64 * 1024**2
"""Least default, in bytes: below it a server could hardly work."""

_LIMITS_OF_CONTAINERS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_memory() -> int:
    """Return a quarter of the memory of the machine or the container, in bytes."""
    return max(min(_memories(), default=_UNKNOWN) // 4, _LEAST)


def _memories() -> Iterator[int]:
    with suppress(AttributeError, OSError, ValueError):  # not every system tells
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _LIMITS_OF_CONTAINERS:
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            yield int(path.read_bytes())
