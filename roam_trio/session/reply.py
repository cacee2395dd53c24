"""The answering of one request: the task of its handler, and its one response."""

from __future__ import annotations

import enum
from math import inf
from typing import Final, Protocol

import trio

from ..codec import CANCELLED
from ..conduits.base import ConduitTxPermit
from ..errors import (
    CallCancelled,
    ConduitError,
    DeadlineExceeded,
    HandlerFailed,
    LinkError,
    Overloaded,
    RoamError,
    Unavailable,
)
from ..failures import split_failure
from ..kept_errors import strip_tracebacks
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..peers import Peer
from ..rpc.binding import ChannelBinder
from ..rpc.connection import Connection
from ..rpc.failure_metadata import FailurePolicy, failed_handler, failure_metadata
from ..rpc.handler import ReplySink
from ..rpc.method_names import method_name
from ..rpc.observer import Observer, tell
from ..wire.messages import Encoded, Message, RequestCall, RequestResponse
from .budgets import CountedMemory
from .deadlines import deadline_of
from .futile import Futile
from .port import Port
from .statistics import CallStatistics
from .waits import WaitFor
from .workers import Worker, discard

__all__ = ["SOON_SECONDS", "AnswerState", "DriverReplySink", "told"]

logger = Log("roam_trio.session")


class AnswerState(enum.Enum):
    """States of a request of the peer's."""

    RUNNING = "its handler is at work"
    CANCELLED = "its caller no longer wants the response"
    SENT = "the response has been sent"
    LOST = "the connection has ended: no response can be sent"


# In Python 3.11, looking a member up is a call; these are used for every request.
_RUNNING, _SENT, _LOST = AnswerState.RUNNING, AnswerState.SENT, AnswerState.LOST


_NEVER = inf

SOON_SECONDS: Final = 1.0
"""Number of seconds for which a handler may not have been of use, if its call is
cancelled."""


class Answered(Protocol):
    """The interface of a connection for what answers its requests."""

    @property
    def handle(self) -> Connection:
        """A handle of the connection that does not keep it alive."""
        ...

    def on_answered(self, call: RequestCall) -> None:
        """Note that a request has its response."""
        ...


