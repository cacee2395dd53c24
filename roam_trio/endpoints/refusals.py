"""The clients that a server refuses at this time: how many, and which are cut off.

A refusal takes some time: for a handshake of TLS, for example, or until the client has
read it. So there is a bound on their number, and no refusal waits for another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final

import trio

__all__ = ["Refusal", "Refusals"]

_AT_ONCE: Final = 64


class Refusal:
    """One client that is refused.

    Attributes:
        host: by which its refusals are counted; None if it is not known yet.
        scope: cut off by its cancellation.
    """

    __slots__ = ("host", "scope")

    def __init__(self, host: Hashable | None, seconds: float) -> None:
        self.host = host
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)


class Refusals:
    """The refusals of a server, up to a number.

    If there is one too many, the oldest of the host that has the most is cut off. So a
    client is told why it is refused, unless so many others come meanwhile, however
    slow those before it are.

    Args:
        seconds: bound on the time of each.
        most: the number.
    """

    def __init__(self, seconds: float, most: int = _AT_ONCE) -> None:
        self._seconds = seconds
        self._most = most
        self._of_host: Counter[Hashable | None] = Counter()
        self._refusals: dict[Refusal, None] = {}  # the oldest first

    def begin(self, host: Hashable | None) -> Refusal:
        """Add a refusal, and cut another one off if there are too many."""
        refusal = Refusal(host, self._seconds)
        self._refusals[refusal] = None
        self._of_host[host] += 1
        if len(self._refusals) > self._most:
            # `max` returns the first of several, which is the oldest.
            oldest = max(self._refusals, key=lambda one: self._of_host[one.host])
            self.end(oldest)
            oldest.scope.cancel()
        return refusal

    def end(self, refusal: Refusal) -> None:
        """Remove a refusal, if it is here."""
        if refusal not in self._refusals:
            return
        del self._refusals[refusal]
        self._of_host[refusal.host] -= 1
        if not self._of_host[refusal.host]:
            del self._of_host[refusal.host]

    def __len__(self) -> int:
        return len(self._refusals)

    def __repr__(self) -> str:
        return f"<Refusals: {len(self)} of at most {self._most}>"
