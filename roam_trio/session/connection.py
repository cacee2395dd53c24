"""What a program holds of one connection."""

from __future__ import annotations

import enum

from ..calls import Caller
from ..messages import ConnectionSettings
from ..metadata import Metadata
from .driver import Driver

__all__ = ["ConnectionHandle", "ConnectionState"]


class ConnectionState(enum.Enum):
    """How far a connection is."""

    OPEN = "open"
    CLOSED = "closed"


class ConnectionHandle:
    """One connection of a session: its number, its settings, and its caller."""

    def __init__(
        self,
        driver: Driver,
        ours: ConnectionSettings,
        theirs: ConnectionSettings,
        metadata: Metadata,
    ) -> None:
        self._driver = driver
        self._ours = ours
        self._theirs = theirs
        self._metadata = metadata

    @property
    def connection_id(self) -> int:
        """Its number; 0 is the root connection."""
        return self._driver.connection_id

    @property
    def settings(self) -> ConnectionSettings:
        """What this side has told the peer."""
        return self._ours

    @property
    def peer_settings(self) -> ConnectionSettings:
        """What the peer has told this side."""
        return self._theirs

    @property
    def peer_metadata(self) -> Metadata:
        """What the peer sent along when the connection was set up."""
        return self._metadata

    @property
    def caller(self) -> Caller:
        """Makes calls on this connection."""
        return self._driver.caller

    @property
    def state(self) -> ConnectionState:
        """Whether it is open."""
        if self._driver.ended_because is None:
            return ConnectionState.OPEN
        return ConnectionState.CLOSED

    def __repr__(self) -> str:
        return f"<ConnectionHandle {self.connection_id}, {self.state.value}>"
