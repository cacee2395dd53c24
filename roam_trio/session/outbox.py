"""Messages of a session in one order, on the way from its connections to the conduit.

Two kinds of messages go through here. Calls, responses and items wait until there is
room: `has_room` and `send_nowait` if it is there already, `reserve` if not. Credit,
cancellations, closes and pongs cannot wait, since what sends them must not stall;
`push` sends them at once if there is room, and keeps them otherwise. While messages are
kept, no other message overtakes them: the first task that gets room sends the oldest. A
message whose metadata does not fit into a payload is sent without it, so that the end
of a connection does not end the session and all other connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec
import trio
from trio.lowlevel import enable_ki_protection

from ..conduits.base import ConduitTx, ConduitTxPermit
from ..errors import (
    ConduitError,
    LimitExceeded,
    LinkError,
    PayloadTooLarge,
    RoamTrioError,
    SessionIoError,
)
from ..failures import text_of
from ..kept_errors import copy_of
from ..limits import DEFAULT_LIMITS
from ..logs import Log, about
from ..metadata import Metadata
from ..peers import Peer
from ..wire.messages import Message
from .bounds import MESSAGE_BYTES
from .budgets import Budget
from .held_messages import encoded_size

__all__ = ["Outbox"]

logger = Log("roam_trio.session")


class Outbox:
    """The sending side of a session.

    Args:
        tx: the conduit.
        most_kept: how many messages `push` keeps (`Limits.unsent_replies`).
        most_bytes: how many bytes they may have (`Limits.unsent_reply_bytes`).
        fail: called with the reason when the conduit fails, or more would be kept.
        peer: the peer, for the log.
        need_drain: called when a message is kept, and no `drain` is under way.
        budget: counts the memory of what is kept; None for no budget.
    """

    __slots__ = (
        "_budget",
        "_encode",
        "_is_draining",
        "_kept",
        "_kept_bytes",
        "_most_bytes",
        "_most_kept",
        "_need_drain",
        "_peer",
        "_tx",
        "carrier",
        "fail",
    )

    def __init__(
        self,
        tx: ConduitTx[Message],
        most_kept: int,
        fail: Callable[[RoamTrioError], None],
        need_drain: Callable[[], None],
        *,
        most_bytes: int = DEFAULT_LIMITS.unsent_reply_bytes,
        peer: Peer | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._tx = tx
        self._budget = budget
        self._encode = tx.encode
        self.carrier = tx.carrier
        """The object that sends encoded messages; see `ConduitTx.carrier`."""
        self._most_kept = most_kept
        self._most_bytes = most_bytes
        self.fail = fail
        """Ends the session for a reason; see there."""
        self._need_drain = need_drain
        self._kept: list[tuple[Message, int]] = []  # and how long each is
        self._kept_bytes = 0
        self._is_draining = False
        self._peer = peer

    def _about_peer(self) -> AbstractContextManager[None]:
        """Whose task this is does not tell which peer it sends to."""
        return nullcontext() if self._peer is None else about(self._peer)

    def has_room(self) -> bool:
        """Return True if a message could be sent now, and nothing has to go first."""
        return not (self._kept or self.carrier.is_full)

    # Control-C after a message has been sent, and before its sender knows, would make
    # what the sender counts wrong, such as its credit.
    @enable_ki_protection
    def send_nowait(self, message: Message) -> None:
        """Send `message`; only right after `has_room` has said yes.

        Raises:
            RoamTrioError: it cannot be sent.
        """
        try:
            self.carrier.send_nowait(self._encode(message))
        except PayloadTooLarge:
            raise
        except (LinkError, ConduitError) as error:
            self.fail(copy_of(error))  # it may be the first to notice
            raise

    @enable_ki_protection  # as for `send_nowait`
    def send_many_nowait(self, messages: Sequence[Message]) -> int:
        """Send messages in one step while there is room; see `LinkTx`.

        Returns:
            The number of messages that were sent.

        Raises:
            RoamTrioError: the first cannot be sent.
        """
        if self._kept:
            return 0
        try:
            return self.carrier.send_many_nowait(self._tx.encode_all(messages))
        except PayloadTooLarge:
            raise
        except (LinkError, ConduitError) as error:
            self.fail(copy_of(error))
            raise

    async def reserve(self) -> ConduitTxPermit[Message]:
        """Wait for a permit to send one message. Cancelled, it has taken no room.

        Raises:
            RoamTrioError: the conduit has ended.
        """
        while True:
            try:
                permit = await self._tx.reserve()
            except (LinkError, ConduitError) as error:
                # This cancels handlers: they have no caller now.
                self.fail(copy_of(error))
                await trio.lowlevel.checkpoint_if_cancelled()
                raise
            if not self._kept:
                return permit
            self._send_kept(permit)

    @enable_ki_protection  # as for `send_nowait`
    def push(self, message: Message, *, last: bool = False) -> None:
        """Send `message` after everything before it, without waiting. Never raises:
        if the conduit has ended, the message is of no use, and the session ends.

        The `last` message of a session is kept whatever the limit.
        """
        try:
            if self.has_room():
                try:
                    self._tx.send_nowait(message)
                except PayloadTooLarge as error:
                    self._tx.send_nowait(self._without_metadata(message, error))
                return
            size = encoded_size(message)
        except RoamTrioError as error:
            self.fail(error)
            return
        except BaseException as error:  # out of a link of somebody else's
            with self._about_peer():
                logger.failure(error, "a link has failed otherwise than links do")
            self.fail(SessionIoError(f"the link has failed: {text_of(error)}"))
            return
        if not last:
            limit = self._limit_of_another(size)
            if limit is not None:
                self.fail(limit)
                return
        self._keep(message, size)
        if not self._is_draining:
            self._is_draining = True
            self._need_drain()

    def _keep(self, message: Message, size: int, place: int | None = None) -> None:
        self._kept.insert(len(self._kept) if place is None else place, (message, size))
        self._kept_bytes += size
        if self._budget is not None:
            self._budget.note(size + MESSAGE_BYTES)

    def _take(self) -> Message:
        message, size = self._kept.pop(0)
        self._kept_bytes -= size
        if self._budget is not None:
            self._budget.give(size + MESSAGE_BYTES)
        return message

    def _limit_of_another(self, size: int) -> LimitExceeded | None:
        """Return the limit that keeping another `size` bytes would exceed, if any."""
        if len(self._kept) >= self._most_kept:
            limit = "unsent_replies"
        elif self._kept and self._kept_bytes + size > self._most_bytes:
            limit = "unsent_reply_bytes"
        else:
            excess = self._budget and self._budget.excess_of(size + MESSAGE_BYTES)
            return excess.as_end() if excess else None
        waiting = f"the peer does not read, and {len(self._kept)} messages wait"
        return LimitExceeded(limit, waiting)

    def end(self) -> None:
        """Stop reporting failures, because the session has ended."""
        self.fail = self._need_drain = _do_nothing

    @property
    def closes_at_once(self) -> bool:
        """True if nothing is left to send, and the conduit closes without waiting."""
        return not self._kept and self.carrier.closes_at_once

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        return self._tx.doubt()

    async def drain(self) -> None:
        """Send everything that `push` keeps, as room comes.

        Raises:
            RoamTrioError: the conduit has ended.
        """
        while self._kept:
            permit = await self._tx.reserve()
            if self._kept:
                self._send_kept(permit)
            else:
                permit.release()
        self._is_draining = False

    def _send_kept(self, permit: ConduitTxPermit[Message]) -> None:
        message = self._take()
        try:
            permit.send(message)
        except PayloadTooLarge as error:  # and the permit is used up
            short = self._without_metadata(message, error)
            self._keep(short, encoded_size(short), 0)

    def _without_metadata(self, message: Message, error: PayloadTooLarge) -> Message:
        """Return the message in a form that fits.

        Raises:
            PayloadTooLarge: it has no metadata to leave out.
        """
        if not getattr(message, "metadata", None):
            try:
                raise error
            finally:
                del error  # or the error and this frame would hold each other
        kind = type(message).__name__
        with self._about_peer():
            logger.warning("the metadata of a %s is left out: %s", kind, error)
        short: Message = msgspec.structs.replace(message, metadata=_LEFT_OUT)
        return short

    @property
    def sent(self) -> int:
        """Number of messages that were sent so far; takes some time to find out."""
        return self._tx.statistics().payloads

    @property
    def kept(self) -> int:
        """Number of messages that wait for room."""
        return len(self._kept)

    def __repr__(self) -> str:
        return f"<Outbox {len(self._kept)} kept>"


def _do_nothing(*args: object) -> None:
    pass


_LEFT_OUT = Metadata.of({"error": "the metadata was too large to send"})
