"""The lost clients of a server, and which of them it gives up.

This module does not wait and needs no run of trio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

__all__ = ["LostClients", "Record"]

T = TypeVar("T", bound=Hashable)


@attrs.frozen
class Record:
    """Facts about a lost client that decide when it is given up.

    Attributes:
        has_worked: whether it has sent anything but its handshake.
        seconds: number of seconds for which it has had a link, in all.
        host: by which its clients are counted; see `host_of`.
        identity: likewise; see `identity_of`. None if there is none.
    """

    has_worked: bool
    seconds: float
    host: Hashable
    identity: Hashable | None = None


class LostClients(Generic[T]):
    """The clients that a server waits for, up to a number.

    If there are too many, the first to go is one that has never done any work. Among
    several, and if all have worked, it is one of the host or identity that has the most
    clients here; of these, the one that had a link for the shortest time; and of these,
    the one that was lost first.

    So every host keeps as many clients as an equal share allows, whatever others do,
    and more if others need fewer. Hosts with equally many clients here cannot replace
    each other's by ones that had a link for a shorter time.

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
        return self._take_first_to_go() if len(self._records) > self._most else None

    def remove(self, client: T) -> None:
        """Remove a client that has returned or is given up, if it is here."""
        record = self._records.pop(client, None)
        if record is None:
            return
        _uncount(self._of_host, record.host)
        if record.identity is not None:
            _uncount(self._of_identity, record.identity)

    def take_idle(self) -> T | None:
        """Remove and return the first to go, if it has never done any work."""
        if all(record.has_worked for record in self._records.values()):
            return None
        return self._take_first_to_go()

    def _take_first_to_go(self) -> T:
        # `min` returns the first of several, which was lost first.
        client = min(self._records, key=self._order)
        self.remove(client)
        return client

    def _order(self, client: T) -> tuple[bool, int, int, float]:
        record = self._records[client]
        of_host = of_identity = self._of_host[record.host]
        if record.identity is not None:
            of_identity = self._of_identity[record.identity]
        # Behind a proxy all clients are of one host, and then the identities decide.
        most = max(of_host, of_identity)
        return record.has_worked, -most, -of_identity, record.seconds

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<LostClients: {len(self)} of at most {self._most}>"


def _uncount(counter: Counter[Hashable], key: Hashable) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
