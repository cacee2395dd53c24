"""The servers of a route, and the sessions with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import attrs
import trio

from ...errors import (
    ConnectionLost,
    Disconnected,
    IncompatibleService,
    Overloaded,
    SessionRejected,
    Unavailable,
    UnknownMethod,
    UserError,
)
from ...kept_errors import copy_of
from ...metadata import Metadata
from ...rpc.channel import Tx
from ...rpc.offered import REFLECTION
from ...service import open_call
from ...service.reserved.classes import Reflection, ReflectionProblem
from ...session import AcceptedConnection, ConnectionHandle, Session
from ...session.proxy import join_to, proxy_connections
from ...session.refusal import REFUSALS, Refusal
from ...wire.messages import ConnectionSettings
from ..connect import connect
from ..lasting.balancing import Balance, Endpoint, EndpointTable, Phase
from ..lasting.health import follow_health
from ..lasting.pool import Pool
from ..lasting.retry import Retry
from ..lasting.staying import begin_session, resolver_of
from ..options import ConnectOptions
from ..own_session import OwnSession
from .routes import Route

__all__ = ["Asked", "Join", "RoutePool"]

T = TypeVar("T")

_RETRY: Final = Retry()

Join: TypeAlias = Callable[[ConnectionHandle], Awaitable[None]]
"""Joins a connection with another one, until either ends."""


@attrs.frozen
class Asked:
    """A connection that a client opens.

    Attributes:
        client: the session of the client.
        settings: the settings of its side.
        metadata: the metadata of the open.
        expected: the fingerprint of the service that it expects, if it has sent one.
    """

    client: Session
    settings: ConnectionSettings
    metadata: Metadata
    expected: bytes | None = None


@attrs.define(eq=False)
class _Kept:
    """A session with a server, for one client or for all trusted ones.

    Attributes:
        endpoint: the server.
        own: runs the session, if one client has it to itself.
        connections: number of connections that are joined with some of it.
        is_left: True if the client now has a session with another server.
        drains: True if the server is shutting down.
        on_draining: called when it begins to.
    """

    endpoint: Endpoint[Session]
    own: OwnSession | None = None
    connections: int = 0
    is_left: bool = False
    drains: bool = False
    on_draining: Callable[[], object] | None = None

    @property
    def takes_connections(self) -> bool:
        """True if new connections may go to it."""
        is_over = self.own is not None and self.own.is_over
        return not (is_over or self.drains) and self.endpoint.phase is Phase.READY

    async def run(self) -> None:
        """Keep the session of one client up, and follow the health of its server."""
        assert self.own is not None, "the pool keeps those that clients share"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            await self.own.run()
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        assert self.own is not None
        session = await self.own.session()
        if session is not None:
            await follow_health(session, self._drain)

    def _drain(self) -> None:
        self.drains = True
        if self.on_draining is not None:
            self.on_draining()

    async def session(self) -> Session:
        """Wait until the session is up, and return it.

        Raises:
            Refused, Unavailable: the server has turned the client away.
            ConnectionLost: it has ended, or could not begin.
        """
        found = self.endpoint.client
        error: Exception | None = None
        if self.own is not None:
            found, error = await self.own.session(), self.own.error
        if found is not None:
            return found
        if isinstance(error, REFUSALS):
            raise copy_of(error)
        raise ConnectionLost("there is no session with this server")

    def leave(self) -> None:
        """End the session of one client when its last connection has ended."""
        self.is_left = True
        self._end_if_unused()

    def note_end(self) -> None:
        """Take note that a connection has ended."""
        self.connections -= 1
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self.is_left and not self.connections and self.own is not None:
            self.own.end()


Attempt: TypeAlias = Callable[[_Kept], Awaitable[T]]
"""Does something with a session.

Raises:
    Refused, Unavailable: the server refuses it.
    ConnectionLost: the session has ended, or could not begin.
