"""The end of a bound channel that sends, as its connection sees it.

An `OutgoingChannel` spends the credit that its receiver grants (`rpc.flow-control`).
Synchronous methods change what the peer's messages change; asynchronous ones only wait
until they can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import trio
from trio.lowlevel import (
    ParkingLot,
    checkpoint,
    checkpoint_if_cancelled,
)

from ..codec import ChannelPlan
from ..conduits.base import ConduitTxPermit
from ..errors import (
    ConduitError,
    LinkError,
    PayloadTooLarge,
    TxClosed,
    TxConnectionLost,
    TxReset,
)
from ..kept_errors import strip_tracebacks
from ..rpc.sinks import ChannelSink, EndStatistics
from ..running import check_run
from ..wire.envelope import item_head
from ..wire.ids import ChannelId
from ..wire.messages import ChannelClose, ChannelItem, Message
from ..wire.runs import ItemRun
from .channel_state import OPEN, ChannelState, WithEnd
from .futile import Futile
from .port import Port
from .statistics import ChannelStatistics
from .undisturbed import undisturbed_task
from .waits import WaitFor

__all__ = ["DriverChannelSink", "OutgoingChannel"]


_MOST_AT_ONCE = 256
"""Number of items that `OutgoingChannel.send_many` encodes before it sends them."""

_MOST_BYTES_AT_ONCE = 64 * 1024
"""Encoded size, in bytes, from which it encodes no further item before it sends."""


class OutgoingChannel(WithEnd, ChannelSink):
    """This side sends: what is behind a bound `Tx`.

    Args:
        port: the connection.
        channel_id: which channel it is.
        plan: the credit it begins with, and how items are encoded.
        ended: called with its id when this side has ended it.
    """

    __slots__ = (
        "_closing",
        "_connection_id",
        "_ended",
        "_id",
        "_plan",
        "_port",
        "_waiting",
        "_window",
        "credit",
    )

    def __init__(
        self,
        port: Port,
        channel_id: ChannelId,
        plan: ChannelPlan,
        ended: Callable[[ChannelId], None],
    ) -> None:
        super().__init__()
        self._port = port
        self._ended = ended
        self._connection_id = port.connection_id
        self._id = channel_id
        self._plan = plan.items
        self._waiting = ParkingLot()
        self._closing: ParkingLot | None = None  # few wait for the end
        self.credit = self._window = plan.shape.credit

    async def send(self, value: Any) -> None:
        token = self._port.token
        if undisturbed_task(token) is None:
            check_run(token, "this Tx")
            await checkpoint_if_cancelled()
        outbox = self._port.outbox
        try:
            if self.credit and self.state is OPEN and outbox.has_room():
                # As `_item` does, and a call less.
                item = self._plan.encode(value)
                outbox.send_nowait(ChannelItem(self._connection_id, self._id, item))
                self.credit -= 1
            else:
                await self._send_when_it_can(partial(self._item, value))
        except PayloadTooLarge:
            raise
        except (LinkError, ConduitError) as error:
            strip_tracebacks(error)  # in whose frames are channels of the caller
            because = self._lost_because or error
            raise TxConnectionLost(f"the channel was lost: {because}") from because

    def send_nowait(self, value: Any) -> None:
        check_run(self._port.token, "this Tx")
        if self.state is not OPEN:
            raise self.why_not()
        outbox = self._port.outbox
        if not (self.credit and outbox.has_room()):
            raise trio.WouldBlock
        try:
            outbox.send_nowait(self._item(value))
        except PayloadTooLarge:
            raise
        except (LinkError, ConduitError) as error:
            strip_tracebacks(error)  # in whose frames are channels of the caller
            because = self._lost_because or error
            raise TxConnectionLost(f"the channel was lost: {because}") from because
        self.credit -= 1

    async def send_many(self, values: Iterable[Any]) -> None:
        check_run(self._port.token, "this Tx")
        await checkpoint_if_cancelled()
        rest = iter(values)
        outbox = self._port.outbox
        try:
            for value in rest:
                while not self.credit and self.state is OPEN:
                    await self._wait_for_credit()
                if self.state is OPEN and outbox.has_room():
                    await self._send_batch(value, rest)
                else:
                    await self._send_when_it_can(partial(self._item, value))
        except PayloadTooLarge:
            raise
        except (LinkError, ConduitError) as error:
            strip_tracebacks(error)  # in whose frames are channels of the caller
            because = self._lost_because or error
            raise TxConnectionLost(f"the channel was lost: {because}") from because

    async def _send_batch(self, first: Any, rest: Iterator[Any]) -> None:
        """Send `first` and as many others as can be sent in one step."""
        most = min(self.credit, _MOST_AT_ONCE)
        values = chain((first,), islice(rest, most - 1))
        head = item_head(self._connection_id, self._id)
        try:
            items, is_cut, failure = self._plan.encode_run(
                values, head, _MOST_BYTES_AT_ONCE
            )
        except BaseException:  # such as Control-C in the iterator
            self._pass_on()
            raise
        run = ItemRun(self._connection_id, self._id, items)
        sent = 0
        try:
            try:
                # Iterating can change both.
                if self.state is OPEN and len(items) <= self.credit:
                    sent = self._port.outbox.send_many_nowait(run)
                    self.credit -= sent
            finally:
                self._pass_on()
            for place in range(sent, len(items)):
                await self._send_when_it_can(partial(run.__getitem__, place))
            if failure is not None:
                raise failure
        finally:
            # Or else the error would hold this frame, and this frame the error.
            del failure
        if is_cut or len(items) == _MOST_AT_ONCE:
            await checkpoint_if_cancelled()  # a window without end is no licence

    def _item(self, value: Any) -> ChannelItem:
        return ChannelItem(self._connection_id, self._id, self._plan.encode(value))

    async def _send_when_it_can(self, item: Callable[[], ChannelItem]) -> None:
        """Send what `item` returns, which is called when there is credit and room."""
        with await self._reserve() as permit:
            try:
                permit.send(item())
                self.credit -= 1
            finally:
                self._pass_on()

    def _pass_on(self) -> None:
        """Credit that this turn has left is for the next who waits for it."""
        if self.credit and self._waiting:
            self._waiting.unpark()

    async def _reserve(self) -> ConduitTxPermit[Message]:
        """Credit, which is not taken yet, and a permit, at one and the same moment."""
        while True:
            if self.state is not OPEN:
                await checkpoint_if_cancelled()  # as a handler is whose caller is gone
                raise self.why_not()
            if not self.credit:
                await self._wait_for_credit()
                continue
            try:
                permit = await self._port.reserve(channel_id=self._id)
            except BaseException:
                self._pass_on()
                raise
            if self.credit and self.state is OPEN:
                return permit
            permit.release()

    async def _wait_for_credit(self) -> None:
        waits = self._port.waits
        wait = waits.begin(WaitFor.CREDIT, self._connection_id, channel_id=self._id)
        try:
            await self._waiting.park()
        finally:
            waits.end(wait)

    def why_not(self) -> Exception:
        """Return the error of an operation after the end."""
        if self.state is ChannelState.CLOSED:
            return TxClosed("this end of the channel has been closed")
        if self.state is ChannelState.RESET:
            return TxReset("the receiver wants no more items")
        error = TxConnectionLost(f"the channel was lost: {self._lost_because}")
        error.__cause__ = self._lost_because
        return error

    def close(self) -> None:
        if self.state is OPEN:
            check_run(self._port.token, "this Tx")
        if self._end(ChannelState.CLOSED):
            self._port.terms.excuse_strays(self.under_way)
            # First, since the connection may end with its last channel.
            self._port.outbox.push(ChannelClose(self._port.connection_id, self._id))
            self._ended(self._id)

    def drop(self) -> None:
        if self.state is OPEN:
            self._port.drop_later(self.close)

    # ---- the peer's doing

    def on_credit(self, additional: int) -> None:
        """Handle a grant of credit (`rpc.flow-control.credit.grant.additive`).

        It brings work if it is for items that were sent. A receiver may also make the
        window larger, but not often.
        """
        credit = self.credit = self.credit + additional
        if credit > self._window or not additional:
            self._window = max(credit, self._window)
            self._port.count_futile(Futile.CREDIT)
        self._waiting.unpark()

    def on_reset(self) -> None:
        if self.credit >= self._window:  # no item that the receiver could have had
            self._port.count_futile(Futile.RESET)
        self._end(ChannelState.RESET)

    @property
    def under_way(self) -> int:
        """Number of messages that the receiver may still send: at most one grant for
        each item that it has not granted again, and a reset."""
        return max(self._window - self.credit, 0) + 1

    def on_lost(self, because: BaseException) -> None:
        if self.state is OPEN:
            self._lost_because = because
            self._end(ChannelState.LOST)

    def _end(self, state: ChannelState) -> bool:
        if self.state is not OPEN:
            return False
        self.state = state
        self._waiting.unpark_all()
        if self._closing is not None:
            self._closing.unpark_all()
        if self._when_ended:
            self._tell_end()
        return True

    async def closed(self) -> None:
        check_run(self._port.token, "this Tx")
        if self.state is not OPEN:
            await checkpoint()
            return
        if self._closing is None:
            self._closing = ParkingLot()
        await self._closing.park()

    @property
    def is_closed(self) -> bool:
        return self.state is ChannelState.CLOSED

    def end_statistics(self) -> EndStatistics:
        waiting = self._port.waits.statistics(self._connection_id)
        tasks_waiting = sum(wait.channel_id == self._id for wait in waiting)
        return EndStatistics(self.credit, 0, tasks_waiting)

    def statistics(self) -> ChannelStatistics:
        """Return the credit of the channel."""
        return ChannelStatistics(self._id, "out", self.credit, 0)

    def __repr__(self) -> str:
        return f"<channel {self._id} out, {self.state.value}, credit {self.credit}>"


DriverChannelSink = OutgoingChannel
"""The sink behind a bound `Tx`, by the name that other implementations use."""
