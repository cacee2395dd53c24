"""The interface of links: the lowest layer, which moves payloads between two peers.

A payload is a byte string, which may be empty. Each send results in exactly one
receive, and payloads arrive in the order in which they were committed. A link does not
interpret payloads. The conduit above it is its only caller.

Sending has three steps, which separate waiting from publishing:

1. ``await tx.reserve()`` waits until there is room for one more payload;
2. ``permit.alloc(length)`` gives a slot of exactly that many bytes;
3. ``slot.commit()`` publishes it, synchronously.

`LinkTxPermit.send` combines steps 2 and 3 for a payload that is available in pieces.
`LinkTx.pump` writes committed payloads to the transport, in a task of the user of the
link. A session runs it in its nursery. If the link supports `LinkTx.defer_pump`, the
session starts it only when it is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, cast

import attrs
import trio

from ..errors import LinkError, RoamTrioError
from ..peers import Peer
from ..wire.backing import Backing
from .arrivals import Arrivals
from .poll_policy import Found

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Buffer",
    "ByteBudget",
    "Link",
    "LinkRx",
    "LinkTx",
    "LinkTxPermit",
    "PayloadBound",
    "PayloadPoller",
    "RxBudget",
    "RxStatistics",
    "SplitLink",
    "TxStatistics",
    "WriteSlot",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Types of the pieces of a payload; a memoryview is one-dimensional and of bytes."""


@attrs.frozen
class TxStatistics:
    """Statistics of the sending half of a link: totals, and the state of its buffer.

    Attributes:
        payloads: number of payloads committed so far.
        payload_bytes: their total length.
        permits: number of permits and slots that are neither used nor released.
        unsent_payloads: number of committed payloads that have not left this side.
        unsent_bytes: their total length, including the framing of the link.
        tasks_waiting: number of tasks waiting in `reserve`.
        parts: number of parts in which long payloads have been written so far, and of
            writes that continued after they had waited; 0 if the link cannot tell.
    """

    payloads: int
    payload_bytes: int
    permits: int
    unsent_payloads: int
    unsent_bytes: int
    tasks_waiting: int
    parts: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class RxStatistics:
    """Statistics of the receiving half of a link.

    Attributes:
        payloads: number of payloads received so far.
        payload_bytes: their total length.
        begun: number of bytes that have arrived of a payload that is not complete; 0
            if there is none, or if the link cannot tell.
    """

    payloads: int
    payload_bytes: int
    begun: int = 0


class PayloadBound(NamedTuple):
    """A bound on one payload: its length in bytes, and the name of the limit, for the
    error."""

    length: int
    limit: str


class ByteBudget(Protocol):
    """Counts the bytes that a link keeps because of its peer."""

    def hold(self, size: int) -> bool:
        """Count bytes. Return False if there is no room for them: nothing is counted,
        and the session is about to end."""
        ...

    def give(self, size: int) -> None:
        """Stop counting bytes."""
        ...

    def wait(self, size: int) -> bool:
        """As `hold`, for bytes that wait until the peer reads: they end no session
        unless its server has no room for them."""
        ...

    def go_on(self, size: int) -> None:
        """Stop counting bytes that `wait` has counted."""
        ...


class RxBudget(ByteBudget, Protocol):
    """Counts the bytes of a payload that is not complete, and bounds the first one."""

    @property
    def arrivals(self) -> Arrivals | None:
        """The large payloads on their way to this server; None for no server."""
        ...

    @property
    def first(self) -> PayloadBound | None:
        """The bound of the next payload, as long as the peer may be anybody."""
        ...


