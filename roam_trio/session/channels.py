"""The two ends of a bound channel, as its connection sees them.

An `OutgoingChannel` spends credit and an `IncomingChannel` grants it
(`rpc.flow-control`). What the peer's messages change is changed by synchronous
methods; the two asynchronous ones only wait until they can go on.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import ParkingLot, checkpoint_if_cancelled, current_trio_token

from ..codec import ChannelPlan, SelfRef
from ..conduits.base import ConduitTxPermit
from ..errors import (
    ConduitError,
    DecodeError,
    LimitExceeded,
    LinkError,
    PayloadTooLarge,
    RemoteProtocolError,
    RxClosed,
    RxConnectionLost,
    RxDecodeError,
    RxReset,
    SessionProtocolError,
    TxClosed,
    TxConnectionLost,
    TxReset,
)
from ..rpc.channel import ChannelSink, ChannelSource
from ..running import check_run
from ..wire.ids import ChannelId
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    Message,
)
from .port import Port
from .statistics import ChannelStatistics

__all__ = ["ChannelState", "DriverChannelSink", "IncomingChannel", "OutgoingChannel"]


_MOST_CREDIT = 2**32 - 1
"""The most that one message grants."""


class ChannelState(enum.Enum):
    """States of a channel."""

    OPEN = "open"
    CLOSED = "closed"
    """By its sender, who is done."""
    RESET = "reset"
    """By its receiver, who wants no more."""
    RESET_BY_SENDER = "reset by its sender"
    """By its sender, as some peers do when they are reset themselves."""
    LOST = "lost"
    """Its connection has ended, or its call has failed."""


_OPEN = ChannelState.OPEN  # not looked up for every item


class OutgoingChannel(ChannelSink):
    """This side sends: what is behind a bound `Tx`.

    Args:
        port: the connection.
        channel_id: which channel it is.
        plan: the credit it begins with, and how items are encoded.
        ended: called with its id when this side has ended it.
    """

    __slots__ = (
        "_connection_id",
        "_encode",
        "_ended",
        "_id",
        "_lost_because",
        "_port",
        "_waiting",
        "credit",
        "state",
    )

    def __init__(
        self,
        port: Port,
        channel_id: ChannelId,
        plan: ChannelPlan,
        ended: Callable[[ChannelId], None],
    ) -> None:
        self._port = port
        self._ended = ended
        self._connection_id = port.connection_id
        self._id = channel_id
        self._encode = plan.items.encode
        self._waiting = ParkingLot()
        self._lost_because: BaseException | None = None
        self.credit = plan.shape.credit
        self.state = ChannelState.OPEN

    async def send(self, value: Any) -> None:
        try:  # as `check_run` does, and a call less for each item
            is_here = current_trio_token() is self._port.token
        except RuntimeError:
            is_here = False
        if not is_here:
            check_run(self._port.token, "this Tx")
        await checkpoint_if_cancelled()
        outbox = self._port.outbox
        try:
            if self.credit and self.state is _OPEN and outbox.has_room():
                outbox.send_nowait(self._item(value))
                self.credit -= 1
            else:
                await self._send_when_it_can(value)
        except PayloadTooLarge:
            raise
        except (LinkError, ConduitError) as error:
            because = self._lost_because or error
            raise TxConnectionLost(f"the channel was lost: {because}") from because

    def _item(self, value: Any) -> ChannelItem:
        return ChannelItem(self._connection_id, self._id, self._encode(value))

    async def _send_when_it_can(self, value: Any) -> None:
        with await self._reserve() as permit:
            try:
                permit.send(self._item(value))
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
            if self.state is not ChannelState.OPEN:
                await checkpoint_if_cancelled()  # as a handler is whose caller is gone
                raise self.why_not()
            if not self.credit:
                await self._waiting.park()
                continue
            try:
                permit = await self._port.reserve()
            except BaseException:
                self._pass_on()
                raise
            if self.credit and self.state is ChannelState.OPEN:
                return permit
            permit.release()

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
        if self.state is _OPEN:
            check_run(self._port.token, "this Tx")
        if self._end(ChannelState.CLOSED):
            # First, since the connection may end with its last channel.
            self._port.outbox.push(ChannelClose(self._port.connection_id, self._id))
            self._ended(self._id)

    def drop(self) -> None:
        if self.state is ChannelState.OPEN:
            self._port.drop_later(self.close)

    # ---- the peer's doing

    def on_credit(self, additional: int) -> None:
        """Handle a grant of credit (`rpc.flow-control.credit.grant.additive`)."""
        self.credit += additional
        self._waiting.unpark()

    def on_reset(self) -> None:
        self._end(ChannelState.RESET)

    def on_lost(self, because: BaseException) -> None:
        if self._end(ChannelState.LOST):
            self._lost_because = because

    def _end(self, state: ChannelState) -> bool:
        if self.state is not ChannelState.OPEN:
            return False
        self.state = state
        self._waiting.unpark_all()
        return True

    def statistics(self) -> ChannelStatistics:
        """Its credit."""
        return ChannelStatistics(self._id, "out", self.credit, 0)

    def __repr__(self) -> str:
        return f"<channel {self._id} out, {self.state.value}, credit {self.credit}>"


DriverChannelSink = OutgoingChannel
"""The sink behind a bound `Tx`, by the name that other implementations use."""


class IncomingChannel(ChannelSource):
    """This side receives: what is behind a bound `Rx`.

    Its queue cannot outgrow the credit granted, unless the peer cheats.

    Args:
        port: the connection.
        channel_id: which channel it is.
        plan: the credit it begins with, and how items are decoded.
        ended: called with its id when this side has ended it.
    """

    __slots__ = (
        "_consumed",
        "_decode",
        "_ended",
        "_grant_at",
        "_id",
        "_lost_because",
        "_port",
        "_queue",
        "_some_wait",
        "_waiting",
        "allowance",
        "state",
    )

    def __init__(
        self,
        port: Port,
        channel_id: ChannelId,
        plan: ChannelPlan,
        ended: Callable[[ChannelId], None],
    ) -> None:
        self._port = port
        self._ended = ended
        self._id = channel_id
        self._decode = plan.items.decode
        self._queue: deque[bytes | memoryview] = deque()
        self._waiting = ParkingLot()
        self._some_wait = False  # if not, the channel cannot be used
        self._consumed = 0
        # Credit 0: no window to keep open, until `grant` makes one.
        self._grant_at = max(1, plan.shape.credit // 2) if plan.shape.credit else None
        self._lost_because: BaseException | None = None
        self.allowance = plan.shape.credit
        """Number of items the peer may still send."""
        self.state = ChannelState.OPEN

    async def receive(self, borrow: bool = False) -> Any:
        try:  # as `check_run` does, and a call less for each item
            is_here = current_trio_token() is self._port.token
        except RuntimeError:
            is_here = False
        if not is_here:
            check_run(self._port.token, "this Rx")
        await checkpoint_if_cancelled()
        while not self._queue:
            if self.state is not ChannelState.OPEN:
                await checkpoint_if_cancelled()  # as a handler is whose caller is gone
                raise self.why_not()
            if self._grant_at is None and self.allowance <= len(self._waiting):
                # One item for each receiver that waits, like a memory channel without
                # a buffer.
                self._grant(1)
                if self.state is not _OPEN:
                    continue  # it was the first to notice that the link has ended
            self._some_wait = True
            await self._waiting.park()
        return self._take(borrow)

    def receive_nowait(self) -> Any:
        check_run(self._port.token, "this Rx")
        if self._queue:
            return self._take()
        if self.state is not ChannelState.OPEN:
            raise self.why_not()
        raise trio.WouldBlock

    def _take(self, borrow: bool = False) -> Any:
        item = self._queue.popleft()
        self._port.unread_bytes -= len(item)
        if self._grant_at is not None:
            self._consumed += 1
            if self._consumed >= self._grant_at and self.state is _OPEN:
                self._grant(self._consumed)
                self._consumed = 0
        try:
            value = self._decode(item)
        except DecodeError as error:
            raise RxDecodeError(error.without_values) from error
        return SelfRef(value, item) if borrow else value

    def why_not(self) -> Exception:
        """Return the error of an operation after the end."""
        if self.state is ChannelState.CLOSED:
            return trio.EndOfChannel()
        if self.state is ChannelState.RESET:
            return RxClosed("this end of the channel has been reset")
        if self.state is ChannelState.RESET_BY_SENDER:
            return RxReset("the sender has reset the channel")
        error = RxConnectionLost(f"the channel was lost: {self._lost_because}")
        error.__cause__ = self._lost_because
        return error

    def grant(self, count: int) -> None:
        if not 1 <= count <= _MOST_CREDIT:
            raise ValueError(f"grant: expected 1 to {_MOST_CREDIT} items, got {count}")
        if self.state is ChannelState.OPEN:
            check_run(self._port.token, "this Rx")
            if self._grant_at is None:
                self._grant_at = 1
            self._grant(count)

    def _grant(self, count: int) -> None:
        self.allowance += count
        port = self._port
        port.outbox.push(ChannelGrantCredit(port.connection_id, self._id, count))

    def reset(self) -> None:
        if self.state is _OPEN:
            check_run(self._port.token, "this Rx")
        self._forget_items()
        if self._end(ChannelState.RESET):
            self._port.outbox.push(ChannelReset(self._port.connection_id, self._id))
            self._ended(self._id)
        elif self.state is ChannelState.CLOSED:
            self.state = ChannelState.RESET

    def _forget_items(self) -> None:
        self._port.unread_bytes -= sum(map(len, self._queue))
        self._queue.clear()

    def drop(self) -> None:
        if self._queue or self.state is ChannelState.OPEN:
            self._port.drop_later(self.reset)

    # ---- the peer's doing

    def on_item(self, item: bytes | memoryview) -> None:
        """Handle an item, for which the sender has used one credit."""
        if not self.allowance:
            raise RemoteProtocolError(
                f"channel {self._id}: an item came without credit"
            )
        self.allowance -= 1
        port = self._port
        self._queue.append(item)
        if self._some_wait:
            self._wake_one()
        port.unread_bytes += len(item)
        if port.unread_bytes > port.limits.unread_bytes:
            raise LimitExceeded(
                "unread_bytes", f"items of {port.unread_bytes} bytes wait unread"
            )

    def _wake_one(self) -> None:
        if self._waiting:
            self._waiting.unpark()
        else:
            self._some_wait = False

    def on_close(self) -> None:
        self._end(ChannelState.CLOSED)

    def on_reset(self) -> None:
        """Handle a reset by the sender, which some peers pass on."""
        self._forget_items()
        self._end(ChannelState.RESET_BY_SENDER)

    def on_lost(self, because: BaseException) -> None:
        if self._end(ChannelState.LOST):
            self._lost_because = because
            if isinstance(because, SessionProtocolError):
                self._forget_items()  # every receive fails (`session.protocol-error`)

    def _end(self, state: ChannelState) -> bool:
        if self.state is not ChannelState.OPEN:
            return False
        self.state = state
        self._waiting.unpark_all()
        return True

    def statistics(self) -> ChannelStatistics:
        """Its sender's credit, and what waits to be received."""
        return ChannelStatistics(self._id, "in", self.allowance, len(self._queue))

    def __repr__(self) -> str:
        return (
            f"<channel {self._id} in, {self.state.value}, "
            f"{len(self._queue)} queued, allowance {self.allowance}>"
        )
