"""The calling side of one connection: it waits for slots, for room, and for responses.

What may be made and which response belongs to what is decided in `requests_out`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

import trio
from trio.lowlevel import (
    ParkingLot,
    Task,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ..codec import CANCELLED, INVALID_PAYLOAD, UNKNOWN_METHOD
from ..conduits.base import ConduitTxPermit
from ..effective_deadline import effective_deadline
from ..errors import (
    ConduitError,
    ConnectionLost,
    LinkError,
    Overloaded,
    PayloadTooLarge,
    Unavailable,
)
from ..kept_errors import strip_tracebacks
from ..logs import Log
from ..metadata import Metadata
from ..rpc.binding import ChannelBinder, Payload
from ..rpc.failure_metadata import says_never_begun
from ..rpc.method_names import method_name
from ..running import check_run
from ..wire.ids import ChannelId, MethodId
from ..wire.messages import (
    Encoded,
    Message,
    RequestCall,
    RequestCancel,
    RequestResponse,
    joined,
)
from .channel_table import ChannelTable
from .deadlines import with_deadline
from .port import Port
from .requests_out import CallState, RequestOut, RequestsOut, Slot
from .undisturbed import undisturbed_task
from .waits import WaitFor

__all__ = ["Requests"]

logger = Log("roam_trio.session")

_NEVER = inf

# In Python 3.11, looking a member up is a call; these are used for every request.
_WAITING, _OVER = CallState.WAITING, CallState.OVER


class Requests:
    """Makes the requests of this side's on one connection.

    Args:
        port: the connection.
        table: its requests.
        channels: its channels; those of a call that fails are lost.
        binder: makes the channels of calls.
        on_given: called when a slot is given back, once new requests are refused.
    """

    __slots__ = ("_binder", "_channels", "_on_given", "_port", "_slots", "table")

    def __init__(
        self,
        port: Port,
        table: RequestsOut,
        channels: ChannelTable,
        binder: ChannelBinder,
        on_given: Callable[[], None],
    ) -> None:
        self._port = port
        self.table = table
        self._channels = channels
        self._binder = binder
        self._on_given = on_given
        self._slots: ParkingLot | None = None

    # Control-C in between would leave a task to be woken that does not wait.
    @enable_ki_protection
    async def call(
        self,
        method_id: MethodId,
        args: Payload | Encoded,
        channels: tuple[ChannelId, ...],
        metadata: Metadata,
        holder: object,
    ) -> RequestResponse:
        """See `Caller.call`. The coroutine keeps its `holder`, the caller, alive: a
        call in flight needs its connection."""
        port, table = self._port, self.table
        task = undisturbed_task(port.token)
        if task is None:
            check_run(port.token, "this client")
            await checkpoint_if_cancelled()
            task = current_task()
        if table.refusing is not None:
            raise _never_sent(ConnectionLost(table.refusing))
        outbox = port.outbox
        if table.free > 0 and outbox.has_room() and port.ended_because is None:
            table.free -= 1  # as `take` does, and a call less
            request = self._send(
                task, outbox.send_nowait, method_id, args, channels, metadata
            )
        else:
            with await self._reserve(method_id) as permit:
                request = self._send(
                    task, permit.send, method_id, args, channels, metadata
                )
        if request.answer is None:  # else `PolledRequests` has found it
            try:
                # The reader of the session wakes it.
                await wait_task_rescheduled(partial(self._cancel, request))
            except trio.Cancelled:
                if not await self._has_result_anyway(request):
                    raise
        answer = request.answer
        if isinstance(answer, RequestResponse):
            return answer
        assert answer is not None
        await checkpoint_if_cancelled()
        try:
            raise answer
        finally:
            # Or else the error would hold this frame, and this frame the error.
            del answer, request

    async def _reserve(self, method_id: MethodId) -> ConduitTxPermit[Message]:
        """Take a slot below the peer's limit, and then a permit.

        Raises:
            Overloaded: ``max_waiting`` calls of the session wait already.
        """
        self._refuse_if_ended()
        waits = self._port.waits
        most = self._port.terms.max_waiting
        if most is not None and waits.calls >= most:
            raise Overloaded(
                text=f"{waits.calls} calls wait for the peer to take them "
                f"(max_waiting={most})",
                was_begun=False,
            )
        waits.calls += 1
        try:
            await self._take_slot(method_id)
            return await self._reserve_with_slot(method_id)
        finally:
            waits.calls -= 1

    async def _reserve_with_slot(self, method_id: MethodId) -> ConduitTxPermit[Message]:
        port = self._port
        try:
            self._refuse_if_ended()
            permit = await port.reserve(method_id=method_id)
            try:
                self._refuse_if_ended()
            except ConnectionLost:
                permit.release()
                raise
        except BaseException as error:
            self._give_slot()
            if _is_end(error):
                strip_tracebacks(error)  # as in `_send`
                because = port.ended_because or error
                raise _never_sent(_lost(because)) from because
            raise
        return permit

    async def _take_slot(self, method_id: MethodId) -> None:
        if self.table.take() is Slot.TAKEN:
            return
        if self._slots is None:
            self._slots = ParkingLot()
        port = self._port
        wait = port.waits.begin(WaitFor.SLOT, port.connection_id, method_id=method_id)
        try:
            await self._slots.park()  # the task that wakes us passes us a slot
        finally:
            port.waits.end(wait)

    def _give_slot(self) -> None:
        slots, table = self._slots, self.table
        # The lot knows at once that somebody was cancelled, before that task runs.
        if slots is None:
            table.free += 1  # as `give` does, and a call less
        elif table.give(slots):
            slots.unpark()
            return
        if table.refusing is not None:
            self._on_given()

    def _refuse_if_ended(self) -> None:
        because = self._port.ended_because
        if because is not None:
            raise _never_sent(_lost(because)) from because

    def _send(
        self,
        task: Task,
        send: Callable[[Message], None],
        method_id: MethodId,
        args: Payload | Encoded,
        channels: tuple[ChannelId, ...],
        metadata: Metadata,
    ) -> RequestOut:
        """Encode, bind and send, at one moment; on an error nothing has happened."""
        port = self._port
        try:
            if isinstance(args, Payload):
                channels, args = args.encode(self._binder)
            now = port.now()
            if port.terms.deadlines:
                # Now, and not before it waited for a slot: that has taken of the time.
                deadline = effective_deadline(task)
                if deadline != _NEVER:
                    metadata = with_deadline(metadata, deadline, now)
            request_id = self.table.ids.allocate()
            connection_id = port.connection_id
            send(
                RequestCall(
                    connection_id, request_id, method_id, channels, metadata, args
                )
            )
        except BaseException as error:
            self._channels.lose(channels, error)
            self._give_slot()
            if _is_end(error):
                # Code that keeps the new error must not keep the arguments through its
                # context.
                strip_tracebacks(error)
                because = port.ended_because or error
                raise _never_sent(_lost(because)) from because
            raise
        request = self.table.in_flight[request_id] = RequestOut(
            request_id, method_id, channels, now, task
        )
        return request

    def _cancel(self, request: RequestOut, _: object) -> trio.lowlevel.Abort:
        """Send Cancel for a call. Its id stays in use until the response arrives."""
        request.cancel()
        port = self._port
        if port.ended_because is None:  # else no response will come
            port.outbox.push(RequestCancel(port.connection_id, request.request_id))
        return trio.lowlevel.Abort.SUCCEEDED

    async def _has_result_anyway(self, request: RequestOut) -> bool:
        """Wait until the other side has stopped, after the caller was cancelled.

        Returns:
            True if the handler had finished all the same, so that the call can no
            longer be undone.
        """
        port = self._port
        grace = port.terms.cancel_grace
        if not grace:
            request.abandon()
        elif request.answer is None and port.ended_because is None:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + grace
                request.wait_again()
                await wait_task_rescheduled(partial(_abandon, request))
            if scope.cancelled_caught:
                name = method_name(request.method_id)
                logger.warning(
                    "%s at %s was cancelled, and has not stopped within %s s: it may "
                    "overlap with what comes next (cancel_grace)",
                    name,
                    port.terms.peer.address,
                    grace,
                    method=name,
                    connection=port.connection_id,
                )
        answer = request.answer
        return isinstance(answer, RequestResponse) and not _is_cancelled(answer)

    def on_response(self, response: RequestResponse) -> None:
        """Wake the task that waits for `response`."""
        table = self.table
        # As `match` and `finish` do, and two calls less.
        request = table.in_flight.pop(response.request_id, None)
        if request is None:
            request = table.match(response)  # raises
        if self._slots is None and table.refusing is None:
            table.free += 1  # as `_give_slot` does, and a call less
        else:
            self._give_slot()
        if request.channels and _was_never_handled(response):
            # No handler ever saw them, and some peers end the session when a message
            # comes for a channel they do not know.
            why = ConnectionLost("the call of the channel failed")
            self._channels.lose(request.channels, why)
        if request.state is _WAITING:
            request.state, request.answer = _OVER, response
            reschedule(request.waiter)
        elif request.finish(response):
            reschedule(request.waiter)

    def end(self, because: BaseException) -> None:
        """Fail every call, because the connection has ended."""
        self._on_given = _do_nothing
        for request in self.table.clear():
            if request.finish(_lost(because)):
                reschedule(request.waiter)
        if self._slots is not None:
            self._slots.unpark_all()

    def __repr__(self) -> str:
        return f"<Requests of connection {self._port.connection_id}: {self.table!r}>"


def _abandon(request: RequestOut, _: object) -> trio.lowlevel.Abort:
    """Stop waiting for a cancelled call, at the end of its grace."""
    request.abandon()
    return trio.lowlevel.Abort.SUCCEEDED


def _is_cancelled(response: RequestResponse) -> bool:
    return bytes(joined(response.ret)[:3]) == CANCELLED


def _was_never_handled(response: RequestResponse) -> bool:
    return bytes(joined(response.ret)) in (
        UNKNOWN_METHOD,
        INVALID_PAYLOAD,
    ) or says_never_begun(response.metadata)


def _lost(because: BaseException) -> ConnectionLost:
    error = ConnectionLost(f"the connection has ended: {because}")
    error.__cause__ = because
    if isinstance(because, Unavailable):
        error.was_begun = False  # the peer has answered all calls that it has taken up
    return error


def _never_sent(error: ConnectionLost) -> ConnectionLost:
    """Say with an error that no handler has seen the call."""
    error.was_begun = False
    return error


def _is_end(error: BaseException) -> bool:
    """Return True if `error` says that nothing can be sent any more."""
    return isinstance(error, LinkError | ConduitError) and not isinstance(
        error, PayloadTooLarge
    )


def _do_nothing() -> None:
    pass
