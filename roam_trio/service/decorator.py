"""`service`: the decorator that makes a class a service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from ..rpc.service_class import ServiceClass, set_service_class
from .client import client_of_peer
from .descriptor import attach_descriptor

__all__ = ["service"]

C = TypeVar("C", bound=type[Any])


@overload
def service(cls: C, /) -> C: ...
@overload
def service(*, name: str | None = None) -> Callable[[C], C]: ...
def service(
    cls: C | None = None, /, *, name: str | None = None
) -> C | Callable[[C], C]:
    """Make a class of annotated async methods a service.

    The class is the schema (`service-macro.is-source-of-truth`): its type hints
    determine the wire types, and together with the names the id of each method. Use a
    `Protocol`, so that handlers need no base class.

    Args:
        cls: the class.
        name: the name of the service for the ids of its methods; by default that of the
            class.

    Raises:
        SchemaError: a method is not async, or a type has no wire form.
    """

    def decorate(cls: C) -> C:
        descriptor = attach_descriptor(cls, name or cls.__name__)
        known = ServiceClass(
            descriptor.name,
            partial(client_of_peer, cls),
            lambda: descriptor.fingerprint,
        )
        set_service_class(cls, known)
        return cls

    return decorate if cls is None else decorate(cls)
