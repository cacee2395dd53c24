"""Channels: streams of values inside calls, modelled as trio's memory channels.

The holder of a `Tx` sends, and the holder of an `Rx` receives. A method takes either as
an argument. The caller makes a pair with `channel` and passes one end to the call. This
*binds* the pair: the other end is then connected to the handler.

    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, tx)      # waits until the call has bound the pair
        total = await adder.sum(rx)

The ends do not depend on sessions: items move through `ChannelSink` and
`ChannelSource`, which the session layer implements.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import GenericAlias
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
)

import trio

from ..codec import SelfRef
from ..errors import RxClosed, RxUnbound, TxClosed, TxUnbound
from ..limits import DEFAULT_LIMITS
from ..logs import Log
from ..running import check_run

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ChannelSink", "ChannelSource", "Rx", "Tx", "channel"]

logger = Log("roam_trio.rpc")

T = TypeVar("T")

_ENDS = (trio.EndOfChannel, trio.ClosedResourceError, trio.BrokenResourceError)
"""Errors of a channel that has ended: every later call raises them as well."""


class ChannelSink(ABC):
    """The sending side of a session, for a bound `Tx`."""

    __slots__ = ()

    @abstractmethod
    async def send(self, value: Any) -> None:
        """See `Tx.send`."""

    async def send_many(self, values: Iterable[Any]) -> None:
        """See `Tx.send_many`. The default sends one by one."""
        for value in values:
            await self.send(value)

    def send_nowait(self, value: Any) -> None:
        """See `Tx.send_nowait`. The default can only send by waiting, and raises
        `trio.WouldBlock`.
        """
        raise trio.WouldBlock

    @abstractmethod
    def close(self) -> None:
        """See `Tx.close`."""

    @abstractmethod
    def drop(self) -> None:
        """Record that the `Tx` was dropped. Safe at any moment and from any thread."""


class ChannelSource(ABC):
    """The receiving side of a session, for a bound `Rx`."""

    __slots__ = ()

    @abstractmethod
    async def receive(self, borrow: bool = False) -> Any:
        """See `Rx.recv`; and `Rx.recv_borrowed` if `borrow` is True."""

    @abstractmethod
    def receive_nowait(self) -> Any:
        """See `Rx.recv_nowait`."""

    async def receive_many(self, most: int | None = None) -> list[Any]:
        """See `Rx.recv_many`. The default waits for an item, and takes the others that
        have come.

        The error of an item in the middle is raised at once, and the items before it
        are lost: override it if items can fail.
        """
        items = [await self.receive()]
        with contextlib.suppress(trio.WouldBlock, *_ENDS):
            while most is None or len(items) < most:
                items.append(self.receive_nowait())
        return items

    @abstractmethod
    def grant(self, count: int) -> None:
        """See `Rx.grant`."""

    @abstractmethod
    def reset(self) -> None:
        """See `Rx.reset`."""

    @abstractmethod
    def drop(self) -> None:
        """Record that the `Rx` was dropped. Safe at any moment and from any thread."""


_Mapping: TypeAlias = tuple[
    Callable[[ChannelSink], ChannelSink], Callable[[ChannelSource], ChannelSource]
]


class Binding:
    """State that the two ends of a pair share: a sink or a source, never both.

    An end that was decoded from a call has its own binding (`rpc.channel.pair`). If one
    end of a pair is gone, the other can still be bound, to a channel that ends at once.
    """

    __slots__ = (
        "_mappings",
        "_token",
        "_waiting",
        "rx_gone",
        "sink",
        "source",
        "tx_gone",
    )

    def __init__(self) -> None:
        self.sink: ChannelSink | None = None
        self.source: ChannelSource | None = None
        self.tx_gone = False
        """True if the `Tx` was closed or dropped before anything was bound."""
        self.rx_gone = False
        """True if the `Rx` was reset or dropped before anything was bound."""
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._mappings: tuple[_Mapping, ...] = ()

    @property
    def is_bound(self) -> bool:
        """Return True if the pair belongs to a call."""
        return self.sink is not None or self.source is not None

    @property
    def is_pending(self) -> bool:
        """Return True if both ends exist and the pair can still be bound."""
        return not (self.is_bound or self.tx_gone or self.rx_gone)

    def bind(
        self, *, sink: ChannelSink | None = None, source: ChannelSource | None = None
    ) -> None:
        """Bind the pair, once, and wake the tasks that wait for it."""
        self.sink = sink
        self.source = source
        for mapping in self._mappings:
            self._map(*mapping)
        self._wake()

    def map_ends(
        self,
        map_sink: Callable[[ChannelSink], ChannelSink],
        map_source: Callable[[ChannelSource], ChannelSource],
    ) -> None:
        """Put something around the sink or source, now or once the pair is bound."""
        if self.is_bound:
            self._map(map_sink, map_source)
        else:
            self._mappings += ((map_sink, map_source),)

    def _map(
        self,
        map_sink: Callable[[ChannelSink], ChannelSink],
        map_source: Callable[[ChannelSource], ChannelSource],
    ) -> None:
        if self.sink is not None:
            self.sink = map_sink(self.sink)
        if self.source is not None:
            self.source = map_source(self.source)

    async def wait(self) -> None:
        """Wait until the pair is bound, or an end is gone."""
        self.check_run()
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
            self._token = trio.lowlevel.current_trio_token()
        # There is no session yet whose limits and watch are those of this wait. It is
        # rare: once for a channel.
        seconds = DEFAULT_LIMITS.warn_after
        with trio.move_on_after(seconds):
            await self._waiting.park()
            return
        if not (self.is_bound or self.tx_gone or self.rx_gone):
            logger.warning(
                "an end of a channel has waited for %g s for a call to bind its pair: "
                "give the other end to a call",
                seconds,
            )
            await self._waiting.park()

    def check_run(self) -> None:
        """Raise an error in another run of trio than that of the waiting tasks.

        Raises:
            RuntimeError: this is another run.
        """
        check_run(self._token, "this channel")

    def lose_tx(self) -> None:
        """Record that the `Tx` is gone. Safe from any thread, as for garbage
        collection.
        """
        self.tx_gone = True
        self._wake_soon()

    def lose_rx(self) -> None:
        """Record that the `Rx` is gone. Safe from any thread, as for garbage
        collection.
        """
        self.rx_gone = True
        self._wake_soon()

    def _wake_soon(self) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake)

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.unpark_all()


class _End:
    """Base class of both ends."""

    __slots__ = ("__weakref__", "_binding")

    _binding: Binding

    def __init__(self) -> None:
        self._binding = Binding()
        raise TypeError(
            f"{type(self).__name__} is not made directly: channel() makes a pair"
        )

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item: Any) -> GenericAlias:
            # Avoid the cache of typing, for which Tx[A | B] equals Tx[B | A].
            return GenericAlias(cls, item)

    @classmethod
    def __roam_unbound__(cls) -> Self:
        """Return an end without a partner, to be bound to a channel id."""
        return cls.on(Binding())

    @classmethod
    def on(cls, binding: Binding) -> Self:
        """Return an end of the pair that shares `binding`."""
        end = cls.__new__(cls)
        end._binding = binding
        return end

    @property
    def binding(self) -> Binding:
        """The binding; for the session layer."""
        return self._binding

    @property
    @abstractmethod
    def can_be_given(self) -> bool:
        """Return True if this end can be an argument of a call."""


class Tx(_End, trio.abc.SendChannel[T], Generic[T]):
    """The end of a channel that sends.

    As an argument of a method, it lets the handler send to the caller. Closing it, or
    dropping the last reference to it, tells the receiver at once that there are no more
    items. ``async with tx:`` closes it at the end of the block.
    """

    __slots__ = ()
    __roam_channel__: ClassVar[Literal["tx"]] = "tx"

    @property
    def can_be_given(self) -> bool:
        return not (self._binding.is_bound or self._binding.tx_gone)

    async def send(self, value: T) -> None:
        """Send one item, waiting for credit and for room (`rpc.flow-control.credit`).

        If the pair belongs to no call yet, wait until a call binds it. Always a
        cancellation point. It yields to other tasks only when it waits, which credit
        enforces at least once per window. If cancelled, it has sent nothing.

        Raises:
            EncodeError: `value` does not match the item type; the channel remains open.
            TxReset: the receiver wants no more items.
            TxClosed: this end has been closed.
            TxConnectionLost: the connection ended, or the call failed.
            TxUnbound: the other end is gone, so no call can bind the pair.
        """
        sink = self._binding.sink
        if sink is None:
            sink = await self._wait_for_sink()
        await sink.send(value)

    async def send_many(self, values: Iterable[T]) -> None:
        """Send all of `values`, in order, as many in one step as there is credit for.

        The receiver gets separate items. Waits for credit and for room as often as
        needed. A cancellation point before each step, and it yields to other tasks only
        when it waits, as `send`.

        If it is cancelled while it waits, the values before the one that it waits for
        have been sent, and the others have not. With credit and room for all values, it
        sends all or none. If a value cannot be sent, or `values` raises, those before
        it have been sent. An iterator is read ahead by no more than the credit.

        Raises:
            EncodeError: a value does not match the item type; the channel remains open.
            PayloadTooLarge: a value is too long; the channel remains open.
            TxReset, TxClosed, TxConnectionLost, TxUnbound: as `send`.
        """
        sink = self._binding.sink
        if sink is None:
            sink = await self._wait_for_sink()
        await sink.send_many(values)

    def send_nowait(self, value: T) -> None:
        """As `send`, without waiting.

        Raises:
            trio.WouldBlock: there is no credit or no room now, or no call has bound the
                pair yet.
        """
        sink = self._binding.sink
        if sink is None:
            if self._binding.is_pending:
                raise trio.WouldBlock
            raise self._why_not()
        sink.send_nowait(value)

    async def _wait_for_sink(self) -> ChannelSink:
        binding = self._binding
        binding.check_run()
        await trio.lowlevel.checkpoint_if_cancelled()
        while binding.is_pending:
            await binding.wait()
        if binding.sink is None:
            raise self._why_not()
        return binding.sink

    def _why_not(self) -> TxClosed | TxUnbound:
        if self._binding.tx_gone and not self._binding.is_bound:
            return TxClosed("this end of the channel has been closed")
        return TxUnbound(_why_unbound(self._binding, "Tx", "Rx"))

    def close(self) -> None:
        """Tell the receiver that there are no more items. Never waits; idempotent."""
        if self._binding.sink is not None:
            self._binding.sink.close()
        else:
            self._binding.lose_tx()

    async def aclose(self) -> None:
        """Call `close`, then execute a checkpoint; for `trio.abc.AsyncResource`."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aexit__(self, *args: object) -> None:
        self.close()

    def __del__(self) -> None:
        binding = self._binding
        if binding.sink is not None:
            binding.sink.drop()
        else:
            binding.lose_tx()

    def __repr__(self) -> str:
        return f"<Tx {self._binding.sink or _state(self._binding)}>"


