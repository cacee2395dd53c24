"""The bare conduit: messages on a plain link (`conduit.bare`)."""

from __future__ import annotations

from typing import NoReturn, TypeVar, cast

from ..errors import BareConduitError, DecodeError
from ..links.base import Link, LinkRx, PayloadPoller
from ..links.foreign import advice_on_hello, named_payload
from ..peers import Peer
from ..wire.family import MsgFamily
from .attaching import AttachingAcceptor
from .base import Conduit
from .on_link import LinkConduitPermit, LinkConduitRx, LinkConduitTx

__all__ = [
    "BareConduit",
    "BareConduitAcceptor",
    "BareConduitPermit",
    "BareConduitRx",
    "BareConduitTx",
]

M = TypeVar("M")


class BareConduit(Conduit[M]):
    """A conduit that encodes and decodes messages, and does nothing else.

    Args:
        link: the link; the conduit takes it over.
        family: the type of the messages and its codec.
    """

    def __init__(self, link: Link, family: MsgFamily[M]) -> None:
        self._link = link
        self._family = family

    def split(self) -> tuple[BareConduitTx[M], BareConduitRx[M]]:
        tx, rx = self._link.split()
        return BareConduitTx(tx, self._family), BareConduitRx(rx, self._family)

    def peer(self) -> Peer:
        """Describe the peer of the link; see `Conduit.peer`."""
        return self._link.peer()


class BareConduitTx(LinkConduitTx[M]):
    """The sending half of a bare conduit."""

    __slots__ = ()


BareConduitPermit = LinkConduitPermit
"""Room for one message, by the name that other implementations use."""


class BareConduitRx(LinkConduitRx[M]):
    """The receiving half of a bare conduit."""

    __slots__ = ()

    def begin_polling(
        self, seconds: float, *, reader_looks: bool
    ) -> PayloadPoller | None:
        """See `LinkRx.begin_polling`."""
        rx = cast("LinkRx", self.source)
        return rx.begin_polling(seconds, reader_looks=reader_looks)

    def refuse(self, payload: bytes | memoryview, error: DecodeError) -> NoReturn:
        whole = bytes(payload)  # no copy: plain links bring bytes
        told = advice_on_hello(whole) or named_payload(whole)
        if told is not None:
            raise BareConduitError(told) from None
        raise BareConduitError(
            f"a payload of {len(payload)} bytes is not a message: {error}"
        ) from error


class BareConduitAcceptor(AttachingAcceptor[M]):
    """Makes a bare conduit on each link.

    Args:
        family: the type of the messages and its codec.
    """

    def __init__(self, family: MsgFamily[M]) -> None:
        super().__init__()
        self._family = family

    are_at_once = True

    def conduit_at_once(self, link: Link) -> BareConduit[M]:
        """See `AttachingAcceptor.conduit_at_once`."""
        return BareConduit(link, self._family)

    async def conduit_of(self, link: Link) -> BareConduit[M]:
        """See `AttachingAcceptor.conduit_of`. Never waits."""
        return self.conduit_at_once(link)
