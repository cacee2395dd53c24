"""Channels: streams of values inside calls, modelled as trio's memory channels.

`Tx` is the end that sends and `Rx` the end that receives, seen from whoever holds it.
A method takes them as arguments; the caller makes a pair with `channel` and passes one
end along, which *binds* the pair: from then on the other end speaks with the handler.

    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, tx)      # waits until the call has bound the pair
        total = await adder.sum(rx)

The ends know nothing of sessions: what moves the items is behind `ChannelSink` and
`ChannelSource`, which the session layer implements.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import trio

from ..errors import RxClosed, RxUnbound, TxClosed, TxUnbound
from ..running import check_run

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ChannelSink", "ChannelSource", "Rx", "Tx", "channel"]

T = TypeVar("T")


class ChannelSink(ABC):
    """Sends for a bound `Tx`."""

    @abstractmethod
    async def send(self, value: Any) -> None:
        """See `Tx.send`."""

    @abstractmethod
    def close(self) -> None:
        """See `Tx.close`."""

    @abstractmethod
    def drop(self) -> None:
        """Note that nobody holds the `Tx`. Safe at any moment and from any thread."""


class ChannelSource(ABC):
    """Receives for a bound `Rx`."""

    @abstractmethod
    async def receive(self) -> Any:
        """See `Rx.recv`."""

    @abstractmethod
    def receive_nowait(self) -> Any:
        """See `Rx.recv_nowait`."""

    @abstractmethod
    def grant(self, count: int) -> None:
        """See `Rx.grant`."""

    @abstractmethod
    def reset(self) -> None:
        """See `Rx.reset`."""

    @abstractmethod
    def drop(self) -> None:
        """Note that nobody holds the `Rx`. Safe at any moment and from any thread."""


class Binding:
    """State that the two ends of a pair share: a sink or a source, never both.

    An end that was decoded from a call has a binding of its own (`rpc.channel.pair`).
    A pair one end of which is gone can still be bound through the other: to a channel
    that ends at once.
    """

    __slots__ = ("_token", "_waiting", "rx_gone", "sink", "source", "tx_gone")

    def __init__(self) -> None:
        self.sink: ChannelSink | None = None
        self.source: ChannelSource | None = None
        self.tx_gone = False
        """True if the `Tx` was closed or dropped before anything was bound."""
        self.rx_gone = False
        """True if the `Rx` was reset or dropped before anything was bound."""
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def is_bound(self) -> bool:
        """True if it belongs to a call."""
        return self.sink is not None or self.source is not None

    @property
    def is_pending(self) -> bool:
        """True if both ends are there, and one can still come to be bound."""
        return not (self.is_bound or self.tx_gone or self.rx_gone)

    def bind(
        self, *, sink: ChannelSink | None = None, source: ChannelSource | None = None
    ) -> None:
        """Bind the pair, once, and wake whoever waits for it."""
        self.sink = sink
        self.source = source
        self._wake()

    async def wait(self) -> None:
        """Wait until the pair is bound, or an end is gone."""
        self.check_run()
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
            self._token = trio.lowlevel.current_trio_token()
        await self._waiting.park()

    def check_run(self) -> None:
        """Refuse use in another run of trio than the one in which tasks wait.

        Raises:
            RuntimeError: this is another one.
        """
        check_run(self._token, "this channel")

    def lose_tx(self) -> None:
        """Note that the `Tx` is gone. Safe from any thread: it may be due to
        collection."""
        self.tx_gone = True
        self._wake_soon()

    def lose_rx(self) -> None:
        """Note that the `Rx` is gone. Safe from any thread: it may be due to
        collection."""
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
    """The base of both ends."""

    __slots__ = ("__weakref__", "_binding")

    _binding: Binding

    def __init__(self) -> None:
        self._binding = Binding()
        raise TypeError(
            f"{type(self).__name__} is not made directly: channel() makes a pair"
        )

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item: Any) -> GenericAlias:
            # Not through typing's cache, to which Tx[A | B] and Tx[B | A] are one.
            return GenericAlias(cls, item)

    @classmethod
    def __roam_unbound__(cls) -> Self:
        """Return an end by itself, for the decoder, to be bound to a channel id."""
        return cls.on(Binding())

    @classmethod
    def on(cls, binding: Binding) -> Self:
        """Return an end of the pair that shares `binding`."""
        end = cls.__new__(cls)
        end._binding = binding
        return end

    @property
    def binding(self) -> Binding:
        """The binding, for the session layer."""
        return self._binding

    @property
    @abstractmethod
    def can_be_given(self) -> bool:
        """True if this end can be an argument of a call that is about to be sent."""


class Tx(_End, trio.abc.SendChannel[T], Generic[T]):
    """The end of a channel that sends.

    As an argument of a method it lets the handler send to the caller. Closing tells
    the receiver that no more will come; so does dropping the last reference, at once.
    ``async with tx:`` closes at the end of the block.
    """

    __slots__ = ()
    __roam_channel__: ClassVar[Literal["tx"]] = "tx"

    @property
    def can_be_given(self) -> bool:
        return not (self._binding.is_bound or self._binding.tx_gone)

    async def send(self, value: T) -> None:
        """Send one item, waiting for credit and for room (`rpc.flow-control.credit`).

        On a pair that belongs to no call yet it waits until one binds it. Always a
        cancellation point; other tasks get their turn when it waits, which the credit
        makes it do at least once in every window. Cancelled, it has sent nothing.

        Raises:
            EncodeError: `value` is not of the channel's type; the channel lives on.
            TxReset: the receiver wants no more.
            TxClosed: this end has been closed.
            TxConnectionLost: the connection ended, or the call failed.
            TxUnbound: the other end is gone, and nothing can bind the pair any more.
        """
        sink = self._binding.sink
        if sink is None:
            sink = await self._wait_for_sink()
        await sink.send(value)

    async def _wait_for_sink(self) -> ChannelSink:
        binding = self._binding
        binding.check_run()
        await trio.lowlevel.checkpoint_if_cancelled()
        while binding.is_pending:
            await binding.wait()
        if binding.sink is not None:
            return binding.sink
        if binding.tx_gone and not binding.is_bound:
            raise TxClosed("this end of the channel has been closed")
        raise TxUnbound(_why_unbound(binding, "Tx", "Rx"))

    def close(self) -> None:
        """Tell the receiver that no more will come. Never waits; harmless twice."""
        if self._binding.sink is not None:
            self._binding.sink.close()
        else:
            self._binding.lose_tx()

    async def aclose(self) -> None:
        """As `close`, and a checkpoint; for `trio.abc.AsyncResource`."""
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

    As an argument of a method it lets the handler receive from the caller.
    ``async for item in rx:`` ends when the sender has closed. Dropping the last
    reference, or leaving ``async with rx:``, resets a channel that is still open.
    """

    __slots__ = ()
    __roam_channel__: ClassVar[Literal["rx"]] = "rx"

    @property
    def can_be_given(self) -> bool:
        return not (self._binding.is_bound or self._binding.rx_gone)

    async def recv(self) -> T:
        """Receive the next item, waiting for it, and grant credit for what was taken.

        On a pair that belongs to no call yet it waits until one binds it. Always a
        cancellation point; other tasks get their turn when it waits, which it does at
        least once in every window. Cancelled, it has taken nothing.

        Raises:
            trio.EndOfChannel: the sender has closed, and all it sent was received.
            RxDecodeError: the item is not of the channel's type. It is taken; the
                channel lives on.
            RxClosed: this end has been reset.
            RxConnectionLost: the connection ended, or the call failed.
            RxUnbound: the other end is gone, and nothing can bind the pair any more.
        """
        source = self._binding.source
        if source is None:
            source = await self._wait_for_source()
        item: T = await source.receive()
        return item

    receive = recv

    async def __anext__(self) -> T:
        # As `trio.abc.ReceiveChannel` has it, and a coroutine less.
        source = self._binding.source
        if source is None:
            source = await self._wait_for_source()
        try:
            item: T = await source.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return item

    def recv_nowait(self) -> T:
        """As `recv`, for an item that has come already.

        Raises:
            trio.WouldBlock: there is none yet.
        """
        binding = self._binding
        if binding.source is None:
            if binding.is_pending:
                raise trio.WouldBlock
            raise self._why_not()
        item: T = binding.source.receive_nowait()
        return item

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
        """Let the sender send `count` more items than the window, now and from now on.

        Receiving grants credit by itself. This is for a channel whose declared credit
        is 0, or too small (`rpc.flow-control.credit.grant`).

        Raises:
            RxUnbound: the channel is not bound yet.
        """
        if self._binding.source is None:
            raise RxUnbound("grant: the channel belongs to no call yet")
        self._binding.source.grant(count)

    def reset(self) -> None:
        """Tell the sender that nothing more is wanted, and drop what has come.

        Never waits; harmless when the channel has ended (`rpc.channel.reset`).
        """
        if self._binding.source is not None:
            self._binding.source.reset()
        else:
            self._binding.lose_rx()

    async def aclose(self) -> None:
        """As `reset`, and a checkpoint; for `trio.abc.AsyncResource`."""
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
    """A pair of ends that belong together, of which a call binds one and so both.

    ``tx, rx = channel[int]()`` or ``channel(int)``. The item type is for type
    checkers; which values go over it is decided by the method that binds it, and so is
    the initial credit.
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
