"""One warning for a registry in trouble, until it works again."""

from __future__ import annotations

from typing import Final

import trio

from ...links.resuming.source import Backoff
from ...logs import Log

__all__ = ["Trouble", "reason_of"]

logger: Final = Log("roam_trio.registry")


class Trouble:
    """Logs the failures of a registry, and decides on the pauses after them.

    Args:
        what: what goes on without the registry, for the log.
        lease: seconds of a lease.
    """

    def __init__(self, what: str, lease: float) -> None:
        self._what = what
        self._backoff = Backoff(initial=lease / 10, longest=lease)
        self._failures = 0

    def begin(self, error: Exception, *, is_told_elsewhere: bool = False) -> float:
        """Take note of a failure, and return the seconds of the pause after it.

        Args:
            error: the failure.
            is_told_elsewhere: whether somebody else logs it.
        """
        self._failures += 1
        if self._failures == 1 and not is_told_elsewhere:
            if isinstance(error, OSError | trio.TooSlowError):
                reason = reason_of(error)
                logger.warning("%s: %s; it is tried again", self._what, reason)
            else:
                logger.error("%s; it is tried again", self._what, exc_info=error)
        return self._backoff.pause(self._failures)

    def end(self) -> None:
        """Take note that the registry works."""
        self._failures = 0


def reason_of(error: Exception) -> str:
    """Return a text for the log."""
    if isinstance(error, trio.TooSlowError):
        return "it does not answer in time"
    return str(error) or type(error).__name__
