"""Progress of a call on standard error, for people alone."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

SECONDS = 0.2
"""Number of seconds between two updates."""


class Progress:
    """Counts items, and shows the counts on one line.

    Nothing is shown if standard error is no terminal, or standard output is one: the
    items are seen there.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self._is_shown = sys.stderr.isatty() and not sys.stdout.isatty()
        self._began = self._last = time.monotonic()
        self._width = 0

    def update(self, *, sent: int = 0, received: int = 0) -> None:
        """Count items that were sent or received just now."""
        self.sent += sent
        self.received += received
        now = time.monotonic()
        if self._is_shown and now >= self._last + SECONDS:
            self._last = now
            seconds = now - self._began
            rate = (self.sent + self.received) / seconds
            text = f"sent {self.sent:,}, received {self.received:,}, {rate:,.0f}/s"
            self._show(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._width:
            self._show("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def _show(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)
