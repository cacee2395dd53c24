"""The name servers of the system, as a file names them that changes with the network.

Needs the extra `dns`.
"""

from __future__ import annotations

import os
from typing import Final

from dns import asyncresolver, exception

__all__ = ["NameServers"]

RESOLV_CONF: Final = "/etc/resolv.conf"


class NameServers:
    """The name servers of the system.

    The file is read again when its inode, its size or the time of its last change has
    changed.

    Args:
        path: the file that names them. On Windows there is none, and the registry is
            read once.
    """

    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._path = path
        self._version: tuple[int, ...] | None = None
        self._asking: asyncresolver.Resolver | None = None

    def asking(self) -> asyncresolver.Resolver:
        """Return a resolver that asks them. Never waits.

        If the file is missing, names no servers or is malformed, perhaps because it is
        being written, the last good one stays in force.

        Raises:
            DNSException, ValueError: there has been no file that names any.
        """
        version = _version_of(self._path)
        if self._asking is None or version != self._version:
            try:
                self._asking = asyncresolver.Resolver(self._path)
            except (exception.DNSException, ValueError):  # of an address cut off
                if self._asking is None:
                    raise
            else:
                self._version = version
        return self._asking


def _version_of(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
