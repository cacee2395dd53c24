"""Virtual connections on the sessions of a lasting client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

import attrs
import trio

from ...errors import ConnectionLost, RoamError, RoamTrioError, Unavailable
from ...metadata import MetadataLike
from ...rpc.handler import Handler
from ...rpc.service_class import ClientDefaults
from ...service import Middleware, describe
from ...service.client import BaseClient
from ...service.descriptor import MethodDescriptor
from ...service.middleware import checked_middleware
from ...session import OpenConnection, Session
from .balancing import Endpoint, Phase
from .client import lasting_client_class
from .pool import Pool, PoolPhase, never_sent

__all__ = ["LastingConnection", "LastingSession", "Reopening"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class LastingSession:
    """The sessions with the servers of a target; `stay_connected` makes it.

    Args:
        pool: keeps the sessions.
        defaults: the options that all clients of `open` share.
    """

    __slots__ = ("_defaults", "_pool")

    def __init__(self, pool: Pool[Session], defaults: ClientDefaults) -> None:
        self._pool = pool
        self._defaults = defaults

    @property
    def pool(self) -> Pool[Session]:
        """Keeps the sessions; for `state`."""
        return self._pool

    @property
    def phase(self) -> PoolPhase:
        """The phase of all sessions together; see `LastingState.phase`."""
        return self._pool.phase

    def open(
        self,
        service: Callable[..., T],
        name: str | None = None,
        *,
        metadata: MetadataLike = (),
        handler: Handler | None = None,
        middleware: Iterable[Middleware] = (),
        metadata_for_calls: MetadataLike = (),
        reopen: bool = False,
    ) -> LastingConnection[T]:
        """Return a client of `service` on a virtual connection with one server.

        ``async with session.open(Counter) as counter:`` opens the connection for the
        length of the block, with the server that ``balance`` chooses, and stays with
        that server. Entering waits while no server is there. When the session with the
        server ends, the connection and its channels end with `Disconnected`, and calls
        raise `ConnectionLost`.

        With `reopen`, the block begins at once. A call opens the connection if there is
        none, and waits while no server is there. When the session with the server ends,
        or the server shuts down, the next call opens a connection with another, or with
        the same after its restart. Calls are made again as those of any client of
        `stay_connected`; see `Retry`. What the server kept for the old connection is
        gone, and a `handler` gets no calls until then.

        Args:
            service: the class of the service.
            name: see `Session.open`.
            metadata: see `Session.open`.
            handler: answers calls of the server's on this connection.
            middleware: wraps each call, with all of its attempts, inside of that of
                `stay_connected`.
            metadata_for_calls: metadata of each call of the client.
            reopen: open the connection again for later calls when it has ended.

        Raises:
            TypeError: `service` is not a service, or `middleware` is not a list.
            ConnectionLost: (on entering) the block of `stay_connected` has ended.
            SessionRejected: (on entering) the servers do not offer the service.
            IncompatibleService: (on entering) the server offers another version of it,
                and calls cannot be translated.
            RoamTrioError, OSError: (on entering) no session begins, for a reason that
                does not pass by itself.

        With `reopen`, calls raise these errors instead.
        """
        around = checked_middleware(self._defaults.middleware_with(middleware))
        for_calls = self._defaults.metadata_with(metadata_for_calls)
        described = describe(service)
        if reopen:

            def again(session: Session) -> OpenConnection[Any]:
                return session.open(service, name, metadata=metadata, handler=handler)

            route = Reopening(self._pool, again)
            client_class = lasting_client_class(described)
            client = client_class(self._pool, route, around, for_calls)
            return LastingConnection(_Lazy(route, cast("T", client)))

        def once(session: Session) -> OpenConnection[T]:
            return session.open(
                service,
                name,
                metadata=metadata,
                handler=handler,
                middleware=around,
                metadata_for_calls=for_calls,
            )

        return LastingConnection(_Staying(self._pool, once))

    def __repr__(self) -> str:
        return f"<LastingSession {self.phase}>"


class _Way(Protocol[T_co]):
    """The beginning and the end of a client."""

    async def begin(self) -> T_co: ...
    def end(self) -> None: ...


class LastingConnection(Generic[T]):
    """The result of `LastingSession.open`; enter it once, with ``async with``."""

    def __init__(self, way: _Way[T]) -> None:
        self._way = way
        self._was_entered = False

    async def __aenter__(self) -> T:
        if self._was_entered:
            raise RuntimeError(
                "this connection is in use already, or was; open another"
            )
        self._was_entered = True
        return await self._way.begin()

    async def __aexit__(self, *args: object) -> None:
        self._way.end()


class _Staying(Generic[T]):
    """A connection that stays with its server, and ends with its session.

    Args:
        pool: keeps the sessions.
        opening: opens a connection in a session.
    """

    def __init__(
        self, pool: Pool[Session], opening: Callable[[Session], OpenConnection[T]]
    ) -> None:
        self._pool = pool
        self._opening = opening
        self._opened: _Opened | None = None

    async def begin(self) -> T:
        opened, client = await _open(self._pool, self._opening, frozenset())
        self._opened = opened
        return client

    def end(self) -> None:
        assert self._opened is not None, "it has begun"
        self._opened.connection.close()
        self._pool.note_end(self._opened.server)


@attrs.define(eq=False)
class _Opened:
    """A connection with a server.

    Attributes:
        server: the server.
        session: the session with it.
        connection: closes the connection.
        client: makes the calls on it.
    """

    server: Endpoint[Session]
    session: Session
    connection: OpenConnection[Any]
    client: BaseClient

    @property
    def calls(self) -> int:
        return self.server.calls

    @calls.setter
    def calls(self, count: int) -> None:
        self.server.calls = count

    @property
    def is_usable(self) -> bool:
        """True if calls can be made on it."""
        is_ready = self.server.phase is Phase.READY
        return is_ready and self.client.__roam_caller__.is_connected

    def note_time(self, seconds: float, now: float) -> None:
        """Do nothing, since the times of calls do not move a connection."""


class Reopening:
    """A connection that calls open again when it has ended: a `Route`.

    The connection by itself does not count as a call: a server that shuts down is left
    when its last call has ended.

    Args:
        pool: keeps the sessions.
        opening: opens a connection in a session.
    """

    def __init__(
        self, pool: Pool[Session], opening: Callable[[Session], OpenConnection[Any]]
    ) -> None:
        self.retry = pool.retry
        self.budget = pool.budget
        self._pool = pool
        self._opening = opening
        self._lock = trio.Lock()
        self._scope = trio.CancelScope()
        self._opened: _Opened | None = None
        self._is_over = False

    def end(self) -> None:
        """Close the connection, and let calls that wait for one fail."""
        self._is_over = True
        self._scope.cancel()
        if self._opened is not None:
            self._opened.connection.close()
            self._opened = None

    def pick_at_once(self) -> _Opened | None:
        """Return the connection if calls can be made on it."""
        opened = self._opened
        return opened if opened is not None and opened.is_usable else None

    async def ready(self, avoid: frozenset[Endpoint[Any]]) -> _Opened:
        """Return the connection; open it if there is none. See `Route.ready`."""
        async with self._lock:
            opened = self.pick_at_once()
            if opened is None and not self._is_over:
                with trio.CancelScope() as self._scope:
                    opened = await self._open(avoid)
            if opened is None or self._is_over:
                raise never_sent("the block of the session's open() has ended")
            self._opened = opened
            return opened

    async def _open(self, avoid: frozenset[Endpoint[Any]]) -> _Opened:
        if self._opened is not None:
            await self._pool.resumption(self._opened.server)
            if self._opened.is_usable:
                return self._opened
        opened, _ = await _open(self._pool, self._opening, avoid)
        self._pool.note_end(opened.server)
        return opened

    def has_ready_beyond(self, servers: frozenset[Endpoint[Any]]) -> bool:
        """See `Route.has_ready_beyond`; a connection that works is used on."""
        is_needed = self.pick_at_once() is None
        return is_needed and self._pool.has_ready_beyond(servers)

    def note_failure(self, place: _Opened, error: RoamError) -> None:
        """See `Route.note_failure`."""
        has_session = place.session.ended_because is None
        if not (isinstance(error, ConnectionLost) and has_session):
            self._pool.note_failure(place.server, error)

    def note_retry(
        self, place: _Opened, method: MethodDescriptor, error: RoamError, pause: float
    ) -> None:
        """See `Route.note_retry`."""
        self._pool.note_retry(place.server, method, error, pause)

    def note_end(self, place: _Opened) -> None:
        """See `Route.note_end`."""
        self._pool.note_end(place.server)


class _Lazy(Generic[T]):
    """A client whose calls open the connection."""

    def __init__(self, route: Reopening, client: T) -> None:
        self._route = route
        self._client = client

    async def begin(self) -> T:
        await trio.lowlevel.checkpoint()
        return self._client

    def end(self) -> None:
        self._route.end()


async def _open(
    pool: Pool[Session],
    opening: Callable[[Session], OpenConnection[T]],
    avoid: frozenset[Endpoint[Session]],
) -> tuple[_Opened, T]:
    """Open a connection with a server; wait while none is ready.

    The connection counts as a call with the server.

    Args:
        pool: keeps the sessions.
        opening: opens a connection in a session.
        avoid: servers that are only used if no other is ready.

    Raises:
        RoamTrioError, OSError: as for `LastingSession.open`.
    """
    while True:
        server = await pool.ready(avoid)
        session = server.client
        assert session is not None, "an endpoint that is ready has one"
        connection = opening(session)
        server.calls += 1
        try:
            client = await connection.__aenter__()
        except RoamTrioError as error:
            pool.note_end(server)
            avoid |= {server}
            if session.ended_because is not None or isinstance(error, Unavailable):
                pool.leave(server)
            elif not pool.has_ready_beyond(avoid):
                raise
        except BaseException:
            pool.note_end(server)
            raise
        else:
            known = cast("BaseClient", client)
            return _Opened(server, session, connection, known), client
