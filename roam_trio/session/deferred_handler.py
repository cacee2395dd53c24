"""A handler that holds requests until another handler is set."""

from __future__ import annotations

import trio

from ..rpc.handler import Handler, ReplySink
from ..wire.messages import RequestCall

__all__ = ["DeferredHandler"]


class DeferredHandler:
    """The `Handler` of a connection until `ConnectionHandle.serve` gives it another.

    For code that opens a connection before it has a handler for it: earlier requests
    wait, up to the number that the connection accepts.
    """

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._served = trio.Event()

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        """See `Handler.handle`."""
        await self._served.wait()
        assert self._handler is not None
        coroutine = self._handler.handle(call, reply)
        if coroutine is not None:
            await coroutine

    def serve(self, handler: Handler) -> None:
        """Let `handler` answer all requests, waiting ones included."""
        self._handler = handler
        self._served.set()
