"""Running one connection of a session with a handler of the program's."""

from __future__ import annotations

from ..rpc.handler import Handler, check_handler
from .caller import DriverCaller
from .connection import ConnectionHandle, ConnectionPhase
from .until_served import UntilServed

__all__ = ["Driver"]


class Driver:
    """Runs one connection: `handler` answers the requests of the peer until it ends.

        driver = Driver(await session.open_connection(), handler)
        nursery.start_soon(driver.run)
        adder = client(Adder, driver.caller)

    Requests that come before `run` wait for it, as many as the connection accepts at a
    time. `ConnectionHandle.serve` does the same without a task, and at once.

    Args:
        connection: the connection, whichever side has opened it; also the root.
        handler: answers the requests of the peer, in place of who has so far.

    Raises:
        TypeError: `handler` is not a `Handler`.
    """

    def __init__(self, connection: ConnectionHandle, handler: Handler) -> None:
        check_handler(handler)
        self._connection = connection
        self._handler = handler
        connection.serve(UntilServed())

    @property
    def connection(self) -> ConnectionHandle:
        """The connection it runs."""
        return self._connection

    @property
    def caller(self) -> DriverCaller:
        """Makes calls on the connection, and keeps it alive as long as this driver is
        there; see `ConnectionHandle.caller`."""
        return self._connection.caller

    async def run(self) -> None:
        """Serve until the connection has ended, for whatever reason.

        See `ConnectionHandle.ended_because` for the reason. Returns at once, after a
        checkpoint, if the connection has ended already. Cancelled, it closes a virtual
        connection, which cancels its handlers (`connection.close.semantics`); the root
        connection stays open, and every method is unknown on it.
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
