"""A registry within one process, which can be in trouble."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import trio

from roam_trio import Registry
from roam_trio.lowlevel import RegistryEntries, RegistryEntry


class MemoryRegistry(Registry):
    """A registry whose state tests can see and set.

    Attributes:
        leases: for each service its entries, and when their leases end.
        trouble: what happens to whoever asks: nothing, or it fails, or it waits for
            ever, or there is a bug.
        tells: whether it tells of changes.
        asked: names of the methods that were called, in order.
    """

    def __init__(self, *, lease: float = 6.0) -> None:
        super().__init__(lease=lease)
        self.leases: dict[str, dict[str, float]] = defaultdict(dict)
        self.trouble: Literal["", "down", "hangs", "bug"] = ""
        self.tells = True
        self.asked: list[str] = []
        self.connections = 0
        self.changes = 0
        self.listeners = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return "<MemoryRegistry>"

    async def ask(self, method: str) -> None:
        """Suffer from the trouble."""
        self.asked.append(method)
        await trio.lowlevel.checkpoint()
        if self.trouble == "hangs":
            await trio.sleep_forever()
        if self.trouble == "down":
            raise ConnectionRefusedError("it is \x1b[31mdown")
        if self.trouble == "bug":
            raise ZeroDivisionError("a bug")

    @asynccontextmanager
    async def open(self, service: str) -> AsyncIterator[RegistryEntries]:
        with trio.fail_after(self.lease / 2):
            await self.ask("open")
        self.connections += 1
        try:
            yield MemoryEntries(self, self.leases[service])
        finally:
            self.connections -= 1


class MemoryEntries(RegistryEntries):
    def __init__(self, registry: MemoryRegistry, leases: dict[str, float]) -> None:
        self._registry = registry
        self._leases = leases
        self._seen = registry.changes

    async def read(self) -> Sequence[RegistryEntry]:
        await self._registry.ask("read")
        now = trio.current_time()
        left = {text: ends - now for text, ends in self._leases.items()}
        return [RegistryEntry(text, s) for text, s in left.items() if s > 0]

    async def put(self, texts: Sequence[str], seconds: float) -> None:
        await self._registry.ask("put")
        is_new = not self._leases.keys() >= set(texts)
        self._leases |= dict.fromkeys(texts, trio.current_time() + seconds)
        if is_new:
            self._tell()

    async def remove(self, texts: Sequence[str]) -> None:
        await self._registry.ask("remove")
        for text in texts:
            del self._leases[text]
        self._tell()

    async def changed(self) -> None:
        while self._seen == self._registry.changes:
            await self._registry.listeners.park()
        self._seen = self._registry.changes

    def _tell(self) -> None:
        if self._registry.tells:
            self._registry.changes += 1
            self._registry.listeners.unpark_all()
