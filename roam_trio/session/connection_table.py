"""The table of a session's connections: which there are, and what a message does.

Nothing here waits, and nothing runs: messages of the peer and wishes of this side go
in, and what is to be done comes out. `Connections` does it.

    ┌ ASK ──────▶ OPENING ──── ACCEPTED ──────┐
    │             │     └───── GIVE_UP ──▶ forgotten
    │             └ REJECTED, CLOSED ─────▶ OVER
    nothing                                   ▼
    │             ┌ DENIED ──▶ forgotten     OPEN ── CLOSE ──▶ forgotten
    │             │                           ▲└──── CLOSED ─▶ OVER
    └ ASKED ────▶ DECIDING ─── ALLOWED ───────┘
                  └ CLOSED ──▶ WITHDRAWN ── DENIED ──▶ OVER

A connection that this side has closed or given up is forgotten, and messages that the
peer sent on it before it knew are disregarded. One that the peer has closed or rejected
is `Phase.OVER`: the peer may send nothing more on it. The last of these are remembered,
as many as `Limits.connections`.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from ..errors import (
    ConnectionClosed,
    ConnectionLost,
    RemoteProtocolError,
    RoamTrioError,
    Unavailable,
)
from ..limits import Limits
from ..metadata import NO_METADATA, Metadata
from ..wire.ids import ConnectionId, IdAllocator, Parity
from ..wire.messages import (
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    Message,
)
from .held_messages import weight_of
from .refusal import REFUSALS, Refusal
from .rejection import error_of_rejection

__all__ = [
    "NO_CONNECTIONS",
    "Act",
    "Action",
    "ConnectionTable",
    "End",
    "Event",
    "Fail",
    "Phase",
    "Reject",
    "session_lost",
]


class Phase(enum.Enum):
    """Phases of a connection."""

    __hash__ = object.__hash__  # in Python 3.11, that of an enum is a call

    OPENING = "opening"
    """This side has asked for it, and the peer has not answered."""
    DECIDING = "deciding"
    """The peer has asked for it, and the acceptor is deciding."""
    WITHDRAWN = "withdrawn"
    """The peer has closed it while the acceptor was deciding, which has not stopped
    yet. It counts until it has: or else a peer that opens and closes had no bound."""
    OPEN = "open"
    """Both sides have agreed on it."""
    OVER = "over"
    """The peer has closed or rejected it."""


class Event(enum.Enum):
    """Events that move a connection from one phase to another."""

    __hash__ = object.__hash__

    SET_UP = "the handshake has opened the root"
    ASK = "this side asks for it"
    GIVE_UP = "this side waits no longer for the answer"
    ACCEPTED = "the peer accepts it"
    REJECTED = "the peer rejects it"
    ASKED = "the peer asks for it"
    ALLOWED = "this side accepts it"
    DENIED = "this side rejects it, or is not asked any more"
    CLOSE = "this side closes it"
    CLOSED = "the peer closes it"


_NEXT: Final[dict[tuple[Phase | None, Event], Phase | None]] = {
    (None, Event.SET_UP): Phase.OPEN,
    (None, Event.ASK): Phase.OPENING,
    (Phase.OPENING, Event.GIVE_UP): None,
    (Phase.OPENING, Event.ACCEPTED): Phase.OPEN,
    (Phase.OPENING, Event.REJECTED): Phase.OVER,
    (Phase.OPENING, Event.CLOSED): Phase.OVER,
    (None, Event.ASKED): Phase.DECIDING,
    (Phase.OVER, Event.ASKED): Phase.DECIDING,
    (Phase.DECIDING, Event.ALLOWED): Phase.OPEN,
    (Phase.DECIDING, Event.DENIED): None,
    (Phase.DECIDING, Event.CLOSED): Phase.WITHDRAWN,
    (Phase.WITHDRAWN, Event.DENIED): Phase.OVER,
    (Phase.OPEN, Event.CLOSE): None,
    (Phase.OPEN, Event.CLOSED): Phase.OVER,
    # Of a connection that is forgotten: the message has crossed one of this side's.
    (None, Event.REJECTED): Phase.OVER,
    (None, Event.CLOSED): Phase.OVER,
}
"""All transitions; None is a connection that is not in the table."""

_VIRTUAL: Final = frozenset(
    {Phase.OPENING, Phase.DECIDING, Phase.WITHDRAWN, Phase.OPEN}
)
"""The phases that count against `Limits.connections`."""

_PENDING: Final = frozenset({Phase.DECIDING, Phase.WITHDRAWN})
"""The phases that count against `Limits.pending_opens`."""


class Act(enum.Enum):
    """Things to do that need no more to be said."""

    IGNORE = "nothing"
    DECIDE = "ask the acceptor"
    START = "start the connection"
    STOP_DECIDING = "stop the acceptor, whose answer nobody needs"


@attrs.frozen
class Reject:
    """Answer with a ConnectionReject.

    Attributes:
        metadata: sent along, to say why.
        refusal: the reason, if programs are to tell it apart from others; it is sent
            instead.
    """

    metadata: Metadata = NO_METADATA
    refusal: Refusal | None = None


@attrs.frozen
class Fail:
    """Wake the task that waits for the answer to an opening, with an error.

    Attributes:
        error: raised there.
        close: whether to send a ConnectionClose too.
    """

    error: RoamTrioError
    close: bool = False


@attrs.frozen
class End:
    """End an open connection.

    Attributes:
        because: its calls and channels fail with this.
    """

    because: RoamTrioError


Action = Act | Reject | Fail | End
"""Answers of the table to the question what is to be done."""


@attrs.frozen
class _Entry:
    phase: Phase
    size: int


_WITHOUT_METADATA: Final = {phase: _Entry(phase, 0) for phase in Phase}
"""Entries of connections whose messages hold nothing here. There may be very many of
these, so they share one object for each phase."""

_TOO_MUCH_METADATA: Final = (
    "too much metadata has come with virtual connections (limit: connection_bytes)"
)

NO_CONNECTIONS: Final = (
    "this side offers no services by name, but one on the root connection at most: "
    "connect(url, Service) gives a client of that; to offer several by name, "
    "serve(url, {name: handler})"
)
"""Reason to reject an open when there is no acceptor; sent to the peer."""


class _Entries:
    """The phase of each connection, and how many are in which.

    Args:
        most_over: number of connections in `Phase.OVER` that are remembered.
    """

    __slots__ = ("_entries", "_most_over", "_over", "bytes", "pending", "virtual")

    def __init__(self, most_over: int) -> None:
        self._entries: dict[ConnectionId, _Entry] = {}
        # In the order they are to be forgotten in.
        self._over: dict[ConnectionId, None] = {}
        self._most_over = most_over
        self.virtual = 0
        """Number of virtual connections that count against `Limits.connections`."""
        self.pending = 0
        """Number of them that count against `Limits.pending_opens`."""
        self.bytes = 0
        """Size of the messages with metadata that brought them."""

    def phase(self, connection_id: ConnectionId) -> Phase | None:
        """Return the phase of a connection; None if it is not in the table."""
        entry = self._entries.get(connection_id)
        return None if entry is None else entry.phase

    def move(self, connection_id: ConnectionId, event: Event, size: int = 0) -> None:
        """Move a connection to the phase that an event leads to.

        Args:
            connection_id: which one.
            event: the event.
            size: number of bytes that the connection holds from now on, beside those
                it holds already.

        Raises:
            RuntimeError: the event leads nowhere from the phase it is in.
        """
        before = self._entries.get(connection_id)
        phase = _next_phase(connection_id, self.phase(connection_id), event)
        if before is not None:
            self._remove(connection_id, before)
            size += before.size
        if phase is not None:
            self._add(connection_id, phase, size if phase in _VIRTUAL else 0)

    def _remove(self, connection_id: ConnectionId, entry: _Entry) -> None:
        del self._entries[connection_id]
        self.bytes -= entry.size
        self.virtual -= entry.phase in _VIRTUAL and connection_id != 0
        self.pending -= entry.phase in _PENDING
        if entry.phase is Phase.OVER:
            del self._over[connection_id]

    def _add(self, connection_id: ConnectionId, phase: Phase, size: int) -> None:
        self._entries[connection_id] = (
            _Entry(phase, size) if size else _WITHOUT_METADATA[phase]
        )
        self.bytes += size
        self.virtual += phase in _VIRTUAL and connection_id != 0
        self.pending += phase in _PENDING
        if phase is Phase.OVER:
            self._over[connection_id] = None
            if len(self._over) > self._most_over:
                oldest = next(iter(self._over))
                self._remove(oldest, self._entries[oldest])

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._over.clear()
        self.virtual = self.pending = self.bytes = 0


def _next_phase(
    connection_id: ConnectionId, phase: Phase | None, event: Event
) -> Phase | None:
    try:
        return _NEXT[phase, event]
    except KeyError:
        it_is = "not in the table" if phase is None else phase.value
        raise RuntimeError(
            f"connection {connection_id} is {it_is}: expected no {event.name}"
        ) from None


class ConnectionTable:
    """The connections of one session, from when its root connection is open.

    Args:
        parity: the half of the ids this side opens connections with.
        limits: what the peer can make this side hold.
        has_acceptor: whether an acceptor decides on connections that the peer opens. If
        not, all are rejected.
        strict: also refuse what peers of other implementations are known to do.
    """

    __slots__ = (
        "_entries",
        "_has_acceptor",
        "_ids",
        "_last_asked_for",
        "_limits",
        "_parity",
        "_planned",
        "_strict",
        "ended_because",
        "is_root_unused",
        "refusing",
    )

    def __init__(
        self, parity: Parity, limits: Limits, *, has_acceptor: bool, strict: bool
    ) -> None:
        self.refusing: str | None = None
        """The reason why new connections are refused, if they are."""
        self.ended_because: RoamTrioError | None = None
        """The reason why the session has ended, if it has."""
        self.is_root_unused = False
        """True if the root connection is unused."""
        self._parity = parity
        self._limits = limits
        self._has_acceptor = has_acceptor
        self._strict = strict
        self._ids: IdAllocator[ConnectionId] = IdAllocator(parity)
        self._planned = 0
        self._last_asked_for = 0
        self._entries = _Entries(limits.connections)
        self._entries.move(ConnectionId.ROOT, Event.SET_UP)

    def phase(self, connection_id: ConnectionId) -> Phase | None:
        """Return the phase of a connection; None if it is not in the table."""
        return self._entries.phase(connection_id)

    @property
    def has_virtual(self) -> bool:
        """True if virtual connections are open, or about to be."""
        return bool(self._planned or self._entries.virtual)

    @property
    def is_unneeded(self) -> bool:
        """True if the root is unused, and no virtual connection is left
        (`rpc.caller.liveness.root-teardown-condition`)."""
        return self.is_root_unused and not self.has_virtual

    # ------------------------------------------------------------ wishes of this side

    def plan(self) -> None:
        """Plan to open a connection as soon as there is room.

        Raises:
            ConnectionLost: it may not; see `check_may_ask`.
        """
        self.check_may_ask()
        self._planned += 1

    def drop_plan(self) -> None:
        """Abandon the plan to open a connection."""
        self._planned -= 1

    def check_may_ask(self) -> None:
        """Refuse to ask for another connection where that is of no use.

        Raises:
            ConnectionLost: the session has ended, is shutting down, or has
                `Limits.connections` open.
        """
        if self.ended_because is not None:
            raise session_lost(self.ended_because)
        if self.refusing is not None:
            raise ConnectionLost(self.refusing)
        virtual = self._entries.virtual
        if virtual >= self._limits.connections:
            raise ConnectionLost(
                f"{virtual} virtual connections are open already (limit: connections)"
            )

    def allocate(self) -> ConnectionId:
        """Allocate the id of the next connection to ask for."""
        return self._ids.allocate()

    def ask(self, connection_id: ConnectionId) -> None:
        """Record that this side has opened a planned connection."""
        self._planned -= 1
        self._entries.move(connection_id, Event.ASK)

    def give_up(self, connection_id: ConnectionId) -> bool:
        """Abandon an open, for whose answer no task waits any more.

        Returns:
            True if the peer has not answered, and must be sent a ConnectionClose.
        """
        if self.phase(connection_id) is not Phase.OPENING:
            return False
        self._entries.move(connection_id, Event.GIVE_UP)
        return True

    def allow(self, connection_id: ConnectionId) -> Action:
        """Record that the acceptor has accepted a connection."""
        if self.refusing is None and self.phase(connection_id) is Phase.DECIDING:
            self._entries.move(connection_id, Event.ALLOWED)
            return Act.START
        return self.deny(connection_id, None)

    def deny(
        self, connection_id: ConnectionId, why: Metadata | Refusal | None
    ) -> Action:
        """Reject a connection, as the acceptor has decided.

        Args:
            connection_id: the connection.
            why: metadata for the peer, or a refusal that the acceptor has raised; None
                if it has failed or was cancelled.
        """
        if self.ended_because is not None:
            return Act.IGNORE
        is_withdrawn = self.phase(connection_id) is Phase.WITHDRAWN
        self._entries.move(connection_id, Event.DENIED)
        if is_withdrawn:
            return Act.IGNORE
        if self.refusing is not None:
            return _unavailable(self.refusing)
        if isinstance(why, REFUSALS):
            return Reject(refusal=why)
        return _reject("the acceptor failed") if why is None else Reject(why)

    def close(self, connection_id: ConnectionId) -> bool:
        """Close a virtual connection from this side.

        Returns:
            False if it is not open, so that there is nothing to do.
        """
        if connection_id == 0 or self.phase(connection_id) is not Phase.OPEN:
            return False
        self._entries.move(connection_id, Event.CLOSE)
        return True

    def end(self, because: RoamTrioError) -> None:
        """End every connection with the session."""
        self.ended_because = because
        self.refusing = str(because)
        self.is_root_unused = False
        self._entries.clear()

    # ------------------------------------------------------------ messages of the peer

    def on_open(self, message: ConnectionOpen) -> Action:
        """Handle an open of the peer (`connection.open`).

        Raises:
            RemoteProtocolError: it may not ask for this one, if strict.
        """
        connection_id = message.connection_id
        wrong = self._what_is_wrong(connection_id)
        if wrong is not None:
            if self._strict:
                raise RemoteProtocolError(wrong)
            return _reject(wrong)
        self._last_asked_for = max(self._last_asked_for, connection_id)
        size = weight_of(message.metadata)
        if self.refusing is not None:
            return _unavailable(self.refusing)
        why_not = self._limit_reached(size)
        if why_not is not None:
            return _reject(why_not)
        self._entries.move(connection_id, Event.ASKED, size)
        return Act.DECIDE

    def _what_is_wrong(self, connection_id: ConnectionId) -> str | None:
        if connection_id == 0:
            return "connection 0 is the root, and was opened again"
        if not self._parity.other().owns(connection_id):
            return (
                f"connection {connection_id} has not the parity of its opener, "
                f"{self._parity.other().name.lower()}"
            )
        if self.phase(connection_id) in _VIRTUAL:
            return f"connection {connection_id} is open, and was opened again"
        return None

    def _limit_reached(self, size: int) -> str | None:
        """Return why another connection of the peer's cannot be decided on, if so."""
        limits, entries = self._limits, self._entries
        if entries.virtual >= limits.connections:
            return "too many connections (limit: connections)"
        if entries.pending >= limits.pending_opens:
            return "too many pending (limit: pending_opens)"
        if not self._has_acceptor:
            return NO_CONNECTIONS
        if entries.bytes + size > limits.connection_bytes:
            return _TOO_MUCH_METADATA
        return None

    def on_accept(self, message: ConnectionAccept) -> Action:
        """Handle an accept of the peer (`connection.open`).

        Raises:
            RemoteProtocolError: it was not asked to, if strict.
        """
        connection_id = message.connection_id
        if self.phase(connection_id) is not Phase.OPENING:
            self._check_late_answer(message)
            return Act.IGNORE
        size = weight_of(message.metadata)
        if self._entries.bytes + size > self._limits.connection_bytes:
            self._entries.move(connection_id, Event.GIVE_UP)
            return Fail(ConnectionLost(_TOO_MUCH_METADATA), close=True)
        self._entries.move(connection_id, Event.ACCEPTED, size)
        return Act.START

    def on_reject(self, message: ConnectionReject) -> Action:
        """Handle a rejection by the peer (`connection.open.rejection`).

        Raises:
            RemoteProtocolError: it was not asked to decide, if strict.
        """
        connection_id = message.connection_id
        if self.phase(connection_id) is not Phase.OPENING:
            self._check_late_answer(message)
            if self._is_forgotten(connection_id):
                self._entries.move(connection_id, Event.REJECTED)
            return Act.IGNORE
        self._entries.move(connection_id, Event.REJECTED)
        return Fail(error_of_rejection(message.metadata))

    def on_close(self, message: ConnectionClose) -> Action:
        """Handle a close by the peer (`connection.close.semantics`).

        Raises:
            RemoteProtocolError: it is the root; or, if strict, the peer has already
            closed or rejected it, or it was never opened.
        """
        connection_id = message.connection_id
        if connection_id == 0:
            raise RemoteProtocolError("connection 0, the root, was closed")
        before = self.phase(connection_id)
        is_known = before is not None or self._is_forgotten(connection_id)
        if not is_known or (before, Event.CLOSED) not in _NEXT:
            self._refuse(message, "is not open")
            return Act.IGNORE
        self._entries.move(connection_id, Event.CLOSED)
        return _after_close(before, ConnectionClosed("peer", message.metadata))

    def on_stray(self, message: Message) -> None:
        """Handle a message for a connection that is not open.

        The peer may have sent it before it learnt that this side has closed or rejected
        the connection. A message that cannot be explained like that breaks the
        protocol, as some peers are known to do.

        Raises:
            RemoteProtocolError: it does, if strict.
        """
        if not self._is_forgotten(message.connection_id):
            self._refuse(message, "is not open")

    def _check_late_answer(self, message: ConnectionAccept | ConnectionReject) -> None:
        """Check an answer to an opening that this side has given up, or never made."""
        connection_id = message.connection_id
        is_open = self.phase(connection_id) is Phase.OPEN
        if is_open or not self._parity.owns(connection_id):
            self._refuse(message, "is not being opened")
        self.on_stray(message)

    def _is_forgotten(self, connection_id: ConnectionId) -> bool:
        """Return True if this side or the peer has asked for a connection that is not
        in the table any more, as far as can be told without remembering every id.
        """
        if self.phase(connection_id) is not None:
            return False
        if self._parity.owns(connection_id):
            return self._ids.has_allocated(connection_id)
        return 0 < connection_id <= self._last_asked_for

    def _refuse(self, message: Message, it: str) -> None:
        if self._strict:
            raise RemoteProtocolError(
                f"{type(message).__name__} came on connection {message.connection_id}, "
                f"which {it}"
            )

    def __repr__(self) -> str:
        entries = self._entries
        return (
            f"<ConnectionTable {entries.virtual} virtual, {entries.pending} of them "
            f"being decided on, {entries.bytes} bytes>"
        )


def _after_close(before: Phase | None, closed: ConnectionClosed) -> Action:
    """Return what to do with a connection that the peer has closed in this phase."""
    if before is Phase.OPEN:
        return End(closed)
    if before is Phase.OPENING:
        error = ConnectionLost(str(closed))
        error.__cause__ = closed
        return Fail(error)
    return Act.STOP_DECIDING if before is Phase.DECIDING else Act.IGNORE


def session_lost(because: BaseException) -> ConnectionLost:
    """Return the error of an opening that fails because the session has ended."""
    error = ConnectionLost(f"the session has ended: {because}")
    error.__cause__ = because
    return error


def _unavailable(why: str) -> Reject:
    return Reject(refusal=Unavailable(text=why, was_begun=False))


def _reject(why: str) -> Reject:
    return Reject(Metadata.of({"error": why}))
