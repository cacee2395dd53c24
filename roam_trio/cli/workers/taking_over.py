"""A new parent that takes over the sockets of an old one.

The old parent starts the new one with its own command line. The new one inherits the
sockets that listen, so that no client is refused meanwhile, and says over a pipe when
its workers are ready. Only then the old one drains.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import attrs
import trio

from ...links.stdio import fd_stream
from ...logs import Log
from ..json_text import json_text, value_of
from .doors import Door
from .inheriting import open_process

__all__ = ["UP_SECONDS", "Estate", "hand_over", "inherited_estate"]

logger = Log("roam_trio.workers")

_VARIABLE: Final = "ROAM_TRIO_TAKE_OVER"

_UP: Final = b"U"

UP_SECONDS: Final = 60.0
"""Time for a new parent to get up, after which it gets a SIGTERM."""

_MOST_WORKERS: Final = 10_000
"""Room in the numbers of workers for those that the old parent starts meanwhile."""


@attrs.frozen
class Estate:
    """The sockets and numbers that a new parent inherits.

    Attributes:
        sockets: for each URL the descriptors of the sockets that listen.
        first: the number of its first worker.
        directory: the directory for the private sockets of workers.
        told: the descriptor of the pipe over which it says that it is up.
    """

    sockets: list[list[int]]
    first: int
    directory: str
    told: int

    def tell(self) -> None:
        """Tell the old parent that this one is ready."""
        os.write(self.told, _UP)
        os.close(self.told)


def inherited_estate() -> Estate | None:
    """Return what this process inherits from an old parent; None if there is none."""
    text = os.environ.pop(_VARIABLE, None)
    if text is None:
        return None
    found: dict[str, Any] = value_of(text)
    estate = Estate(**found)
    for number in (estate.told, *(each for some in estate.sockets for each in some)):
        os.set_inheritable(number, False)
    return estate


async def hand_over(
    doors: Sequence[Door], number: int, directory: str, command: Sequence[str]
) -> trio.Process | None:
    """Start a new parent. Return it when it is ready, and None if it has failed.

    If this is cancelled, the new parent gets a SIGTERM.

    Args:
        doors: where this one accepts connections.
        number: the number of the next worker.
        directory: see `Estate`.
        command: the arguments after those of the interpreter's name.
    """
    read, write = os.pipe()
    sockets = [each.descriptors() for each in doors]
    estate = Estate(sockets, number + _MOST_WORKERS, directory, write)
    numbers = [each for some in sockets for each in some]
    process: trio.Process | None = None
    try:
        async with fd_stream(read) as told:
            try:
                process = await open_process(
                    [sys.executable, *command],
                    pass_fds=[*numbers, write],
                    env={**os.environ, _VARIABLE: json_text(attrs.asdict(estate))},
                )
            except OSError as error:
                logger.error("a new parent cannot be started: %s", error)
                return None
            finally:
                os.close(write)
            return await _got_up(process, told)
    except trio.Cancelled:
        if process is not None:
            process.terminate()  # or it would stay when the old one has ended
        raise


async def _got_up(
    process: trio.Process, told: trio.abc.ReceiveStream
) -> trio.Process | None:
    """Return a new parent when it is ready, and None if it has failed."""
    with trio.move_on_after(UP_SECONDS):
        if await told.receive_some() == _UP:
            return process
        code = await process.wait()
        why = f"did not get up (exit code {code})"
        logger.error("the new parent %s; this one goes on", why)
        return None
    process.terminate()
    why = f"was not up within {UP_SECONDS:g} s"
    logger.error("the new parent %s; this one goes on", why)
    return None
