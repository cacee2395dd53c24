"""The stable conduits of a server, and which of them a client has come back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio
from trio.lowlevel import ParkingLot

from ...errors import LinkDead
from ...links.base import Link
from ...logs import Log
from ..base import ConduitAcceptor, MsgFamily
from .conduit import StableConduit
from .handshake import prepare_acceptor_attachment, refuse
from .keys import KeyRing
from .limits import DEFAULT_STABLE_LIMITS, StableLimits
from .resuming import Resuming
from .source import Attachment, LinkSource

__all__ = ["StableConduitAcceptor"]

logger = Log("roam_trio.conduits")

M = TypeVar("M")


class StableConduitAcceptor(ConduitAcceptor[M]):
    """Makes a stable conduit for each new client, and brings it the client's links.

    A client that has lost its link comes back with a new one and shows a key. It is
    brought to its conduit, from whatever address it comes and even if the old link
    seems to be alive. A key that stands for nothing is refused
    (`stable.reconnect.failure`).

    Args:
        family: the type of the messages and its codec.
        limits: bounds of each conduit, and of how many lost clients are waited for.
        max_sessions: how many conduits there may be at a time, those of lost clients
            included. A new client beyond that is refused.
    """

    def __init__(
        self,
        family: MsgFamily[M],
        *,
        limits: StableLimits = DEFAULT_STABLE_LIMITS,
        max_sessions: int = 1024,
    ) -> None:
        self._family = family
        self._limits = limits
        self._max_sessions = max_sessions
        self._index: dict[bytes, _Returns] = {}
        self._all: set[_Returns] = set()
        # In the order in which they were lost.
        self._lost: dict[_Returns, None] = {}

    async def accept(self, link: Link) -> StableConduit[M] | None:
        """See `ConduitAcceptor.accept`. Takes `StableLimits.handshake_seconds` at most.

        Raises:
            StableHandshakeError: no hello of a client's came.
            LinkError: the link failed.
        """
        seconds = self._limits.handshake_seconds
        attachment = await prepare_acceptor_attachment(link, seconds=seconds)
        hello = attachment.client_hello
        assert hello is not None
        conduit: StableConduit[M] | None = None
        why: str | None = None
        if hello.resume_key is not None:
            returns = self._index.get(hello.resume_key)
            why = "its key is of no session"
        elif len(self._all) < self._max_sessions:
            conduit, returns = self._new_conduit()
        else:
            returns = None
            why = f"there are {self._max_sessions} sessions (limit: max_sessions)"
        if returns is not None:
            why = returns.resuming.reason_to_refuse(hello)
            if not why:
                self._all.add(returns)
                await returns.hand_over(attachment)
                return conduit
        logger.warning("a client was refused: %s", why)
        await refuse(attachment, seconds=seconds)
        return None

    def _new_conduit(self) -> tuple[StableConduit[M], _Returns]:
        returns = _Returns(self._limits, self._lost, self._all.discard)
        keys = KeyRing(self._index, returns)
        conduit = StableConduit(returns, self._family, limits=self._limits, keys=keys)
        returns.resuming = conduit.resuming
        return conduit, returns

    @property
    def is_idle(self) -> bool:
        """Whether there is no client, and none that could come back."""
        return not self._all

    def __repr__(self) -> str:
        return (
            f"<StableConduitAcceptor of {len(self._all)} conduits, "
            f"{len(self._lost)} of them without a client>"
        )


class _Returns(LinkSource):
    """Where the links come from with which one client comes back."""

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