"""


class RoutePool:
    """Opens the connections of a route at its servers.

    It keeps one session with each server, to learn whether it is there. Trusted clients
    share these. Each other client has at most one session of its own with a server of
    the route, and a new one when that server takes no more connections.

    Args:
        route: the route.
        trusts: returns True if a client may share sessions.
        balance: chooses the server for a connection.
        options: those of `connect`, for each session.

    Raises:
        ValueError: a URL is wrong, or an option is out of range.
    """

    def __init__(
        self,
        route: Route,
        trusts: Callable[[Session], bool],
        balance: Balance,
        options: ConnectOptions,
    ) -> None:
        self.route = route
        self._trusts = trusts
        self._options = options
        self._own: WeakKeyDictionary[Session, _Kept] = WeakKeyDictionary()
        table = EndpointTable[Session](balance, _RETRY.backoff)
        begin = partial(begin_session, options)
        resolver = resolver_of(route.target, options)
        self.pool = Pool(begin, resolver, table, _RETRY, 1, options.get("observer"))

    async def open(self, asked: Asked) -> AcceptedConnection | Metadata:
        """Open a connection at a server, and return how to join the two.

        Returns:
            The connection, or the metadata with which the server has rejected it.

        Raises:
            Refused: the server refuses it.
            Unavailable: no server can take it.
        """

        async def open_at(kept: _Kept) -> AcceptedConnection:
            opened = await join_to(
                await kept.session(), asked.settings, asked.metadata, asked.expected
            )
            assert opened.setup is not None, "the two are to be joined"
            return attrs.evolve(opened, setup=partial(self._join, kept, opened.setup))

        try:
            return await self._at_some_server(
                asked.client, open_at, shares=self._trusts(asked.client)
            )
        except SessionRejected as rejected:
            return rejected.metadata.propagated()

    async def open_root(self, client: Session) -> Join:
        """Return a function that joins a root connection with that of a server.

        Raises:
            Refused: the server refuses the client.
            Unavailable: no server can be reached.
        """

        async def root_at(kept: _Kept) -> Join:
            session = await kept.session()
            # The client leaves, if it watches the health of the gateway.
            kept.on_draining = client.draining.set
            return partial(self._join, kept, partial(proxy_connections, session.root))

        # A root connection cannot be shared: there is only one in a session.
        return await self._at_some_server(client, root_at, shares=False)

    async def describe(self, client: Session, name: str, parts: Tx[bytes]) -> int:
        """Pass on the description of a service; see `PassedOn.describe`.

        Args:
            client: the session of the client.
            name: the name by which the servers offer the service.
            parts: gets the parts, and is closed.
        """

        async def describe_at(kept: _Kept) -> int:
            return await _describe(await kept.session(), name, parts)

        # Not within the time of an open: the client decides how fast it reads.
        shares = self._trusts(client)
        with parts:  # the client waits for its end, and an error may keep a reference
            return await self._at_one(client, describe_at, shares=shares)

    async def _join(self, kept: _Kept, join: Join, near: ConnectionHandle) -> None:
        """Join two connections, of which the far one counts for its server."""
        endpoint = kept.endpoint
        endpoint.calls += 1
        kept.connections += 1
        try:
            await join(near)
        finally:
            self.pool.note_end(endpoint)
            kept.note_end()

    # ------------------------------------------------------------ which server

    async def _at_some_server(
        self, client: Session, attempt: Attempt[T], *, shares: bool
    ) -> T:
        """Make an attempt with one server after the other, until one succeeds.

        Raises:
            Unavailable, Overloaded: no server can be reached, or takes it.
        """
        with trio.move_on_after(client.limits.handshake_seconds):
            return await self._at_one(client, attempt, shares=shares)
        raise self._unavailable("has answered in time (limit: handshake_seconds)")

    async def _at_one(self, client: Session, attempt: Attempt[T], *, shares: bool) -> T:
        pool, tried = self.pool, frozenset[Endpoint[Session]]()
        last: Refusal = self._unavailable("can be reached")
        while (kept := await self._session_for(client, tried, shares)) is not None:
            endpoint = kept.endpoint
            # It must not count as drained meanwhile.
            endpoint.calls += 1
            try:
                return await attempt(kept)
            except (Unavailable, Overloaded) as refusal:
                if refusal.was_begun:
                    raise
                pool.note_failure(endpoint, refusal)
                last = copy_of(refusal)
            except ConnectionLost:
                pass  # the session that the pool has with this server knows more
            finally:
                pool.note_end(endpoint)
            tried |= {endpoint}
        try:
            raise last
        finally:
            del last  # or the error and this frame would hold each other

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(text=f"no server of {self.route} {why}", was_begun=False)

    async def _session_for(
        self, client: Session, tried: frozenset[Endpoint[Session]], shares: bool
    ) -> _Kept | None:
        """Return the session for a new connection; None if no server is there.

        Args:
            client: the session of the client.
            tried: servers that do not take the connection.
            shares: whether the session may be a shared one.
        """
        own = None if shares else self._own_of(client, tried)
        if own is not None:
            return own
        endpoint = await self._pick(tried)
        if endpoint is None:
            return None
        if shares:
            return _Kept(endpoint)
        # Another connection of the client may have got one meanwhile.
        return self._own_of(client, tried) or self._begin_own(client, endpoint)

    def _own_of(
        self, client: Session, tried: frozenset[Endpoint[Session]]
    ) -> _Kept | None:
        kept = self._own.get(client)
        if kept is None or kept.endpoint in tried or not kept.takes_connections:
            return None
        return kept

    def _begin_own(self, client: Session, endpoint: Endpoint[Session]) -> _Kept:
        before = self._own.get(client)
        if before is not None:
            before.leave()
        options = _options_for(client, self._options)
        own = OwnSession(partial(connect, endpoint.address.url, **options))
        kept = self._own[client] = _Kept(endpoint, own)
        client.root.start_soon(kept.run)
        return kept

    async def _pick(
        self, tried: frozenset[Endpoint[Session]]
    ) -> Endpoint[Session] | None:
        """Choose a server that has not been tried; None if there is none.

        Waits while it is not known yet whether one is there.
        """
        while True:
            endpoint = self.pool.table.pick(trio.current_time(), tried)
            if endpoint is not None:
                return None if endpoint in tried else endpoint
            if tried or self.pool.phase == "down":
                return None
            await self.pool.changed()


async def _describe(session: Session, name: str, parts: Tx[bytes]) -> int:
    """Ask a server for the description of a service, and send it on.

    Raises:
        UserError: the server does not describe it.
        Unavailable: it cannot be asked now, or has left after the first part, of
            which `was_begun` tells.
        ConnectionLost: it has left before.
    """
    has_begun = False
    try:
        async with (
            session.open(Reflection, REFLECTION) as reflection,
            open_call(reflection.describe, name) as call,
        ):
            async for part in call.rx:
                has_begun = True
                await parts.send(part)
            number: int = await call.result()
            return number
    except (IncompatibleService, SessionRejected, UnknownMethod):
        raise UserError(ReflectionProblem.UNDESCRIBED) from None
    except (Unavailable, Disconnected) as error:
        # Another server may be asked only if no part has been sent on.
        text = f"the server that was asked for {name!r} has left"
        if has_begun or isinstance(error, Unavailable):
            raise Unavailable(text=text, was_begun=has_begun) from error
        raise ConnectionLost(text) from error


def _options_for(client: Session, options: ConnectOptions) -> ConnectOptions:
    """Return the options of a session for one client.

    The server gets what the client has told in its handshake, except what the gateway
    tells itself.
    """
    ours = Metadata.of(options.get("metadata", ()))
    known = {entry.key for entry in ours}
    told = client.peer.metadata.propagated()
    theirs = (entry for entry in told if entry.key not in known)
    return {**options, "metadata": Metadata((*theirs, *ours))}
