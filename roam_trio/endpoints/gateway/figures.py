"""The service ``routes``: the servers behind a gateway.

It tells where servers are, so a gateway offers it only if it is told to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from ...legible import legible, without_secrets
from ...schema import u32
from ...service import service
from ...service.dispatcher import Dispatcher, dispatcher
from ..lasting.staying import EndpointState, LastingState

__all__ = ["ROUTES", "RouteFigures", "Routes", "ServerOfRoute", "routes_of"]

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


def routes_of(gateway: HasState) -> Dispatcher:
    """Return the handler of ``routes`` for a gateway."""
    return dispatcher(Routes, _Telling(gateway))


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
