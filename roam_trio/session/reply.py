"""The answering of one request: the task of its handler, and its one response."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import trio

from ..codec import CANCELLED
from ..conduits.base import ConduitTxPermit
from ..errors import ConduitError, LinkError
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..rpc.binding import ChannelBinder
from ..rpc.handler import ReplySink
from ..wire.messages import Encoded, Message, RequestCall, RequestResponse
from .port import AnsweringPort
from .statistics import CallStatistics

__all__ = ["DriverReplySink"]

logger = Log("roam_trio.session")


class DriverReplySink(ReplySink):
    """Sends the response to one request, and knows the task that makes it."""

    __slots__ = ("_began", "_cancelled", "_port", "_scope", "_sent", "call")

    def __init__(self, port: AnsweringPort, call: RequestCall) -> None:
        self.call = call
        self._port = port
        self._began = port.now()
        self._sent = False
        self._cancelled = False
        self._scope: trio.CancelScope | None = None

    @property
    def is_sent(self) -> bool:
        return self._sent

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._port.binder

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
            return  # nobody is left to get it
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
        if self._sent:
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
        self._sent = True
        self._port.answered(self.call)

    async def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the handler of this request; exactly one response is sent in the end."""
        try:
            if self._cancelled:
                coroutine.close()
            else:
                with trio.CancelScope() as self._scope:
                    await coroutine
        except trio.Cancelled:
            raise
        except BaseException as error:
            logger.failure(error, "a handler failed; its caller gets Cancelled")
        finally:
            del coroutine
            self.give_up()

    def give_up(self) -> None:
        """Answer Cancelled if nothing else was answered."""
        if self._sent:
            return
        self._port.end_dropped()
        if not self._sent:  # as it is when nobody needs the connection any more
            self._port.outbox.push(self._response(CANCELLED, NO_METADATA))
            self._close()

    def cancel(self) -> None:
        """The caller no longer wants the response (`rpc.cancel`)."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def lose(self) -> None:
        """The connection has ended: no response can be sent any more."""
        self._sent = True
        self.cancel()
