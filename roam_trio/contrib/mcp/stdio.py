"""Standard input and output as lines, whose waits can be cancelled.

The package `mcp` reads standard input in a thread, which cannot be cancelled, so that a
signal would end the program only after the next line.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Self

from trio.abc import ReceiveStream, SendStream, Stream

from ...links.stdio import fd_stream

__all__ = ["MOST_LINE", "Lines", "Writer", "standard_stream"]

MOST_LINE = 16 * 1024 * 1024
"""Length, in bytes, of the longest line that is read."""


def standard_stream(number: int) -> Stream:
    """Return a stream on a copy of a standard descriptor, 0 or 1.

    Raises:
        OSError: the descriptor is closed, or the system is Windows.
    """
    return fd_stream(os.dup(number))


class Lines:
    """The lines that come from a stream, as text.

    Args:
        stream: the stream.
        most: length, in bytes, of the longest line. A longer one comes as an empty
            line, which the package `mcp` ignores as it does all that is no message.
    """

    def __init__(self, stream: ReceiveStream, most: int = MOST_LINE) -> None:
        self._stream = stream
        self._most = most
        self._lines: deque[str] = deque()
        self._begun = bytearray()
        self._is_too_long = False
        self._has_ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._lines:
            if self._has_ended:
                raise StopAsyncIteration
            self._take(await self._stream.receive_some())
        return self._lines.popleft()

    def _take(self, chunk: bytes | bytearray) -> None:
        if not chunk:
            self._has_ended = True
            if self._begun:
                self._end_line()
            return
        *ended, begun = chunk.split(b"\n")
        for part in ended:
            self._begun += part
            self._end_line()
        self._begun += begun
        self._drop_if_too_long()

    def _drop_if_too_long(self) -> None:
        if len(self._begun) > self._most:
            self._begun.clear()
            self._is_too_long = True

    def _end_line(self) -> None:
        self._drop_if_too_long()
        line = "" if self._is_too_long else self._begun.decode(errors="replace")
        self._lines.append(line)
        self._begun.clear()
        self._is_too_long = False


class Writer:
    """Writes text to a stream at once."""

    def __init__(self, stream: SendStream) -> None:
        self._stream = stream

    async def write(self, text: str) -> None:
        """Write a text in UTF-8. A checkpoint."""
        await self._stream.send_all(text.encode())

    async def flush(self) -> None:
        """Do nothing, since everything is written."""
