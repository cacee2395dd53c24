"""The interface that a kind of registry implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import attrs
import trio

__all__ = ["OpenEntries", "RegistryEntries", "RegistryEntry"]


@attrs.frozen
class RegistryEntry:
    """An entry of a service.

    Attributes:
        text: the text that a server has put there.
        seconds: the time until its lease ends.
    """

    text: str
    seconds: float


class RegistryEntries(ABC):
    """The entries of one service, while a connection to the registry is there.

    Each method raises `OSError` if the registry does not do as asked, and is cancelled
    if it takes too long. The connection is then left, and another one is made after a
    pause. Any other exception has the same effect, and its traceback is logged.
    """

    @abstractmethod
    async def read(self) -> Sequence[RegistryEntry]:
        """Return the entries whose leases have not ended, in any order."""

    @abstractmethod
    async def put(self, texts: Sequence[str], seconds: float) -> None:
        """Put entries there, or renew their leases.

        Args:
            texts: the entries.
            seconds: the time after which they are gone unless renewed.
        """

    @abstractmethod
    async def remove(self, texts: Sequence[str]) -> None:
        """Remove entries at once.

        This is also called while the block of `Registry.open` is being cancelled,
        within a scope that is shielded for two seconds.
        """

    async def changed(self) -> None:
        """Wait until the entries may have changed since the last call.

        The first call may return at once. By default it waits for ever: the entries are
        also read when a lease may have ended, and twice for each lease.
        """
        await trio.sleep_forever()


OpenEntries: TypeAlias = Callable[[], AbstractAsyncContextManager[RegistryEntries]]
"""Makes a connection to a registry for the length of a block.

Raises:
    OSError, trio.TooSlowError: (on entering) the registry cannot be reached.
"""
