"""What tells clients where servers are: a registry, or answers that expire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from random import Random

import trio

from roam_trio import Registry
from roam_trio.endpoints.announcing import Announcement
from roam_trio.endpoints.lasting.balancing import Address
from roam_trio.endpoints.lasting.resolving import Resolver
from roam_trio.endpoints.registry.entries import addresses_of, text_of
from roam_trio.lowlevel import RegistryEntries, RegistryEntry

from ..clockwork import TICK
from ..progress import Progress

__all__ = ["IS_DEAD", "Answers", "FleetRegistry", "Leases"]

IS_DEAD: ContextVar[trio.CancelScope] = ContextVar("IS_DEAD")
"""The scope of the server whose task asks; once it is cancelled, nobody hears it."""


class Leases:
    """Entries that are there until their leases end.

    Args:
        progress: has the time and the log.
        slowest: longest delay of a message, in ticks.

    Attributes:
        trouble: what goes wrong now; see `Disturb`.
        changed: is set when there is news.
    """

    def __init__(self, progress: Progress, slowest: int) -> None:
        self.trouble = ""
        self.changed = trio.Event()
        self._progress = progress
        self._slowest = slowest
        self._chance = Random(f"finding {progress.seed}")
        self._until: dict[str, float] = {}
        self._stale: Sequence[RegistryEntry] = ()

    def put(self, texts: Sequence[str], seconds: float) -> None:
        """Put entries there, or renew them."""
        is_new = not {each.text for each in self._entries} >= set(texts)
        self._until |= dict.fromkeys(texts, trio.current_time() + seconds)
        if is_new:
            self._news()

    def remove(self, texts: Sequence[str]) -> None:
        """Remove entries."""
        for text in texts:
            self._until.pop(text, None)
        self._news()

    def read(self) -> Sequence[RegistryEntry]:
        """Return the entries, or what is told in their place."""
        self._progress.figures["answers"] += 1
        match self.trouble:
            case "none":
                return ()
            case "stale":
                return self._stale
            case "wrong":
                wrong = RegistryEntry(text_of(Address("virtual://nobody"), "x"), 1.0)
                return [wrong, *self._entries]
            case _:
                return self._entries

    async def ask(self) -> None:
        """Wait for as long as a message takes.

        Raises:
            OSError: nobody answers.
        """
        seconds = self._chance.randint(1, self._slowest) * TICK
        if self.trouble == "late":
            seconds += 5 * self._chance.random()
        await trio.sleep(seconds)
        if self.trouble in ("error", "lost"):
            raise ConnectionRefusedError("as planned")

    def disturb(self, how: str) -> None:
        """Go wrong from now on."""
        self._stale = self._entries
        self.trouble = how
        if how == "lost":
            self._until.clear()
            self._news()

    def heal(self) -> None:
        """Be right again."""
        self.trouble = ""

    @property
    def _entries(self) -> Sequence[RegistryEntry]:
        now = trio.current_time()
        left = ((text, until - now) for text, until in self._until.items())
        return [RegistryEntry(text, seconds) for text, seconds in left if seconds > 0]

    def _news(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class FleetRegistry(Registry):
    """A registry in whose way messages take time, and get lost."""

    def __init__(self, leases: Leases, lease: float) -> None:
        super().__init__(lease=lease)
        self._leases = leases

    @asynccontextmanager
    async def open(self, service: str) -> AsyncIterator[RegistryEntries]:
        with trio.fail_after(self.lease / 2):
            await self._leases.ask()
        yield _Entries(self._leases)


class _Entries(RegistryEntries):
    """The entries, for one client or server."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._changed = leases.changed

    async def read(self) -> Sequence[RegistryEntry]:
        await self._leases.ask()
        found = self._leases.read()
        await self._leases.ask()
        return found

    async def put(self, texts: Sequence[str], seconds: float) -> None:
        await self._leases.ask()
        if not IS_DEAD.get().cancel_called:
            self._leases.put(texts, seconds)

    async def remove(self, texts: Sequence[str]) -> None:
        if not IS_DEAD.get().cancel_called:
            await self._leases.ask()
            self._leases.remove(texts)

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed = self._leases.changed
        await self._leases.ask()


class Answers(Resolver, Announcement):
    """Tells where servers are, and does not tell of changes, as name servers do.

    Args:
        leases: the servers that have come and not said goodbye.
        seconds: the time for which leases and answers hold.
        chance: returns a number from 0 to 1.
    """

    def __init__(self, leases: Leases, seconds: float, chance: Random) -> None:
        self._leases = leases
        self._seconds = seconds
        self._chance = chance

    def check(self, urls: Sequence[str]) -> None:
        pass

    async def hold(self, urls: Sequence[str]) -> None:
        texts = [text_of(Address(url), "") for url in urls]
        scope = IS_DEAD.get()
        try:
            while True:
                if self._leases.trouble != "lost":
                    self._leases.put(texts, self._seconds)
                await trio.sleep(self._seconds / 3)
        finally:
            if not scope.cancel_called:
                self._leases.remove(texts)

    async def resolve(self) -> Sequence[Address]:
        await self._leases.ask()
        found = self._leases.read()
        await self._leases.ask()
        return addresses_of(each.text for each in found)[0]

    async def changed(self) -> None:
        await trio.sleep(self._seconds * (1 + self._chance.random() / 10))
