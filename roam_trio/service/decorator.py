"""`service`: the decorator that makes a class a service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from ..rpc.service_class import ServiceClass, set_service_class
from .client import client
from .descriptor import attach_descriptor

__all__ = ["service"]

C = TypeVar("C", bound=type[Any])


@overload
def service(cls: C, /) -> C: ...
@overload
def service(*, name: str | None = None, columns: bool = True) -> Callable[[C], C]: ...
def service(
    cls: C | None = None, /, *, name: str | None = None, columns: bool = True
) -> C | Callable[[C], C]:
    """Make a class of annotated async methods a service.

    The class is the schema (`service-macro.is-source-of-truth`): its type hints decide
    the wire types, and with the names the identity of each method. A `Protocol` suits
    best, since handlers then need no base class.

    Args:
        cls: the class.
        name: the service's name for the identity of its methods, if it is not to be
            the class's.
        columns: whether long lists of records go in columns to a peer that knows
            them, which is quicker; all others get postcard, as all do without.

    Raises:
        SchemaError: a method is not async, or a type has no wire form.
    """

    def decorate(cls: C) -> C:
        descriptor = attach_descriptor(cls, name or cls.__name__, columns=columns)
        set_service_class(cls, ServiceClass(descriptor.name, partial(client, cls)))
        return cls

    return decorate if cls is None else decorate(cls)
