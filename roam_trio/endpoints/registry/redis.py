"""`RedisRegistry`: a registry in Valkey or Redis.

The entries of a service are a sorted set, ``roam-trio:`` and the name of the service.
The score of an entry is the time at which its lease ends, by the clock of the registry.
Each server that adds or removes its entry publishes a message in the channel of the
same name.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from ...extras import how_to_install
from ...legible import without_secrets
from .base import LEASE, Registry
from .entries import MOST_ENTRIES
from .port import RegistryEntries, RegistryEntry
from .redis_url import RedisRefusal, whereabouts

if TYPE_CHECKING:
    from .redis_connection import RedisConnection

__all__ = ["RedisRegistry"]

_PREFIX: Final = "roam-trio:"

_UNUSED_SECONDS: Final = 86_400
"""Seconds after which the set of a service is removed unless a lease is renewed."""


class RedisRegistry(Registry):
    """A registry in Valkey or Redis, from version 6 on. Needs the extra `registry`.

    Args:
        url: ``redis://host:port/db``, ``rediss://host:port/db`` for TLS, or
            ``unix:///path?db=0``. The port and the database may be left out. A user and
            a password stand before the host: ``redis://user:password@host``.
        lease: seconds of a lease; see `Registry`.
        ssl_context: for ``rediss``; None means `ssl.create_default_context`.

    Raises:
        ValueError: the URL is wrong, or an option is out of range.
        ImportError: the package of the extra `registry` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        lease: float = LEASE,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(lease=lease)
        self._where = whereabouts(url, ssl_context)
        self._label = without_secrets(url)
        try:
            from .redis_connection import redis_connection
        except ImportError as error:
            raise ImportError(
                f"the package for RedisRegistry is missing ({error}); "
                + how_to_install("registry")
            ) from error
        self._connection = redis_connection

    def __repr__(self) -> str:
        return f"<RedisRegistry {self._label}>"

    @asynccontextmanager
    async def open(self, service: str) -> AsyncGenerator[RegistryEntries]:
        """See `Registry.open`."""
        key = f"{_PREFIX}{service}".encode()
        async with self._connection(self._where, self.lease / 2) as connection:
            yield _RedisEntries(connection, key)


class _RedisEntries(RegistryEntries):
    def __init__(self, connection: RedisConnection, key: bytes) -> None:
        self._connection = connection
        self._key = key

    async def read(self) -> Sequence[RegistryEntry]:
        now = await self._now()
        scores = (f"({now!r}", "+inf")  # "(" excludes those that end now
        bounds = ("WITHSCORES", "LIMIT", 0, MOST_ENTRIES)
        found = await self._connection.ask("ZRANGEBYSCORE", self._key, *scores, *bounds)
        try:
            return [
                RegistryEntry(text.decode("utf-8", "replace"), float(score) - now)
                for text, score in found
            ]
        except (AttributeError, TypeError, ValueError) as error:
            raise OSError("the answer is not a list of members and scores") from error

    async def put(self, texts: Sequence[str], seconds: float) -> None:
        now = await self._now()
        ask = self._connection.ask
        scored = [each for text in texts for each in (now + seconds, text)]
        added = await ask("ZADD", self._key, *scored)
        await ask("ZREMRANGEBYSCORE", self._key, "-inf", now)
        await ask("EXPIRE", self._key, _UNUSED_SECONDS)
        if added:
            await self._publish("announced")

    async def remove(self, texts: Sequence[str]) -> None:
        await self._connection.ask("ZREM", self._key, *texts)
        await self._publish("withdrawn")

    async def changed(self) -> None:
        await self._connection.heard(self._key)

    async def _publish(self, message: str) -> None:
        # A user who may not publish is no obstacle: clients also ask from time to time.
        with suppress(RedisRefusal):
            await self._connection.ask("PUBLISH", self._key, message)

    async def _now(self) -> float:
        """Return the time of the registry, since the clocks of servers differ."""
        answer = await self._connection.ask("TIME")
        try:
            seconds, microseconds = answer
            return int(seconds) + int(microseconds) / 1e6
        except (TypeError, ValueError) as error:
            raise OSError("the answer is not a time") from error
