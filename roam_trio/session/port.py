"""Interfaces of a connection for its requests and channels: no more than they use.

They know the connection by these interfaces alone, so each can be tested with a
stand-in, and none of them imports the `ConnectionRun`, which is above them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

import trio

from ..conduits.base import ConduitTxPermit
from ..limits import Limits
from ..rpc.binding import ChannelBinder
from ..wire.messages import ConnectionSettings, Message, RequestCall
from .outbox import Outbox

__all__ = ["AnsweringPort", "CallingPort", "ChannelPort", "Port"]


class Port(Protocol):
    """The interface of a connection for each of its parts.

    Attributes:
        connection_id: its number.
        outbox: where messages go.
        ended_because: why it has ended; None while it is open.
        now: returns the time, in seconds.
        token: the run of trio that it lives in.
    """

    connection_id: int
    outbox: Outbox
    ended_because: BaseException | None
    now: Callable[[], float]
    token: trio.lowlevel.TrioToken


class ChannelPort(Port, Protocol):
    """The interface of a connection for a channel.

    Attributes:
        limits: what the peer can make this side hold.
        unread_bytes: the length of all items that wait to be received.
    """

    limits: Limits
    unread_bytes: int

    async def reserve(self) -> ConduitTxPermit[Message]:
        """Wait for a permit, but only until the connection ends."""
        ...

    def ended(self, channel_id: int) -> None:
        """Forget a channel that this side has ended."""
        ...

    def refuse_unread(self) -> NoReturn:
        """Raise because more waits to be received than is allowed."""
        ...

    def drop_later(self, end: Callable[[], None]) -> None:
        """Have a channel ended whose handle was collected, soon."""
        ...


class CallingPort(Port, Protocol):
    """The interface of a connection for the requests of this side.

    Attributes:
        theirs: the settings the peer has told this side.
    """

    theirs: ConnectionSettings

    @property
    def binder(self) -> ChannelBinder:
        """Makes the channels of this connection."""
        ...

    async def reserve(self) -> ConduitTxPermit[Message]:
        """Wait for a permit, but only until the connection ends."""
        ...

    def lose_channels(self, channels: tuple[int, ...], because: BaseException) -> None:
        """End channels of a call that no handler will ever take up."""
        ...

    def check_quiet(self) -> None:
        """Report that nothing is going on any more, if that is so."""
        ...


class AnsweringPort(Port, Protocol):
    """The interface of a connection for the answer to a request of the peer.

    Attributes:
        dropped: ends the channels whose handles were collected.
    """

    dropped: list[Callable[[], None]]

    @property
    def binder(self) -> ChannelBinder:
        """Makes the channels of this connection."""
        ...

    def end_dropped(self) -> None:
        """End the channels whose handles were collected."""
        ...

    def answered(self, call: RequestCall) -> None:
        """Forget a request of the peer's, whose response was sent."""
        ...
