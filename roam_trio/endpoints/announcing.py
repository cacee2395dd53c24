"""`Announcement`, the interface by which a server tells others where it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

import trio

__all__ = ["Announcement", "Presence"]


class Announcement(ABC):
    """Tells others where a server is, for as long as it takes new clients."""

    @abstractmethod
    def check(self, urls: Sequence[str]) -> None:
        """Check that clients on other machines can use the URLs of a server.

        Raises:
            ValueError: a URL cannot be announced.
        """

    @abstractmethod
    async def hold(self, urls: Sequence[str]) -> None:
        """Announce a server until cancelled, and then withdraw it.

        An error ends the server. Therefore this raises none because the others cannot
        be reached, and tries again. Withdrawing is shielded, and has a bound of its own
        in time.

        Args:
            urls: the URLs at which the server listens.
        """


class Presence:
    """The announcements of one server.

    Args:
        announce: see `serve`; empty for a server that is not announced.

    Raises:
        TypeError: it is something else.
    """

    def __init__(self, announce: Announcement | Iterable[Announcement]) -> None:
        several = announce if isinstance(announce, Iterable) else (announce,)
        self._announcements = tuple(several)
        for each in cast("tuple[object, ...]", self._announcements):
            if not isinstance(each, Announcement):
                raise TypeError(
                    "announce: expected a service of a registry, as "
                    f"registry.service(name) returns, got {each!r}"
                )
        self._scope = trio.CancelScope()
        self._over = trio.Event()

    def __bool__(self) -> bool:
        return bool(self._announcements)

    def check(self, urls: Sequence[str]) -> None:
        """Check the URLs of the server; see `Announcement.check`."""
        for each in self._announcements:
            each.check(urls)

    async def hold(self, urls: Sequence[str]) -> None:
        """Announce the server until cancelled or `end`."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for each in self._announcements:
                        nursery.start_soon(each.hold, urls)
        finally:
            self._over.set()

    async def end(self) -> None:
        """Withdraw the server, and return when that is done or has failed.

        A checkpoint only if something is announced.
        """
        self._scope.cancel()
        if self._announcements:
            await self._over.wait()
