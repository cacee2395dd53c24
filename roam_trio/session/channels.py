"""The two ends of a bound channel, as its connection sees them.

An `OutgoingChannel` spends credit and an `IncomingChannel` grants it
(`rpc.flow-control`). What the peer's messages change is changed by synchronous
methods; the two asynchronous ones only wait until they can go on.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, Final

import trio
from trio.lowlevel import (
    ParkingLot,
    checkpoint,
    checkpoint_if_cancelled,
)

from ..codec import ChannelPlan, RpcPlan, SelfRef
from ..conduits.base import ConduitTxPermit
from ..errors import (
    ConduitError,
    DecodeError,
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
from ..kept_errors import strip_tracebacks
from ..rpc.handler import LIGHT_BYTES
from ..rpc.sinks import ChannelSink, ChannelSource, Ended, EndStatistics
from ..running import check_run
from ..wire.envelope import item_head
from ..wire.ids import ChannelId
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    Message,
)
from ..wire.runs import ItemRun
from .futile import Futile
from .port import Port
from .statistics import ChannelStatistics
from .undisturbed import undisturbed_task
from .waits import WaitFor

__all__ = [
    "ITEM_BYTES",
    "ChannelState",
    "DriverChannelSink",
    "IncomingChannel",
    "OutgoingChannel",
]


_MOST_CREDIT = 2**32 - 1
"""The most that one message grants."""

_MOST_AT_ONCE = 256
"""Number of items that `OutgoingChannel.send_many` encodes before it sends them."""

_MOST_BYTES_AT_ONCE = 64 * 1024
"""Encoded size, in bytes, from which it encodes no further item before it sends."""


_DECODED_AT_ONCE: Final = 16 * 1024 * 1024
"""Memory, in bytes, that items may take that are decoded in one step."""


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

ITEM_BYTES: Final = 64
"""Memory of an item beyond its length, in bytes."""


class _WithEnd:
    """The end of a channel, of which others can be told."""

    __slots__ = ("_lost_because", "_when_ended", "state")

    def __init__(self) -> None:
        self._lost_because: BaseException | None = None
        self._when_ended: tuple[Ended, ...] = ()
        self.state = ChannelState.OPEN

    def when_ended(self, function: Ended) -> None:
        if self.state is _OPEN:
            self._when_ended += (function,)
        else:
            function(self._lost_because)

    def _tell_end(self) -> None:
        for function in self._when_ended:
            function(self._lost_because)


class OutgoingChannel(_WithEnd, ChannelSink):
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
            if self.credit and self.state is _OPEN and outbox.has_room():
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
        if self.state is not _OPEN:
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
                while not self.credit and self.state is _OPEN:
                    await self._wait_for_credit()
                if self.state is _OPEN and outbox.has_room():
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
                if self.state is _OPEN and len(items) <= self.credit:
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
            if self.state is not ChannelState.OPEN:
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
            if self.credit and self.state is ChannelState.OPEN:
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
        if self.state is _OPEN:
            check_run(self._port.token, "this Tx")
        if self._end(ChannelState.CLOSED):
            self._port.terms.excuse_strays(self.under_way)
            # First, since the connection may end with its last channel.
            self._port.outbox.push(ChannelClose(self._port.connection_id, self._id))
            self._ended(self._id)

    def drop(self) -> None:
        if self.state is ChannelState.OPEN:
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
        if self.state is _OPEN:
            self._lost_because = because
            self._end(ChannelState.LOST)

    def _end(self, state: ChannelState) -> bool:
        if self.state is not ChannelState.OPEN:
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
        if self.state is not ChannelState.OPEN:
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


def _light_enough(
    queue: Iterable[bytes | memoryview], plan: RpcPlan[Any], most: int | None
) -> int:
    """Return how many of the first items may be decoded at once, at least one."""
    left, number = _DECODED_AT_ONCE, 0
    for item in islice(queue, most):
        left -= plan.weights.at_most(len(item))
        if left < 0:
            break
        number += 1
    return number or 1


def _count(port: Port, plan: RpcPlan[Any], length: int) -> None:
    """Count items, of which the longest has so many bytes.

    Raises:
        LimitExceeded: they are too many, or the longest could take too much memory when
            it is decoded.
    """
    port.count_unread()
    if length > LIGHT_BYTES:
        excess = port.terms.budget.foresee(plan.weights.at_most(length))
        if excess is not None:
            raise excess.as_end()


class IncomingChannel(_WithEnd, ChannelSource):
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
        "_ended",
        "_grant_at",
        "_id",
        "_plan",
        "_port",
        "_queue",
        "_some_wait",
        "_waiting",
        "allowance",
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
        self._id = channel_id
        self._plan = plan.items
        self._queue: deque[bytes | memoryview] = deque()
        self._waiting = ParkingLot()
        self._some_wait = False  # if not, the channel cannot be used
        self._consumed = 0
        # Credit 0: no window to keep open, until `grant` makes one.
        self._grant_at = max(1, plan.shape.credit // 2) if plan.shape.credit else None
        self.allowance = plan.shape.credit
        """Number of items the peer may still send."""

    async def receive(self, borrow: bool = False) -> Any:
        token = self._port.token
        if undisturbed_task(token) is None:
            check_run(token, "this Rx")
            await checkpoint_if_cancelled()
        if not self._queue:
            await self._wait_for_an_item()
        return self._take(borrow)

    async def receive_many(self, most: int | None = None) -> list[Any]:
        check_run(self._port.token, "this Rx")
        await checkpoint_if_cancelled()
        if not self._queue:
            await self._wait_for_an_item()
        return self._take_many(most)

    async def _wait_for_an_item(self) -> None:
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

    def receive_nowait(self) -> Any:
        check_run(self._port.token, "this Rx")
        if self._queue:
            return self._take()
        if self.state is not ChannelState.OPEN:
            raise self.why_not()
        raise trio.WouldBlock

    def _take(self, borrow: bool = False) -> Any:
        item = self._queue.popleft()
        self._port.unread_bytes -= len(item) + ITEM_BYTES
        if self._grant_at is not None:
            self._consumed += 1
            if self._consumed >= self._grant_at and self.state is _OPEN:
                self._grant(self._consumed)
                self._consumed = 0
        try:
            value = self._plan.decode(item)
        except DecodeError as error:
            raise RxDecodeError(error.without_values) from error
        return SelfRef(value, item) if borrow else value

    def _take_many(self, most: int | None) -> list[Any]:
        """Take all items that have come, up to the first that cannot be decoded."""
        queue = self._queue
        if self._port.unread_bytes * self._plan.weights.rate > _DECODED_AT_ONCE:
            most = _light_enough(queue, self._plan, most)
        if most is None or most >= len(queue):
            items = list(queue)
            queue.clear()
        else:
            items = [queue.popleft() for _ in range(most)]
        values: list[Any] = []
        failure: DecodeError | None = None
        try:
            self._plan.decode_each(items, values)
        except DecodeError as error:
            failure = None if values else error
        except BaseException:  # such as Control-C in the code of a converter
            queue.extendleft(reversed(items))
            raise
        taken = len(values) or 1
        if taken < len(items):
            queue.extendleft(reversed(items[taken:]))
            del items[taken:]
        self._port.unread_bytes -= sum(map(len, items)) + ITEM_BYTES * len(items)
        if self._grant_at is not None:
            self._consumed += taken
            if self._consumed >= self._grant_at and self.state is _OPEN:
                self._grant(self._consumed)
                self._consumed = 0
        if failure is not None:
            try:
                raise RxDecodeError(failure.without_values) from failure
            finally:
                del failure  # as in `_send_batch`
        return values

    def why_not(self) -> Exception:
        """Return the error of an operation after the end."""
        self._port.settle()
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
        if port.unread_counted:  # as for most channels, now and then
            port.count_read()
        port.outbox.push(ChannelGrantCredit(port.connection_id, self._id, count))

    def reset(self) -> None:
        if self.state is _OPEN:
            check_run(self._port.token, "this Rx")
        self._forget_items()
        if self._end(ChannelState.RESET):
            self._port.terms.excuse_strays(self.under_way)
            self._port.outbox.push(ChannelReset(self._port.connection_id, self._id))
            self._ended(self._id)
        elif self.state is ChannelState.CLOSED:
            self.state = ChannelState.RESET

    def _forget_items(self) -> None:
        port, queue = self._port, self._queue
        port.unread_bytes -= sum(map(len, queue)) + ITEM_BYTES * len(queue)
        queue.clear()
        port.settle()

    def drop(self) -> None:
        if self._queue or self.state is ChannelState.OPEN:
            self._port.drop_later(self.reset)
        elif self._port.unread_counted:
            self._port.drop_later(self._port.settle)

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
        port.unread_bytes += len(item) + ITEM_BYTES
        if port.unread_bytes > port.unread_counted:
            _count(port, self._plan, len(item))

    def on_items(self, items: Sequence[bytes | memoryview]) -> None:
        """Receive several items in one step; as `on_item` for each."""
        port = self._port
        size = sum(map(len, items)) + ITEM_BYTES * len(items)
        if (
            len(items) > self.allowance
            or port.unread_bytes + size > port.limits.unread_bytes
        ):
            for item in items:  # up to the one that is too much
                self.on_item(item)
            return
        self.allowance -= len(items)
        self._queue.extend(items)
        port.unread_bytes += size
        if port.unread_bytes > port.unread_counted:
            _count(port, self._plan, max(map(len, items)))
        if self._some_wait:
            self._waiting.unpark(count=len(items))
            self._some_wait = bool(self._waiting)

    @property
    def under_way(self) -> int:
        """Number of messages that the sender may still send: items, and a close."""
        return self.allowance + 1

    def _wake_one(self) -> None:
        if self._waiting:
            self._waiting.unpark()
        else:
            self._some_wait = False

    def on_close(self) -> None:
        self._end(ChannelState.CLOSED)

    def on_reset(self) -> None:
        """Handle a reset by the sender, which some peers pass on."""
        self._port.count_futile(Futile.RESET)
        self._forget_items()
        self._end(ChannelState.RESET_BY_SENDER)

    def on_lost(self, because: BaseException) -> None:
        if self.state is _OPEN:
            self._lost_because = because
            self._end(ChannelState.LOST)
            if isinstance(because, SessionProtocolError):
                self._forget_items()  # every receive fails (`session.protocol-error`)

    def _end(self, state: ChannelState) -> bool:
        if self.state is not ChannelState.OPEN:
            return False
        self.state = state
        self._port.settle()
        self._waiting.unpark_all()
        if self._when_ended:
            self._tell_end()
        return True

    @property
    def is_reset(self) -> bool:
        return self.state is ChannelState.RESET

    def end_statistics(self) -> EndStatistics:
        queued, tasks_waiting = len(self._queue), len(self._waiting)
        return EndStatistics(self.allowance, queued, tasks_waiting)

    def statistics(self) -> ChannelStatistics:
        """Return the credit of the sender, and the number of queued items."""
        return ChannelStatistics(self._id, "in", self.allowance, len(self._queue))

    def __repr__(self) -> str:
        return (
            f"<channel {self._id} in, {self.state.value}, "
            f"{len(self._queue)} queued, allowance {self.allowance}>"
        )