class WriteSlot(ABC):
    """A buffer of the transport for one payload.

    A context manager: leaving it without `commit` discards the slot.
    """

    @property
    @abstractmethod
    def buffer(self) -> memoryview:
        """The writable buffer, exactly as long as requested (`link.tx.slot.len`)."""

    @abstractmethod
    def commit(self) -> None:
        """Publish the present contents as one payload (`link.tx.commit`). Never waits.

        Raises:
            LinkError: the link has ended; nothing was published.
            RuntimeError: the slot is used up.
        """

    @abstractmethod
    def discard(self) -> None:
        """Release the room and publish nothing. Has no effect after `commit`."""

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

    A context manager: leaving it unused releases the room (`link.tx.permit.drop`).
    """

    @abstractmethod
    def alloc(self, length: int) -> WriteSlot:
        """Use the permit up for a slot of exactly `length` bytes.

        Raises:
            PayloadTooLarge: `length` exceeds the limit of the link; the permit is
                released (`link.tx.alloc.limits`).
            RuntimeError: the permit is used up.
        """

    @abstractmethod
    def send(self, pieces: Sequence[Buffer]) -> None:
        """Use the permit up and publish the concatenation of `pieces` as one payload.

        Never waits. The link may keep pieces by reference until they are written. The
        memory of a memoryview must not change until then.

        Raises:
            PayloadTooLarge: as `alloc`.
            LinkError: the link has ended; nothing was published.
            RuntimeError: the permit is used up.
        """

    @abstractmethod
    def release(self) -> None:
        """Release the room unused. Has no effect after `alloc`, `send` or `release`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class _HasNoRoom:
    """The default of `LinkTx.is_full`: no data descriptor, so a link may set it."""

    def __get__(self, tx: LinkTx, owner: object) -> bool:
        return not tx.has_room()


class LinkTx(ABC):
    """The sending half of a link, usable from any task of one trio run."""

    __slots__ = ()

    @abstractmethod
    async def reserve(self) -> LinkTxPermit:
        """Wait until there is room for one more payload; waiters are served in order.

        A checkpoint if it waits, otherwise at least a cancellation point. If cancelled,
        it has taken no room (`link.tx.cancel-safe`).

        Raises:
            LinkError: the link has ended.
        """

    @abstractmethod
    def reserve_nowait(self) -> LinkTxPermit:
        """As `reserve`, without waiting.

        Raises:
            trio.WouldBlock: there is no room, or other tasks wait for it.
            LinkError: the link has ended.
        """

    @abstractmethod
    def has_room(self) -> bool:
        """Return True if a payload can be sent now without waiting. Also True when the
        link has ended, because sending then fails at once.
        """

    is_full: bool = cast("bool", _HasNoRoom())
    """True if `has_room` is False. Senders read it before each payload, and a link may
    set it to avoid the call.
    """

    takes_frames: bool = False
    """True if `send_nowait` takes, in place of the pieces of a payload, bytes with its
    frame; see `MsgFamily.encode_frame`."""

    def send_nowait(self, pieces: Sequence[Buffer]) -> None:
        """Reserve and send in one step, after a check of `is_full`.

        Raises:
            trio.WouldBlock: there is no room now.
            PayloadTooLarge, LinkError: as `LinkTxPermit.send`.
        """
        self.reserve_nowait().send(pieces)

    def send_many_nowait(self, payloads: Sequence[Sequence[Buffer]]) -> int:
        """Send several payloads in one step, in order, while there is room.

        The default sends them one by one.

        Returns:
            The number of payloads that were sent: 0 if there is no room now. An error
            after some of them is raised by the next call.

        Raises:
            PayloadTooLarge, LinkError: as `LinkTxPermit.send`, for the first payload.
        """
        for sent, pieces in enumerate(payloads):
            if self.is_full:
                return sent
            try:
                self.send_nowait(pieces)
            except RoamTrioError:
                if not sent:
                    raise
                return sent
        return len(payloads)

    def cork(self) -> None:
        """Put off writing until `uncork`, because more payloads follow.

        For callers that commit several payloads without waiting in between. Like
        `uncork`, it affects only the time of writing. The default does nothing.
        """
        return

    def uncork(self, *, prompt: bool = False) -> None:
        """Write what was committed since `cork`, as far as possible without waiting.

        The pump writes the rest, or everything on a link that cannot write here.

        Args:
            prompt: the next payload will most likely be a single one. If nothing is
                unsent now, it is written when it is committed, which saves a step of
                the pump. Later payloads are gathered again.
        """
        return

    @abstractmethod
    def statistics(self) -> TxStatistics:
        """Return the totals sent, and the state of the buffer."""

    @abstractmethod
    async def pump(self) -> None:
        """Write committed payloads to the transport until this half is closed.

        Run it in one task as long as the link is used: most links send nothing without
        it. Returns when `close` or `abort` has finished.

        Raises:
            LinkError: the transport failed; senders get the error, too.
        """

    def defer_pump(self, start: Callable[[], None]) -> bool:
        """Ask to start `pump` only when it is needed.

        This saves an idle session one task. The user of the link calls it once, before
        anything is committed. The first payload, which most likely comes alone, is then
        written by its commit; see `uncork`.

        Args:
            start: starts `pump` soon, without waiting; called at most once.

        Returns:
            Whether the link will call `start`. If False, which is the default, `pump`
            must be started at once.
        """
        return False

    @property
    def closes_at_once(self) -> bool:
        """True if `close` would not wait now. The default is False."""
        return False

    def count_in(self, budget: ByteBudget) -> None:
        """Count the bytes of committed payloads that the transport does not take.

        The default does nothing.
        """
        return

    def forget(self) -> None:
        """Drop what counts in the budget, because the session has to end.

        If there is any, the link fails, as the peer may have received a part of it.
        Never waits. The default does nothing.
        """
        return

    @abstractmethod
    async def close(self) -> None:
        """Close gracefully: the peer receives every committed payload, then the end.

        New payloads are refused at once. It may wait as long as the peer does not read:
        use a time limit, and call `abort` when it expires. Write the rest here if no
        task pumps. Has no effect if already closed.

        Raises:
            LinkError: the transport failed before everything was written.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Close at once, and drop unwritten payloads. Does not wait.

        Tasks waiting in `reserve` get `LinkClosed`. Has no effect if already closed.
        """


