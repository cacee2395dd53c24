"""Messages that concern the session as a whole: Ping, Pong and ProtocolError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire.messages import Message, Ping, Pong, ProtocolError
from .futile import Futile
from .pings import Pings
from .refusal import refusal_in
from .terms import SessionTerms

__all__ = ["Control"]


class Replies(Protocol):
    """The interface of an `Outbox` for answers."""

    def push(self, message: Message) -> None:
        """Send a message without waiting."""
        ...

    @property
    def sent(self) -> int:
        """Number of messages that were sent so far."""
        ...


class Watch(Protocol):
    """The interface of a `Keepalive` for messages."""

    messages: int

    def on_pong(self, nonce: int) -> None:
        """Note the nonce of a Pong."""
        ...

    def stop(self) -> None:
        """Watch the session no longer."""
        ...


class Control:
    """Acts on the messages of the peer that belong to no connection.

    Args:
        replies: where answers go.
        terms: what holds for the whole session.
    """

    __slots__ = ("_pings", "_replies", "_terms", "keepalive")

    def __init__(self, replies: Replies, terms: SessionTerms) -> None:
        self._replies = replies
        self._terms = terms
        self._pings: Pings | None = None  # few programs measure round trips
        self.keepalive: Watch | None = None
        """Watches the session, if anything does."""

    def act_on(self, message: Message) -> None:
        """Act on a message (`session.message`); one that is out of place is ignored.

        Raises:
            LocalProtocolError: it says that this side broke the protocol.
            RemoteProtocolError: it is out of place, if strict.
            LimitExceeded: too many came that bring no work.
        """
        if self.keepalive is not None:
            self.keepalive.messages += 1
        act = _ACTIONS.get(type(message))
        if act is not None:
            act(self, message)
        elif self._terms.strict:
            raise RemoteProtocolError(f"{type(message).__name__} came again")
        else:
            self._terms.count_futile(Futile.STRAY)

    def on_ping(self, message: Ping) -> None:
        """Answer with a Pong of the same nonce (`session.keepalive`)."""
        self._check_connection_0(message)
        self._terms.count_futile(Futile.PING)
        self._replies.push(Pong(message.connection_id, message.nonce))

    def on_pong(self, message: Pong) -> None:
        """Pass the nonce to keepalive, and to those who measure round trips."""
        self._check_connection_0(message)
        # Stable conduits also send Pongs to acknowledge what they receive: at most one
        # for each message of this side.
        self._terms.count_futile(Futile.PONG, self._replies.sent)
        if message.connection_id != 0:
            return
        if self.keepalive is not None:
            self.keepalive.on_pong(message.nonce)
        if self._pings is not None:
            self._pings.on_pong(message.nonce)

    def on_protocol_error(self, message: ProtocolError) -> None:
        """Fail with the violation that the peer reports (`session.protocol-error`).

        Raises:
            LocalProtocolError: with what the peer says.
            Refused, Unavailable: it can keep the session no longer, and says no
                violation.
        """
        self._check_connection_0(message)
        refusal = refusal_in(message, "the peer has ended the session")
        raise refusal or LocalProtocolError(message.description)

    async def ping(self) -> bool:
        """Ping the peer and wait for its answer; return False if the session ends
        first (`session.keepalive`)."""
        if self._pings is None:
            self._pings = Pings()
        return await self._pings.ping(self._replies)

    def stop(self) -> None:
        """Let go of what watches the session, as that has ended."""
        keepalive, self.keepalive = self.keepalive, None
        if keepalive is not None:
            keepalive.stop()
        if self._pings is not None:
            self._pings.stop()

    def _check_connection_0(self, message: Ping | Pong | ProtocolError) -> None:
        if self._terms.strict and message.connection_id != 0:
            raise RemoteProtocolError(
                f"expected {type(message).__name__} on connection 0, "
                f"got it on {message.connection_id}"
            )

    def __repr__(self) -> str:
        return "<Control, strict>" if self._terms.strict else "<Control>"


_ACTIONS: Final[dict[type[Message], Callable[[Control, Any], None]]] = {
    Ping: Control.on_ping,
    Pong: Control.on_pong,
    ProtocolError: Control.on_protocol_error,
}
