"""A handler that keeps requests waiting until somebody says who answers them."""

from __future__ import annotations

import trio

from ..rpc.handler import Handler, ReplySink
from ..wire.messages import RequestCall

__all__ = ["UntilServed"]


class UntilServed:
    """The `Handler` of a connection until `ConnectionHandle.serve` gives it another.

    For code that opens a connection and cannot say yet who answers on it: requests that
    come meanwhile wait, as many as the connection accepts at all.
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
        """Let `handler` answer, what waits included."""
        self._handler = handler
        self._served.set()
