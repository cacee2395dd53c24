"""Services by name, for virtual connections.

The opener names the service in the metadata entry ``service``, as `Session.open` does.
If the name is not offered, the connection is rejected with the list of names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from ..legible import legible
from ..metadata import Metadata, MetadataFlags
from ..rpc.handler import Handler, check_handler
from ..rpc.offered import RESERVED_NAMES, MakeReserved
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings
from .acceptance import (
    AcceptedConnection,
    ConnectionAcceptor,
    RelayingAcceptor,
    decision_of,
)
from .connection_table import NO_CONNECTIONS
from .opening import SERVICE_KEY

__all__ = ["OfferedServices", "no_such_service"]


class OfferedServices(RelayingAcceptor):
    """A `ConnectionAcceptor` that chooses a handler by name.

    Args:
        handlers: the handlers by the names of their services; read once.
        max_concurrent_requests: number of requests in flight that each connection
            accepts.
        otherwise: decides on connections that name none of these services.
        reserved: makes the handlers of the reserved services, such as
            `reserved_services`; None if they are not offered. A handler of
            `handlers` with such a name is offered in place of the reserved service.
        root: the handler of the root connection, which the reserved services are to
            tell about.

    Attributes:
        otherwise: the argument.
        reserved: the argument.
        on_change: called when `offer` or `withdraw` has changed what is offered.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        max_concurrent_requests: int = 64,
        otherwise: ConnectionAcceptor | None = None,
        reserved: MakeReserved | None = None,
        root: Handler | None = None,
    ) -> None:
        self._handlers = dict(handlers)
        self._max_concurrent_requests = max_concurrent_requests
        self._root = root
        self._made: Mapping[str, Handler] | None = None
        self.otherwise = otherwise
        self.reserved = reserved
        self.on_change: Callable[[], object] = _nobody_listens

    @property
    def services(self) -> Mapping[str, Handler]:
        """The handlers by name, without those of the reserved services; that of the
        root connection has the empty name."""
        root = {} if self._root is None else {"": self._root}
        passed_on: Mapping[str, Handler] = {}
        if isinstance(self.otherwise, RelayingAcceptor):
            passed_on = self.otherwise.services
        return {**passed_on, **root, **self._handlers}

    def offer(self, name: str, handler: Handler) -> None:
        """Offer a service, or another handler for it, from now on.

        Connections that are open keep their handlers.

        Raises:
            TypeError: `handler` is not a `Handler`, or `name` is not a text.
        """
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                "offer: expected the name of a service, "
                f"got an object of type {type(name).__name__}"
            )
        check_handler(handler)
        self._handlers[name] = handler
        self.on_change()

    def withdraw(self, name: str) -> None:
        """Stop offering a service. Connections that are open stay open.

        Raises:
            ValueError: no service of this name is offered.
        """
        if name not in self._handlers:
            offered = ", ".join(sorted(self._handlers)) or "none"
            raise ValueError(
                f"withdraw: expected the name of an offered service ({offered}), "
                f"got {legible(repr(name))}"
            )
        del self._handlers[name]
        self.on_change()

    async def relay(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
        expected: bytes | None,
    ) -> AcceptedConnection | Metadata:
        """See `RelayingAcceptor.relay`."""
        if self.otherwise is None or metadata.get(SERVICE_KEY) in self._names:
            return self.choose(metadata)
        return await decision_of(
            self.otherwise, connection_id, settings, metadata, expected
        )

    def choose(self, metadata: Metadata) -> AcceptedConnection | Metadata:
        """Return what the named service accepts, or the reason why there is none."""
        name = metadata.get(SERVICE_KEY)
        handler = self._handler_of(name) if isinstance(name, str) else None
        if not self._names:
            return Metadata.of({"error": NO_CONNECTIONS})
        if handler is None:
            return no_such_service(metadata, self._names)
        return AcceptedConnection(
            handler=handler, max_concurrent_requests=self._max_concurrent_requests
        )

    @property
    def _names(self) -> Collection[str]:
        """The names of all services, with the reserved ones if they are offered."""
        names = self._handlers.keys()
        return names if self.reserved is None else names | RESERVED_NAMES

    def _handler_of(self, name: str) -> Handler | None:
        found = self._handlers.get(name)
        if found is not None or self.reserved is None or name not in RESERVED_NAMES:
            return found
        if self._made is None:
            self._made = self.reserved(self)
        return self._made[name]

    def __repr__(self) -> str:
        return f"<OfferedServices {', '.join(sorted(self._names))}>"


def _nobody_listens() -> None:
    return None


def no_such_service(metadata: Metadata, names: Iterable[str]) -> Metadata:
    """Return the metadata of a rejection: no service of the name is offered.

    Args:
        metadata: the metadata of the open.
        names: the names of the services that are offered.
    """
    listed = ", ".join(sorted(names))
    return Metadata.of({"error": f"{_wanted(metadata)} of the services: {listed}"})


def _wanted(metadata: Metadata) -> str:
    for entry in metadata:
        if entry.key == SERVICE_KEY:
            if entry.flags & MetadataFlags.SENSITIVE:
                return "the one named is none"
            return f"{legible(repr(entry.value))} is not one"
    return f"none was named (metadata key: {SERVICE_KEY})"
