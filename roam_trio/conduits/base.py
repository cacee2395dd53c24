"""The interface of conduits: messages on a link.

A conduit encodes messages into payloads and decodes payloads into messages; a session
is its only caller. It sends through permits, as a link does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NoReturn,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
)

import trio

from ..errors import ConduitError, DecodeError, RoamTrioError
from ..links.base import (
    ByteBudget,
    PayloadPoller,
    RxBudget,
    RxStatistics,
    TxStatistics,
)
from ..peers import Peer
from ..wire.messages import Message

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Carrier",
    "Conduit",
    "ConduitAcceptor",
    "ConduitRx",
    "ConduitTx",
    "ConduitTxPermit",
    "DynConduitTx",
    "LinkWatcher",
    "Source",
]

M = TypeVar("M")


class Carrier(Protocol):
    """The part of a sending half that takes what is encoded; see `LinkTx`."""

    @property
    def is_full(self) -> bool: ...
    @property
    def closes_at_once(self) -> bool: ...
    def send_nowait(self, payload: Any, /) -> None: ...
    def send_many_nowait(self, payloads: Sequence[Any], /) -> int: ...
    def cork(self) -> None: ...
    def uncork(self, *, prompt: bool = False) -> None: ...
    async def pump(self) -> None: ...
    def defer_pump(self, start: Callable[[], None]) -> bool: ...
    def forget(self) -> None: ...


class Source(Protocol):
    """The part of a receiving half that has what is not decoded yet; see `LinkRx`."""

    async def recv(self) -> Any: ...
    def recv_batch(self) -> Awaitable[Iterable[Any]]: ...
    def count_in(self, budget: RxBudget) -> None: ...


class _Itself:
    """The default of `ConduitTx.carrier` and `ConduitRx.source`."""

    def __get__(self, half: object, owner: object) -> object:
        return half


def _unchanged(message: Any) -> Any:
    """Return the argument: what such a conduit carries are the messages themselves."""
    return message


class LinkWatcher(Protocol):
    """Is told of the links of a conduit that outlives them; see `Conduit`."""

    def link_lost(self, because: Exception) -> None: ...
    def link_resumed(self) -> None: ...


class ConduitTxPermit(ABC, Generic[M]):
    """The right to send one message; a context manager that releases it if unused."""

    @abstractmethod
    def send(self, message: M) -> None:
        """Use the permit up: encode `message` and commit it. Never waits.

        Raises:
            PayloadTooLarge: the message does not fit into a payload of the link.
            LinkError, ConduitError: the conduit has ended.
        """

    @abstractmethod
    def release(self) -> None:
        """Release the permit unused. Has no effect after `send` or `release`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class ConduitTx(ABC, Generic[M]):
    """The sending half of a conduit."""

    @abstractmethod
    async def reserve(self) -> ConduitTxPermit[M]:
        """Wait until there is room for one more message. If cancelled, take no room.

        Raises:
            LinkError, ConduitError: the conduit has ended.
        """

    @abstractmethod
    def reserve_nowait(self) -> ConduitTxPermit[M]:
        """As `reserve`, without waiting.

        Raises:
            trio.WouldBlock: there is no room now.
        """

    @abstractmethod
    def has_room(self) -> bool:
        """Return True if a message can be sent now without waiting. Also True when the
        conduit has ended, because sending then fails at once.
        """

    @property
    def is_full(self) -> bool:
        """True if `has_room` is False."""
        return not self.has_room()

    @property
    def closes_at_once(self) -> bool:
        """True if `close` would not wait now; see `LinkTx.closes_at_once`."""
        return False

    encode: Callable[[M], Any] = staticmethod(_unchanged)
    """Encodes a message for the `carrier`.

    A session sends by ``tx.carrier.send_nowait(tx.encode(message))`` instead of
    `send_nowait`, so that a conduit that only encodes costs no call. The default
    returns the message.
    """

    def encode_all(self, messages: Sequence[M]) -> Sequence[Any]:
        """Encode several messages for `Carrier.send_many_nowait`; see `encode`."""
        return messages

    carrier: Carrier = cast("Carrier", _Itself())
    """The object that carries encoded messages. The default is this object."""

    def send_nowait(self, message: M) -> None:
        """Reserve and send in one step, after `is_full` was False.

        Raises:
            trio.WouldBlock: there is no room now.
            PayloadTooLarge, LinkError, ConduitError: as `ConduitTxPermit.send`.
        """
        self.reserve_nowait().send(message)

    def send_many_nowait(self, messages: Sequence[M]) -> int:
        """Send several messages in one step, in order, while there is room.

        The default sends them one by one.

        Returns:
            The number of messages that were sent: 0 if there is no room now. An error
            after some of them is raised by the next call.

        Raises:
            PayloadTooLarge, LinkError, ConduitError: as `ConduitTxPermit.send`, for the
                first message.
        """
        for sent, message in enumerate(messages):
            if self.is_full:
                return sent
            try:
                self.send_nowait(message)
            except RoamTrioError:
                if not sent:
                    raise
                return sent
        return len(messages)

    def cork(self) -> None:
        """Put off writing until `uncork`; see `LinkTx.cork`."""
        return

    def uncork(self, *, prompt: bool = False) -> None:
        """Write what was committed since `cork`, without waiting; see `LinkTx`."""
        return

    @abstractmethod
    def statistics(self) -> TxStatistics:
        """Return the totals sent by the link below, and how full its buffer is."""

    @abstractmethod
    async def pump(self) -> None:
        """Write committed messages to the transport; see `LinkTx.pump`."""

    def defer_pump(self, start: Callable[[], None]) -> bool:
        """Start without `pump` until it is needed, if possible; see `LinkTx`."""
        return False

    def doubt(self) -> bool:
        """Handle a peer that has not answered for too long.

        Return True if the conduit may still reach the peer.

        A conduit that can obtain another link drops its present link and returns True.
        The default returns False: the session ends. Never waits.
        """
        return False

    def count_in(self, budget: ByteBudget) -> None:
        """Count the messages that are kept for the peer in `budget`, until `forget`:
        those that it does not read, or has not acknowledged.

        The default does nothing.
        """
        return

    def forget(self) -> None:
        """Drop the messages that are kept for the peer, which has exceeded a limit.

        The session is about to end. The last messages can still be sent, if there is a
        link. Never waits. The default does nothing.
        """
        return

    @abstractmethod
    async def close(self) -> None:
        """Close gracefully; see `LinkTx.close`."""

    @abstractmethod
    async def abort(self) -> None:
        """Close at once; see `LinkTx.abort`."""


