"""A session: one nursery on a conduit, in which connections live.

    pump    carries what was committed to the transport, to the very end
    reader  awaits the conduit and nothing else; hands each message to its connection
    drain   sends what could not be sent at once
    root    the nursery of the root connection's handlers

The session ends when the peer closes, the conduit fails, someone breaks the protocol,
or this side shuts down; `Session.ended_because` tells which. Calls and channels fail
with that reason at once, handlers are cancelled, and what is committed is still sent,
for at most `Limits.close_seconds`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ..calls import Caller, Handler
from ..conduits.base import Conduit, ConduitRx, ConduitTx
from ..errors import (
    ConduitError,
    DecodeError,
    LimitExceeded,
    LinkError,
    PayloadTooLarge,
    RoamTrioError,
    SessionError,
    SessionIoError,
    SessionProtocolError,
)
from ..limits import Limits
from ..messages import (
    ConnectionOpen,
    ConnectionReject,
    Message,
    Ping,
    Pong,
    ProtocolError,
)
from .connection import ConnectionHandle
from .driver import ON_MESSAGE, Driver
from .handshake import Agreed
from .outbox import Outbox

__all__ = ["Session"]

Handshake = Callable[[ConduitTx[Message], ConduitRx[Message]], Awaitable[Agreed]]


class Session:
    """A running session. `initiator` and `acceptor` make one.

    Args:
        conduit: carries its messages; the session closes it in the end.
        handshake: agrees with the peer on the root connection.
        handler: answers the peer's requests on the root connection.
        limits: what the peer can make this side hold.
        strict: also refuse what peers of other implementations are known to do.
    """

    def __init__(
        self,
        conduit: Conduit[Message],
        handshake: Handshake,
        handler: Handler | None,
        limits: Limits,
        *,
        strict: bool,
    ) -> None:
        self._tx, self._rx = conduit.split()
        self._handshake = handshake
        self._handler = handler
        self._limits = limits
        self._strict = strict
        self._outbox = Outbox(self._tx, limits.unsent_replies, self._end)
        self._drivers: dict[int, Driver] = {}
        self._root: ConnectionHandle | None = None
        self._tasks = trio.CancelScope()
        self._pumping = trio.CancelScope(shield=True)
        self._finished = trio.Event()
        self._ended_because: RoamTrioError | None = None

    # ------------------------------------------------------------ for its users

    @property
    def root(self) -> ConnectionHandle:
        """The root connection (`connection.root`)."""
        assert self._root is not None, "only sessions that run are handed out"
        return self._root

    @property
    def caller(self) -> Caller:
        """Makes calls on the root connection."""
        return self.root.caller

    @property
    def ended_because(self) -> RoamTrioError | None:
        """Why the session has ended; None while it runs."""
        return self._ended_because

    async def closed(self) -> None:
        """Wait until the session has ended and let go of its conduit."""
        await self._finished.wait()

    async def shutdown(self) -> None:
        """End the session, and wait until that is done.

        Calls in flight fail and handlers are cancelled; what was committed is sent,
        for at most `Limits.close_seconds`. Harmless when it has ended already.
        """
        self._end(SessionError("this side has shut the session down"))
        await self._finished.wait()

    # ------------------------------------------------------------ its life

    async def run(
        self, *, task_status: trio.TaskStatus[Session] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Set the session up, and run it to its end; for ``nursery.start``.

        Returns normally however a session ends that was set up.

        Raises:
            SessionError: it could not be set up.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump)
            try:
                with self._tasks:
                    await self._set_up_and_read(task_status)
            finally:
                self._end(SessionError("the session was cancelled"))
                await self._close()
        if self._root is None:
            assert self._ended_because is not None
            raise self._ended_because

    async def _set_up_and_read(self, task_status: trio.TaskStatus[Session]) -> None:
        try:
            agreed = await self._shake_hands()
        except RoamTrioError as error:
            self._end(error)
            return
        driver = self._drivers[0] = Driver(
            0,
            agreed.ours,
            agreed.theirs,
            self._outbox,
            self._limits,
            self._handler,
            strict=self._strict,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(driver.run)
            nursery.start_soon(self._drain)
            self._root = ConnectionHandle(
                driver, agreed.ours, agreed.theirs, agreed.metadata
            )
            task_status.started(self)
            await self._read()

    async def _shake_hands(self) -> Agreed:
        seconds = self._limits.handshake_seconds
        with trio.move_on_after(seconds):
            return await self._handshake(self._tx, self._rx)
        raise SessionIoError(
            f"the handshake took longer than {seconds} s (limit: handshake_seconds)"
        )

    @trio.lowlevel.enable_ki_protection
    async def _pump(self) -> None:
        # Control-C strikes elsewhere: what is written has to be whole to the end.
        # Shielded, since a payload cut off in its middle is a broken link; `_close`
        # ends it within its bound.
        with self._pumping:
            try:
                await self._tx.pump()
            except (LinkError, ConduitError) as error:
                self._end(error)

    async def _drain(self) -> None:
        try:
            await self._outbox.drain()
        except (LinkError, ConduitError) as error:
            self._end(error)

    async def _read(self) -> None:
        rx = self._rx
        try:
            while True:
                message = await rx.recv()
                try:
                    while message is not None and self._ended_because is None:
                        self._dispatch(message)
                        message = rx.recv_nowait()
                except trio.WouldBlock:
                    continue
                self._end(SessionIoError("the peer has closed the link"))
                return
        except RoamTrioError as error:
            self._end(error)

    def _end(self, because: RoamTrioError) -> None:
        """End the session, for the first reason that is given. Never waits."""
        if self._ended_because is not None:
            return
        reason = self._ended_because = _as_session_error(because)
        if isinstance(reason, SessionProtocolError) and reason.broken_by == "peer":
            self._outbox.push(ProtocolError(0, reason.description), last=True)
        for driver in self._drivers.values():
            driver.end(reason)
        self._tasks.cancel()

    async def _close(self) -> None:
        """Send what is committed, within bounds, and let go of the conduit."""
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + self._limits.close_seconds
            async with trio.open_nursery() as nursery:
                # Both at once: a peer that waits for us to read does not read itself.
                nursery.start_soon(self._read_to_the_end)
                try:
                    await self._outbox.flush()
                    await self._tx.close()
                except (LinkError, ConduitError):
                    # It has ended already, which is why we are here.
                    nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await self._tx.abort()
            await self._rx.close()
        self._pumping.cancel()
        self._finished.set()

    async def _read_to_the_end(self) -> None:
        """Wait for the peer to close too, since a socket that is closed with data
        unread may take back what was sent on it last."""
        while True:
            try:
                if await self._rx.recv() is None:
                    return
            except LinkError:
                return
            except ConduitError:
                await trio.lowlevel.checkpoint()  # it may fail again at once

    # ------------------------------------------------------------ messages

    def _dispatch(self, message: Message) -> None:
        """Hand a message to its connection, or act on it (`session.message`)."""
        act = ON_MESSAGE.get(type(message))
        if act is not None:
            driver = self._drivers.get(message.connection_id)
            if driver is not None:
                act(driver, message)
            elif self._strict:
                raise SessionProtocolError(
                    f"connection {message.connection_id} is not open"
                )
        elif isinstance(message, Ping):
            self._outbox.push(Pong(message.connection_id, message.nonce))
        elif isinstance(message, ProtocolError):
            raise SessionProtocolError(message.description, broken_by="us")
        elif isinstance(message, ConnectionOpen):
            self._outbox.push(ConnectionReject(message.connection_id))
        elif self._strict and not isinstance(message, Pong):
            raise SessionProtocolError(
                f"{type(message).__name__} is not expected at this point"
            )

    def __repr__(self) -> str:
        if self._root is None:
            state = "being set up"
        elif self._ended_because is not None:
            state = f"ended: {self._ended_because}"
        else:
            state = "open"
        return f"<Session {state}>"


def _as_session_error(error: RoamTrioError) -> RoamTrioError:
    """The reason of an end in a session's terms: undecodable bytes are the peer's
    fault, and whatever else a conduit or link reports is the world's."""
    if isinstance(error, SessionError):
        return error
    reason: SessionError
    if isinstance(error, PayloadTooLarge) and error.inbound:
        reason = LimitExceeded("max_payload", f"a payload of {error.size} bytes came")
    elif isinstance(error.__cause__, DecodeError):
        reason = SessionProtocolError(f"not a message: {error.__cause__}")
    else:
        reason = SessionIoError(str(error))
    reason.__cause__ = error
    return reason
