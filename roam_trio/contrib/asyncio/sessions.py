"""Sessions for programs on asyncio: services on connections of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from ... import session as sessions
from ...metadata import MetadataLike
from ...peers import Peer
from ...rpc.handler import Handler
from ...service import Middleware
from ...session.statistics import SessionStatistics
from .clients import client_in_asyncio
from .guest import Guest
from .holding import Holding
from .middleware import for_trio
from .opening import Opening

__all__ = ["Session"]

T = TypeVar("T")


class Session:
    """A session with a server; `connect` without a service gives it.

    Args:
        guest: the run of trio in which it runs.
        native: the session.
        holding: keeps it open.
    """

    def __init__(
        self, guest: Guest, native: sessions.Session, holding: Holding
    ) -> None:
        self._guest = guest
        self._native = native
        self._holding = holding

    @property
    def peer(self) -> Peer:
        """The server, with the metadata of its handshake."""
        return self._native.peer

    def statistics(self) -> SessionStatistics:
        """Return what the session does and holds now."""
        return self._native.statistics()

    def open(
        self,
        service: Callable[..., T],
        name: str | None = None,
        *,
        metadata: MetadataLike = (),
        handler: Handler | None = None,
        middleware: Iterable[Middleware] = (),
        metadata_for_calls: MetadataLike = (),
    ) -> Opening[T]:
        """Return a client on a connection of its own; see `roam_trio.Session.open`.

        Enter it with ``async with``, or await it, as `connect`.

        Args:
            service: the class of the service; the type of the client.
            name: see `roam_trio.Session.open`.
            metadata: see `roam_trio.Session.open`.
            handler: answers calls of the server, made by `dispatcher` of this module.
            middleware: wraps the calls of the client, as asyncio code.
            metadata_for_calls: metadata of each call of the client.

        Raises:
            TypeError: `service` is not a service, or `middleware` is not a list.
            IncompatibleService: (on entering) see `roam_trio.Session.open`.
        """
        make = partial(
            self._native.open,
            service,
            name,
            metadata=metadata,
            handler=handler,
            middleware=for_trio(middleware),
            metadata_for_calls=metadata_for_calls,
        )

        def wrap(guest: Guest, native: Any, holding: Holding) -> T:
            return client_in_asyncio(service, guest, native, holding)

        return Opening(make, wrap, "a client on a connection")

    async def ping(self) -> float:
        """Ping the peer, and return the number of seconds until its answer.

        Raises:
            ConnectionLost: the session has ended, or ends before the answer.
        """
        return await self._guest.run(self._native.ping)

    async def closed(self) -> None:
        """Wait until the session has ended."""
        await self._guest.run(self._native.closed)

    async def shutdown(self, grace: float = 0.0) -> None:
        """End the session, and wait until that is done; see
        `roam_trio.Session.shutdown`.

        Args:
            grace: number of seconds that calls in flight have to finish.

        Raises:
            ValueError, TypeError: `grace` is negative, infinite or not a number.
        """
        await self._guest.run(partial(self._native.shutdown, grace))

    async def aclose(self) -> None:
        """End the session at once; has no effect the second time."""
        await self._holding.close()

    def __repr__(self) -> str:
        return repr(self._native)
