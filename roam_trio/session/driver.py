"""`Driver`, which runs one connection of a session with a handler."""

from __future__ import annotations

from ..rpc.connection import ConnectionPhase
from ..rpc.handler import Handler, check_handler
from .caller import DriverCaller
from .connection import ConnectionHandle
from .deferred_handler import DeferredHandler

__all__ = ["Driver"]


class Driver:
    """Runs one connection: `handler` answers the requests of the peer until it ends.

        driver = Driver(await session.open_connection(), handler)
        nursery.start_soon(driver.run)
        adder = client(Adder, driver.caller)

    Requests that arrive before `run` wait for it, up to the number that the connection
    accepts at a time. `ConnectionHandle.serve` sets a handler at once, without a task.

    Args:
        connection: the connection; either side may have opened it, and it may be the
            root connection.
        handler: answers the requests of the peer, and replaces the present handler.

    Raises:
        TypeError: `handler` is not a `Handler`.
    """

    def __init__(self, connection: ConnectionHandle, handler: Handler) -> None:
        check_handler(handler)
        self._connection = connection
        self._handler = handler
        connection.serve(DeferredHandler())

    @property
    def connection(self) -> ConnectionHandle:
        """The connection it runs."""
        return self._connection

    @property
    def caller(self) -> DriverCaller:
        """Makes calls on the connection, and keeps it alive as long as this driver
        exists; see `ConnectionHandle.caller`."""
        return self._connection.caller

    async def run(self) -> None:
        """Serve until the connection has ended.

        `ConnectionHandle.ended_because` is the reason. If cancelled, close a virtual
        connection, which cancels its handlers (`connection.close.semantics`). The root
        connection stays open, and all its methods are unknown from then on.
        """
        self._connection.serve(self._handler)
        try:
            await self._connection.closed()
        finally:
            if self._connection.phase is ConnectionPhase.OPEN:
                self._connection.serve(None)
                self._connection.close_if_virtual()

    def __repr__(self) -> str:
        return f"<Driver of {self._connection!r}>"
