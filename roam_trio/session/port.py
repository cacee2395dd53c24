"""The shared state of the parts of a connection: its id, its outbox, and its end.

Parts get a `Port` and not the `ConnectionRun`, which is above them. A port works
without a run of trio, except for `reserve`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
import trio

from ..conduits.base import ConduitTxPermit
from ..errors import ConduitError, LimitExceeded
from ..metadata import NO_METADATA, Metadata
from ..wire.ids import ChannelId, ConnectionId, MethodId
from ..wire.messages import Message
from .futile import Futile
from .outbox import Outbox
from .terms import SessionTerms
from .waits import Wait, WaitFor, Waits
from .workers import Workers

__all__ = ["Port", "SessionPort"]

_COUNTED_AHEAD: Final = 2048
"""Number of bytes of items that are counted before they come."""


class Owner(Protocol):
    """The interface of `Connections` for one of them."""

    def on_unused(self, connection_id: ConnectionId) -> None:
        """Handle an unused connection; see `Liveness`."""
        ...

    def on_quiet(self) -> None:
        """Note that the last call or channel of a connection has ended, once new ones
        are refused."""
        ...

    def close(self, connection_id: ConnectionId, metadata: Metadata) -> None:
        """Close a virtual connection."""
        ...


@attrs.frozen(kw_only=True)
class SessionPort:
    """The state that all connections of a session share.

    Attributes:
        outbox: where messages go.
        terms: what holds for the whole session.
        token: the run of trio that they live in; None for none.
        now: returns the time, in seconds.
        workers: runs handlers, and anything else, in tasks of the session's.
        waits: the tasks that wait.
        owner: is told what becomes of connections. Three bound methods in its place
            would take 192 bytes of each session.
        make_requests: makes the `Requests` of a connection; None for that class.
    """

    outbox: Outbox
    terms: SessionTerms
    token: trio.lowlevel.TrioToken | None
    now: Callable[[], float]
    workers: Workers
    waits: Waits
    owner: Owner
    make_requests: Callable[..., Any] | None = None


class Port:
    """One connection, as its parts see it.

    Args:
        connection_id: its id.
        session: what it shares with others.
        peer_metadata: what the peer has sent along when it was set up.
    """

    __slots__ = (
        "_reserving",
        "connection_id",
        "dropped",
        "ended_because",
        "limits",
        "now",
        "outbox",
        "peer_metadata",
        "terms",
        "token",
        "unread_bytes",
        "unread_counted",
        "waits",
    )

    def __init__(
        self,
        connection_id: ConnectionId,
        session: SessionPort,
        peer_metadata: Metadata = NO_METADATA,
    ) -> None:
        self.connection_id = connection_id
        self.peer_metadata = peer_metadata
        # Here and not only in `session`: they are looked up for each call and item.
        self.outbox = session.outbox
        self.limits = session.terms.limits
        self.terms = session.terms
        self.token = session.token
        self.now = session.now
        self.waits = session.waits
        self.ended_because: BaseException | None = None
        """Why it has ended; None while it is open."""
        self.unread_bytes = 0
        """The memory of all items that wait to be received."""
        self.unread_counted = 0
        """The part of it that the budget counts, which is as much or somewhat more:
        counting each item there would cost more than all else that is done for it."""
        self.dropped: list[Callable[[], None]] | None = None
        """Ends the channels whose handles were collected; see `end_dropped`."""
        self._reserving: dict[trio.CancelScope, None] | None = None

    async def reserve(
        self, *, channel_id: ChannelId | None = None, method_id: MethodId | None = None
    ) -> ConduitTxPermit[Message]:
        """As `Outbox.reserve`, but only until the connection ends.

        Args:
            channel_id: the channel of the item for which room is needed; for the log.
            method_id: the method of the call for which room is needed.

        Raises:
            LinkError, ConduitError: the connection has ended, or the conduit has.
        """
        if self._reserving is None:
            self._reserving = {}
        reserving = self._reserving
        wait: Wait | None = None
        if not self.outbox.has_room():
            wait = self.waits.begin(
                WaitFor.ROOM,
                self.connection_id,
                channel_id=channel_id,
                method_id=method_id,
            )
        with trio.CancelScope() as scope:
            reserving[scope] = None
            try:
                return await self.outbox.reserve()
            finally:
                if wait is not None:
                    self.waits.end(wait)
                del reserving[scope]
                if not reserving and self._reserving is reserving:
                    self._reserving = None  # an idle connection has none
        raise ConduitError("the connection has ended")

    def count_unread(self) -> None:
        """Count the items that have come, as they are more than was counted.

        Raises:
            LimitExceeded: they are too many.
        """
        unread, most = self.unread_bytes, self.limits.unread_bytes
        if unread > most:
            raise LimitExceeded("unread_bytes", f"items of {unread} bytes wait unread")
        counted = min(unread + _COUNTED_AHEAD, most)
        self.terms.budget.hold(counted - self.unread_counted)
        self.unread_counted = counted

    def count_read(self) -> None:
        """Count no longer what was received."""
        if self.unread_counted - self.unread_bytes > 4 * _COUNTED_AHEAD:
            self._count_no_more_than(self.unread_bytes + _COUNTED_AHEAD)

    def settle(self) -> None:
        """Count what waits to be received exactly, as a channel has ended."""
        self._count_no_more_than(self.unread_bytes)

    def _count_no_more_than(self, counted: int) -> None:
        if counted != self.unread_counted:
            self.terms.budget.give(self.unread_counted - counted)
            self.unread_counted = counted

    def drop_later(self, end: Callable[[], None]) -> None:
        """End a channel whose handle was collected: now is not a good moment.

        Collection may strike in the middle of anything, and in any thread. What was
        dropped is ended before the next response goes out, and soon in any case.
        """
        if self.dropped is None:
            self.dropped = []
        self.dropped.append(end)
        if self.token is None:
            return
        try:
            self.token.run_sync_soon(self.end_dropped, idempotent=True)
        except trio.RunFinishedError:
            self.dropped.clear()  # there is no peer left to tell

    def end_dropped(self) -> None:
        """End the channels whose handles were collected."""
        while self.dropped:
            self.dropped.pop(0)()

    def count_futile(self, kind: Futile) -> None:
        """Count a message of the peer's that brings no work; if there are too many, the
        session ends. Never raises."""
        try:
            self.terms.count_futile(kind)
        except LimitExceeded as error:
            self.outbox.fail(error)

    def end(self, because: BaseException) -> None:
        """End the connection, and wake the tasks that wait in `reserve`."""
        self.ended_because = because
        for scope in self._reserving or ():
            scope.cancel()

    def __repr__(self) -> str:
        return f"<Port of connection {self.connection_id}>"
