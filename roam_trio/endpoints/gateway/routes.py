"""The routes of a gateway, and who may use them: without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from ...errors import Refused
from ...legible import legible
from ...metadata import Metadata
from ...peers import Peer
from ...rpc.offered import RESERVED_NAMES
from ...session.offering import no_such_service
from ...session.opening import SERVICE_KEY
from ..lasting.resolving import Resolver

__all__ = ["Route", "RouteTable", "names_of"]

_USER: Final = "uid:"
"""Start of the name of a client on a Unix socket."""


def _as_target(
    value: str | Sequence[str] | Resolver,
) -> str | tuple[str, ...] | Resolver:
    return value if isinstance(value, str | Resolver) else tuple(value)


def _as_names(value: Iterable[str] | None) -> frozenset[str] | None:
    if isinstance(value, str):
        raise TypeError(f"allow: expected a list of names, got the text {value!r}")
    return None if value is None else frozenset(value)


def _check_name(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if value in RESERVED_NAMES:
        raise ValueError(
            f"route: expected another name than {value!r}, which the gateway answers "
            "itself"
        )


@attrs.frozen
class Route:
    """A service behind a gateway.

    Attributes:
        name: the name of the service, by which clients open it and servers offer it.
            Without a name, it is the route of all connections whose names no other
            route has, and of calls on root connections.
        target: where its servers are: as the `target` of `stay_connected`.
        allow: the names of clients that may use it; see `names_of`. None for all.

    Raises:
        ValueError: the name is one of a reserved service.
        TypeError: `allow` is a text.
    """

    name: str = attrs.field(validator=_check_name)
    target: str | tuple[str, ...] | Resolver = attrs.field(converter=_as_target)
    allow: frozenset[str] | None = attrs.field(default=None, converter=_as_names)

    def may_use(self, peer: Peer) -> bool:
        """Return True if a client may use it."""
        return self.allow is None or not self.allow.isdisjoint(names_of(peer))

    def __str__(self) -> str:
        return repr(self.name) if self.name else "the route without a name"


class RouteTable:
    """All routes of a gateway.

    Args:
        routes: the routes.

    Raises:
        ValueError: there is none, or two have one name.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, Route] = {}
        for route in routes:
            if route.name in self._routes:
                raise ValueError(
                    f"routes: expected one with each name, got two of {route}"
                )
            self._routes[route.name] = route
        if not self._routes:
            raise ValueError("routes: expected at least one, got none")

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    @property
    def root(self) -> Route | None:
        """The route without a name."""
        return self._routes.get("")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the routes that have one."""
        return tuple(name for name in self._routes if name)

    def find(self, metadata: Metadata, peer: Peer) -> Route | Metadata:
        """Return the route of a connection, or the metadata of its rejection.

        Args:
            metadata: the metadata of the open.
            peer: the client, which is told the names that it may use.

        Raises:
            Refused: the client may not use it.
        """
        name = metadata.get(SERVICE_KEY)
        route = self._routes.get(name) if isinstance(name, str) and name else None
        route = route or self.root
        if route is None:
            usable = [each.name for each in self if each.may_use(peer)]
            return no_such_service(metadata, usable)
        check_access(route, peer)
        return route


def check_access(route: Route, peer: Peer) -> None:
    """Check that a client may use a route.

    Raises:
        Refused: it may not.
    """
    if not route.may_use(peer):
        text = f"this client may not use {legible(str(route))}"
        raise Refused("denied", text, was_begun=False)


def names_of(peer: Peer) -> frozenset[str]:
    """Return the names by which a gateway knows a client.

    They are the common name, the subject and the alternative names of the certificate
    that TLS has verified; ``uid:1000`` for the user of a process on a Unix socket; and
    `Peer.identity`, if it is a text. The names of a certificate that look like that of
    a user do not count.
    """
    names: set[str] = set()
    certificate = peer.certificate
    if certificate is not None:
        found = {certificate.common_name or "", certificate.subject, *certificate.names}
        names = {each for each in found if each and not each.startswith(_USER)}
    if peer.credentials is not None:
        names.add(f"{_USER}{peer.credentials.uid}")
    if isinstance(peer.identity, str):
        names.add(peer.identity)
    return frozenset(names)
