"""Standard input, as a whole or line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from .exits import UsageError

__all__ = ["MOST_LINE", "Input"]

_AT_ONCE = 64 * 1024

MOST_LINE = 64 * 1024 * 1024
"""Length of the longest line, in bytes."""


class Input:
    """Standard input.

    Attributes:
        line: the number of the line that was read last; 0 before the first.
    """

    def __init__(self) -> None:
        self.line = 0
        self._lines: list[bytes] = []
        self._begun = bytearray()
        self._is_over = False

    async def all(self) -> bytes:
        """Return all that is left.

        Raises:
            UsageError: a line is longer than `MOST_LINE`.
        """
        lines: list[bytes] = []
        while some := await self.some():
            lines += some
        return b"\n".join(lines)

    async def first(self) -> bytes:
        """Return the next line that is not blank; empty at the end.

        Raises:
            UsageError: it is longer than `MOST_LINE`.
        """
        while self._lines or await self._fill():
            self.line += 1
            line = self._lines.pop(0)
            if line.strip():
                return line
        return b""

    async def some(self) -> list[bytes]:
        """Return the next lines, as many as there are; none at the end.

        The one who takes them counts them in `line`.

        Raises:
            UsageError: one is longer than `MOST_LINE`.
        """
        await self._fill()
        lines, self._lines = self._lines, []
        return lines

    async def _fill(self) -> bool:
        """Read until there is a line; return False at the end."""
        while not self._lines and not self._is_over:
            # Left to itself if cancelled: only the other end could end it.
            chunk = await trio.to_thread.run_sync(
                _reader(), _AT_ONCE, abandon_on_cancel=True
            )
            self._take(chunk)
        return bool(self._lines)

    def _take(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._begun) + lines[0]
            self._begun.clear()
            self._lines = lines
        self._begun += rest
        if len(self._begun) > MOST_LINE:
            raise UsageError(
                f"standard input, line {self.line + len(self._lines) + 1}: it has more "
                f"than {MOST_LINE} bytes"
            )
        if not chunk:
            self._is_over = True
            if self._begun:
                self._lines.append(bytes(self._begun))


def _reader() -> Callable[[int], bytes]:
    """Return what reads, without the lock of a buffer, which an abandoned thread would
    keep."""
    with suppress(OSError, ValueError):
        return partial(os.read, sys.stdin.fileno())
    buffer: Any = sys.stdin.buffer
    read: Callable[[int], bytes] = buffer.read1
    return read
