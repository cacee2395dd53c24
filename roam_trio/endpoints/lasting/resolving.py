"""Resolvers, which find the servers of lasting clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from .balancing import Address

__all__ = ["Resolver", "StaticResolver"]


class Resolver(ABC):
    """Finds the servers of a lasting client.

    A lasting client resolves once at first, after `changed` returns, and after a
    session has failed, with pauses in between.
    """

    @abstractmethod
    async def resolve(self) -> Sequence[Address]:
        """Return the addresses that there are now, in their order.

        Addresses that are gone get no more calls. None at all, and every exception but
        `TypeError` and `ValueError`, means that nothing is known: the client keeps the
        addresses that it has, and asks again.
        """

    async def changed(self) -> None:
        """Wait until the addresses may have changed; by default for ever.

        After an exception other than `TypeError` and `ValueError`, the client resolves
        again, with pauses that grow.
        """
        await trio.sleep_forever()

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[Resolver]:
        """Return a manager that has the resolver for one client, as long as that lives.

        By default that is this object. A resolver overrides it to keep a connection, or
        something else that each client needs for itself.
        """
        yield self


class StaticResolver(Resolver):
    """The addresses of a list.

    Args:
        urls: the URLs, in order.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._addresses = tuple(map(Address, urls))

    async def resolve(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return self._addresses
