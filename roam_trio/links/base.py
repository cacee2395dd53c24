"""The interface of links: the lowest layer, which moves payloads between two peers.

A payload is a byte string, the empty one included. One send becomes exactly one
receive; payloads arrive in the order in which they were committed, each once.
A link knows nothing of messages. The conduit above it is its only caller.

Sending goes in three steps, so that waiting and publishing are apart:

1. ``await tx.reserve()`` waits until there is room for one more payload;
2. ``permit.alloc(length)`` gives a slot of exactly that many bytes;
3. ``slot.commit()`` publishes it, synchronously.

`LinkTxPermit.send` does steps 2 and 3 in one for a payload that lies ready in pieces.

What was committed is carried to the transport by `LinkTx.pump`, which runs in a task
of whoever uses the link; a session runs it in its nursery, and begins when the link
needs it, if that can tell (`LinkTx.defer_pump`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from ..errors import LinkError
from ..peers import Peer

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Buffer",
    "Link",
    "LinkRx",
    "LinkTx",
    "LinkTxPermit",
    "RxStatistics",
    "SplitLink",
    "TxStatistics",
    "WriteSlot",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Types of a payload's parts; a memoryview is one-dimensional and of bytes."""


@attrs.frozen
class TxStatistics:
    """Statistics of the sending half of a link: what it has sent, and how full it is.

    Attributes:
        payloads: payloads committed so far.
        payload_bytes: their length in all.
        permits: permits and slots given out, neither used nor given back.
        unsent_payloads: payloads committed that have not left this side.
        unsent_bytes: their length in all, including what the link adds.
        tasks_waiting: tasks waiting in `reserve`.
    """

    payloads: int
    payload_bytes: int
    permits: int
    unsent_payloads: int
    unsent_bytes: int
    tasks_waiting: int


@attrs.frozen
class RxStatistics:
    """Statistics of the receiving half of a link.

    Attributes:
        payloads: payloads received so far.
        payload_bytes: their length in all.
    """

    payloads: int
    payload_bytes: int


class WriteSlot(ABC):
    """Room for one payload in storage of the transport's.

    A context manager: leaving it without `commit` discards the slot.
    """

    @property
    @abstractmethod
    def buffer(self) -> memoryview:
        """Writable, and exactly as long as was asked for (`link.tx.slot.len`)."""

    @abstractmethod
    def commit(self) -> None:
        """Publish the bytes as they are now, as one payload (`link.tx.commit`).

        Never waits.

        Raises:
            LinkError: the link has ended meanwhile; nothing was published.
            RuntimeError: the slot is used up already.
        """

    @abstractmethod
    def discard(self) -> None:
        """Publish nothing and give the room back. Harmless after `commit`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()


class LinkTxPermit(ABC):
    """The right to send one payload.

    A context manager: leaving it unused gives the room back (`link.tx.permit.drop`).
    """

    @abstractmethod
    def alloc(self, length: int) -> WriteSlot:
        """Use the permit up for a slot of exactly `length` bytes.

        Raises:
            PayloadTooLarge: `length` is over the link's limit; the permit is given
                back (`link.tx.alloc.limits`).
            RuntimeError: the permit is used up already.
        """

    @abstractmethod
    def send(self, pieces: Sequence[Buffer]) -> None:
        """Use the permit up and publish the concatenation of `pieces` as one payload.

        Never waits. Pieces of type bytes may be kept by reference until they are
        written; so may a memoryview, whose memory must not change until then.

        Raises:
            PayloadTooLarge: as `alloc`.
            LinkError: the link has ended meanwhile; nothing was published.
            RuntimeError: the permit is used up already.
        """

    @abstractmethod
    def release(self) -> None:
        """Give the room back unused. Harmless after `alloc`, `send` or `release`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class LinkTx(ABC):
    """The sending half of a link, usable from any task of one trio run."""

    @abstractmethod
    async def reserve(self) -> LinkTxPermit:
        """Wait until there is room for one more payload; waiters are served in order.

        A checkpoint if it waits, otherwise at least a cancellation point. Cancelled,
        it has taken no room (`link.tx.cancel-safe`).

        Raises:
            LinkError: the link has ended.
        """

    @abstractmethod
    def reserve_nowait(self) -> LinkTxPermit:
        """As `reserve`, without waiting.

        Raises:
            trio.WouldBlock: there is no room now, or others wait for it already.
            LinkError: the link has ended.
        """

    @abstractmethod
    def has_room(self) -> bool:
        """Return True if a payload could be sent now, without waiting.

        True also when the link has ended, as sending then fails at once.
        """

    @property
    def is_full(self) -> bool:
        """True if `has_room` is False.

        A link may keep it as an attribute, for senders that look at it before each
        payload: that costs no call.
        """
        return not self.has_room()

    def send_nowait(self, pieces: Sequence[Buffer]) -> None:
        """Reserve and send in one, for a sender that has looked at `is_full`.

        Raises:
            trio.WouldBlock: there is no room now.
            PayloadTooLarge, LinkError: as `LinkTxPermit.send`.
        """
        self.reserve_nowait().send(pieces)

    def cork(self) -> None:
        """Put off writing until `uncork`, as more is about to be committed.

        For whoever commits several payloads without waiting in between. Like `uncork`
        it is about time alone, and does nothing unless a link has a use for it.
        """
        return

    def uncork(self, *, prompt: bool = False) -> None:
        """Write what was committed since `cork`, as far as that needs no waiting.

        What is left, or all of it on a link that cannot, is the task's that pumps.

        Args:
            prompt: the next payload will most likely come alone. If nothing is unsent
                now, it is written as it is committed, which spares the step of that
                task; payloads after it are gathered again.
        """
        return

    @abstractmethod
    def statistics(self) -> TxStatistics:
        """Return what it has sent, and how full it is."""

    @abstractmethod
    async def pump(self) -> None:
        """Carry committed payloads to the transport until this half is closed.

        To be run by one task as long as the link is used: on most links nothing is
        sent without it. Returns when `close` or `abort` has done its work.

        Raises:
            LinkError: the transport failed; senders are told so too.
        """

    def defer_pump(self, start: Callable[[], None]) -> bool:
        """Do without `pump` until there is something that only it can carry.

        A session at rest is a task smaller for it. Whoever runs `pump` asks once, and
        before anything is committed.

        Args:
            start: has `pump` run soon; called once at most. It does not wait.

        Returns:
            Whether the link does without. If not, as here, `pump` has to run at once.
        """
        return False

    @abstractmethod
    async def close(self) -> None:
        """Close gracefully: the peer gets every payload committed before, then the end.

        Refuses new payloads from the moment it is called. May wait for as long as the
        peer does not read: put a time limit around it, and `abort` when it fires.
        Harmless when closed already.

        Raises:
            LinkError: the transport failed before everything was carried.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Close at once: what has not been written is dropped. Does not wait.

        Reserving tasks are woken with `LinkClosed`. Harmless when closed already.
        """


