"""Resume keys: which of those that a server has made still stand for a session.

Every handshake makes a new key, and the client that does not get it, as its link is cut
just then, comes back with an older one. So a key is good until the client has proved
that it knows a later one: by showing that, or by sending anything on the link that
brought it. Between two proofs a client can know only the key proved last or one made
since, and one that keeps losing its link is most likely to know the first or the last.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, MutableMapping
from typing import Final, Generic, TypeVar

from .hello import KEY_LENGTH

__all__ = ["MOST_KEYS", "KeyRing", "new_key"]

T = TypeVar("T")

MOST_KEYS: Final = 8
"""Number of keys of one session that are good at a time."""


def new_key() -> bytes:
    """Return a key that nobody can guess (`stable.resume-key`)."""
    return secrets.token_bytes(KEY_LENGTH)


class KeyRing(Generic[T]):
    """The keys of one session.

    Args:
        index: where to find a session by a key of it, for all sessions of a server.
        owner: what stands for the session there.
        make_key: makes keys; other than `new_key` in tests alone.
    """

    def __init__(
        self,
        index: MutableMapping[bytes, T],
        owner: T,
        make_key: Callable[[], bytes] = new_key,
    ) -> None:
        self._index = index
        self._owner = owner
        self._make_key = make_key
        self._keys: list[bytes] = []  # in the order in which they were made

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def issue(self, shown: bytes | None) -> bytes:
        """Return a new key, for a client that has shown `shown`.

        Args:
            shown: one of the keys; None if there are none yet.
        """
        if shown is not None:
            self._forget(self._keys.index(shown))
        if len(self._keys) >= MOST_KEYS:
            self._forget_one(1)
        key = self._make_key()
        self._keys.append(key)
        self._index[key] = self._owner
        return key

    def prove(self) -> None:
        """The client knows the newest key."""
        self._forget(len(self._keys) - 1)

    def clear(self) -> None:
        """The session has ended: no key is good any more."""
        self._forget(len(self._keys))

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._forget_one(0)

    def _forget_one(self, place: int) -> None:
        del self._index[self._keys.pop(place)]
