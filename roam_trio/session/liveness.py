"""Count of those who still need a connection: its callers, and its open channels.

A connection that was given callers and has lost the last of them is closed by the
session, once no channel is open on it any more
(`rpc.caller.liveness.last-drop-closes-connection`). One that never had a caller stays
until somebody closes it.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Liveness"]


class Liveness:
    """Counts the callers of one connection.

    Args:
        has_channels: whether channels are open on it, which keep it alive too.
        on_unused: called when nobody needs the connection any more.
    """

    __slots__ = ("_callers", "_has_channels", "_on_unused", "_was_held")

    def __init__(
        self, has_channels: Callable[[], bool], on_unused: Callable[[], None]
    ) -> None:
        self._callers = 0
        self._was_held = False
        self._has_channels = has_channels
        self._on_unused = on_unused

    @property
    def callers(self) -> int:
        """Number of callers."""
        return self._callers

    def hold(self) -> None:
        """One caller more."""
        self._callers += 1
        self._was_held = True

    def release(self) -> None:
        """One caller less."""
        self._callers -= 1
        self.check()

    def end(self) -> None:
        """The connection has ended: what becomes of its callers is of no concern."""
        self._has_channels = _yes
        self._on_unused = _do_nothing

    def check(self) -> None:
        """A channel has ended, or a caller has: is anybody left?"""
        if self._was_held and not self._callers and not self._has_channels():
            self._was_held = False
            self._on_unused()


def _yes() -> bool:
    return True


def _do_nothing() -> None:
    pass
