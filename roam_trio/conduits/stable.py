"""The stable conduit: messages that get through, whatever becomes of the links."""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import DecodeError, StableConduitError
from ..links.base import Link, RxStatistics
from ..links.resuming.acceptor import ResumingAcceptor
from ..links.resuming.keys import KeyRing
from ..links.resuming.limits import DEFAULT_STABLE_LIMITS, StableLimits
from ..links.resuming.resuming import (
    Resuming,
    ResumingRx,
    ResumingTx,
    StableTxStatistics,
)
from ..links.resuming.source import LinkSource
from ..wire.family import MsgFamily
from .bare import BareConduitPermit, BareConduitTx
from .base import Conduit, ConduitAcceptor, ConduitRx

__all__ = [
    "StableConduit",
    "StableConduitAcceptor",
    "StableConduitPermit",
    "StableConduitRx",
    "StableConduitTx",
]

M = TypeVar("M")


class StableConduit(Conduit[M]):
    """Messages that arrive once each and in order, on one link after the other.

    It numbers messages, keeps them until the peer has acknowledged them, and when a
    link is lost goes on with the next that its source supplies (`stable`). A session
    on it does not notice. It fails for good, with a `StableConduitError`, if there is
    no other link in time (`LinkDead`) or if the server does not know it any more
    (`SessionLost`).

    Whether it is the client's side or the server's is up to the links: on those that
    this side has opened it speaks first, see `Attachment`. Servers have a
    `StableConduitAcceptor` make it.

    Acknowledgements come with what the peer sends, and so only while this side
    receives. A message may not be empty.

    Args:
        source: supplies links.
        family: the type of the messages and its codec.
        limits: bounds.
        keys: the resume keys that a server's side makes; those of all conduits of a
            server are in one index.
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
        """Make the conduit on a resuming link that is there already."""
        conduit = cls.__new__(cls)
        conduit._family = family
        conduit._resuming = resuming
        return conduit

    @property
    def resuming(self) -> Resuming:
        """The state behind both halves, for code that brings links to it."""
        return self._resuming

    def split(self) -> tuple[StableConduitTx[M], StableConduitRx[M]]:
        resuming = self._resuming
        return (
            StableConduitTx(resuming.tx, self._family),
            StableConduitRx(resuming.rx, self._family),
        )


class StableConduitTx(BareConduitTx[M]):
    """The sending half: as that of a bare conduit, on one link after the other."""

    __slots__ = ("_resuming",)

    def __init__(self, tx: ResumingTx, family: MsgFamily[M]) -> None:
        super().__init__(tx, family)
        self._resuming = tx

    async def reserve(self) -> StableConduitPermit[M]:
        return StableConduitPermit(await self._tx.reserve(), self._encode)

    def reserve_nowait(self) -> StableConduitPermit[M]:
        return StableConduitPermit(self._tx.reserve_nowait(), self._encode)

    def doubt(self) -> bool:
        return self._resuming.doubt()

    def statistics(self) -> StableTxStatistics:
        return self._resuming.statistics()

    def __repr__(self) -> str:
        return f"<StableConduitTx on {self._tx!r}>"


class StableConduitPermit(BareConduitPermit[M]):
    """Room for one message; good also when the link is another by then."""

    __slots__ = ()


class StableConduitRx(ConduitRx[M]):
    """The receiving half of a stable conduit."""

    __slots__ = ("_decode", "_rx")

    def __init__(self, rx: ResumingRx, family: MsgFamily[M]) -> None:
        self._rx = rx
        self._decode = family.decode

    async def recv(self) -> M | None:
        body = await self._rx.recv()
        return None if body is None else self._message(body)

    def recv_nowait(self) -> M | None:
        body = self._rx.recv_nowait()
        return None if body is None else self._message(body)

    def _message(self, body: bytes | memoryview) -> M:
        try:
            return self._decode(body)
        except DecodeError as exc:
            raise StableConduitError(
                f"a frame with {len(body)} bytes after its header holds no message: "
                f"{exc}"
            ) from exc

    def statistics(self) -> RxStatistics:
        return self._rx.statistics()

    async def close(self) -> None:
        await self._rx.close()

    def __repr__(self) -> str:
        return f"<StableConduitRx on {self._rx!r}>"


class StableConduitAcceptor(ConduitAcceptor[M]):
    """Makes a stable conduit for each new client, and brings it the client's links.

    A client that has lost its link comes back with a new one and shows a key. It is
    brought to its conduit, from whatever address it comes and even if the old link
    seems to be alive. A key that stands for nothing is refused
    (`stable.reconnect.failure`).

    Args:
        family: the type of the messages and its codec.
        limits: bounds of each conduit, and of how many lost clients are waited for.
        max_sessions: number of conduits there may be at a time, those of lost clients
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
        self._links = ResumingAcceptor(_filler(family), limits, max_sessions)

    async def accept(self, link: Link) -> StableConduit[M] | None:
        """See `ConduitAcceptor.accept`. Takes `StableLimits.handshake_seconds` at most.

        Raises:
            StableHandshakeError: no hello of a client's came.
            LinkError: the link failed.
        """
        resuming = await self._links.accept(link)
        return None if resuming is None else StableConduit[M].on(resuming, self._family)

    @property
    def is_idle(self) -> bool:
        """True if there is no client, and none that could come back."""
        return self._links.is_idle

    def __repr__(self) -> str:
        return (
            f"<StableConduitAcceptor of {self._links.count} conduits, "
            f"{self._links.lost} of them without a client>"
        )


def _filler(family: MsgFamily[Any]) -> bytes:
    message = family.filler()
    return b"" if message is None else b"".join(family.encode(message))
