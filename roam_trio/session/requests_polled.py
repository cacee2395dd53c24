"""Calls of a session that polls: each looks for its response before it waits.

Only a lone call looks, and it takes nothing but its own response, if that comes alone
and has no metadata. The reader of the session gets all else, in its own task.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from trio.lowlevel import Task, enable_ki_protection

from ..effective_deadline import effective_deadline
from ..errors import DecodeError
from ..links.base import PayloadPoller
from ..links.poll_policy import Found
from ..metadata import Metadata
from ..rpc.binding import ChannelBinder, Payload
from ..wire.ids import ChannelId, MethodId
from ..wire.messages import Encoded, Message, RequestResponse
from .channel_table import ChannelTable
from .port import Port
from .requests import Requests
from .requests_out import RequestOut, RequestsOut

__all__ = ["PolledRequests"]


class PolledRequests(Requests):
    """Makes the requests of this side's on one connection, and looks for responses.

    Args:
        poller: looks at the link.
        decode: makes a message of a payload; see `ConduitRx.decode`.
        port, table, channels, binder, on_given: see `Requests`.
    """

    __slots__ = ("_decode", "_poller")

    def __init__(
        self,
        poller: PayloadPoller,
        decode: Callable[[Any], Message],
        port: Port,
        table: RequestsOut,
        channels: ChannelTable,
        binder: ChannelBinder,
        on_given: Callable[[], None],
    ) -> None:
        super().__init__(port, table, channels, binder, on_given)
        self._poller = poller
        self._decode = decode

    @enable_ki_protection
    async def call(
        self,
        method_id: MethodId,
        args: Payload | Encoded,
        channels: tuple[ChannelId, ...],
        metadata: Metadata,
        holder: object,
    ) -> RequestResponse:
        """See `Caller.call`. A schedule point at every ninth call at least."""
        if not self.table.in_flight:
            await self._poller.prepare()
        return await super().call(method_id, args, channels, metadata, holder)

    def _send(
        self,
        task: Task,
        send: Callable[[Message], None],
        method_id: MethodId,
        args: Payload | Encoded,
        channels: tuple[ChannelId, ...],
        metadata: Metadata,
    ) -> RequestOut:
        request = super()._send(task, send, method_id, args, channels, metadata)
        is_alone = len(self.table.in_flight) == 1 and not request.channels
        if is_alone and self._poller.may_look():
            self._look_for_response(request)
        return request

    def _look_for_response(self, request: RequestOut) -> None:
        # The deadline of the call is seen to by the loop, which has to go on by then.
        left = effective_deadline() - trio.current_time()
        seconds = min(self._poller.seconds, left)
        if seconds <= 0:
            return
        found = self._poller.look_for(partial(self._take, request), seconds)
        if found is Found.IT:
            # The next call comes alone, too, and its commit writes it.
            self._port.outbox.carrier.uncork(prompt=True)

    def _take(self, request: RequestOut, payload: bytes) -> bool:
        """Take the response to a request; return False for anything else."""
        try:
            message = self._decode(payload)
        except DecodeError:
            return False  # the reader refuses it
        if (
            type(message) is not RequestResponse
            or message.request_id != request.request_id
            or message.connection_id != self._port.connection_id
            or message.metadata
        ):
            return False
        self.table.match(message)
        self._give_slot()
        request.finish(message)
        return True
