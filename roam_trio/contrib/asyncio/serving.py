"""`serving` for programs on asyncio."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypedDict, Unpack

from ...conduits.base import ConduitAcceptor
from ...endpoints.announcing import Announcement
from ...endpoints.server import Server as NativeServer
from ...endpoints.serving import serving as native_serving
from ...limits import Limits
from ...metadata import MetadataLike
from ...peers import Peer
from ...rpc.failure_metadata import TellFailures
from ...rpc.handler import Handler
from ...rpc.observer import Observer
from ...service import Middleware
from ...session import ConnectionAcceptor, OnSession, Session, SessionKeepaliveConfig
from ...transports import ListeningSocket
from ...wire.messages import Message
from .guest import Guest, in_asyncio
from .holding import Holding
from .middleware import for_trio
from .opening import Opening

__all__ = ["Server", "ServingOptions", "serving"]

Offer: TypeAlias = Handler | Mapping[str, Handler]


class ServingOptions(TypedDict, total=False):
    """The options of `roam_trio.serving` that are the same for asyncio.

    It has many attributes, as `roam_trio.serving` has many options.
    """

    sockets: Iterable[ListeningSocket]
    max_concurrent_requests: int
    metadata: MetadataLike
    keepalive: SessionKeepaliveConfig | None
    limits: Limits
    strict: bool
    deadlines: bool
    cancel_grace: float
    tell_failures: TellFailures
    max_waiting: int | None
    ssl_context: ssl.SSLContext | None
    origins: Sequence[str]
    max_sessions: int
    max_sessions_per_peer: int | None
    memory: int | None
    tasks: int
    resume: bool
    on_connection: ConnectionAcceptor | None
    observer: Observer | None
    busy_poll: float | None
    schemas: bool
    reflection: bool
    statistics: bool
    announce: Announcement | Iterable[Announcement]
    drain_on: Iterable[signal.Signals]


def serving(
    url: str | Sequence[str] | ConduitAcceptor[Message] | None,
    handler: Offer,
    *,
    on_session: OnSession | None = None,
    middleware: Iterable[Middleware] = (),
    grace: float = 0.0,
    **options: Unpack[ServingOptions],
) -> Opening[Server]:
    """Serve clients from a program on asyncio; see `roam_trio.serving`.

        async with serving(url, dispatcher(Adder, AdderImpl())) as server:
            print(server.url)
            await asyncio.Event().wait()

    Leaving the block shuts the server down. If the server fails, the block is
    cancelled, and its error is raised. In a notebook: ``server = await serving(...)``,
    and later ``await server.aclose()``.

    Args:
        url: see `roam_trio.serve`.
        handler: made by `dispatcher` of this module; or such handlers by the names of
            their services.
        on_session: decides on a session, as asyncio code; see `roam_trio.serve`.
        middleware: wraps each call, as asyncio code; the first is outermost.
        grace: number of seconds that calls in flight have to finish after the block.
        options: the other options of `roam_trio.serving`. ``on_connection`` runs in
            trio.

    Raises:
        ValueError, TypeError: as `roam_trio.serving`.
        OSError: (on entering) as `roam_trio.serving`.
        RuntimeError: (on entering) trio runs in this thread already.
    """
    around = for_trio(middleware)
    decide = None if on_session is None else partial(_decide, on_session)

    def make() -> Any:
        return native_serving(
            url,
            handler,
            on_session=decide,
            middleware=around,
            grace=grace,
            **options,
        )

    return Opening(make, Server, "a server")


async def _decide(on_session: OnSession, peer: Peer) -> Offer | None:
    return await in_asyncio(on_session, peer)


class Server:
    """A running server, for tasks of asyncio; `serving` gives it.

    Args:
        guest: the run of trio in which it runs.
        native: the server.
        holding: keeps it running.
    """

    def __init__(self, guest: Guest, native: NativeServer, holding: Holding) -> None:
        self._guest = guest
        self._native = native
        self._holding = holding

    @property
    def url(self) -> str:
        """The URL at which it listens; see `roam_trio.Server.url`."""
        return self._native.url

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs at which it listens; see `roam_trio.Server.urls`."""
        return self._native.urls

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that are open now, to look at: await nothing of them here."""
        return self._native.sessions

    def offer(self, name: str, handler: Handler) -> None:
        """Offer a service by name from now on; see `roam_trio.Server.offer`.

        Args:
            name: the name with which clients ask for it.
            handler: made by `dispatcher` of this module.

        Raises:
            TypeError: `handler` is not a `Handler`.
        """
        self._native.offer(name, handler)

    def withdraw(self, name: str) -> None:
        """Offer a service no longer; see `roam_trio.Server.withdraw`.

        Raises:
            ValueError: no service of this name is offered.
        """
        self._native.withdraw(name)

    async def shutdown(self, grace: float = 0.0) -> None:
        """Stop listening and end every session; see `roam_trio.Server.shutdown`.

        Args:
            grace: number of seconds that calls in flight have to finish.

        Raises:
            ValueError, TypeError: `grace` is negative, infinite or not a number.
        """
        await self._guest.run(partial(self._native.shutdown, grace))

    async def aclose(self) -> None:
        """Shut the server down as the end of a block does, and wait for it; has no
        effect the second time.

        Raises:
            Exception: the server has failed.
        """
        await self._holding.close()

    def __repr__(self) -> str:
        return repr(self._native)
