"""Messages on a link: what every conduit of this package is.

A message is encoded into a payload of the link, and a payload is decoded into a
message; nothing is added (`conduit.typeplan`). What makes the difference between
conduits is the link: a plain one for `BareConduit`, and one that outlives its links
for `StableConduit`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from ..errors import DecodeError
from ..links.base import (
    ByteBudget,
    LinkTx,
    LinkTxPermit,
    RxBudget,
    RxStatistics,
    TxStatistics,
)
from ..wire.backing import Backing
from ..wire.family import MsgFamily
from .base import ConduitRx, ConduitTx, ConduitTxPermit

__all__ = ["LinkConduitPermit", "LinkConduitRx", "LinkConduitTx", "PayloadRx"]

M = TypeVar("M")


class PayloadRx(Protocol):
    """The receiving half of a link, as a conduit uses it; see `LinkRx`."""

    async def recv(self) -> Backing | None: ...
    def recv_nowait(self) -> Backing | None: ...
    def recv_batch(self) -> Awaitable[Iterable[Backing]]: ...
    def statistics(self) -> RxStatistics: ...
    def count_in(self, budget: RxBudget) -> None: ...
    async def close(self) -> None: ...


class LinkConduitPermit(ConduitTxPermit[M]):
    """Room for one message; good also when the link is another by then."""

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

        Encoding happens here, after the wait for room (`zerocopy.send.lifetime`). What
        the codec raises is passed on; the permit is given back then.
        """
        try:
            pieces = self._encode(message)
        except BaseException:
            self._permit.release()
            raise
        self._permit.send(pieces)

    def release(self) -> None:
        self._permit.release()


class LinkConduitTx(ConduitTx[M]):
    """The sending half: encodes messages for the sending half of a link.

    Args:
        tx: the sending half of the link; it is taken over.
        family: the type of the messages and its codec.
    """

    __slots__ = ("_family", "_tx", "carrier", "encode")

    def __init__(self, tx: LinkTx, family: MsgFamily[M]) -> None:
        self.carrier = self._tx = tx
        self.encode = family.encode_frame if tx.takes_frames else family.encode
        self._family = family

    def encode_all(self, messages: Sequence[M]) -> Sequence[Any]:
        return self._family.encode_all(messages)

    async def reserve(self) -> LinkConduitPermit[M]:
        return LinkConduitPermit(await self._tx.reserve(), self._family.encode)

    def reserve_nowait(self) -> LinkConduitPermit[M]:
        return LinkConduitPermit(self._tx.reserve_nowait(), self._family.encode)

    def has_room(self) -> bool:
        return self._tx.has_room()

    def send_nowait(self, message: M) -> None:
        self._tx.send_nowait(self.encode(message))

    def send_many_nowait(self, messages: Sequence[M]) -> int:
        return self._tx.send_many_nowait(self.encode_all(messages))

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

    def count_in(self, budget: ByteBudget) -> None:
        self._tx.count_in(budget)

    async def close(self) -> None:
        await self._tx.close()

    async def abort(self) -> None:
        await self._tx.abort()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._tx!r}>"


class LinkConduitRx(ConduitRx[M]):
    """The receiving half: decodes what the receiving half of a link has received.

    Args:
        rx: the receiving half of the link; it is taken over.
        family: the type of the messages and its codec.
    """

    __slots__ = ("_family", "_rx", "decode", "source")

    def __init__(self, rx: PayloadRx, family: MsgFamily[M]) -> None:
        self.source = self._rx = rx
        self.decode = family.decode
        self._family = family

    def gather(self, received: Sequence[Any]) -> Sequence[Any]:
        return self._family.gather(received)

    async def recv(self) -> M | None:
        payload = await self._rx.recv()
        return None if payload is None else self._message(payload)

    def recv_nowait(self) -> M | None:
        payload = self._rx.recv_nowait()
        return None if payload is None else self._message(payload)

    async def recv_batch(self) -> Iterable[M]:
        return map(self._message, await self._rx.recv_batch())

    def _message(self, payload: bytes | memoryview) -> M:
        try:
            return self.decode(payload)
        except DecodeError as error:
            self.refuse(payload, error)

    @abstractmethod
    def refuse(self, payload: bytes | memoryview, error: DecodeError) -> NoReturn: ...

    def statistics(self) -> RxStatistics:
        return self._rx.statistics()

    async def close(self) -> None:
        await self._rx.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._rx!r}>"
