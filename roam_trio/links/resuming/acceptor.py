"""The resuming links of a server, to which returning clients bring new links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from trio.lowlevel import ParkingLot

from ...errors import LinkDead
from ...logs import Log, about
from ...peer_identity import host_of, identity_of, proof_of
from ...peers import Peer
from ..base import Link
from .handshake import prepare_acceptor_attachment, refuse
from .keys import KeyRing, new_key
from .limits import StableLimits
from .lost import LostClients, Record
from .resuming import Resuming
from .siblings import Siblings
from .source import Attachment, LinkSource

__all__ = ["ResumingAcceptor"]

logger = Log("roam_trio.links")

_HANDSHAKE: Final = 1
"""Number of messages with which a client sets its session up."""


class ResumingAcceptor:
    """Makes a resuming link for each new client, and passes it the client's links.

    A client that has lost its link returns with a new link and presents a key. The link
    goes to the resuming link of that key, from any address and even if the old link
    seems to be alive. An unknown key is refused (`stable.reconnect.failure`), and so is
    the key of a client whose certificate or user was another one (`proof_of`).

    Args:
        filler: the bytes of a message that its receiver ignores; empty if there is
            none.
        limits: bounds of each link, and on the number of lost clients.
        max_sessions: number of resuming links at a time, including those of lost
            clients. Beyond it, a new client takes the place of a lost client, unless
            each of them keeps its place; see `LostClients`. Then it is refused.
        siblings: the other servers to which clients may return; None if there are none.
    """

    def __init__(
        self,
        filler: bytes,
        limits: StableLimits,
        max_sessions: int,
        siblings: Siblings | None = None,
    ) -> None:
        self._siblings = siblings
        self._filler = filler
        self._limits = limits
        self._max_sessions = max_sessions
        self._index: dict[bytes, _Returns] = {}
        self._all: set[_Returns] = set()
        self._lost = LostClients[_Returns](limits.lost_clients)

    async def accept(self, link: Link) -> Resuming | None:
        """Return a new client's link; None if a client has returned, or is refused.

        Takes `StableLimits.handshake_seconds` at most, unless the link belongs to a
        sibling: then it returns when the link has ended.

        Raises:
            StableHandshakeError: the client did not send a hello.
            LinkError: the link failed.
        """
        seconds = self._limits.handshake_seconds
        attachment = await prepare_acceptor_attachment(link, seconds=seconds)
        hello, peer = attachment.client_hello, attachment.peer
        assert hello is not None
        assert peer is not None
        new: Resuming | None = None
        why: str | None = None
        if hello.resume_key is not None:
            returns = self._index.get(hello.resume_key)
            if returns is None and await self._pass_on(attachment):
                return None
            why = "its key is of no session"
        elif self._has_room(peer):
            returns = self._new()
            new = returns.resuming
        else:
            returns = None
            why = f"there are {self._max_sessions} sessions (limit: max_sessions)"
        if returns is not None:
            conversation = returns.resuming.conversation
            why = conversation.reason_to_refuse(hello, proof_of(peer))
            if not why:
                self._all.add(returns)
                if new is not None:
                    new.peer.follow(peer)
                await returns.hand_over(attachment)
                return new
        with about(peer):
            logger.warning("a client was refused: %s", why)
        await refuse(attachment, seconds=seconds)
        return None

    async def _pass_on(self, attachment: Attachment) -> bool:
        """Return False if no other server has the session of a client. Otherwise pass
        the link on, and return when it has ended."""
        if self._siblings is None:
            return False
        limits = self._limits
        return await self._siblings.pass_on(
            attachment,
            max_payload=limits.max_payload,
            seconds=limits.handshake_seconds,
        )

    def _has_room(self, peer: Peer) -> bool:
        """Return True if the session of a new client may begin; make room for it if
        necessary."""
        if len(self._all) < self._max_sessions:
            return True
        lost = self._lost.make_room(host_of(peer), trio.current_time())
        if lost is None:
            return False
        lost.give_up(
            "its session has made room for another client (limit: max_sessions)"
        )
        self._all.discard(lost)
        return True

    def _new(self) -> _Returns:
        returns = _Returns(self._limits, self._lost, self._all.discard)
        make_key = new_key if self._siblings is None else self._siblings.new_key
        keys = KeyRing(self._index, returns, make_key)
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
        lost: LostClients[_Returns],
        on_closed: Callable[[_Returns], object],
    ) -> None:
        self._limits = limits
        self._lost = lost
        self._on_closed = on_closed
        self._arrived: Attachment | None = None
        self._changed = ParkingLot()
        self._given_up_because: str | None = None
        self._linked_at = trio.current_time()
        self._seconds = 0.0  # with a link, up to the last one
        self._is_closed = False

    async def hand_over(self, attachment: Attachment) -> None:
        """Pass in a link of the client; the last one counts. Does not wait."""
        superfluous, self._arrived = self._arrived, attachment
        self._given_up_because = None
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
        self._seconds += trio.current_time() - self._linked_at
        if self._arrived is None:
            self._note_lost()
            try:
                with trio.move_on_after(seconds):
                    while self._arrived is None and self._given_up_because is None:
                        await self._changed.park()
            finally:
                self._lost.remove(self)
        self._linked_at = trio.current_time()
        attachment, self._arrived = self._arrived, None
        if attachment is not None:
            return attachment
        if self._given_up_because is not None:
            raise LinkDead(f"the client is gone, and {self._given_up_because}")
        raise LinkDead(
            f"the client did not return in {seconds} s (limit: resume_seconds)"
        )

    def _note_lost(self) -> None:
        first_to_go = self._lost.add(self, self._record())
        if first_to_go is not None:
            first_to_go.give_up(
                f"the server waits for {self._limits.lost_clients} others "
                "(limit: lost_clients)"
            )

    def _record(self) -> Record:
        peer = self.resuming.peer
        received = self.resuming.rx.statistics().payloads
        return Record(
            messages=max(received - _HANDSHAKE, 0),
            seconds=self._seconds,
            lost_at=trio.current_time(),
            host=host_of(peer),
            identity=identity_of(peer),
        )

    def give_up(self, because: str) -> None:
        """Stop waiting for the client, which is no longer among the lost ones."""
        self._given_up_because = because
        self._changed.unpark_all()

    async def superseded(self) -> None:
        """Wait until the client returns with another link."""
        while self._arrived is None:
            await self._changed.park()

    async def close(self) -> None:
        """Release a link that was not taken before the end."""
        if self._is_closed:
            return
        self._is_closed = True
        self._on_closed(self)
        del self.resuming  # which refers to this object
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            await arrived.close()
