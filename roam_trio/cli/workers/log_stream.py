"""Standard error, for a parent that must not wait for the reader of its log."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import Final

from ...logs import Log

__all__ = ["LogStream"]

logger = Log("roam_trio.workers")

_PATIENCE_SECONDS: Final = 1.0
"""Time for the reader of standard error to make room in its pipe."""

PIECE_BYTES: Final[int] = getattr(select, "PIPE_BUF", 512)
"""Number of bytes that a pipe with room takes without waiting; Windows has no such
number, and no workers."""


class LogStream:
    """Writes to standard error, and never waits for long.

    A pipe without a reader gets full, and to write to it would stop the parent, which
    accepts connections and obeys signals. Lines for which there is no room in time are
    lost. As soon as there is room again, the log tells how many.

    Args:
        patience: seconds to wait for room, after which no line is waited for until
            there is room again.
    """

    def __init__(self, patience: float = _PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._lost = 0
        self._is_cut = False

    def write(self, text: str) -> int:
        """Write whole lines, or lose them.

        As with `logging`, the server goes on if its log cannot be written.
        """
        with suppress(OSError, ValueError, AttributeError):  # closed, or None
            number = _number_of_stderr()
            if number is None:
                sys.stderr.write(text)
            elif self._lost == 0 or self._has_told_of_lost(number):
                self._put(number, text)
            else:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def _has_told_of_lost(self, number: int) -> bool:
        """Tell how many lines were lost, if there is room again."""
        if not _has_room(number, 0.0):
            return False
        lost, self._lost = self._lost, 0
        logger.error("%d lines of the log are lost: nobody has read them", lost)
        if self._lost:  # this one too
            self._lost += lost
        return self._lost == 0

    def _put(self, number: int, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        if self._is_cut:
            data = b"\n" + data
        start = 0
        while start < len(data):
            try:
                is_taken = _has_room(number, self._patience)
                if is_taken:
                    # What does not wait, such as some terminals, may take a part.
                    start += os.write(number, data[start : start + PIECE_BYTES])
            except BlockingIOError:
                is_taken = False
            if not is_taken:
                self._lost += 1
                self._is_cut = self._is_cut or start > 0
                return
        self._is_cut = False


def _number_of_stderr() -> int | None:
    """Return the descriptor of standard error; None if it is no file.

    Raises:
        AttributeError, ValueError: it is closed.
    """
    try:
        return sys.stderr.fileno()
    except OSError:
        return None


def _has_room(number: int, seconds: float) -> bool:
    """Wait until there is room for one piece; return False if there is none in time."""
    return bool(select.select((), (number,), (), seconds)[1])
