"""The resuming links of a server, and which of them a client has come back to."""

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
    """Makes a resuming link for each new client, and brings it the client's links.

    A client that has lost its link comes back with a new one and shows a key. It is
    brought to its link, from whatever address it comes and even if the old one seems
    to be alive. A key that stands for nothing is refused (`stable.reconnect.failure`).

    Args:
        filler: the bytes of a message that means nothing; none if there is no such.
        limits: bounds of each link, and of how many lost clients are waited for.
        max_sessions: number of links there may be at a time, those of lost clients
            included. A new client beyond that is refused.
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
        # In the order in which they were lost.
        self._lost: dict[_Returns, None] = {}

    async def accept(self, link: Link) -> Resuming | None:
        """Return a new client's link; None if a client has come back, or is refused.

        Takes `StableLimits.handshake_seconds` at most.

        Raises:
            StableHandshakeError: no hello of a client's came.
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
            why = returns.resuming.reason_to_refuse(hello)
            if not why:
                self._all.add(returns)
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
        """True if there is no client, and none that could come back."""
        return not self._all

    @property
    def count(self) -> int:
        """Number of clients, those included that could come back."""
        return len(self._all)

    @property
    def lost(self) -> int:
        """Number of clients without a link."""
        return len(self._lost)

    def __repr__(self) -> str:
        return f"<ResumingAcceptor of {self.count} links, {self.lost} without a client>"


class _Returns(LinkSource):
    """The source of the links with which one client comes back."""

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
        """Bring a link of the client's; the last one counts. Does not wait."""
        superfluous, self._arrived = self._arrived, attachment
        if self._is_closed:
            superfluous, self._arrived = self._arrived, None
        self._changed.unpark_all()
        if superfluous is not None:
            await superfluous.close()

    async def next_link(self) -> Attachment:
        """Wait until the client comes back.

        Raises:
            LinkDead: it has not, in time, or too many are waited for.
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
            f"the client has not come back in {seconds} s (limit: resume_seconds)"
        )

    def _note_lost(self) -> None:
        self._lost[self] = None
        if len(self._lost) > self._limits.lost_clients:
            next(iter(self._lost)).give_up()

    def give_up(self) -> None:
        """Wait for the client no more."""
        del self._lost[self]
        self._is_given_up = True
        self._changed.unpark_all()

    async def superseded(self) -> None:
        """Wait until the client comes with another link."""
        while self._arrived is None:
            await self._changed.park()

    async def close(self) -> None:
        """The conduit has ended: let go of a link that it has not taken."""
        if self._is_closed:
            return
        self._is_closed = True
        self._on_closed(self)
        del self.resuming  # which holds this
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            await arrived.close()
