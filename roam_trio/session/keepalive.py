"""Keepalive: noticing that a peer has died and its link has not."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from ..errors import RoamTrioError, SessionIoError
from ..wire.ids import ConnectionId
from ..wire.messages import Ping
from .outbox import Outbox

__all__ = ["Keepalive", "SessionKeepaliveConfig"]


@attrs.frozen(kw_only=True)
class SessionKeepaliveConfig:
    """Times of Pings and Pongs, in seconds.

    Attributes:
        ping_interval: how long after the handshake, or after the last Pong, a Ping is
            sent.
        pong_timeout: how long its Pong may take; then the peer is taken for dead, and
            the session ends. A conduit that can get another link does so instead.
    """

    ping_interval: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    pong_timeout: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))


class Keepalive:
    """Pings a peer: one Ping at a time, nonces 1, 2, 3, …"""

    def __init__(
        self,
        config: SessionKeepaliveConfig,
        outbox: Outbox,
        fail: Callable[[RoamTrioError], None],
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._fail = fail
        self._nonce = 0
        self._pong = trio.Event()

    async def run(self) -> None:
        """Ping until the peer does not answer; a task of the session's.

        A Ping that finds no room counts too: a peer that does not read is dead.
        """
        while True:
            await trio.sleep(self._config.ping_interval)
            self._nonce += 1
            self._pong = trio.Event()
            self._outbox.push(Ping(ConnectionId.ROOT, self._nonce))
            if not await self._is_answered():
                break
        self._fail(
            SessionIoError(
                "the peer is taken for dead: it has not answered a Ping for "
                f"{self._config.pong_timeout} s (keepalive: pong_timeout)"
            )
        )

    async def _is_answered(self) -> bool:
        while not await self._is_answered_in_time():
            # Another link may bring the answer.
            if not self._outbox.doubt():
                return False
        return True

    async def _is_answered_in_time(self) -> bool:
        with trio.move_on_after(self._config.pong_timeout):
            await self._pong.wait()
        if not self._pong.is_set():
            # If it is this program that was held up, the Pong has come meanwhile, and
            # the reader is about to see it.
            await trio.lowlevel.checkpoint()
        return self._pong.is_set()

    def on_pong(self, nonce: int) -> None:
        """Handle a Pong; ignore one with another nonce."""
        if nonce == self._nonce:
            self._pong.set()