class LinkRx(ABC):
    """The receiving half of a link. One task at a time may receive."""

    @abstractmethod
    async def recv(self) -> bytes | None:
        """Receive one payload; None when the peer has closed, and ever after.

        Safe to cancel: nothing received is lost. After an error the link is dead, and
        every later call raises the same error (`link.rx.error`).

        Raises:
            LinkError: the link failed, or what came is not a payload.
        """

    @abstractmethod
    def recv_nowait(self) -> bytes | None:
        """As `recv`, but takes only what this side has received already.

        Lets a reader handle everything that came with one read of the transport
        before it goes back there.

        Raises:
            trio.WouldBlock: nothing is ready; `recv` would wait.
            LinkError: as `recv`.
        """

    async def recv_batch(self) -> Sequence[bytes]:
        """Receive all payloads that are here, waiting for one at least.

        As `recv`, and then `recv_nowait` for as long as it has any; empty when the peer
        has closed. An error that comes after some payloads is raised by the next call.
        """
        first = await self.recv()
        if first is None:
            return ()
        batch = [first]
        with suppress(trio.WouldBlock, LinkError):
            while (payload := self.recv_nowait()) is not None:
                batch.append(payload)
        return batch

    @abstractmethod
    def statistics(self) -> RxStatistics:
        """Return what it has received."""

    @abstractmethod
    async def close(self) -> None:
        """Stop receiving. Does not wait. Harmless when closed already."""


class Link(ABC):
    """A way to move payloads between two peers, before its use.

    It is split once; the transport is released when both halves are closed.
    """

    @abstractmethod
    def split(self) -> tuple[LinkTx, LinkRx]:
        """Return the two halves, each for a task of its own (`link.split`)."""

    def peer(self) -> Peer:
        """Describe the peer, while the link is open.

        A link that knows more of its peer than its own class says so here: the name of
        the transport, an address, a certificate. Never waits.
        """
        return Peer("other", type(self).__name__)


class SplitLink(Link):
    """A link put together from two halves, which may belong to different transports."""

    def __init__(self, tx: LinkTx, rx: LinkRx) -> None:
        self._halves = (tx, rx)

    def split(self) -> tuple[LinkTx, LinkRx]:
        return self._halves
