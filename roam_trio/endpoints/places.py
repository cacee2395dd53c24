"""The places of a server for its clients: how many, and how many of them for one peer.

A client with a place has a session, or sets one up. A client without a place is
refused; see `Refusals`. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ..errors import Overloaded
from ..peer_identity import host_of, identity_of
from ..peers import Peer

__all__ = ["Place", "Places"]


class Place:
    """The place of one client.

    Attributes:
        counted_as: the peer as which it counts; None if it does not count, or not yet.
    """

    __slots__ = ("counted_as",)

    def __init__(self, counted_as: Hashable | None = None) -> None:
        self.counted_as = counted_as


_UNCOUNTED: Final = Place()
"""The place of every client of a server that does not count peers."""


class Places:
    """The places of a server.

    Args:
        most: number of places (`max_sessions`).
        per_peer: number of places for one peer (`max_sessions_per_peer`); None for any.
    """

    def __init__(self, most: int, per_peer: int | None) -> None:
        self._most = most
        self._free = most
        self._per_peer = per_peer
        self._counts: dict[Hashable, int] = {}
        self.of_sessions: dict[Peer, Place] = {}
        """The places of the clients that have a session, if places are counted."""

    # ------------------------------------------------------------ places

    @property
    def are_counted(self) -> bool:
        """True if the places of each peer are counted."""
        return self._per_peer is not None

    def enter(self, peer: Peer | None) -> Place | Overloaded:
        """Take a place, or return why there is none.

        Args:
            peer: the client, if it is known by now.
        """
        if not self._free:
            return Overloaded(
                text="there is no place for another session (limit: max_sessions)"
            )
        place = _UNCOUNTED if self._per_peer is None else Place()
        if peer is not None and place is not _UNCOUNTED:
            refusal = self.count_host(place, peer)
            if refusal is not None:
                return refusal
        self._free -= 1
        return place

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._uncount(place)
        self._free += 1

    # ------------------------------------------------------------ of one peer

    def count_host(self, place: Place, peer: Peer) -> Overloaded | None:
        """Count a client by its host, if it is not counted yet.

        Return why it is one too many, if it is.
        """
        if place.counted_as is not None:
            return None
        if peer.credentials is not None:
            return self._count(place, ("user", peer.credentials.uid), "user")
        return self._count(place, ("host", host_of(peer)), "address")

    def count_identity(self, place: Place, peer: Peer) -> Overloaded | None:
        """Count a client by its identity, if it has one, and no longer by its host.

        Return why it is one too many, if it is.
        """
        identity = identity_of(peer)
        if identity is None:
            return None
        self._uncount(place)
        return self._count(place, identity, "identity")

    def _count(self, place: Place, key: Hashable, what: str) -> Overloaded | None:
        assert self._per_peer is not None, "or else peers are not counted"
        count = self._counts.get(key, 0)
        if count >= self._per_peer:
            return Overloaded(
                text=f"there are {count} sessions of this {what} "
                "(limit: max_sessions_per_peer)"
            )
        self._counts[key] = count + 1
        place.counted_as = key
        return None

    def _uncount(self, place: Place) -> None:
        key = place.counted_as
        if key is None:
            return
        place.counted_as = None
        if self._counts[key] == 1:
            del self._counts[key]
        else:
            self._counts[key] -= 1

    def __repr__(self) -> str:
        return f"<Places: {self._free} of {self._most} free>"
