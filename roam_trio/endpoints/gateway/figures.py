"""Figures of a gateway: the services ``routes`` and ``statistics``.

They tell where clients and servers are, so a gateway offers them only if it is told to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from ...errors import Refused
from ...legible import legible, without_secrets
from ...schema import u32
from ...service import service
from ...service.dispatcher import dispatcher
from ...service.middleware import AnyCall, Middleware, Proceed
from ...session import Session
from ..lasting.staying import EndpointState, LastingState
from ..server import Server
from ..statistics import STATISTICS, statistics_of
from .routes import names_of

__all__ = ["ROUTES", "RouteFigures", "Routes", "ServerOfRoute", "offer_figures"]

ROUTES: Final = "routes"
"""The name under which it is offered."""


@attrs.frozen
class ServerOfRoute:
    """A server behind a gateway.

    Attributes:
        url: its URL, without passwords.
        phase: ``"connecting"``, ``"ready"``, ``"draining"``, or ``"resting"`` after a
            failure.
        connections: number of connections that are passed on to it.
        error: the error with which the last session with it failed to begin; empty
            while there is one.
    """

    url: str
    phase: str
    connections: u32
    error: str


@attrs.frozen
class RouteFigures:
    """A route of a gateway.

    Attributes:
        name: the name of the service; empty for the route without a name.
        phase: ``"ready"`` while a server is there; otherwise ``"connecting"``, and
            ``"down"`` once none could be reached.
        servers: its servers.
    """

    name: str
    phase: str
    servers: list[ServerOfRoute]


@service
class Routes(Protocol):
    """Tells of the servers behind a gateway. Offered under the name ``routes``."""

    async def snapshot(self) -> list[RouteFigures]:
        """Return the routes, with their servers at this moment."""
        ...


class HasState(Protocol):
    """A `Gateway`."""

    @property
    def state(self) -> Mapping[str, LastingState]:
        """See `Gateway.state`."""
        ...


def offer_figures(
    server: Server, gateway: HasState, allow: Iterable[str] | None = None
) -> None:
    """Offer ``routes`` and ``statistics`` to clients of the server of a gateway.

    Args:
        server: the server.
        gateway: the gateway.
        allow: the names of clients that may use them; see `names_of`. None for all.
    """
    guard = () if allow is None else (_only_for(frozenset(allow)),)
    for name, figures in (
        (ROUTES, dispatcher(Routes, _Telling(gateway))),
        (STATISTICS, statistics_of(_Sessions(server))),
    ):
        server.offer(name, figures.with_middleware(guard))


def _only_for(allow: frozenset[str]) -> Middleware:
    async def check(call: AnyCall, proceed: Proceed) -> Any:
        if allow.isdisjoint(names_of(call.peer)):
            text = "this client may not see the figures of the gateway"
            raise Refused("denied", text, was_begun=False)
        return await proceed()

    return check


class _Sessions:
    """The sessions of a server, as `statistics_of` takes them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def open(self) -> Sequence[Session]:
        return self._server.sessions


class _Telling:
    """A `Routes`."""

    def __init__(self, gateway: HasState) -> None:
        self._gateway = gateway

    async def snapshot(self) -> list[RouteFigures]:
        return [
            RouteFigures(name, each.phase, [_server(one) for one in each.endpoints])
            for name, each in self._gateway.state.items()
        ]


def _server(endpoint: EndpointState) -> ServerOfRoute:
    error = "" if endpoint.error is None else legible(str(endpoint.error))
    url = without_secrets(endpoint.url)
    return ServerOfRoute(url, endpoint.phase.value, endpoint.calls, error)
