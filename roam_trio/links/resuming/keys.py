"""Resume keys of a server, and their validity.

Every handshake issues a new key. A client that does not receive it, because its link is
cut just then, returns with an older key. A key is therefore valid until the client
proves that it has a later one, by presenting it or by sending anything on the link that
brought it. Between two proofs a client can only have the key proved last or one issued
since. A client that keeps losing its link most likely has the first or the last of
these.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, MutableMapping
from typing import Final, Generic, TypeVar

from .hello import KEY_LENGTH

__all__ = ["MOST_KEYS", "KeyRing", "new_key"]

T = TypeVar("T")

MOST_KEYS: Final = 8
"""Maximum number of valid keys of one session."""


def new_key() -> bytes:
    """Return an unguessable key (`stable.resume-key`)."""
    return secrets.token_bytes(KEY_LENGTH)


class KeyRing(Generic[T]):
    """The keys of one session.

    Args:
        index: the mapping from keys to sessions, for all sessions of a server.
        owner: the value of this session in the mapping.
        make_key: makes keys; not `new_key` only in tests.
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
        self._keys: list[bytes] = []  # in the order in which they were issued

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def issue(self, shown: bytes | None) -> bytes:
        """Return a new key for a client that has presented `shown`.

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
        """Handle a proof that the client has the newest key."""
        self._forget(len(self._keys) - 1)

    def clear(self) -> None:
        """Invalidate all keys, at the end of the session."""
        self._forget(len(self._keys))

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._forget_one(0)

    def _forget_one(self, place: int) -> None:
        del self._index[self._keys.pop(place)]
