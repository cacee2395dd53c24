"""Services by name, for virtual connections.

The opener names the service in the metadata entry ``service``, as `Session.open` does.
If the name is not offered, the connection is rejected with the list of names.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..legible import legible
from ..metadata import Metadata, MetadataFlags
from ..rpc.handler import Handler
from ..session import SERVICE_KEY, AcceptedConnection
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings

__all__ = ["OfferedServices"]


class OfferedServices:
    """A `ConnectionAcceptor` that chooses a handler by name.

    Args:
        handlers: the handlers by the names of their services.
        max_concurrent_requests: number of requests in flight that each connection
        accepts.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], *, max_concurrent_requests: int = 64
    ) -> None:
        self._handlers = dict(handlers)
        self._max_concurrent_requests = max_concurrent_requests

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        """See `ConnectionAcceptor.accept`."""
        return self.choose(metadata)

    def choose(self, metadata: Metadata) -> AcceptedConnection | Metadata:
        """Return what the named service accepts, or the reason why there is none."""
        name = metadata.get(SERVICE_KEY)
        handler = self._handlers.get(name) if isinstance(name, str) else None
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
