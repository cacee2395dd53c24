"""The stable conduit: messages that get through, whatever becomes of the links."""

from __future__ import annotations

from typing import Any, TypeVar

from ...errors import DecodeError, StableConduitError
from ...links.base import RxStatistics
from ..bare import BareConduitPermit, BareConduitTx
from ..base import Conduit, ConduitRx, MsgFamily
from .keys import KeyRing
from .limits import DEFAULT_STABLE_LIMITS, StableLimits
from .resuming import Resuming, ResumingRx, ResumingTx, StableTxStatistics
from .source import LinkSource

__all__ = [
    "StableConduit",
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
        filler = family.filler()
        self._family = family
        self._resuming = Resuming(
            source,
            b"" if filler is None else b"".join(family.encode(filler)),
            limits,
            KeyRing({}, None) if keys is None else keys,
        )

    @property
    def resuming(self) -> Resuming:
        """What is behind both halves; for whoever brings links to it."""
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
