"""The answering of one request: the task of its handler, and its one response."""

from __future__ import annotations

import enum
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

import trio

from ..codec import CANCELLED
from ..conduits.base import ConduitTxPermit
from ..errors import ConduitError, LinkError
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..peers import Peer
from ..rpc.binding import ChannelBinder
from ..rpc.connection import Connection
from ..rpc.failure_metadata import FailurePolicy
from ..rpc.handler import ReplySink
from ..wire.messages import Encoded, Message, RequestCall, RequestResponse
from .port import Port
from .statistics import CallStatistics

__all__ = ["AnswerState", "DriverReplySink"]

logger = Log("roam_trio.session")


class AnswerState(enum.Enum):
    """States of a request of the peer's."""

    RUNNING = "its handler is at work"
    CANCELLED = "its caller no longer wants the response"
    SENT = "the response has been sent"
    LOST = "the connection has ended: no response can be sent"


# In Python 3.11, looking a member up is a call; these are used for every request.
_RUNNING, _SENT, _LOST = AnswerState.RUNNING, AnswerState.SENT, AnswerState.LOST


class Answered(Protocol):
    """The interface of a connection for what answers its requests."""

    @property
    def handle(self) -> Connection:
        """A handle of the connection that does not keep it alive."""
        ...

    def on_answered(self, call: RequestCall) -> None:
        """A request has its response."""
        ...


class DriverReplySink(ReplySink):
    """Sends the response to one request, and knows the task that makes it.

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
        "_port",
        "_scope",
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
        self._scope: trio.CancelScope | None = None

    @property
    def is_sent(self) -> bool:
        return self.state is _SENT or self.state is _LOST

    @property
    def peer(self) -> Peer:
        return self._port.terms.peer

    @property
    def connection(self) -> Connection:
        return self._connection.handle

    @property
    def failure_policy(self) -> FailurePolicy | None:
        return self._port.terms.failure_policy

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._binder

    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        with suppress(trio.WouldBlock):
            self.send_nowait(ret, metadata)
            if self._port.ended_because is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
            return
        with await self._reserve() as permit:
            if self._port.ended_because is None:  # in the moment there was room
                permit.send(self._response(ret, metadata))
                self._close()

    async def _reserve(self) -> ConduitTxPermit[Message]:
        port = self._port
        while True:
            permit = await port.outbox.reserve()
            if not port.dropped:
                return permit
            permit.release()
            port.end_dropped()

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

    async def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the handler of this request; exactly one response is sent in the end."""
        try:
            if self.state is _RUNNING or self.state is _SENT:
                with trio.CancelScope() as self._scope:
                    await coroutine
            else:
                coroutine.close()
        except trio.Cancelled:
            raise
        except BaseException as error:
            logger.failure(error, "a handler failed; its caller gets Cancelled")
        finally:
            del coroutine
            self.give_up()

    def give_up(self) -> None:
        """Answer Cancelled if nothing else was answered."""
        if self.is_sent:
            return
        self._port.end_dropped()
        if not self.is_sent:  # as for a connection that is unused
            self._port.outbox.push(self._response(CANCELLED, NO_METADATA))
            self._close()

    def cancel(self) -> None:
        """The caller no longer wants the response (`rpc.cancel`)."""
        self._stop(AnswerState.CANCELLED)

    def lose(self) -> None:
        """The connection has ended: no response can be sent any more."""
        self._stop(AnswerState.LOST)

    def _stop(self, state: AnswerState) -> None:
        self.state = state
        if self._scope is not None:
            self._scope.cancel()
