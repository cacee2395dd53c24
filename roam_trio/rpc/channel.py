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

from abc import abstractmethod
from collections.abc import Iterable
from types import GenericAlias
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeVar,
)

import attrs
import trio

from ..codec import SelfRef
from ..errors import RxClosed, RxUnbound, TxClosed, TxUnbound
from .clones import ClonedBinding, Clones
from .pairs import Binding
from .sinks import ChannelSink, ChannelSource, EndStatistics

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Rx", "Tx", "channel"]

T = TypeVar("T")


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

    def _clone(self, side: Literal["tx", "rx"]) -> Self:
        binding = self._binding
        if not isinstance(binding, ClonedBinding):
            self._binding = Clones(binding, side).add()
            binding.wake()  # those who wait in this end go on in its clone
        assert isinstance(self._binding, ClonedBinding)
        return self.on(self._binding.clones.add())

    def _statistics(self, of: ChannelSink | ChannelSource | None) -> EndStatistics:
        binding = self._binding
        if of is None:
            found = EndStatistics(tasks_waiting=binding.tasks_waiting)
        else:
            found = of.end_statistics()
        if isinstance(binding, ClonedBinding):
            found = attrs.evolve(found, clones=len(binding.clones))
        return found

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
        binding = self._binding
        return not (
            binding.is_bound or binding.tx_gone or isinstance(binding, ClonedBinding)
        )

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
            TypeError: `values` is not iterable.
            EncodeError: a value does not match the item type; the channel remains open.
            PayloadTooLarge: a value is too long; the channel remains open.
            TxReset, TxClosed, TxConnectionLost, TxUnbound: as `send`.
        """
        try:
            values = iter(values)
        except TypeError:
            raise TypeError(
                "send_many: expected an iterable of items, got an object of type "
                f"{type(values).__name__}; send() sends one item"
            ) from None
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

    async def closed(self) -> None:
        """Wait until nothing can be sent any more.

        That is when the receiver wants no more items, this side has closed the channel,
        the connection has ended, or the call has failed. For a handler that waits for
        an event before it sends the next item. If the pair belongs to no call yet, wait
        until a call binds it. A checkpoint; cancelled, it changes nothing.

        Raises:
            TxClosed: this end was closed before a call has bound the pair.
            TxUnbound: the other end is gone, so no call can bind the pair.
        """
        sink = self._binding.sink
        if sink is None:
            sink = await self._wait_for_sink()
        await sink.closed()

    async def _wait_for_sink(self) -> ChannelSink:
        self._binding.check_run()
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._binding.is_pending:
            await self._binding.wait()  # and it may be that of a clone afterwards
        if self._binding.sink is None:
            raise self._why_not()
        return self._binding.sink

    def _why_not(self) -> TxClosed | TxUnbound:
        if self._binding.tx_gone and not self._binding.is_bound:
            return TxClosed("this end of the channel has been closed")
        return TxUnbound(_why_unbound(self._binding, "Tx", "Rx"))

    def clone(self) -> Tx[T]:
        """Return another end that sends on the same channel, as trio's channels do.

        The channel is closed when the last clone is closed or dropped. A clone cannot
        be an argument of a call. Each use of a clone costs a little more than that of
        an end which was never cloned.

        Raises:
            TxClosed: this end has been closed.
            TxUnbound: it was given away in a call.
        """
        binding = self._binding
        if binding.tx_gone or binding.source is not None:
            raise self._why_not()
        if binding.sink is not None and binding.sink.is_closed:
            raise TxClosed("this end of the channel has been closed")
        return self._clone("tx")

    def statistics(self) -> EndStatistics:
        """Return the credit, and how many tasks wait to send."""
        return self._statistics(self._binding.sink)

    def close(self) -> None:
        """Tell the receiver that there are no more items. Never waits; idempotent.

        Tasks that wait in this end get `TxClosed`.
        """
        if self._binding.sink is not None:
            self._binding.sink.close()
        else:
            self._binding.lose_tx()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

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
        binding = self._binding
        return not (
            binding.is_bound or binding.rx_gone or isinstance(binding, ClonedBinding)
        )

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
        an empty list. It returns fewer items if all could take more than 16 MiB of
        memory when they are decoded. If cancelled, it has taken no item.

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
        self._binding.check_run()
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._binding.is_pending:
            await self._binding.wait()  # and it may be that of a clone afterwards
        if self._binding.source is None:
            raise self._why_not()
        return self._binding.source

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

    def clone(self) -> Rx[T]:
        """Return another end that receives from the same channel, as trio's channels
        do.

        Each item goes to one of the clones. The channel is reset when the last clone is
        reset or dropped. A clone cannot be an argument of a call. Each use of a clone
        costs a little more than that of an end which was never cloned.

        Raises:
            RxClosed: this end has been reset.
            RxUnbound: it was given away in a call.
        """
        binding = self._binding
        if binding.rx_gone or binding.sink is not None:
            raise self._why_not()
        if binding.source is not None and binding.source.is_reset:
            raise RxClosed("this end of the channel has been reset")
        return self._clone("rx")

    def statistics(self) -> EndStatistics:
        """Return the credit of the sender, the number of items that have come, and how
        many tasks wait to receive.
        """
        return self._statistics(self._binding.source)

    def reset(self) -> None:
        """Tell the sender to send no more items, and drop the queued ones.

        Never waits; has no effect when the channel has ended (`rpc.channel.reset`).
        """
        if self._binding.source is not None:
            self._binding.source.reset()
        else:
            self._binding.lose_rx()

    close = reset

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.reset()

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