class DriverReplySink(ReplySink):
    """Sends the response to one request, and knows the task that makes it.

    There are more than 25 methods, as it is a `ReplySink`, an `Answer` and a `Work`.

    Args:
        port: the connection.
        binder: makes its channels.
        call: the request.
        connection: is told when the response was sent.
    """

    __slots__ = (
        "_began",
        "_binder",
        "_connection",
        "_deadline",
        "_memory",
        "_port",
        "_worker",
        "call",
        "state",
    )

    def __init__(
        self,
        port: Port,
        binder: ChannelBinder,
        call: RequestCall,
        connection: Answered,
    ) -> None:
        self.call = call
        self.state = _RUNNING
        self._port = port
        self._binder = binder
        self._connection = connection
        self._began = port.now()
        self._worker: Worker | None = None
        self._memory: CountedMemory | None = None
        self._deadline = _NEVER
        if call.metadata or port.limits.longest_call is not _NEVER:
            longest = port.limits.longest_call
            self._deadline = deadline_of(call.metadata, self._began, longest)

    @property
    def is_sent(self) -> bool:
        return self.state is _SENT or self.state is _LOST

    @property
    def memory(self) -> CountedMemory:
        if self._memory is None:
            self._memory = CountedMemory(self._port.terms.budget)
        return self._memory

    @property
    def peer(self) -> Peer:
        return self._port.terms.peer

    @property
    def connection(self) -> Connection:
        return self._connection.handle

    @property
    def owner(self) -> object:
        """The connection, as `Workers` knows it."""
        return self._port

    @property
    def deadline(self) -> float:
        return self._deadline

    @property
    def latest(self) -> float:
        """A hundredth of the time later than the deadline, and at most 10 ms."""
        tolerance = (self._deadline - self._began) * 0.01
        return self._deadline + (tolerance if tolerance < 0.01 else 0.01)

    @property
    def failure_policy(self) -> FailurePolicy | None:
        return self._port.terms.failure_policy

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._binder

    def count_refused(self, because: RoamError | None = None) -> None:
        observer = self._port.terms.observer
        if observer is not None and because is not None:
            name = method_name(self.call.method_id)
            event = Observer.call_turned_away
            tell(observer, event, self.connection, name, self.call.metadata, because)
        self._port.count_futile(Futile.REFUSED)

    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        try:
            self.send_nowait(ret, metadata)
        except trio.WouldBlock:
            pass  # go on below, so that no error there refers to this one
        else:
            if self._port.ended_because is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
            return
        if self.hold(ret):
            with await self._reserve() as permit:
                if self._port.ended_because is None:  # in the moment there was room
                    permit.send(self._response(ret, metadata))
                    self._close()

    def hold(self, ret: Encoded) -> bool:
        memory = self.memory
        if memory.waiting:
            return True
        size = sum(map(len, ret)) if isinstance(ret, list) else len(ret)
        excess = memory.wait(size)
        if excess is None:
            return True
        # Not raised: it would be the context of every error that sets off, and its
        # traceback would keep the response.
        self._lack_room(excess.as_refusal(was_begun=True))
        return False

    async def _reserve(self) -> ConduitTxPermit[Message]:
        port = self._port
        wait = port.waits.begin(WaitFor.ROOM, port.connection_id)
        try:
            while True:
                permit = await port.outbox.reserve()
                if not port.dropped:
                    return permit
                permit.release()
                port.end_dropped()
        finally:
            port.waits.end(wait)
            self.memory.go_on()

    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        port = self._port
        if port.dropped:
            port.end_dropped()  # closes go before the response
        if port.ended_because is not None:
            return  # there is no peer left to get it
        outbox = port.outbox
        if not outbox.has_room():
            raise trio.WouldBlock
        try:
            outbox.send_nowait(self._response(ret, metadata))
        except (LinkError, ConduitError):
            if port.ended_because is None:
                raise  # it is too large
        self._close()

    def _response(self, ret: Encoded, metadata: Metadata) -> RequestResponse:
        if self.state is _SENT:
            raise RuntimeError(
                f"request {self.call.request_id} has its response already, "
                "and every request gets exactly one"
            )
        return RequestResponse(
            self._port.connection_id, self.call.request_id, (), metadata, ret
        )

    def statistics(self, now: float) -> CallStatistics:
        """Return which call it answers, and for how long it has been doing so."""
        call = self.call
        return CallStatistics(call.request_id, call.method_id, now - self._began)

    def _close(self) -> None:
        self.state = _SENT
        self._connection.on_answered(self.call)

    @trio.lowlevel.disable_ki_protection
    async def run(self, worker: Worker) -> None:
        """Run the handler of this request in the scope of a worker; exactly one
        response is sent in the end."""
        coroutine, worker.coroutine = worker.coroutine, None
        assert coroutine is not None, "a worker gets both"
        failure = None
        try:
            if self.state is _RUNNING or self.state is _SENT:
                self._worker = worker
                if self._deadline is not _NEVER and worker.deadline == _NEVER:
                    worker.set_deadline(self)  # or `Workers` has done so
                await coroutine
            else:
                discard(coroutine)
        except trio.Cancelled as cancelled:
            self._leave_it_to_the_end()
            # The nursery of the session keeps it until all handlers have ended, and its
            # frames would keep the response that has waited.
            strip_tracebacks(cancelled)
            raise
        except BaseException as error:
            if split_failure(error)[0] is None:
                self._leave_it_to_the_end()
            failure = self.failure_of(error)
            logger.failure(
                error,
                "a handler failed%s",
                told(failure),
                method=method_name(self.call.method_id),
                connection=self._port.connection_id,
                error_id=None if failure is None else failure.id,
            )
        finally:
            del coroutine
            self._worker = None
            if self._deadline is not _NEVER:
                worker.check_deadline(self._port.now())
            if self._memory is not None:
                self._memory.let_go()
            if self.state is not _SENT:  # as it most often is
                self.give_up(failure)

    def _leave_it_to_the_end(self) -> None:
        """Leave the answer of a cancelled handler to the end of the session.

        Do nothing if the caller or the deadline has cancelled the handler. Otherwise
        the session is being cancelled, and its end must be the answer, whichever of its
        tasks notices first.
        """
        if self.state is _RUNNING and self._port.now() < self._deadline:
            self.state = _LOST

    def failure_of(self, error: BaseException) -> HandlerFailed | None:
        """Return what the caller is told of the exception of a handler; None if that is
        nothing."""
        policy = self.failure_policy
        failure, _ = split_failure(error)
        if policy is None or failure is None or self.is_sent:
            return None
        return failed_handler(failure, policy)

    def give_up(self, failure: CallCancelled | None = None) -> None:
        """Answer Cancelled if nothing else was answered.

        Args:
            failure: why; None if the handler has dropped its reply, or its time is up.
        """
        if self.state is _SENT or self.state is _LOST:  # as `is_sent`, and a call less
            return
        self._port.end_dropped()
        if not self.is_sent:  # as for a connection that is unused
            metadata = _why(failure or self._overdue(), self.failure_policy)
            self._port.outbox.push(self._response(CANCELLED, metadata))
            self._close()

    def refuse(self, refusal: Overloaded) -> None:
        """Answer that there is no room for a task for the request.

        It has not begun, unless a handler that waits for nothing has made a response,
        which can only be sent by a task. What has made a response has also counted the
        request, if no code of the program has seen it.
        """
        if self.memory.waiting:
            refusal.was_begun = True
        else:
            self.count_refused(refusal)
        self.memory.let_go()
        name = method_name(self.call.method_id)
        logger.info(
            "connection %d: refused a call of %s: %s",
            self._port.connection_id,
            name,
            refusal,
            method=name,
            connection=self._port.connection_id,
        )
        self.give_up(refusal)

    def _lack_room(self, refusal: Overloaded) -> None:
        """Answer that the response could not wait for room."""
        name = method_name(self.call.method_id)
        logger.info(
            "connection %d: gave up the response to a call of %s: %s",
            self._port.connection_id,
            name,
            refusal,
            method=name,
            connection=self._port.connection_id,
        )
        self.give_up(refusal)

    def _overdue(self) -> CallCancelled | None:
        if self.state is not _RUNNING or self._port.now() < self._deadline:
            return None
        longest = self._port.limits.longest_call
        if self._deadline < self._began + longest:
            return DeadlineExceeded(was_begun=True)
        text = f"the call took {longest} seconds (limit: longest_call)"
        return DeadlineExceeded(text=text, was_begun=True)

    def shut_down(self) -> None:
        """Answer that the session ends, if the peer knows what roam_trio adds."""
        if self.failure_policy is not None:
            self.give_up(Unavailable(was_begun=True))

    def cancel(self) -> bool:
        """Stop the handler, as the caller has cancelled the call (`rpc.cancel`).

        Returns:
            True if the handler has had time to be of use, and this is the first time.
        """
        had_time = self._port.now() - self._began >= SOON_SECONDS
        is_first = self._worker is not None and self.state is _RUNNING
        self._stop(AnswerState.CANCELLED)
        return is_first and had_time

    def lose(self) -> None:
        """Stop the handler, as the connection has ended: no response can be sent."""
        self._stop(AnswerState.LOST)

    def _stop(self, state: AnswerState) -> None:
        self.state = state
        if self._worker is not None:
            self._worker.stop()


def _why(failure: CallCancelled | None, policy: FailurePolicy | None) -> Metadata:
    if failure is None or policy is None:
        return NO_METADATA
    return failure_metadata(failure, policy.tell)


def told(failure: HandlerFailed | None) -> str:
    """Return the end of a log record: what a caller is told."""
    if failure is None:
        return "; its caller gets Cancelled"
    return f"; its caller gets HandlerFailed, with the id {failure.id}"
