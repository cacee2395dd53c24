"""The stable conduit: messages that survive the loss of a link (`stable`)."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from ..errors import DecodeError, StableConduitError
from ..links.base import ByteBudget, Link
from ..links.resuming.acceptor import ResumingAcceptor
from ..links.resuming.keys import KeyRing
from ..links.resuming.limits import DEFAULT_STABLE_LIMITS, StableLimits
from ..links.resuming.resuming import Resuming
from ..links.resuming.siblings import Siblings
from ..links.resuming.source import LinkSource
from ..links.resuming.tx import ResumingTx, StableTxStatistics
from ..peers import Peer
from ..wire.family import MsgFamily
from .attaching import AttachingAcceptor
from .base import Conduit, LinkWatcher
from .on_link import LinkConduitPermit, LinkConduitRx, LinkConduitTx

__all__ = [
    "StableConduit",
    "StableConduitAcceptor",
    "StableConduitPermit",
    "StableConduitRx",
    "StableConduitTx",
]

M = TypeVar("M")


class StableConduit(Conduit[M]):
    """A conduit that delivers messages exactly once and in order over several links.

    It numbers messages and keeps them until the peer has acknowledged them. When a link
    is lost, it continues on the next link that its source supplies (`stable`), and the
    session on it is not affected. It fails for good, with a `StableConduitError`, if
    there is no other link in time (`LinkDead`) or if the server no longer knows it
    (`SessionLost`).

    Each link determines which side this is: the side that opened the link is the
    client, and sends its hello first; see `Attachment`. On servers a
    `StableConduitAcceptor` makes stable conduits. Acknowledgements arrive with the
    frames of the peer, and are processed only while this side receives. A message may
    not be empty.

    Args:
        source: supplies links.
        family: the type of the messages and its codec.
        limits: bounds.
        keys: the resume keys that the server's side issues; all conduits of a server
            share one index.
    """

    def __init__(
        self,
        source: LinkSource,
        family: MsgFamily[M],
        *,
        limits: StableLimits = DEFAULT_STABLE_LIMITS,
        keys: KeyRing[Any] | None = None,
    ) -> None:
        self._family = family
        self._resuming = Resuming(
            source,
            _filler(family),
            limits,
            KeyRing({}, None) if keys is None else keys,
        )

    @classmethod
    def on(cls, resuming: Resuming, family: MsgFamily[M]) -> StableConduit[M]:
        """Make the conduit on an existing resuming link."""
        conduit = cls.__new__(cls)
        conduit._family = family
        conduit._resuming = resuming
        return conduit

    @property
    def resuming(self) -> Resuming:
        """The state behind both halves, for code that passes links to it."""
        return self._resuming

    def split(self) -> tuple[StableConduitTx[M], StableConduitRx[M]]:
        resuming = self._resuming
        return (
            StableConduitTx(resuming.tx, self._family),
            StableConduitRx(resuming.rx, self._family),
        )

    def peer(self) -> Peer:
        """Describe the peer of the current link, also when that is another one later;
        see `Conduit.peer`."""
        return self._resuming.peer

    def watch_links(self, watcher: LinkWatcher) -> None:
        """Tell `watcher` of lost links and of new ones; see `Conduit.watch_links`."""
        self._resuming.watcher = watcher


class StableConduitTx(LinkConduitTx[M]):
    """The sending half: as that of a bare conduit, over a sequence of links."""

    __slots__ = ("_resuming",)

    def __init__(self, tx: ResumingTx, family: MsgFamily[M]) -> None:
        super().__init__(tx, family)
        self._resuming = tx

    def doubt(self) -> bool:
        return self._resuming.doubt()

    def count_in(self, budget: ByteBudget) -> None:
        self._resuming.count_in(budget)

    def forget(self) -> None:
        self._resuming.forget()

    def statistics(self) -> StableTxStatistics:
        return self._resuming.statistics()


StableConduitPermit = LinkConduitPermit
"""Room for one message, by the name that other implementations use."""


class StableConduitRx(LinkConduitRx[M]):
    """The receiving half of a stable conduit."""

    __slots__ = ()

    def refuse(self, payload: bytes | memoryview, error: DecodeError) -> NoReturn:
        raise StableConduitError(
            f"a frame with {len(payload)} bytes after its header holds no message: "
            f"{error}"
        ) from error


class StableConduitAcceptor(AttachingAcceptor[M]):
    """Makes a stable conduit for each new client, and passes it the client's links.

    A client that has lost its link returns with a new link and presents a key. The link
    goes to the conduit of that key, from any address and even if the old link seems to
    be alive. An unknown key is refused (`stable.reconnect.failure`), and so is the key
    of a client that had another certificate, or another user on a Unix socket.

    Args:
        family: the type of the messages and its codec.
        limits: bounds of each conduit, and on the number of lost clients.
        max_sessions: number of conduits at a time, including those of lost clients.
            Beyond it, a new client takes the place of a lost client, unless each of
            them has worked for long enough to keep its place; then it is refused.
        siblings: the place of this server among those to which clients may return;
            None if there are no others.
    """

    def __init__(
        self,
        family: MsgFamily[M],
        *,
        limits: StableLimits = DEFAULT_STABLE_LIMITS,
        max_sessions: int = 1024,
        siblings: Siblings | None = None,
    ) -> None:
        super().__init__()
        self._family = family
        self._links = ResumingAcceptor(_filler(family), limits, max_sessions, siblings)

    async def conduit_of(self, link: Link) -> StableConduit[M] | None:
        """See `AttachingAcceptor.conduit_of`.

        Takes `StableLimits.handshake_seconds` at most.

        Raises:
            StableHandshakeError: the client did not send a hello.
            LinkError: the link failed.
        """
        resuming = await self._links.accept(link)
        return None if resuming is None else StableConduit[M].on(resuming, self._family)

    @property
    def is_idle(self) -> bool:
        """True if there is no client, and no lost client that could return."""
        return self._links.is_idle

    def __repr__(self) -> str:
        return (
            f"<StableConduitAcceptor of {self._links.count} conduits, "
            f"{self._links.lost} of them without a client>"
        )


def _filler(family: MsgFamily[Any]) -> bytes:
    message = family.filler()
    return b"" if message is None else b"".join(family.encode(message))
