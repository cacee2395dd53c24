"""Facts about the class of a service, for sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import attrs

from .caller import Caller

__all__ = ["ServiceClass", "service_class", "set_service_class"]


T = TypeVar("T")

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen
class ServiceClass(Generic[T_co]):
    """The properties of a service class that sessions use.

    Attributes:
        name: the name of the service.
        client: makes a client of it.
    """

    name: str
    client: Callable[[Caller], T_co]


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
