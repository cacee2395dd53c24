"""The resuming links of a server, to which returning clients bring new links."""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import ParkingLot

from ...errors import LinkDead
from ...logs import Log
from ..base import Link
from .handshake import prepare_acceptor_attachment, refuse
from .keys import KeyRing
from .limits import StableLimits
from .resuming import Resuming
from .source import Attachment, LinkSource

__all__ = ["ResumingAcceptor"]

logger = Log("roam_trio.conduits")


class ResumingAcceptor:
    """Makes a resuming link for each new client, and passes it the client's links.

    A client that has lost its link returns with a new link and presents a key. The link
    goes to the resuming link of that key, from any address and even if the old link
    seems to be alive. An unknown key is refused (`stable.reconnect.failure`).

    Args:
        filler: the bytes of a message that its receiver ignores; empty if there is
            none.
        limits: bounds of each link, and on the number of lost clients.
        max_sessions: number of links at a time, including those of lost clients.
            Further new clients are refused.
    """

    def __init__(
        self,
        filler: bytes,
        limits: StableLimits,
        max_sessions: int,
    ) -> None:
        self._filler = filler
        self._limits = limits
        self._max_sessions = max_sessions
        self._index: dict[bytes, _Returns] = {}
        self._all: set[_Returns] = set()
        # in the order in which they were lost
        self._lost: dict[_Returns, None] = {}

    async def accept(self, link: Link) -> Resuming | None:
        """Return a new client's link; None if a client has returned, or is refused.

        Takes `StableLimits.handshake_seconds` at most.

        Raises:
            StableHandshakeError: the client did not send a hello.
            LinkError: the link failed.
        """
        seconds = self._limits.handshake_seconds
        attachment = await prepare_acceptor_attachment(link, seconds=seconds)
        hello = attachment.client_hello
        assert hello is not None
        new: Resuming | None = None
        why: str | None = None
        if hello.resume_key is not None:
            returns = self._index.get(hello.resume_key)
            why = "its key is of no session"
        elif len(self._all) < self._max_sessions:
            returns = self._new()
            new = returns.resuming
        else:
            returns = None
            why = f"there are {self._max_sessions} sessions (limit: max_sessions)"
        if returns is not None:
            why = returns.resuming.conversation.reason_to_refuse(hello)
            if not why:
                self._all.add(returns)
                if new is not None and attachment.peer is not None:
                    new.peer.follow(attachment.peer)
                await returns.hand_over(attachment)
                return new
        logger.warning("a client was refused: %s", why)
        await refuse(attachment, seconds=seconds)
        return None

    def _new(self) -> _Returns:
        returns = _Returns(self._limits, self._lost, self._all.discard)
        keys = KeyRing(self._index, returns)
        returns.resuming = Resuming(returns, self._filler, self._limits, keys)
        return returns

    @property
    def is_idle(self) -> bool:
        """True if there is no client, and no lost client that could return."""
        return not self._all

    @property
    def count(self) -> int:
        """Number of clients, including lost ones that could return."""
        return len(self._all)

    @property
    def lost(self) -> int:
        """Number of clients without a link."""
        return len(self._lost)

    def __repr__(self) -> str:
        return f"<ResumingAcceptor of {self.count} links, {self.lost} without a client>"


class _Returns(LinkSource):
    """The source of the links with which one client returns."""

    resuming: Resuming

    def __init__(
        self,
        limits: StableLimits,
        lost: dict[_Returns, None],
        on_closed: Callable[[_Returns], object],
    ) -> None:
        self._limits = limits
        self._lost = lost
        self._on_closed = on_closed
        self._arrived: Attachment | None = None
        self._changed = ParkingLot()
        self._is_given_up = False
        self._is_closed = False

    async def hand_over(self, attachment: Attachment) -> None:
        """Pass in a link of the client; the last one counts. Does not wait."""
        superfluous, self._arrived = self._arrived, attachment
        if self._is_closed:
            superfluous, self._arrived = self._arrived, None
        self._changed.unpark_all()
        if superfluous is not None:
            await superfluous.close()

    async def next_link(self) -> Attachment:
        """Wait until the client returns.

        Raises:
            LinkDead: the client did not return in time, or there are too many lost
                clients.
        """
        seconds = self._limits.resume_seconds
        if self._arrived is None:
            self._note_lost()
            try:
                with trio.move_on_after(seconds):
                    while self._arrived is None and not self._is_given_up:
                        await self._changed.park()
            finally:
                self._lost.pop(self, None)
        attachment, self._arrived = self._arrived, None
        if attachment is not None:
            return attachment
        if self._is_given_up:
            raise LinkDead(
                f"the client is gone, and {self._limits.lost_clients} others have gone "
                "after it (limit: lost_clients)"
            )
        raise LinkDead(
            f"the client did not return in {seconds} s (limit: resume_seconds)"
        )

    def _note_lost(self) -> None:
        self._lost[self] = None
        if len(self._lost) > self._limits.lost_clients:
            next(iter(self._lost)).give_up()

    def give_up(self) -> None:
        """Stop waiting for the client."""
        del self._lost[self]
        self._is_given_up = True
        self._changed.unpark_all()

    async def superseded(self) -> None:
        """Wait until the client returns with another link."""
        while self._arrived is None:
            await self._changed.park()

    async def close(self) -> None:
        """Release a link that the conduit has not taken before its end."""
        if self._is_closed:
            return
        self._is_closed = True
        self._on_closed(self)
        del self.resuming  # which refers to this object
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            await arrived.close()
