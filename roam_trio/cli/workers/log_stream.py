"""Standard error, for a parent that must not wait for the reader of its log."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from select import PIPE_BUF, POLLOUT, poll
from typing import Final

from ...logs import Log

__all__ = ["LogStream"]

logger = Log("roam_trio.workers")

_PATIENCE_SECONDS: Final = 1.0
"""Time for the reader of standard error to make room in its pipe."""


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
        for start in range(0, len(data), PIPE_BUF):
            if not _has_room(number, self._patience):
                self._lost += 1
                self._is_cut = self._is_cut or start > 0
                return
            os.write(number, data[start : start + PIPE_BUF])
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
    """Wait until there is room for `PIPE_BUF` bytes; return False if there is none in
    time."""
    asking = poll()
    asking.register(number, POLLOUT)
    return bool(asking.poll(seconds * 1000))
