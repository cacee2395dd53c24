"""The service ``statistics``: what a server does and holds now.

`serve(..., statistics=True)` offers it. It tells the addresses of clients and the names
of methods, so a server offers it only if it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest
from typing import Final, Protocol

import attrs
import trio

from ..legible import legible
from ..schema import f64, u32, u64
from ..service import service
from ..service.dispatcher import Dispatcher, dispatcher
from ..session import Session
from ..session.statistics import ConnectionStatistics

__all__ = [
    "MOST_PARTS",
    "MOST_SESSIONS",
    "STATISTICS",
    "CallFigures",
    "ChannelFigures",
    "ServerFigures",
    "SessionFigures",
    "Statistics",
    "statistics_of",
]

STATISTICS: Final = "statistics"
"""The name under which it is offered."""

MOST_SESSIONS: Final = 200
"""Number of sessions that are told at most."""

MOST_PARTS: Final = 50
"""Number of calls, and of channels, that are told of each session at most."""

_AT_ONCE: Final = 32
"""Number of sessions that are looked at before other tasks run."""


@attrs.frozen
class CallFigures:
    """A call in flight.

    Attributes:
        method: the name of its method, or its identity in hexadecimal.
        direction: ``"in"`` if the client has made it, ``"out"`` if the server has.
        age: number of seconds since it began.
    """

    method: str
    direction: str
    age: f64


@attrs.frozen
class ChannelFigures:
    """An open channel.

    Attributes:
        direction: ``"out"`` if the server sends, ``"in"`` if it receives, ``"proxied"``
            if its messages only pass through.
        credit: number of items that may still be sent; None if it is proxied.
        queued: number of items that wait to be received by the server.
    """

    direction: str
    credit: u32 | None
    queued: u32


@attrs.frozen
class SessionFigures:
    """A session.

    Attributes:
        peer: the address of the client.
        connections: number of open connections.
        calls: number of calls in flight, in both directions.
        channels: number of open channels.
        sent_bytes: length of the payloads that the server has sent.
        unsent_bytes: bytes that wait to be sent.
        received_bytes: length of the payloads that the server has received.
        oldest_calls: the calls that have been in flight for the longest time.
        some_channels: channels, those without credit first.
    """

    peer: str
    connections: u32
    calls: u32
    channels: u32
    sent_bytes: u64
    unsent_bytes: u64
    received_bytes: u64
    oldest_calls: list[CallFigures]
    some_channels: list[ChannelFigures]


@attrs.frozen
class ServerFigures:
    """A server.

    Attributes:
        sessions: number of open sessions.
        busiest: the sessions that have the most calls and channels.
    """

    sessions: u32
    busiest: list[SessionFigures]


@service
class Statistics(Protocol):
    """Says what a server does and holds now. Offered under the name ``statistics``."""

    async def snapshot(self, most: u32 = MOST_SESSIONS) -> ServerFigures:
        """Return the figures of this moment, of at most so many sessions."""
        ...


class HasSessions(Protocol):
    """The sessions of a server."""

    @property
    def open(self) -> Sequence[Session]:
        """The open sessions."""
        ...


def statistics_of(sessions: HasSessions) -> Dispatcher:
    """Return the handler of ``statistics`` for the sessions of a server."""
    return dispatcher(Statistics, _Telling(sessions))


class _Telling:
    """A `Statistics`."""

    def __init__(self, sessions: HasSessions) -> None:
        self._sessions = sessions

    async def snapshot(self, most: int = MOST_SESSIONS) -> ServerFigures:
        sessions, most = self._sessions.open, min(most, MOST_SESSIONS)
        found: list[SessionFigures] = []
        for begin in range(0, len(sessions), _AT_ONCE):
            if begin:
                await trio.lowlevel.checkpoint()
            found += map(_figures, sessions[begin : begin + _AT_ONCE])
            found = nlargest(most, found, key=_work)
        return ServerFigures(len(sessions), found)


def _work(session: SessionFigures) -> tuple[int, int]:
    return session.calls + session.channels, session.received_bytes


def _figures(session: Session) -> SessionFigures:
    told = session.statistics()
    calls = [call for each in told.connections for call in _calls(each)]
    channels = [
        ChannelFigures(channel.direction, channel.credit, channel.queued)
        for each in told.connections
        for channel in each.channels
    ]
    return SessionFigures(
        legible(session.peer.address),
        len(told.connections),
        len(calls),
        len(channels),
        told.sent.payload_bytes,
        told.sent.unsent_bytes,
        told.received.payload_bytes,
        nlargest(MOST_PARTS, calls, key=_age),
        sorted(channels, key=_credit)[:MOST_PARTS],
    )


def _calls(connection: ConnectionStatistics) -> Iterator[CallFigures]:
    for call in connection.answering:
        yield CallFigures(call.method, "in", call.age)
    for call in connection.calling:
        yield CallFigures(call.method, "out", call.age)


def _age(call: CallFigures) -> float:
    return call.age


def _credit(channel: ChannelFigures) -> float:
    return float("inf") if channel.credit is None else channel.credit
