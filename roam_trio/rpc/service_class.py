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
    """Facts about the class of a service, for sessions.

    Attributes:
        name: the name of the service.
        client: makes a client of it.
    """

    name: str
    client: Callable[[Caller], T_co]


_SERVICE_CLASS = "__roam_service_class__"


def service_class(service: Callable[..., T]) -> ServiceClass[T]:
    """Return what a class that is a service has told of itself.

    Raises:
        TypeError: it is none.
    """
    found = getattr(service, "__dict__", {}).get(_SERVICE_CLASS)
    if not isinstance(found, ServiceClass):
        raise TypeError(
            f"expected a class decorated with @roam_trio.service, got {service!r}"
        )
    return cast("ServiceClass[T]", found)


def set_service_class(service: type[Any], known: ServiceClass[Any]) -> None:
    """Note that a class is a service; for the decorator that makes it one."""
    setattr(service, _SERVICE_CLASS, known)
