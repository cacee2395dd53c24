"""Handlers that go on after their sessions have ended, because they are shielded.

A client can leave such handlers behind, and come back for more. While those of one peer
are too many, its new clients wait. `Lingering` decides; only `room` waits.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import trio

from ..errors import Overloaded
from ..limits import Limits
from ..peer_identity import holder_of
from ..peers import Peer

__all__ = ["Lingering"]


class Tasks(Protocol):
    """The interface of a `Budget` for the handlers of all sessions together."""

    @property
    def tasks(self) -> int:
        """Number of tasks that are held."""
        ...


class Ended(Protocol):
    """The interface of a `Session` for the handlers that it has left behind."""

    @property
    def peer(self) -> Peer:
        """The client."""
        ...

    @property
    def tasks_left(self) -> int:
        """Number of its handlers that go on after its end."""
        ...


class Sessions(Protocol):
    """The interface of the sessions of a server."""

    @property
    def all(self) -> Sequence[Ended]:
        """The sessions that are not over."""
        ...


class Lingering:
    """The handlers that sessions of a server have left behind.

    Args:
        limits: how many may be left of one peer, and for how long its clients wait.
        budget: counts the handlers of all sessions.
        sessions: its sessions.
    """

    def __init__(self, limits: Limits, budget: Tasks, sessions: Sessions) -> None:
        self._most = limits.lingering_tasks
        self._seconds = limits.handshake_seconds / 2
        self._budget = budget
        self._sessions = sessions
        self._waiting: dict[Hashable, trio.lowlevel.ParkingLot] = {}

    @property
    def may_be_many(self) -> bool:
        """True if clients have to be checked: there are many handlers of any kind."""
        return self._budget.tasks > self._most

    def of(self, key: Hashable) -> int:
        """Return the number of handlers that a peer has left behind."""
        return sum(
            tasks
            for session in self._sessions.all
            if (tasks := session.tasks_left) and holder_of(session.peer) == key
        )

    async def room(self, peer: Peer) -> None:
        """Wait until a client may have a session.

        A checkpoint only if it waits.

        Raises:
            Overloaded: that has taken more than half of `Limits.handshake_seconds`.
        """
        key = holder_of(peer)
        if self._are_few(key):
            return
        with trio.move_on_after(self._seconds):
            while not self._are_few(key):
                await self._waiting.setdefault(key, trio.lowlevel.ParkingLot()).park()
            self._wake(key)  # the next, which was not woken while there was no room
            return
        raise Overloaded(
            text=f"{self.of(key)} handlers of sessions that this client has left are "
            "still running (limit: lingering_tasks)"
        )

    def over(self, peer: Peer) -> None:
        """Note that a session and all of its handlers have ended."""
        if self._waiting:
            self._wake(holder_of(peer))

    def _are_few(self, key: Hashable) -> bool:
        return not self.may_be_many or self.of(key) <= self._most

    def _wake(self, key: Hashable) -> None:
        """Wake one client that waits, which looks for all: a look takes some time."""
        lot = self._waiting.get(key)
        if lot is None:
            return
        lot.unpark()
        if not lot:
            del self._waiting[key]

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<Lingering: {waiting} clients wait>"
