"""The decisions of a resuming link: frames, hellos, keys and the end.

`Conversation` does no I/O and never waits. It takes received frames and hellos, and
returns what `resuming` is to do: which frame to send next, whether to accept a hello,
whether another link is needed.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence
from typing import Any, Final

from ...errors import DecodeError, SessionLost, StableConduitError
from ...kept_errors import strip_tracebacks
from ...wire.backing import Backing
from .exchange import Exchange
from .hello import ClientHello, ServerHello
from .keys import KeyRing
from .limits import StableLimits

__all__ = ["FEWEST_FILLERS", "GOODBYE", "Conversation", "Due", "Phase"]

GOODBYE: Final = b""
"""The message of the last frame, which announces the end."""

FEWEST_FILLERS: Final = 4096
"""Number of unacknowledged fillers that every peer may cause: it cannot acknowledge
them before they arrive, and may send as much as its own limits allow until then."""


class Phase(enum.Enum):
    """Phases of a resuming link."""

    OPEN = "open"
    CLOSING = "closing"  # this side has sent its goodbye
    CLOSED = "closed"
    FAILED = "failed"


_LIVE: Final = (Phase.OPEN, Phase.CLOSING)


class Due(enum.Enum):
    """Actions that a received frame requires."""

    NOTHING = "nothing"
    ACKNOWLEDGE_SOON = "acknowledge it within `StableLimits.acknowledge_seconds`"
    ACKNOWLEDGE = "acknowledge it now"
    END = "acknowledge it now; it was the goodbye of the peer"


_NOTHING, _SOON, _NOW = Due.NOTHING, Due.ACKNOWLEDGE_SOON, Due.ACKNOWLEDGE


class Conversation:
    """The state of a resuming link that survives its links.

    Args:
        filler: the bytes of a message that its receiver ignores; empty if there is
            none.
        limits: bounds.
        keys: the keys that this side issues, if it is the server's side.

    Attributes:
        exchange: the sequence numbers of both directions, and the replay buffer.
        phase: changed only by `say_goodbye`, `finish`, `close` and `fail`.
        failure: the reason for `Phase.FAILED`.
        refusal: the error of a payload that is not a frame, until it is raised.
        fillers: number of fillers received.
        has_said_goodbye: whether this side has sent its goodbye.
        is_at_end: whether the peer has sent its goodbye.
        is_receiver_closed: whether this side has closed the receiving half.
        delivered_in_all: what was `delivered` when either of them became True; None
            before.
    """

    __slots__ = (
        "_filler",
        "_key",
        "_keys",
        "_limits",
        "_proof",
        "delivered_in_all",
        "exchange",
        "failure",
        "fillers",
        "has_said_goodbye",
        "is_at_end",
        "is_receiver_closed",
        "phase",
        "refusal",
    )

    def __init__(self, filler: bytes, limits: StableLimits, keys: KeyRing[Any]) -> None:
        self._filler = filler
        self._limits = limits
        self._keys = keys
        self._key: bytes | None = None
        self._proof: Hashable | None = None
        self.exchange = Exchange()
        self.phase = Phase.OPEN
        self.failure: StableConduitError | None = None
        self.refusal: StableConduitError | None = None
        self.fillers = 0
        self.has_said_goodbye = False
        self.is_at_end = False
        self.is_receiver_closed = False
        self.delivered_in_all: tuple[int, int] | None = None

    # ------------------------------------------------ frames

    def receive(self, payloads: Sequence[Backing]) -> tuple[list[Backing], Due]:
        """Accept frames. Return their messages, and what to do. Frames after a goodbye
        are ignored.

        A payload that is not a frame becomes the `refusal`. What came with it before it
        is received, and what came with it after it is dropped.

        Args:
            payloads: what was received together, in order.
        """
        messages: list[Backing] = []
        exchange, filler = self.exchange, self._filler
        try:
            exchange.receive(payloads, messages)
        except DecodeError as error:
            strip_tracebacks(error)  # its frames refer to the resuming link
            self.refusal = StableConduitError(str(error))
            self.refusal.__cause__ = error.__cause__ or error
        if not messages:
            return messages, _NOTHING
        if not messages[-1]:
            del messages[-1]
            messages = self._without_fillers(messages)
            self.is_at_end = True
            self.delivered_in_all = self.delivered
            return messages, Due.END
        if not filler:
            return messages, _NOTHING
        if filler in messages:
            messages = self._without_fillers(messages)
            if not messages:
                return messages, _NOTHING
        limits = self._limits
        if (
            exchange.owed >= limits.acknowledge_frames
            or exchange.owed_bytes >= limits.acknowledge_bytes
        ):
            return messages, _NOW
        return messages, _SOON

    def _without_fillers(self, received: list[Backing]) -> list[Backing]:
        """Return the messages to deliver. A filler is not acknowledged by another."""
        messages = [message for message in received if message != self._filler]
        fillers = len(received) - len(messages)
        self.fillers += fillers
        self.exchange.owed -= fillers
        return messages

    @property
    def delivered(self) -> tuple[int, int]:
        """The number of messages received, and their size, without fillers, without
        the goodbye, and without what is dropped because `receives_no_more`."""
        if self.delivered_in_all is not None:
            return self.delivered_in_all
        exchange, fillers = self.exchange, self.fillers
        return (
            exchange.received - fillers - self.is_at_end,
            exchange.received_size - fillers * len(self._filler),
        )

    def filler_to_send(self) -> bytes | None:
        """Return the filler, to be sent as an acknowledgement.

        None if there is no filler, if nothing may be sent after the goodbye, or if the
        backlog will carry the acknowledgement.

        Raises:
            StableConduitError: the peer sends, and acknowledges nothing. Every filler
                is kept until it is acknowledged, and none waits for room: or else two
                peers that both have no room would wait for each other.
        """
        replay = self.exchange.replay
        if not self._filler or self.has_said_goodbye or replay.backlog:
            return None
        frames = self._limits.unacknowledged_frames
        if len(replay.bodies) >= frames + max(frames, FEWEST_FILLERS):
            raise StableConduitError(
                f"the peer sends messages, but has acknowledged none of the last "
                f"{len(replay.bodies)} of this side (limit: unacknowledged_frames)"
            )
        return self._filler

    @property
    def must_repeat_goodbye(self) -> bool:
        """True if only the goodbye can acknowledge what was received.

        No message may follow the goodbye, and two peers that say goodbye at the same
        time would wait for each other's acknowledgement.
        """
        return self.has_said_goodbye and not self.exchange.replay.backlog

    # ------------------------------------------------ hellos

    def client_hello(self) -> ClientHello:
        """Return the first message of a client on a link that it has opened."""
        return ClientHello(self._key, self.exchange.last_received)

    def take_server_hello(self, hello: ServerHello) -> None:
        """As the client: continue where the server says (`stable.reconnect`).

        Raises:
            SessionLost: the server no longer knows the session.
        """
        if hello.rejected:
            raise SessionLost(
                "the server does not know the session any more: it was started anew, "
                "or has given it up, or this is another server, as behind a balancer "
                "that does not lead a client back to the same one"
                if self._key
                else "the server has rejected a new session; it may have as many as it "
                "accepts (limit: max_sessions)"
            )
        self._key = hello.resume_key
        if not self.exchange.can_resume(hello.last_received):
            raise SessionLost(
                "the server has lost the session: it says that it has got "
                f"{hello.last_received} as the last frame, which cannot be"
            )
        self.exchange.resume(hello.last_received)

    def reason_to_refuse(self, hello: ClientHello, proof: Hashable | None) -> str:
        """Return the reason to refuse a client; empty if there is none.

        Args:
            hello: its hello.
            proof: what its link has verified about it; see `proof_of`.
        """
        if hello.resume_key is None:
            if self._keys:
                return "it wants a new session where there is one"
        elif hello.resume_key not in self._keys:
            return "its key is of no session"
        elif proof != self._proof:
            return "its key is of a session with another certificate or user"
        if not self.exchange.can_resume(hello.last_received):
            return f"it cannot have got {hello.last_received} as the last frame"
        return ""

    def take_client_hello(
        self, hello: ClientHello, proof: Hashable | None
    ) -> ServerHello:
        """As the server: continue where the client says, and return the answer.

        Args:
            hello: one that there is no `reason_to_refuse`.
            proof: as for `reason_to_refuse`; the keys stay bound to the first one.
        """
        if hello.resume_key is None:
            self._proof = proof
        answer = ServerHello(
            self._keys.issue(hello.resume_key), self.exchange.last_received
        )
        self.exchange.resume(hello.last_received)
        return answer

    def prove_key(self) -> None:
        """Note that the client has received the newest key."""
        self._keys.prove()

    def forget_keys(self) -> None:
        """Revoke all keys, so that the client cannot come back."""
        self._keys.clear()

    # ------------------------------------------------ the end

    @property
    def is_ending(self) -> bool:
        """True if either side has said goodbye, or the conversation has failed."""
        return self.phase is not Phase.OPEN or self.is_at_end

    @property
    def is_live(self) -> bool:
        """True until the conversation is closed or has failed."""
        return self.phase in _LIVE

    @property
    def can_receive(self) -> bool:
        """True as long as the peer can send messages that are received."""
        return self.phase in _LIVE and not (
            self.is_at_end or self.is_receiver_closed or self.refusal
        )

    @property
    def receives_no_more(self) -> bool:
        """True if no message will be received any more."""
        return self.is_at_end or self.is_receiver_closed

    @property
    def is_goodbye_acknowledged(self) -> bool:
        """True if the peer has acknowledged everything, including the goodbye."""
        return self.has_said_goodbye and not self.exchange.replay.bodies

    @property
    def is_complete(self) -> bool:
        """True if both directions have ended."""
        return self.is_goodbye_acknowledged and self.receives_no_more

    @property
    def needs_no_link(self) -> bool:
        """True if no other link has to follow the present one."""
        if self.phase is Phase.CLOSING:
            # A peer that has sent its goodbye may be gone, and needs no messages that
            # it has not acknowledged.
            return self.is_at_end or self.is_complete
        return self.phase is not Phase.OPEN

    def say_goodbye(self) -> None:
        """Begin to close; only `GOODBYE` may be sent from now on (`link.tx.close`)."""
        assert self.phase is Phase.OPEN, "nothing can be sent after the goodbye"
        self.phase = Phase.CLOSING
        self.has_said_goodbye = True

    def finish(self) -> None:
        """End a conversation that was closing; there will be no other link."""
        if self.phase is Phase.CLOSING:
            self.phase = Phase.CLOSED

    def close(self) -> None:
        """Close without a goodbye."""
        if self.is_live:
            self.phase = Phase.CLOSED

    def fail(self, error: StableConduitError) -> bool:
        """End with an error that another link would not cure. The first counts.

        Returns:
            Whether this error has ended the conversation.
        """
        if not self.is_live:
            return False
        self.phase = Phase.FAILED
        strip_tracebacks(error)  # its frames refer to the resuming link
        self.failure = error
        return True

    def raise_failure(self) -> None:
        """Raise the failure, if any. Each task gets its own exception."""
        if self.failure is not None:
            raise type(self.failure)(str(self.failure)) from self.failure.__cause__

    def __repr__(self) -> str:
        return f"<Conversation {self.phase.value}, {self.exchange!r}>"