class Rx(_End, trio.abc.ReceiveChannel[T], Generic[T]):
    """The end of a channel that receives.

    As an argument of a method, it lets the handler receive from the caller.
    ``async for item in rx:`` ends when the sender has closed the channel. Dropping the
    last reference, or leaving ``async with rx:``, resets a channel that is still open.
    """

    __slots__ = ()
    __roam_channel__: ClassVar[Literal["rx"]] = "rx"

    @property
    def can_be_given(self) -> bool:
        return not (self._binding.is_bound or self._binding.rx_gone)

    async def recv(self) -> T:
        """Wait for the next item, return it, and grant credit for received items.

        If the pair belongs to no call yet, wait until a call binds it. Always a
        cancellation point. It yields to other tasks only when it waits, which happens
        at least once per window. If cancelled, it has taken no item.

        Raises:
            trio.EndOfChannel: the sender has closed, and all its items were received.
            RxDecodeError: the item does not match the item type. The item is consumed,
                and the channel remains open.
            RxClosed: this end has been reset.
            RxConnectionLost: the connection ended, or the call failed.
            RxUnbound: the other end is gone, so no call can bind the pair.
        """
        source = self._binding.source
        if source is None:
            source = await self._wait_for_source()
        item: T = await source.receive()
        return item

    receive = recv

    async def recv_many(self, most: int | None = None) -> list[T]:
        """Wait for an item, and return it with all others that have come, in order.

        As `recv`, in one step: credit is granted once, for all of them. Never returns
        an empty list. If cancelled, it has taken no item.

        Args:
            most: number of items to return at most, at least 1; None for all.

        Raises:
            ValueError: `most` is less than 1.
            RxDecodeError: the first item does not match the item type. It is consumed,
                and the channel remains open. If a later item does not match, the items
                before it are returned, and the next call raises.
            trio.EndOfChannel, RxClosed, RxConnectionLost, RxUnbound: as `recv`.
        """
        if most is not None and most < 1:
            raise ValueError(f"recv_many: expected at least 1 item, got most={most}")
        source = self._binding.source
        if source is None:
            source = await self._wait_for_source()
        return await source.receive_many(most)

    receive_many = recv_many

    async def recv_borrowed(self) -> SelfRef[T]:
        """As `recv`, and return the item together with the buffer it was decoded from.

        The `memoryview` fields of an item borrow from that buffer. It is the encoding
        of the item alone, or a view of that in the whole payload if it is long.
        """
        source = self._binding.source
        if source is None:
            source = await self._wait_for_source()
        item: SelfRef[T] = await source.receive(True)
        return item

    async def __anext__(self) -> T:
        # Inlined from `trio.abc.ReceiveChannel`, which saves one coroutine per item.
        source = self._binding.source
        if source is None:
            source = await self._wait_for_source()
        try:
            item: T = await source.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return item

    def recv_nowait(self) -> T:
        """As `recv`, without waiting.

        Raises:
            trio.WouldBlock: no item has arrived.
        """
        binding = self._binding
        if binding.source is None:
            if binding.is_pending:
                raise trio.WouldBlock
            raise self._why_not()
        item: T = binding.source.receive_nowait()
        return item

    receive_nowait = recv_nowait

    async def _wait_for_source(self) -> ChannelSource:
        binding = self._binding
        binding.check_run()
        await trio.lowlevel.checkpoint_if_cancelled()
        while binding.is_pending:
            await binding.wait()
        if binding.source is None:
            raise self._why_not()
        return binding.source

    def _why_not(self) -> RxClosed | RxUnbound:
        if self._binding.rx_gone and not self._binding.is_bound:
            return RxClosed("this end of the channel has been reset")
        return RxUnbound(_why_unbound(self._binding, "Rx", "Tx"))

    def grant(self, count: int) -> None:
        """Enlarge the window by `count` items, permanently.

        `recv` grants credit automatically. Use this on a channel whose declared credit
        is 0, or too small (`rpc.flow-control.credit.grant`).

        Raises:
            RxUnbound: the channel is not bound yet.
        """
        if self._binding.source is None:
            raise RxUnbound("grant: the channel belongs to no call yet")
        self._binding.source.grant(count)

    def reset(self) -> None:
        """Tell the sender to send no more items, and drop the queued ones.

        Never waits; has no effect when the channel has ended (`rpc.channel.reset`).
        """
        if self._binding.source is not None:
            self._binding.source.reset()
        else:
            self._binding.lose_rx()

    async def aclose(self) -> None:
        """Call `reset`, then execute a checkpoint; for `trio.abc.AsyncResource`."""
        self.reset()
        await trio.lowlevel.checkpoint()

    async def __aexit__(self, *args: object) -> None:
        self.reset()

    def __del__(self) -> None:
        binding = self._binding
        if binding.source is not None:
            binding.source.drop()
        else:
            binding.lose_rx()

    def __repr__(self) -> str:
        return f"<Rx {self._binding.source or _state(self._binding)}>"


class channel(tuple["Tx[T]", "Rx[T]"], Generic[T]):
    """Make a pair of channel ends, which a call binds together.

    ``tx, rx = channel[int]()`` or ``channel(int)``. The item type is for type checkers.
    The method that binds the pair determines its items and its initial credit.
    """

    def __new__(cls, item: type[T] | None = None) -> channel[T]:
        binding = Binding()
        tx = Tx[T].on(binding)
        rx = Rx[T].on(binding)
        return super().__new__(cls, (tx, rx))


def _state(binding: Binding) -> str:
    if binding.is_bound:
        return "given away in a call"
    return "unbound" if binding.is_pending else "unbound, an end of the pair gone"


def _why_unbound(binding: Binding, this: str, other: str) -> str:
    if binding.is_bound:
        return f"this {this} was given away in a call; use the {other} of the pair"
    return f"the {other} of this pair is gone, and no call can bind it any more"
