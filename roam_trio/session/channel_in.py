"""The end of a bound channel that receives, as its connection sees it.

An `IncomingChannel` grants credit (`rpc.flow-control`). Synchronous methods change what
the peer's messages change; asynchronous ones only wait until they can go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

import trio
from trio.lowlevel import ParkingLot, checkpoint_if_cancelled

from ..codec import ChannelPlan, RpcPlan, SelfRef
from ..errors import (
    DecodeError,
    RemoteProtocolError,
    RxClosed,
    RxConnectionLost,
    RxDecodeError,
    RxReset,
    SessionProtocolError,
)
from ..rpc.handler import LIGHT_BYTES
from ..rpc.sinks import ChannelSource, EndStatistics
from ..running import check_run
from ..wire.ids import ChannelId
from ..wire.messages import ChannelGrantCredit, ChannelReset
from .channel_state import OPEN, ChannelState, WithEnd
from .futile import Futile
from .port import Port
from .statistics import ChannelStatistics
from .undisturbed import undisturbed_task

__all__ = ["ITEM_BYTES", "IncomingChannel"]


_MOST_CREDIT = 2**32 - 1
"""The most that one message grants."""

_DECODED_AT_ONCE: Final = 16 * 1024 * 1024
"""Memory, in bytes, that items may take that are decoded in one step."""

ITEM_BYTES: Final = 64
"""Memory of an item beyond its length, in bytes."""


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


class IncomingChannel(WithEnd, ChannelSource):
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
            if self.state is not OPEN:
                await checkpoint_if_cancelled()  # as a handler is whose caller is gone
                raise self.why_not()
            if self._grant_at is None and self.allowance <= len(self._waiting):
                # One item for each receiver that waits, like a memory channel without
                # a buffer.
                self._grant(1)
                if self.state is not OPEN:
                    continue  # it was the first to notice that the link has ended
            self._some_wait = True
            await self._waiting.park()

    def receive_nowait(self) -> Any:
        check_run(self._port.token, "this Rx")
        if self._queue:
            return self._take()
        if self.state is not OPEN:
            raise self.why_not()
        raise trio.WouldBlock

    def _take(self, borrow: bool = False) -> Any:
        item = self._queue.popleft()
        self._port.unread_bytes -= len(item) + ITEM_BYTES
        if self._grant_at is not None:
            self._consumed += 1
            if self._consumed >= self._grant_at and self.state is OPEN:
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
            if self._consumed >= self._grant_at and self.state is OPEN:
                self._grant(self._consumed)
                self._consumed = 0
        if failure is not None:
            try:
                raise RxDecodeError(failure.without_values) from failure
            finally:
                del failure  # or the error and this frame would hold each other
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
        if self.state is OPEN:
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
        if self.state is OPEN:
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
        if self._queue or self.state is OPEN:
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
        if self.state is OPEN:
            self._lost_because = because
            self._end(ChannelState.LOST)
            if isinstance(because, SessionProtocolError):
                self._forget_items()  # every receive fails (`session.protocol-error`)

    def _end(self, state: ChannelState) -> bool:
        if self.state is not OPEN:
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
