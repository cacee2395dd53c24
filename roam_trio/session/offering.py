"""Services by name, for virtual connections.

The opener names the service in the metadata entry ``service``, as `Session.open` does.
If the name is not offered, the connection is rejected with the list of names.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..legible import legible
from ..metadata import Metadata, MetadataFlags
from ..rpc.handler import Handler, check_handler
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings
from .acceptance import AcceptedConnection, ConnectionAcceptor
from .connection_table import NO_CONNECTIONS
from .opening import SERVICE_KEY

__all__ = ["OfferedServices"]


class OfferedServices:
    """A `ConnectionAcceptor` that chooses a handler by name.

    Args:
        handlers: the handlers by the names of their services; read once.
        max_concurrent_requests: number of requests in flight that each connection
            accepts.
        otherwise: decides on connections that name none of these services.

    Attributes:
        otherwise: the argument.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        max_concurrent_requests: int = 64,
        otherwise: ConnectionAcceptor | None = None,
    ) -> None:
        self._handlers = dict(handlers)
        self._max_concurrent_requests = max_concurrent_requests
        self.otherwise = otherwise

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

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        """See `ConnectionAcceptor.accept`."""
        if self.otherwise is None or metadata.get(SERVICE_KEY) in self._handlers:
            return self.choose(metadata)
        return await self.otherwise.accept(connection_id, settings, metadata)

    def choose(self, metadata: Metadata) -> AcceptedConnection | Metadata:
        """Return what the named service accepts, or the reason why there is none."""
        name = metadata.get(SERVICE_KEY)
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if not self._handlers:
            return Metadata.of({"error": NO_CONNECTIONS})
        if handler is None:
            names = ", ".join(sorted(self._handlers))
            return Metadata.of(
                {"error": f"{_wanted(metadata)} of the services: {names}"}
            )
        return AcceptedConnection(
            handler=handler, max_concurrent_requests=self._max_concurrent_requests
        )

    def __repr__(self) -> str:
        return f"<OfferedServices {', '.join(sorted(self._handlers))}>"


def _wanted(metadata: Metadata) -> str:
    for entry in metadata:
        if entry.key == SERVICE_KEY:
            if entry.flags & MetadataFlags.SENSITIVE:
                return "the one named is none"
            return f"{legible(repr(entry.value))} is not one"
    return f"none was named (metadata key: {SERVICE_KEY})"
