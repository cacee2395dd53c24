"""The memory that this process may use, from which the default of a server follows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["default_memory"]

_UNKNOWN: Final = 4 * 1024**3
"""Taken for the memory of a machine that does not tell, in bytes."""

_LEAST: Final = 64 * 1024**2
"""Least default, in bytes: below it a server could hardly work."""

_PROCESS: Final = Path("/proc/self")
"""Directory in which Linux describes this process."""

_LIMITS: Final = {
    # The controller of a hierarchy is empty for version 2, which has one for all.
    "cgroup2": ("", "memory.max"),
    "cgroup": ("memory", "memory.limit_in_bytes"),
}
"""By type of file system: the controller, and the file with its limit."""


def default_memory() -> int:
    """Return a quarter of the memory of the machine or the container, in bytes."""
    return max(min(_memories(), default=_UNKNOWN) // 4, _LEAST)


def _memories() -> Iterator[int]:
    if sys.platform != "win32":
        with suppress(AttributeError, OSError, ValueError):  # not all systems tell
            yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _files_with_limits():
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            yield int(path.read_bytes())


def _files_with_limits() -> list[Path]:
    """Return the files with the limits of the cgroup of this process, and of all
    cgroups around it, each of which limits it as well."""
    try:
        cgroups, mounts = map(_lines_of, ("cgroup", "mountinfo"))
        own = dict(_by_controller(cgroups))
        return [file for mount in mounts for file in _files_in(mount, own)]
    except (OSError, ValueError):  # the system is another one
        return []


def _lines_of(name: str) -> list[str]:
    return (_PROCESS / name).read_text(encoding="utf-8", errors="replace").splitlines()


def _by_controller(cgroups: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the controllers, each with the path of its cgroup."""
    for line in cgroups:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _files_in(mount: str, own: dict[str, str]) -> Iterator[Path]:
    """Yield the files of a mounted hierarchy, if it is one of cgroups."""
    where, _, what = mount.partition(" - ")
    controller, name = _LIMITS.get(what.partition(" ")[0], (None, ""))
    if controller not in own:
        return
    _, _, _, root, point, *_ = where.split(" ")
    top = directory = Path(point)
    with suppress(ValueError):  # a container may see only its own part
        directory = top / PurePosixPath(own[controller]).relative_to(root)
    while directory != top:
        yield directory / name
        directory = directory.parent
    yield top / name
