"""The bare conduit: each message is one payload, without additions (`conduit.bare`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import BareConduitError, DecodeError
from ..links.base import Link, LinkRx, LinkTx, LinkTxPermit, RxStatistics, TxStatistics
from ..links.foreign import advice_on_hello, named_payload
from ..wire.family import MsgFamily
from .base import Conduit, ConduitAcceptor, ConduitRx, ConduitTx, ConduitTxPermit

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


class BareConduitTx(ConduitTx[M]):
    """The sending half of a bare conduit."""

    __slots__ = ("_encode", "_tx")

    def __init__(self, tx: LinkTx, family: MsgFamily[M]) -> None:
        self._tx = tx
        self._encode = family.encode

    async def reserve(self) -> BareConduitPermit[M]:
        return BareConduitPermit(await self._tx.reserve(), self._encode)

    def reserve_nowait(self) -> BareConduitPermit[M]:
        return BareConduitPermit(self._tx.reserve_nowait(), self._encode)

    def has_room(self) -> bool:
        return self._tx.has_room()

    def send_nowait(self, message: M) -> None:
        self._tx.send_nowait(self._encode(message))

    def cork(self) -> None:
        self._tx.cork()

    def uncork(self, *, prompt: bool = False) -> None:
        self._tx.uncork(prompt=prompt)

    def statistics(self) -> TxStatistics:
        return self._tx.statistics()

    async def pump(self) -> None:
        await self._tx.pump()

    def defer_pump(self, start: Callable[[], None]) -> bool:
        return self._tx.defer_pump(start)

    async def close(self) -> None:
        await self._tx.close()

    async def abort(self) -> None:
        await self._tx.abort()

    def __repr__(self) -> str:
        return f"<BareConduitTx on {self._tx!r}>"


class BareConduitPermit(ConduitTxPermit[M]):
    """Room for one message."""

    __slots__ = ("_encode", "_permit")

    def __init__(
        self,
        permit: LinkTxPermit,
        encode: Callable[[M], list[bytes | memoryview]],
    ) -> None:
        self._permit = permit
        self._encode = encode

    def send(self, message: M) -> None:
        """Use the permit up: encode `message` and commit it; see `ConduitTxPermit`.

        Encoding happens here, after the wait for room (`zerocopy.send.lifetime`). If
        the codec raises, the permit is released and the exception propagates.
        """
        try:
            pieces = self._encode(message)
        except BaseException:
            self._permit.release()
            raise
        self._permit.send(pieces)

    def release(self) -> None:
        self._permit.release()


class BareConduitRx(ConduitRx[M]):
    """The receiving half of a bare conduit."""

    __slots__ = ("_decode", "_rx")

    def __init__(self, rx: LinkRx, family: MsgFamily[M]) -> None:
        self._rx = rx
        self._decode = family.decode

    async def recv(self) -> M | None:
        payload = await self._rx.recv()
        return None if payload is None else self._message(payload)

    def recv_nowait(self) -> M | None:
        payload = self._rx.recv_nowait()
        return None if payload is None else self._message(payload)

    async def recv_batch(self) -> Iterable[M]:
        return map(self._message, await self._rx.recv_batch())

    def _message(self, payload: bytes) -> M:
        try:
            return self._decode(payload)
        except DecodeError as exc:
            told = advice_on_hello(payload) or named_payload(payload)
            if told is not None:
                raise BareConduitError(told) from None
            raise BareConduitError(
                f"a payload of {len(payload)} bytes is not a message: {exc}"
            ) from exc

    def statistics(self) -> RxStatistics:
        return self._rx.statistics()

    async def close(self) -> None:
        await self._rx.close()

    def __repr__(self) -> str:
        return f"<BareConduitRx on {self._rx!r}>"


class BareConduitAcceptor(ConduitAcceptor[M]):
    """Makes a bare conduit on each link.

    Args:
        family: the type of the messages and its codec.
    """

    def __init__(self, family: MsgFamily[M]) -> None:
        self._family = family

    async def accept(self, link: Link) -> BareConduit[M]:
        """See `ConduitAcceptor.accept`. Never waits."""
        return BareConduit(link, self._family)