class ConduitRx(ABC, Generic[M]):
    """The receiving half of a conduit."""

    @abstractmethod
    async def recv(self) -> M | None:
        """Receive one message; None when the peer has closed. Safe to cancel.

        Raises:
            ConduitError: the payload is not a message.
            LinkError: the link failed.
        """

    @abstractmethod
    def recv_nowait(self) -> M | None:
        """As `recv`, without waiting.

        Raises:
            trio.WouldBlock: no message has arrived.
        """

    async def recv_batch(self) -> Iterable[M]:
        """Receive all messages that have arrived, waiting for at least one.

        The same as `recv`, then `recv_nowait` until it raises; empty when the peer has
        closed. Messages may be decoded during iteration, which then raises what `recv`
        would raise.
        """
        first = await self.recv()
        return () if first is None else self._with_the_others(first)

    def count_in(self, budget: RxBudget) -> None:
        """Count the bytes of a message that is not complete; see `LinkRx.count_in`.

        The default does nothing.
        """
        return

    def begin_polling(
        self, seconds: float, *, reader_looks: bool
    ) -> PayloadPoller | None:
        """Look at the transport before waiting for it; see `LinkRx.begin_polling`. What
        is found still needs `decode`.

        The default returns None.
        """
        return None

    source: Source = cast("Source", _Itself())
    """The object that receives encoded messages. The default is this object.

    A session applies `decode` to each item of ``await rx.source.recv_batch()`` instead
    of `recv_batch`, and passes what cannot be decoded to `refuse`.
    """

    decode: Callable[[Any], M] = staticmethod(_unchanged)
    """Decodes an item of the `source`, or raises DecodeError. The default returns it,
    because `recv_batch` of a conduit returns messages.
    """

    def gather(self, received: Sequence[Any]) -> Sequence[Any]:
        """Prepare what the `source` has received together; see `MsgFamily.gather`."""
        return received

    def refuse(self, payload: Any, error: DecodeError) -> NoReturn:
        """Raise the error for a payload that cannot be decoded.

        Raises:
            ConduitError: the payload is not a message.
        """
        raise ConduitError(f"the payload is not a message: {error}") from error

    def _with_the_others(self, first: M) -> Iterator[M]:
        yield first
        with suppress(trio.WouldBlock):
            while (message := self.recv_nowait()) is not None:
                yield message

    @abstractmethod
    def statistics(self) -> RxStatistics:
        """Return the totals received by the link below."""

    @abstractmethod
    async def close(self) -> None:
        """Stop receiving. Does not wait."""


class Conduit(ABC, Generic[M]):
    """Messages on a link, before its use; split once (`conduit.split`)."""

    @abstractmethod
    def split(self) -> tuple[ConduitTx[M], ConduitRx[M]]:
        """Return the two halves."""

    def peer(self) -> Peer:
        """Describe the peer; called once, before `split`. Never waits.

        A conduit that continues on another link keeps what it has returned, and changes
        it as the link changes (`Peer.follow`). The default names the class of the
        conduit.
        """
        return Peer("other", type(self).__name__)

    def watch_links(self, watcher: LinkWatcher) -> None:
        """Tell `watcher` when this conduit loses its link and continues on another.

        Called before `split`, if at all. The default does nothing: most conduits end
        with their link.
        """
        return

    def into_conduit(self) -> Conduit[M]:
        """Return this conduit itself; see `IntoConduit`."""
        return self


class ConduitAcceptor(ABC, Generic[M]):
    """Accepts clients, each on a conduit of its own.

    `serve` takes one in place of a URL. `AttachingAcceptor` is the one for links that
    the program has. Subclass this for conduits from elsewhere.
    """

    @abstractmethod
    async def accept(self) -> Conduit[M]:
        """Wait for the next client, and return its conduit, which the caller owns.

        A checkpoint. Cancellation loses no client. `serve` accepts one client at a
        time: do a handshake in another task, so that a slow client does not block the
        next. An exception ends `serve`: handle the failure of a single client here.

        Raises:
            trio.EndOfChannel: there will be no more clients.
        """


DynConduitTx: TypeAlias = ConduitTx[Message]
"""The sending half of any conduit of messages."""
