"""The places of a server for its clients: how many, and how many of them for one peer.

A client with a place has a session, or sets one up. A client without a place is
refused; see `Refusals`. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ..errors import Overloaded
from ..peer_identity import holder_of, identity_of
from ..peers import Peer

__all__ = ["Place", "Places"]


_HANDSHAKES: Final = 64
_PART_FOR_HANDSHAKES: Final = 8


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
        may_identify: whether clients may get identities in their handshake. Until then
            they count apart from the sessions of their host, as many may have one
            address: 64 of them, or an eighth of the places, or `per_peer` of them if
            that is more.
    """

    def __init__(
        self, most: int, per_peer: int | None, *, may_identify: bool = True
    ) -> None:
        self._most = most
        self._free = most
        self._per_peer = per_peer
        self._handshakes = max(
            min(_HANDSHAKES, most // _PART_FOR_HANDSHAKES), per_peer or 0
        )
        self._may_identify = may_identify
        self._counts: dict[Hashable, int] = {}
        self.of_sessions: dict[Peer, Place] = {}
        """The places of the clients on which ``on_session`` decides, if places are
        counted."""

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
            count = self.count_handshake if self._may_identify else self.count_session
            refusal = count(place, peer)
            if refusal is not None:
                return refusal
        self._free -= 1
        return place

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._uncount(place)
        self._free += 1

    # ------------------------------------------------------------ of one peer

    def count_handshake(self, place: Place, peer: Peer) -> Overloaded | None:
        """Count a client that is in its handshake, if it is not counted yet.

        Return why it is one too many, if it is.
        """
        if place.counted_as is not None:
            return None
        key, what = ("handshake", holder_of(peer)), "handshakes"
        return self._count(place, key, self._handshakes, what, peer)

    def count_session(self, place: Place, peer: Peer) -> Overloaded | None:
        """Count a client by its identity, or by its host if it has none, and no longer
        as one in its handshake.

        Return why it is one too many, if it is.
        """
        assert self._per_peer is not None, "or else peers are not counted"
        self._uncount(place)
        return self._count(place, holder_of(peer), self._per_peer, "sessions", peer)

    def _count(
        self, place: Place, key: Hashable, most: int, what: str, peer: Peer
    ) -> Overloaded | None:
        count = self._counts.get(key, 0)
        if count >= most:
            return Overloaded(
                text=f"there are {count} {what} of this {_kind_of(peer)} "
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


def _kind_of(peer: Peer) -> str:
    if identity_of(peer) is None:
        return "address"
    is_user = peer.identity is None and peer.credentials is not None
    return "user" if is_user else "identity"
