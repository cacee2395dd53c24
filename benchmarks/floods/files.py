"""Number of files that a process may open: each session takes one."""

from __future__ import annotations

import resource

__all__ = ["allow_many_files"]


def allow_many_files() -> None:
    """Let this process open as many files as it is allowed to allow itself."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
