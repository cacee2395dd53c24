"""Facts about the class of a service, for sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

import attrs

from ..metadata import NO_METADATA, Metadata, MetadataLike
from .caller import Caller
from .expected_service import Expected, FetchSchema, OfferedSchema

__all__ = [
    "AnyMiddleware",
    "ClientDefaults",
    "ServiceClass",
    "service_class",
    "set_service_class",
]

AnyMiddleware: TypeAlias = Callable[[Any, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""A `Middleware`, for sessions, which cannot know the type of its first argument."""


T = TypeVar("T")

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen
class ClientDefaults:
    """The options that all clients of a session share.

    Attributes:
        middleware: wraps each call, outside of what a client has itself.
        metadata: metadata of each call, unless the client has an entry of that key.
        fetch: asks the peer for a schema that it has not sent.
    """

    middleware: tuple[AnyMiddleware, ...] = ()
    metadata: Metadata = NO_METADATA
    fetch: FetchSchema | None = None

    def middleware_with(
        self, more: Iterable[AnyMiddleware]
    ) -> tuple[AnyMiddleware, ...]:
        """Return the middleware of a client.

        Raises:
            TypeError: `more` is a function, and not a list of functions.
        """
        if callable(more):
            raise TypeError(f"expected a list of middleware, got {more!r} alone")
        return (*self.middleware, *more)

    def metadata_with(self, more: MetadataLike) -> Metadata:
        """Return the metadata for the calls of a client."""
        given = Metadata.of(more)
        keys = {entry.key for entry in given}
        return Metadata((*(e for e in self.metadata if e.key not in keys), *given))


class MakesClient(Protocol[T_co]):
    """Makes a client of a service, as `client` does.

    If the peer offers another version of the service, the client translates. Raises
    `IncompatibleService` if it cannot.
    """

    def __call__(
        self,
        caller: Caller,
        /,
        *,
        middleware: Iterable[AnyMiddleware] = (),
        metadata_for_calls: MetadataLike = (),
        offered: OfferedSchema | None = None,
    ) -> T_co: ...


@attrs.frozen
class ServiceClass(Generic[T_co]):
    """The properties of a service class that sessions use.

    Attributes:
        name: the name of the service.
        client: makes a client of it.
        fingerprint: returns the fingerprint of it; None if it is known from the peer.
    """

    name: str
    client: MakesClient[T_co]
    fingerprint: Callable[[], bytes] | None = None

    def expected(self) -> Expected | None:
        """Return what a peer is told that is asked for the service."""
        if self.fingerprint is None:
            return None
        return Expected(self.fingerprint())


_SERVICE_CLASS = "__roam_service_class__"


def service_class(service: Callable[..., T]) -> ServiceClass[T]:
    """Return the properties of a service class.

    Raises:
        TypeError: `service` is not a service.
    """
    found = getattr(service, "__dict__", {}).get(_SERVICE_CLASS)
    if not isinstance(found, ServiceClass):
        raise TypeError(
            f"expected a class decorated with @roam_trio.service, got {service!r}"
        )
    return cast("ServiceClass[T]", found)


def set_service_class(service: type[Any], known: ServiceClass[Any]) -> None:
    """Register a class as a service; for the decorator."""
    setattr(service, _SERVICE_CLASS, known)
