"""Orders to the processes of a run, and their answers, in lines on standard streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import msgspec
import trio

from .gauges import Gauges

__all__ = ["Lines", "Said", "obey", "say"]

_MOST: int = 1 << 24


class Said(msgspec.Struct, frozen=True):
    """What a process says when it has started, and to each order.

    Attributes:
        urls: where it listens, if it has just begun to.
        gauges: what it holds, if that was asked.
        done: how much it has done so far, by the names of what it does.
    """

    urls: list[str] = []
    gauges: Gauges | None = None
    done: dict[str, int] = {}


class Lines:
    """The lines of a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._come = bytearray()

    async def next(self) -> bytes | None:
        """Return the next line; None at the end of the stream."""
        while (end := self._come.find(b"\n")) < 0:
            some = await self._stream.receive_some()
            if not some or len(self._come) > _MOST:
                return None
            self._come += some
        line = bytes(self._come[:end])
        del self._come[: end + 1]
        return line


def say(said: Said) -> None:
    """Print a line for the process that has started this one."""
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


async def obey(answer: Callable[[str], Awaitable[Said]]) -> None:
    """Answer every order, until standard input ends."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        lines = Lines(stdin)
        while (line := await lines.next()) is not None:
            say(await answer(line.decode()))
