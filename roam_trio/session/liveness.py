"""The users of a connection: its callers, and its open channels.

A connection that was given callers and has lost the last of them is closed by the
session, once no channel is open on it any more
(`rpc.caller.liveness.last-drop-closes-connection`). A connection that never had a
caller stays until it is closed.
"""

from __future__ import annotations

__all__ = ["Liveness"]


class Liveness:
    """Counts the callers of one connection (`rpc.caller.liveness.refcounted`)."""

    __slots__ = ("_was_held", "callers")

    def __init__(self) -> None:
        self.callers = 0
        """Number of callers."""
        self._was_held = False

    def hold(self) -> None:
        """Add a caller."""
        self.callers += 1
        self._was_held = True

    def release(self) -> None:
        """Remove a caller."""
        self.callers -= 1

    def has_become_unused(self, channels: int) -> bool:
        """Return True, only once, if the connection is unused.

        Args:
            channels: number of open channels, which also keep it alive.
        """
        if not self._was_held or self.callers or channels:
            return False
        self._was_held = False
        return True
