"""`RegisteredService`: servers announce themselves there, and clients find them."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from ...failures import is_cancellation
from ...logs import Log
from ..announcing import Announcement
from ..lasting.balancing import Address
from ..lasting.resolving import Resolver
from .advertising import advertised
from .entries import addresses_of, text_of
from .port import OpenEntries, RegistryEntries, RegistryEntry
from .trouble import Trouble, reason_of

__all__ = ["RegisteredService"]

logger = Log("roam_trio.registry")

WITHDRAWING_SECONDS: Final = 2.0
"""Bound on the time that it takes to withdraw a server."""

SETTLING_SECONDS: Final = 0.05
"""Pause before entries are read again, so that several changes are read together."""

SPREAD_SECONDS: Final = 0.45
"""Seconds over which the clients of a service read its entries after a change, of which
all of them hear together; at most a tenth of a lease, so that none misses one."""


class RegisteredService(Resolver, Announcement):
    """A service in a registry; see `Registry.service`.

    Args:
        label: names it in the log.
        open_entries: makes a connection to its entries.
        lease: seconds for which a server is there without renewing its entry.
        advertise: see `Registry.service`.
        priority: see `Registry.service`.
        weight: see `Registry.service`.
        chance: returns a number from 0 to 1; not `random.random` only in tests.
    """

    def __init__(
        self,
        label: str,
        open_entries: OpenEntries,
        lease: float,
        *,
        advertise: str | Sequence[str],
        priority: int,
        weight: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._label = label
        self._open = open_entries
        self._lease = lease
        self._advertise = advertise
        self._priority = priority
        self._weight = weight
        self._chance = chance

    def __repr__(self) -> str:
        return f"<RegisteredService {self._label}>"

    # ------------------------------------------------------------ servers

    def check(self, urls: Sequence[str]) -> None:
        """See `Announcement.check`.

        Raises:
            ValueError: a URL has the host of every address of the machine, or is of use
                in this process only, and `advertise` does not replace it.
        """
        advertised(urls, self._advertise)

    async def hold(self, urls: Sequence[str]) -> None:
        """See `Announcement.hold`."""
        owner = secrets.token_hex(8)
        texts = [
            text_of(Address(url, self._priority, self._weight), owner)
            for url in advertised(urls, self._advertise)
        ]
        trouble = Trouble(f"a server of {self._label} is not announced", self._lease)
        while True:
            try:
                async with self._open() as entries:
                    await self._renew(entries, texts, trouble)
            except Exception as error:
                await trio.sleep(trouble.begin(error))

    async def _renew(
        self, entries: RegistryEntries, texts: Sequence[str], trouble: Trouble
    ) -> None:
        """Renew the entries until cancelled, and then remove them."""
        try:
            while True:
                with trio.fail_after(self._lease / 2):
                    await entries.put(texts, self._lease)
                trouble.end()
                await trio.sleep(self._lease / 3)
        except BaseException as error:
            if is_cancellation(error):
                await self._withdraw(entries, texts)
            raise

    async def _withdraw(self, entries: RegistryEntries, texts: Sequence[str]) -> None:
        """Remove entries, within a bound; if that fails, their lease ends soon.

        Raise nothing: it would take the place of the `trio.Cancelled` of the caller.
        """
        try:
            with trio.move_on_after(WITHDRAWING_SECONDS, shield=True):
                await entries.remove(texts)
        except Exception as error:
            logger.warning(
                "a server of %s could not be withdrawn, and is there until its lease "
                "ends: %s",
                self._label,
                reason_of(error),
            )

    # ------------------------------------------------------------ clients

    async def resolve(self) -> Sequence[Address]:
        """Connect to the registry, and return the addresses that it has now.

        Raises:
            OSError: the registry cannot be reached, or does not answer as expected.
        """
        try:
            with trio.fail_after(self._lease):
                async with self._open() as entries:
                    found = await entries.read()
        except Exception as error:
            raise _unknown(self._label, error) from error
        return addresses_of(each.text for each in found)[0]

    async def changed(self) -> None:
        """Wait for half of a lease, after which the addresses may have changed."""
        await trio.sleep(self._lease / 2)

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[Resolver]:
        """Keep a connection to the registry for one client; see `Resolver.following`.

        Its `changed` returns soon after the registry has told of a change, or the lease
        of a server has ended.
        """
        follower = _Follower(self._label, self._open, self._lease, self._chance)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            yield follower
            nursery.cancel_scope.cancel()


class _Follower(Resolver):
    """Follows the entries of a service for one client.

    While the registry is in trouble, the addresses that it had last are still used.
    """

    def __init__(
        self,
        label: str,
        open_entries: OpenEntries,
        lease: float,
        chance: Callable[[], float],
    ) -> None:
        self._label = label
        self._open = open_entries
        self._lease = lease
        self._chance = chance
        self._known: Sequence[Address] | None = None
        self._error: Exception | None = None
        self._news = trio.Event()
        self._has_asked = trio.Event()
        self._had_bad_entries = False

    async def resolve(self) -> Sequence[Address]:
        """Return the addresses that the registry has told last.

        Raises:
            OSError: it has not told any yet, as it is in trouble.
        """
        await self._has_asked.wait()
        self._news = trio.Event()
        if self._known is None:
            assert self._error is not None
            raise _unknown(self._label, self._error)
        return self._known

    async def changed(self) -> None:
        await self._news.wait()

    async def run(self) -> None:
        """Follow the entries until cancelled."""
        trouble = Trouble(
            f"the servers of {self._label} cannot be followed, those known are used",
            self._lease,
        )
        while True:
            try:
                async with self._open() as entries:
                    await self._follow(entries, trouble)
            except Exception as error:
                # Otherwise the client logs that it has no servers.
                is_told_elsewhere = self._known is None
                pause = trouble.begin(error, is_told_elsewhere=is_told_elsewhere)
                self._error = error
                self._has_asked.set()
                await trio.sleep(pause)

    async def _follow(self, entries: RegistryEntries, trouble: Trouble) -> None:
        while True:
            with trio.fail_after(self._lease / 2):
                found = await entries.read()
            trouble.end()
            self._adopt(found)
            # The registry does not tell when a lease ends.
            ends = min((each.seconds for each in found), default=math.inf)
            with trio.move_on_after(min(ends, self._lease / 2)) as waiting:
                await entries.changed()
            pause = SETTLING_SECONDS
            if not waiting.cancelled_caught or ends <= self._lease / 2:
                pause += min(SPREAD_SECONDS, self._lease / 10) * self._chance()
            await trio.sleep(pause)

    def _adopt(self, found: Sequence[RegistryEntry]) -> None:
        """Adopt the entries of the registry."""
        known, bad = addresses_of(each.text for each in found)
        if bad and not self._had_bad_entries:
            logger.warning(
                "%s: %d entries are left out, as they are not what servers write",
                self._label,
                bad,
            )
        self._had_bad_entries = bad > 0
        if known != self._known:
            self._known = known
            self._news.set()
        self._has_asked.set()


def _unknown(label: str, error: Exception) -> OSError:
    return OSError(f"the servers of {label} are unknown: {reason_of(error)}")