class PayloadPoller(Protocol):
    """Looks for one payload of a link, while another task waits to receive."""

    @property
    def seconds(self) -> float:
        """Number of seconds that a look takes at most."""
        ...

    async def prepare(self) -> None:
        """Take a turn of the loop if the next look needs one before it. If it
        takes one, a checkpoint."""
        ...

    def may_look(self) -> bool:
        """Return True if a look is right now, in place of waiting."""
        ...

    def look_for(self, take: Callable[[bytes], bool], seconds: float) -> Found:
        """Look for a payload, for at most `seconds`; right after `may_look`.

        Args:
            take: takes the payload that has come, if there is just one and it is
                whole, or returns False: then the task that receives gets it.
        """
        ...


class LinkRx(ABC):
    """The receiving half of a link. One task at a time may receive."""

    __slots__ = ()

    @abstractmethod
    async def recv(self) -> Backing | None:
        """Receive one payload; None when the peer has closed, and on every later call.

        Safe to cancel: no payload is lost. After an error the link is dead, and every
        later call raises the same error (`link.rx.error`).

        A link may return a view of memory of its own; see `Backing` for which views.
        The links of this package return `bytes`.

        Raises:
            LinkError: the link failed, or received bytes are not a payload.
        """

    @abstractmethod
    def recv_nowait(self) -> Backing | None:
        """As `recv`, but without reading from the transport.

        With it, a reader can handle everything that one read of the transport returned
        before the next read.

        Raises:
            trio.WouldBlock: no payload is ready; `recv` would wait.
            LinkError: as `recv`.
        """

    async def recv_batch(self) -> Sequence[Backing]:
        """Receive all payloads that are ready, waiting for at least one.

        The same as `recv`, then `recv_nowait` until it raises; empty when the peer has
        closed. An error after some payloads is raised by the next call.
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
        """Return the totals received."""

    def count_in(self, budget: RxBudget) -> None:
        """Count the bytes of a payload that is not complete in `budget`, and refuse the
        next payload if it is longer than ``budget.first``.

        The default does nothing: most links receive whole payloads.
        """
        return

    def begin_polling(
        self, seconds: float, *, reader_looks: bool
    ) -> PayloadPoller | None:
        """Look at the transport from now on, before waiting for it. Call it while no
        task receives.

        The default returns None, because most links cannot do it.

        Args:
            seconds: number of seconds that a look takes at most.
            reader_looks: True if the task that receives looks; otherwise other tasks
                do, by the returned object.
        """
        return None

    @abstractmethod
    async def close(self) -> None:
        """Stop receiving. Does not wait. Has no effect if already closed."""


class Link(ABC):
    """A link before its use, in one piece.

    It is split once. The transport is released when both halves are closed.
    """

    @abstractmethod
    def split(self) -> tuple[LinkTx, LinkRx]:
        """Return the two halves, for use in separate tasks (`link.split`)."""

    def peer(self) -> Peer:
        """Describe the peer, while the link is open.

        Links with more information override it: the name of the transport, an address,
        a certificate. Never waits.
        """
        return Peer("other", type(self).__name__)


class SplitLink(Link):
    """A link made of two halves, which may belong to different transports."""

    def __init__(self, tx: LinkTx, rx: LinkRx) -> None:
        self._halves = (tx, rx)

    def split(self) -> tuple[LinkTx, LinkRx]:
        return self._halves
