"""`gateway`, which passes connections on to pools of servers.

async with (
    gateway([Route("bank", "srv+tcp://_bank._tcp.example")]) as passing_on,
    serving("tcp://:7000", passing_on.handler, on_connection=passing_on),
):
    await trio.sleep_forever()
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final, Unpack

import trio

from ...metadata import Metadata
from ...rpc.channel import Tx
from ...rpc.handler import Handler, NoService, ReplySink
from ...rpc.offered import PassedOn
from ...service.reserved.handlers import LEAVING_SECONDS
from ...session import AcceptedConnection, Session
from ...session.acceptance import RelayingAcceptor
from ...session.deferred_handler import DeferredHandler
from ...session.keepalive import SERVER_KEEPALIVE
from ...session.refusal import REFUSALS, Refusal
from ...wire.ids import ConnectionId
from ...wire.messages import ConnectionSettings, RequestCall
from ..lasting.balancing import Balance
from ..lasting.pool import Pool
from ..lasting.staying import LastingState, StayingConnected, state_of
from ..options import ConnectOptions
from ..own_session import session_of_client
from .pools import Asked, RoutePool
from .routes import Route, RouteTable, check_access, names_of

__all__ = ["Gateway", "gateway"]

_LEAVING: Final = 2 * LEAVING_SECONDS
"""Seconds for which a session goes on whose root connection has ended: longer than a
client is given to leave when its session is shut down, which ends it earlier.
"""


def gateway(
    routes: Iterable[Route],
    *,
    trusted: Iterable[str] = (),
    balance: Balance = "least busy",
    **options: Unpack[ConnectOptions],
) -> StayingConnected[Gateway]:
    """Return a gateway for the length of an ``async with`` block.

    The block gets a `Gateway`. A server takes it as ``on_connection=``, and its
    `Gateway.handler` for calls on root connections. It keeps a session with each server
    of each route. Connections are passed on as long as the block lasts.

    Args:
        routes: the services behind it.
        trusted: names of clients, as `names_of` has them, that share the sessions with
            the servers. A client that breaks the protocol ends the session that it
            shares. Each other client has sessions of its own.
        balance: the server that gets a connection; see `Balance`. The least busy one is
            that with the fewest connections.
        options: options of `connect`, for each session with a server. The keepalive is
            that of `serve`, unless it is given.

    Raises:
        ValueError: there is no route, or two have one name; a URL is wrong, or an
            option is out of range.
    """
    keepalive: ConnectOptions = {"keepalive": SERVER_KEEPALIVE}
    made = Gateway(RouteTable(routes), trusted, balance, {**keepalive, **options})
    return StayingConnected(made, made)


class Gateway(RelayingAcceptor):
    """A `ConnectionAcceptor` that passes connections on; `gateway` makes one.

    Args:
        routes: the routes.
        trusted: see `gateway`.
        balance: see `gateway`.
        options: see `gateway`.
    """

    def __init__(
        self,
        routes: RouteTable,
        trusted: Iterable[str],
        balance: Balance,
        options: ConnectOptions,
    ) -> None:
        self._routes = routes
        self._trusted = frozenset(trusted)
        self._pools = {
            route: RoutePool(route, self._trusts, balance, options) for route in routes
        }

    @property
    def handler(self) -> Handler | Mapping[str, Handler]:
        """The handler for `serve`. If there is a route without a name, it passes on
        calls on root connections."""
        root = self._routes.root
        return {} if root is None else _RootCalls(root, self._pools[root])

    @property
    def services(self) -> Mapping[str, Handler]:
        """The services that the current client may use, by their names."""
        peer = session_of_client().peer
        return {
            route.name: _Service(route.name, self._pools[route])
            for route in self._routes
            if route.name and route.may_use(peer)
        }

    @property
    def state(self) -> Mapping[str, LastingState]:
        """The state of the servers of each route, by the names of the routes."""
        return {route.name: state_of(each.pool) for route, each in self._pools.items()}

    async def run(self) -> None:
        """Keep sessions with all servers until it is cancelled.

        Raises:
            Exception: a `Resolver` has raised it and may not.
        """
        bug: Exception | None = None

        async def keep(pool: Pool[Session]) -> None:
            nonlocal bug
            try:
                await pool.run()
            except Exception as error:
                bug = error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for each in self._pools.values():
                nursery.start_soon(keep, each.pool)
        assert bug is not None, "pools keep sessions until they are cancelled"
        try:
            raise bug
        finally:
            del bug  # or the error and this frame would hold each other

    def close(self) -> None:
        """Refuse what is opened from now on."""
        for each in self._pools.values():
            each.pool.close()

    async def relay(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
        expected: bytes | None,
    ) -> AcceptedConnection | Metadata:
        """See `RelayingAcceptor.relay`.

        Raises:
            Refused: the client may not use the service, or the server has refused it.
            Unavailable: no server can take the connection.
        """
        client = session_of_client()
        route = self._routes.find(metadata, client.peer)
        if isinstance(route, Metadata):
            return route
        return await self._pools[route].open(
            Asked(client, settings, metadata, expected)
        )

    def _trusts(self, client: Session) -> bool:
        return not self._trusted.isdisjoint(names_of(client.peer))

    def __repr__(self) -> str:
        names = ", ".join(map(str, self._routes))
        return f"<Gateway {names}>"


class _Service(NoService, PassedOn):
    """Stands for a service whose calls never come here.

    Args:
        name: the name of the service.
        pool: its servers.
    """

    def __init__(self, name: str, pool: RoutePool) -> None:
        self._name = name
        self._pool = pool

    async def describe(self, parts: Tx[bytes]) -> int:
        """See `PassedOn.describe`."""
        return await self._pool.describe(session_of_client(), self._name, parts)


class _RootCalls(PassedOn):
    """Answers calls on root connections. The first one joins its connection with that
    of a server.

    Args:
        route: the route without a name.
        pool: its servers.
    """

    def __init__(self, route: Route, pool: RoutePool) -> None:
        self._route = route
        self._pool = pool

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `Handler.handle`."""
        client, waiting = session_of_client(), DeferredHandler()
        client.root.serve(waiting)
        client.root.start_soon(self._join, client)
        return waiting.handle(call, reply)

    async def describe(self, parts: Tx[bytes]) -> int:
        """See `PassedOn.describe`."""
        client = session_of_client()
        check_access(self._route, client.peer)
        return await self._pool.describe(client, self._route.name, parts)

    async def _join(self, client: Session) -> None:
        try:
            check_access(self._route, client.peer)
            join = await self._pool.open_root(client)
        except REFUSALS as refusal:
            client.root.serve(_Refusing(refusal))
            # Later calls may find a server.
            client.root.serve(self)
            return
        await join(client.root)
        # The root connection has ended, and it ends with its session. Calls in flight
        # fail with it at once; without any, the client may leave first.
        is_quiet = client.root.connection_run.is_quiet
        await client.shutdown(_LEAVING if is_quiet else 0.0)


class _Refusing:
    """Refuses calls.

    Args:
        refusal: the reason.
    """

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        """See `Handler.handle`."""
        # Each later call makes the gateway look for a server again.
        reply.count_refused()
        await reply.send_error(self._refusal)
