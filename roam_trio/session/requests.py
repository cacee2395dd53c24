"""The calling side of one connection: requests in flight, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import trio
from trio.lowlevel import (
    ParkingLot,
    checkpoint_if_cancelled,
    current_task,
    current_trio_token,
    enable_ki_protection,
    wait_task_rescheduled,
)

from ..codec import INVALID_PAYLOAD, UNKNOWN_METHOD
from ..conduits.base import ConduitTxPermit
from ..errors import (
    CallRefused,
    ConduitError,
    ConnectionLost,
    LinkError,
    PayloadTooLarge,
    RemoteProtocolError,
)
from ..metadata import Metadata
from ..rpc.binding import Payload
from ..running import check_run, in_another_run
from ..wire.ids import IdAllocator
from ..wire.messages import (
    ConnectionSettings,
    Encoded,
    Message,
    RequestCall,
    RequestCancel,
    RequestResponse,
    joined,
)
from .port import CallingPort
from .statistics import CallStatistics

__all__ = ["EndedRequests", "Requests"]


class _Waiting(msgspec.Struct, eq=False):
    """A request of this side's without a response yet, and the task that waits.

    Attributes:
        task: the one to wake; None once it is woken, or was cancelled.
        answer: what it is woken with.
    """

    request_id: int
    method_id: int
    channels: tuple[int, ...]
    began: float
    task: trio.lowlevel.Task | None
    answer: RequestResponse | Exception | None = None

    def wake(self, answer: RequestResponse | Exception) -> None:
        """Wake the task, unless it was cancelled meanwhile."""
        task = self.task
        if task is not None:
            self.answer = answer
            self.task = None
            trio.lowlevel.reschedule(task)

    def statistics(self, now: float) -> CallStatistics:
        """Return which call it is, and how long it has been waiting."""
        return CallStatistics(self.request_id, self.method_id, now - self.began)


class Requests:
    """The requests of this side's on one connection, until they are answered."""

    def __init__(
        self, port: CallingPort, ours: ConnectionSettings, theirs: ConnectionSettings
    ) -> None:
        self._port = port
        self._ids = IdAllocator(ours.parity)
        self._free = theirs.max_concurrent_requests
        """Number of requests that the peer still accepts, and nobody waits to make."""
        self._waiting: dict[int, _Waiting] = {}
        self._slots: ParkingLot | None = None
        self.refusing: str | None = None
        """The reason why no new requests are made, if they are not."""

    # Control-C in between would leave a task to be woken that does not wait.
    @enable_ki_protection
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
        port = self._port
        try:  # as `check_run` does, and a call less for each request
            is_here = current_trio_token() is port.token
        except RuntimeError:
            is_here = False
        if not is_here:
            raise in_another_run(port.token, "this client")
        await checkpoint_if_cancelled()
        if self.refusing is not None:
            raise ConnectionLost(self.refusing)
        outbox = port.outbox
        if self._free > 0 and outbox.has_room() and port.ended_because is None:
            self._free -= 1
            waiting = self._send(
                outbox.send_nowait, method_id, args, channels, metadata
            )
        else:
            with await self._reserve() as permit:
                waiting = self._send(permit.send, method_id, args, channels, metadata)
        # The reader of the session wakes it.
        await wait_task_rescheduled(partial(self._abandon, waiting))
        answer = waiting.answer
        if isinstance(answer, RequestResponse):
            return answer
        assert answer is not None
        await checkpoint_if_cancelled()
        try:
            raise answer
        finally:
            # Or else the error would hold this frame, and this frame the error.
            del answer, waiting

    async def _reserve(self) -> ConduitTxPermit[Message]:
        """Take a slot below the peer's limit, and then a permit."""
        port = self._port
        self._refuse_if_ended()
        await self._take_slot()
        try:
            self._refuse_if_ended()
            permit = await port.reserve()
            try:
                self._refuse_if_ended()
            except ConnectionLost:
                permit.release()
                raise
        except BaseException as error:
            self._give_slot()
            if _is_end(error):
                because = port.ended_because or error
                raise _lost(because) from because
            raise
        return permit

    async def _take_slot(self) -> None:
        """Callers are served in the order of their coming.

        Raises:
            CallRefused: the peer accepts no request at all, and nobody would ever wake
                them.
        """
        port = self._port
        if self._free > 0:
            self._free -= 1
        elif not port.theirs.max_concurrent_requests:
            raise CallRefused(
                f"the peer accepts no calls on connection {port.connection_id}: it "
                "has told max_concurrent_requests=0; it has to tell 1 or more to be "
                "called"
            )
        else:
            if self._slots is None:
                self._slots = ParkingLot()
            await self._slots.park()  # whoever wakes us hands us a slot

    def _give_slot(self) -> None:
        if not self._free and self._slots:  # nobody waits while one is free
            self._slots.unpark()
        else:
            self._free += 1
            if self.refusing is not None:
                self._port.check_quiet()

    def _refuse_if_ended(self) -> None:
        because = self._port.ended_because
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
        port = self._port
        try:
            if isinstance(args, Payload):
                channels, args = args.encode(port.binder)
            request_id = self._ids.allocate()
            connection_id = port.connection_id
            send(
                RequestCall(
                    connection_id, request_id, method_id, channels, metadata, args
                )
            )
        except BaseException as error:
            port.lose_channels(channels, error)
            self._give_slot()
            if _is_end(error):
                # Whoever keeps the error is not to keep the arguments by its context.
                error.with_traceback(None)
                because = port.ended_because or error
                raise _lost(because) from because
            raise
        waiting = self._waiting[request_id] = _Waiting(
            request_id, method_id, channels, port.now(), current_task()
        )
        return waiting

    def _abandon(self, waiting: _Waiting, _: object) -> trio.lowlevel.Abort:
        """The caller was cancelled. Its id stays in use until the response comes."""
        waiting.task = None
        port = self._port
        if port.ended_because is None:  # else no response will come
            port.outbox.push(RequestCancel(port.connection_id, waiting.request_id))
        return trio.lowlevel.Abort.SUCCEEDED

    def on_response(self, response: RequestResponse) -> None:
        """Wake the task that waits for `response`."""
        waiting = self._waiting.pop(response.request_id, None)
        if waiting is None:
            raise RemoteProtocolError(
                f"a response came for request {response.request_id}, "
                "which is not in flight"
            )
        self._give_slot()
        if waiting.channels:
            self._lose_channels_of_failed_call(waiting, response)
        waiting.wake(response)

    def _lose_channels_of_failed_call(
        self, waiting: _Waiting, response: RequestResponse
    ) -> None:
        if bytes(joined(response.ret)) in (UNKNOWN_METHOD, INVALID_PAYLOAD):
            # No handler ever saw them, and some peers end the session when a message
            # comes for a channel they do not know.
            self._port.lose_channels(
                waiting.channels, ConnectionLost("the call of the channel failed")
            )

    def on_end(self, because: BaseException) -> None:
        """Fail every call."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for one in waiting:
            one.wake(_lost(because))
        if self._slots is not None:
            self._slots.unpark_all()

    def statistics(self, now: float) -> tuple[CallStatistics, ...]:
        """Return the requests without a response."""
        return tuple(one.statistics(now) for one in self._waiting.values())

    @property
    def is_idle(self) -> bool:
        """True if no request is in flight or about to be. Those that wait for a slot or
        for room were made before any that is refused."""
        return self._free == self._port.theirs.max_concurrent_requests

    @property
    def in_flight(self) -> int:
        """Number of requests without a response yet, abandoned ones included."""
        return len(self._waiting)


class EndedRequests(Requests):
    """Those of a connection that has ended: there are none, and none can be made."""

    def __init__(
        self,
        because: BaseException,
        refusing: str | None,
        token: trio.lowlevel.TrioToken,
    ) -> None:
        self._because = because
        self._token = token
        self._waiting = {}
        self.refusing = refusing

    async def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        channels: tuple[int, ...],
        metadata: Metadata,
        holder: object,
    ) -> RequestResponse:
        """See `Caller.call`.

        Raises:
            ConnectionLost: the connection has ended.
        """
        check_run(self._token, "this client")
        await checkpoint_if_cancelled()
        if self.refusing is not None:
            raise ConnectionLost(self.refusing)
        raise _lost(self._because) from self._because

    @property
    def is_idle(self) -> bool:
        return True


def _lost(because: BaseException) -> ConnectionLost:
    error = ConnectionLost(f"the connection has ended: {because}")
    error.__cause__ = because
    return error


def _is_end(error: BaseException) -> bool:
    """Return True if `error` says that nothing can be sent any more."""
    return isinstance(error, LinkError | ConduitError) and not isinstance(
        error, PayloadTooLarge
    )
