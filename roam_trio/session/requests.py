"""The calling side of one connection: requests in flight, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..calls import Payload
from ..conduits.base import ConduitTxPermit
from ..errors import (
    ConduitError,
    ConnectionLost,
    LinkError,
    PayloadTooLarge,
    SessionProtocolError,
)
from ..ids import IdAllocator
from ..messages import (
    ConnectionSettings,
    Encoded,
    Message,
    RequestCall,
    RequestCancel,
    RequestResponse,
    joined,
)
from ..metadata import Metadata
from ..schema import INVALID_PAYLOAD, UNKNOWN_METHOD
from .statistics import CallStatistics

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Requests"]


class _Waiting:
    """A request of this side's without a response yet, and the task that waits."""

    __slots__ = (
        "_began",
        "_caller",
        "_error",
        "_method_id",
        "_request_id",
        "_response",
        "_task",
        "channels",
    )

    def __init__(
        self,
        caller: Requests,
        request_id: int,
        method_id: int,
        channels: tuple[int, ...],
    ) -> None:
        self.channels = channels
        self._began = caller.now()
        self._method_id = method_id
        self._caller = caller
        self._request_id = request_id
        self._task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self._response: RequestResponse | None = None
        self._error: Exception | None = None

    async def response(self) -> RequestResponse:
        """Wait for it; the reader of the session wakes this task directly."""
        await trio.lowlevel.wait_task_rescheduled(self._abandon)
        if self._response is None:
            assert self._error is not None
            await trio.lowlevel.checkpoint_if_cancelled()
            raise self._error
        return self._response

    def _abandon(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        self._caller.abandon(self._request_id)
        return trio.lowlevel.Abort.SUCCEEDED

    def statistics(self, now: float) -> CallStatistics:
        """How long it has been waiting."""
        return CallStatistics(self._request_id, self._method_id, now - self._began)

    def deliver(self, response: RequestResponse) -> None:
        """Wake the task with `response`, unless it was cancelled meanwhile."""
        self._response = response
        self._wake()

    def fail(self, error: Exception) -> None:
        """Wake the task with `error`."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)


class Requests:
    """The requests of this side's on one connection, until they are answered."""

    def __init__(
        self, driver: Driver, ours: ConnectionSettings, theirs: ConnectionSettings
    ) -> None:
        self._driver = driver
        self._ids = IdAllocator(ours.parity)
        self._free = theirs.max_concurrent_requests
        """How many requests more the peer accepts, and nobody waits to make."""
        self._waiting: dict[int, _Waiting] = {}
        self._slots = trio.lowlevel.ParkingLot()
        self.now = driver.now
        self.refusing: str | None = None
        """Why no new requests are made, if they are not."""

    async def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        channels: tuple[int, ...],
        metadata: Metadata,
        holder: object,
    ) -> RequestResponse:
        """See `Caller.call`. The coroutine keeps its `holder`, the caller, alive: a
        call in flight needs its connection."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.refusing is not None:
            raise ConnectionLost(self.refusing)
        if self._may_send_now():
            self._free -= 1
            send = self._driver.outbox.send_nowait
            waiting = self._send(send, method_id, args, channels, metadata)
        else:
            with await self._reserve() as permit:
                waiting = self._send(permit.send, method_id, args, channels, metadata)
        return await waiting.response()

    def _may_send_now(self) -> bool:
        return (
            self._free > 0
            and self._driver.outbox.has_room()
            and self._driver.ended_because is None
        )

    async def _reserve(self) -> ConduitTxPermit[Message]:
        """Take a slot below the peer's limit, and then a permit."""
        driver = self._driver
        self._refuse_if_ended()
        await self._take_slot()
        try:
            self._refuse_if_ended()
            permit = await driver.reserve()
            try:
                self._refuse_if_ended()
            except ConnectionLost:
                permit.release()
                raise
        except BaseException as error:
            self._give_slot()
            if _is_end(error):
                because = driver.ended_because or error
                raise _lost(because) from because
            raise
        return permit

    async def _take_slot(self) -> None:
        """Callers are served in the order of their coming."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._slots.park()  # whoever wakes us hands us a slot

    def _give_slot(self) -> None:
        if self._slots:
            self._slots.unpark()
        else:
            self._free += 1
            if self.refusing is not None:
                self._driver.check_quiet()

    def _refuse_if_ended(self) -> None:
        because = self._driver.ended_because
        if because is not None:
            raise _lost(because) from because

    def _send(
        self,
        send: Callable[[Message], None],
        method_id: int,
        args: Payload | Encoded,
        channels: tuple[int, ...],
        metadata: Metadata,
    ) -> _Waiting:
        """Encode, bind and send, at one moment; on an error nothing has happened."""
        driver = self._driver
        try:
            if isinstance(args, Payload):
                channels, args = args.encode(driver.binder)
            request_id = self._ids.allocate()
            waiting = _Waiting(self, request_id, method_id, channels)
            send(
                RequestCall(
                    driver.connection_id,
                    request_id,
                    method_id,
                    channels,
                    metadata,
                    args,
                )
            )
        except BaseException as error:
            driver.lose_channels(channels, error)
            self._give_slot()
            if _is_end(error):
                because = driver.ended_because or error
                raise _lost(because) from because
            raise
        self._waiting[request_id] = waiting
        return waiting

    def abandon(self, request_id: int) -> None:
        """The caller was cancelled. Its id stays in use until the response comes."""
        if self._driver.ended_because is not None:
            return  # no response will come
        self._driver.outbox.push(RequestCancel(self._driver.connection_id, request_id))

    def on_response(self, response: RequestResponse) -> None:
        """Wake the task that waits for `response`."""
        waiting = self._waiting.pop(response.request_id, None)
        if waiting is None:
            raise SessionProtocolError(
                f"a response came for request {response.request_id}, "
                "which is not in flight"
            )
        self._give_slot()
        if waiting.channels:
            self._lose_channels_of_failed_call(waiting, response)
        waiting.deliver(response)

    def _lose_channels_of_failed_call(
        self, waiting: _Waiting, response: RequestResponse
    ) -> None:
        if bytes(joined(response.ret)) in (UNKNOWN_METHOD, INVALID_PAYLOAD):
            # No handler ever saw them, and some peers end the session when a message
            # comes for a channel they do not know.
            self._driver.lose_channels(
                waiting.channels, ConnectionLost("the call of the channel failed")
            )

    def on_end(self, because: BaseException) -> None:
        """Fail every call."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for one in waiting:
            one.fail(_lost(because))
        self._slots.unpark_all()

    def statistics(self, now: float) -> tuple[CallStatistics, ...]:
        """The requests without a response."""
        return tuple(one.statistics(now) for one in self._waiting.values())

    @property
    def is_idle(self) -> bool:
        """Whether no request is in flight, or about to be: those that wait for a slot
        or for room were made before any that is refused."""
        return self._free == self._driver.theirs.max_concurrent_requests

    @property
    def in_flight(self) -> int:
        """How many requests have no response yet, abandoned ones included."""
        return len(self._waiting)


def _lost(because: BaseException) -> ConnectionLost:
    error = ConnectionLost(f"the connection has ended: {because}")
    error.__cause__ = because
    return error


def _is_end(error: BaseException) -> bool:
    """Whether `error` says that nothing can be sent any more."""
    return isinstance(error, LinkError | ConduitError) and not isinstance(
        error, PayloadTooLarge
    )
