"""Pings that this program sends to measure round trips (`session.keepalive`).

Those of keepalive are not among them.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

from ..wire.ids import ConnectionId
from ..wire.messages import Ping

__all__ = ["Pings"]

_FIRST: Final = 2**62
"""The first nonce: keepalive counts from 1, and resuming links use the last ones."""


class _Replies(Protocol):
    def push(self, message: Ping) -> None: ...


class Pings:
    """The Pings that are not answered yet."""

    __slots__ = ("_nonce", "_unanswered")

    def __init__(self) -> None:
        self._nonce = _FIRST
        self._unanswered: dict[int, trio.Event] = {}

    async def ping(self, replies: _Replies) -> bool:
        """Send a Ping and wait for its Pong; return False if the session ends first.

        Cancelled, it ignores the Pong.
        """
        nonce = self._nonce
        self._nonce += 1
        over = self._unanswered[nonce] = trio.Event()
        replies.push(Ping(ConnectionId.ROOT, nonce))
        try:
            await over.wait()
        finally:
            is_answered = self._unanswered.pop(nonce, None) is None
        return is_answered

    def on_pong(self, nonce: int) -> None:
        """Handle a Pong; ignore one that answers none of these."""
        over = self._unanswered.pop(nonce, None)
        if over is not None:
            over.set()

    def stop(self) -> None:
        """Wait for no more Pongs, as the session has ended."""
        for over in self._unanswered.values():
            over.set()

    def __repr__(self) -> str:
        return f"<Pings: {len(self._unanswered)} unanswered>"
