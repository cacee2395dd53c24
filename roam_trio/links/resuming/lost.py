"""The lost clients of a server, and which of them it gives up.

This module does not wait and needs no run of trio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from typing import Final, Generic, TypeVar

import attrs

__all__ = ["LostClients", "Record"]

T = TypeVar("T", bound=Hashable)


_SECONDS_OF_A_MESSAGE: Final = 10.0
_SECONDS_WITHOUT_A_CLAIM: Final = 10.0


@attrs.frozen
class Record:
    """Facts about a lost client that decide when it is given up.

    Attributes:
        messages: number of messages that it has sent after its handshake.
        seconds: number of seconds for which it has had a link, in all.
        lost_at: the time at which it was lost, in seconds.
        host: by which its clients are counted; see `host_of`.
        identity: likewise; see `identity_of`. None if there is none.
    """

    messages: int
    seconds: float
    lost_at: float
    host: Hashable
    identity: Hashable | None = None

    @property
    def worked(self) -> float:
        """Number of seconds for which it has worked: with a link, and at most 10 s for
        each message."""
        return min(self.seconds, self.messages * _SECONDS_OF_A_MESSAGE)

    @property
    def keeps_until(self) -> float:
        """The time until which it keeps its place although new clients need it: as long
        as it has worked, less 10 s."""
        return self.lost_at + self.worked - _SECONDS_WITHOUT_A_CLAIM


class LostClients(Generic[T]):
    """The clients that a server waits for, up to a number.

    If there are too many, the first to go is one that has sent no message after its
    handshake. Among several, and if all have, it is one of the host or identity that
    has the most clients here; of these, the one that has worked for the shortest time;
    and of these, the one that was lost first.

    So every host keeps as many clients as an equal share allows, whatever others do,
    and more if others need fewer. Hosts with equally many clients here cannot replace
    each other's by ones that have worked for a shorter time.

    To keep its place on a full server, a client must have worked for as long before,
    and for 10 s more. After that, a new client takes the place. It also takes the place
    of a client of a host that has more clients here than its own host, and would still
    have.

    Args:
        most: the number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: dict[T, Record] = {}  # in the order in which they were lost
        self._of_host: Counter[Hashable] = Counter()
        self._of_identity: Counter[Hashable] = Counter()

    def add(self, client: T, record: Record) -> T | None:
        """Add a client; return the one to give up, if there is one too many.

        That one is no longer here, and may be the one that was added.
        """
        self._records[client] = record
        self._of_host[record.host] += 1
        if record.identity is not None:
            self._of_identity[record.identity] += 1
        if len(self._records) <= self._most:
            return None
        return self._take_first_to_go(self._records)

    def remove(self, client: T) -> None:
        """Remove a client that has returned or is given up, if it is here."""
        record = self._records.pop(client, None)
        if record is None:
            return
        _uncount(self._of_host, record.host)
        if record.identity is not None:
            _uncount(self._of_identity, record.identity)

    def make_room(self, host: Hashable, now: float) -> T | None:
        """Remove and return the client that gives its place to a new client; None if
        there is none.

        Args:
            host: the host of the new client.
            now: the time, in seconds.
        """
        share = self._of_host[host] + 1
        return self._take_first_to_go(
            [
                client
                for client, record in self._records.items()
                if now >= record.keeps_until or self._share_of(record)[0] > share
            ]
        )

    def _take_first_to_go(self, clients: Collection[T]) -> T | None:
        # `min` returns the first of several, which was lost first.
        client = min(clients, key=self._order, default=None)
        if client is not None:
            self.remove(client)
        return client

    def _order(self, client: T) -> tuple[bool, int, int, float]:
        record = self._records[client]
        most, of_identity = self._share_of(record)
        return record.messages > 0, -most, -of_identity, record.worked

    def _share_of(self, record: Record) -> tuple[int, int]:
        """Return the number of clients that count together with one, and that of its
        identity, or of its host if it has none."""
        of_host = of_identity = self._of_host[record.host]
        if record.identity is not None:
            of_identity = self._of_identity[record.identity]
        # Behind a proxy all clients are of one host, and then the identities decide.
        return max(of_host, of_identity), of_identity

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<LostClients: {len(self)} of at most {self._most}>"


def _uncount(counter: Counter[Hashable], key: Hashable) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
