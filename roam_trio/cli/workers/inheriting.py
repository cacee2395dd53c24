"""Processes that inherit descriptors."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import trio

__all__ = ["open_process"]


async def open_process(
    command: Sequence[str],
    *,
    pass_fds: Sequence[int],
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    start_new_session: bool = False,
) -> trio.Process:
    """Start a process; the arguments are those of `trio.lowlevel.open_process`.

    Raises:
        OSError: it cannot be started.
    """
    if sys.platform == "win32":
        raise AssertionError("there are no workers on Windows")
    else:  # type checkers leave it out on Windows
        return await trio.lowlevel.open_process(
            command,
            pass_fds=pass_fds,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
        )
