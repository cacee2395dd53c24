"""A typed client on a virtual connection of its own, for the length of a block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from ..metadata import Metadata, MetadataEntry, MetadataLike
from ..rpc.expected_service import Expected, FetchSchema
from ..rpc.service_class import AnyMiddleware, ServiceClass, service_class
from ..schema import kebab
from .connection import ConnectionHandle

__all__ = ["SERVICE_KEY", "OpenConnection"]

T = TypeVar("T")

SERVICE_KEY = "service"
"""The metadata key that says which service a virtual connection is for."""


class OpenConnection(Generic[T]):
    """``async with session.open(Counter) as counter:``; see `Session.open`."""

    def __init__(
        self,
        open_connection: Callable[
            [Metadata, Expected | None], Awaitable[ConnectionHandle]
        ],
        service: Callable[..., T],
        name: str | None,
        metadata: MetadataLike,
        middleware: Iterable[AnyMiddleware] = (),
        metadata_for_calls: MetadataLike = (),
        fetch: FetchSchema | None = None,
    ) -> None:
        self._open_connection = open_connection
        self._middleware = tuple(middleware)
        self._metadata_for_calls = Metadata.of(metadata_for_calls)
        self._service: ServiceClass[T] = service_class(service)
        self._fetch = fetch
        self._name = name or kebab(self._service.name)
        entry = MetadataEntry(SERVICE_KEY, self._name)
        self._metadata = Metadata((entry, *Metadata.of(metadata)))
        self._connection: ConnectionHandle | None = None

    async def __aenter__(self) -> T:
        expected = self._service.expected()
        self._connection = await self._open_connection(self._metadata, expected)
        # It keeps the connection open while the schema is fetched.
        caller = self._connection.caller
        try:
            offered = None
            if expected is not None:
                session = self._connection.session
                offered = await expected.answer(self._fetch, session, self._name)
            return self._service.client(
                caller,
                middleware=self._middleware,
                metadata_for_calls=self._metadata_for_calls,
                offered=offered,
            )
        except BaseException:
            self._connection.close()
            raise

    async def __aexit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection at once, and tell the peer. Never waits."""
        assert self._connection is not None, "it is open, or was"
        self._connection.close()
