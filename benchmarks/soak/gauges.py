"""What a process holds, as it sees itself."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import trio

__all__ = ["GAUGES", "Gauges", "gauge"]

_PROCESS: Final = Path("/proc/self")

_FEW: Final = 10
"""So many objects of one type are not worth a mention."""

GAUGES: Final = (
    "resident",
    "peak",
    "blocks",
    "objects",
    "tasks",
    "files",
    "threads",
)
"""The gauges by their names, in the order in which they are shown."""


class Gauges(msgspec.Struct, frozen=True):
    """What a process holds.

    Attributes:
        resident: bytes of memory that are resident; 0 where the system does not tell.
        peak: the most of these since the last look; 0 where the system does not tell.
        blocks: small objects of any type that are allocated.
        objects: objects that the garbage collector knows.
        tasks: tasks of trio.
        files: open file descriptors; 0 where the system does not tell.
        threads: threads of Python.
        kinds: the objects by their types, but for a few.
    """

    resident: int
    peak: int
    blocks: int
    objects: int
    tasks: int
    files: int
    threads: int
    kinds: dict[str, int] = {}


def gauge() -> Gauges:
    """Collect what is garbage, look, and begin a new peak."""
    gc.collect()
    kinds = Counter(type(found) for found in gc.get_objects())
    resident, peak = _memory()
    return Gauges(
        resident=resident,
        peak=peak,
        blocks=sys.getallocatedblocks(),
        objects=kinds.total(),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        files=_files(),
        threads=threading.active_count(),
        kinds=_by_name(kinds),
    )


def _by_name(kinds: Counter[type]) -> dict[str, int]:
    named: Counter[str] = Counter()
    for kind, count in kinds.items():
        named[f"{kind.__module__}.{kind.__qualname__}"] += count
    return {name: count for name, count in named.items() if count >= _FEW}


def _memory() -> tuple[int, int]:
    """What is resident, and the peak."""
    try:
        status = (_PROCESS / "status").read_text("ascii")
        (_PROCESS / "clear_refs").write_text("5", "ascii")
    except OSError:
        return 0, 0
    return _bytes_in(status, "VmRSS"), _bytes_in(status, "VmHWM")


def _bytes_in(status: str, name: str) -> int:
    _, _, rest = status.partition(f"{name}:")
    return int(rest.split(maxsplit=1)[0]) * 1024


def _files() -> int:
    try:
        return len(os.listdir(_PROCESS / "fd"))
    except OSError:
        return 0
