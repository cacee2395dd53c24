"""The calling side of a service: an object with the methods of the service.

The client class of a service is made once.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import cache
from typing import Any, Generic, ParamSpec, TypeVar, cast

import attrs

from ..errors import CallCancelled
from ..metadata import Metadata, MetadataLike
from ..rpc.binding import Payload
from ..rpc.caller import Caller, check_caller
from ..rpc.expected_service import OfferedSchema
from ..wire.messages import RequestResponse
from .descriptor import MethodDescriptor, ServiceDescriptor, describe
from .middleware import ClientCall, Middleware, checked_middleware, go_through
from .outcome import result_of
from .signatures import show_signature

__all__ = [
    "AnyClient",
    "BaseClient",
    "ResponseParts",
    "bound_arguments",
    "client",
    "client_method",
    "client_of_peer",
    "set_method",
    "with_metadata",
]

P = ParamSpec("P")
T = TypeVar("T")


@attrs.frozen
class ResponseParts(Generic[T]):
    """The result of a call, and the metadata of its response."""

    value: T
    metadata: Metadata


def client(
    service: Callable[..., T],
    caller: Caller,
    *,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
) -> T:
    """Return a client: an object whose methods call those of `service`.

    Besides their declared errors, its methods raise `UnknownMethod`, `InvalidPayload`,
    `CallCancelled`, `CallRefused` and `ConnectionLost` for the outcome of the call, and
    `EncodeError` for an argument that does not match its type. Cancelling a call tells
    the peer, without waiting for it. Each method is a checkpoint.

    Args:
        service: the class of the service; the type of the client.
        caller: makes the calls, on its connection.
        middleware: wraps each call, the first outermost; see `Middleware`.
        metadata_for_calls: metadata of each call; `with_metadata` adds entries, and
            replaces those with equal keys.

    Raises:
        TypeError: `service` is not a service, `caller` is not a `Caller`, such as a
            session or a connection, or `middleware` is not a list of functions.
    """
    check_caller(caller, "client")
    made = _client_class(describe(service))(
        caller, checked_middleware(middleware), Metadata.of(metadata_for_calls)
    )
    return cast(T, made)


def client_of_peer(
    service: Callable[..., T],
    caller: Caller,
    *,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    offered: OfferedSchema | None = None,
) -> T:
    """Return a client of a service for a peer that may offer another version of it.

    As `client`. If the peer has another version, the client translates: its methods
    send and receive what the peer knows.

    Args:
        service: the class of the service.
        caller: makes the calls, on its connection.
        middleware: see `client`.
        metadata_for_calls: see `client`.
        offered: what the peer has told about its version; None if nothing.

    Raises:
        IncompatibleService: calls of this version cannot be translated.
    """
    described = describe(service)
    if offered is None or offered.fingerprint == described.fingerprint:
        return client(
            service,
            caller,
            middleware=middleware,
            metadata_for_calls=metadata_for_calls,
        )
    # Only now, because it is seldom needed.
    from .translation import translated

    made = translated(described, offered, _new_client_class)(
        caller, checked_middleware(middleware), Metadata.of(metadata_for_calls)
    )
    return cast(T, made)


def with_metadata(
    method: Callable[P, Coroutine[Any, Any, T]], metadata: MetadataLike = ()
) -> Callable[P, Coroutine[Any, Any, ResponseParts[T]]]:
    """Return a client's method that sends and returns metadata.

    ``parts = await with_metadata(adder.add, {"trace-id": "abc"})(3, 5)`` sends the
    metadata with the request. ``parts.value`` is the result, and ``parts.metadata`` is
    the metadata of the response.

    Raises:
        TypeError: `method` is not a method of a client.
    """
    owner = getattr(method, "__self__", None)
    descriptor = getattr(method, "__roam_method__", None)
    if not isinstance(owner, AnyClient) or not isinstance(descriptor, MethodDescriptor):
        raise TypeError(f"expected a method of a client, got {method!r}")
    client, found, sent = owner, descriptor, Metadata.of(metadata)
    count = found.positional_count

    async def call(*args: P.args, **kwargs: P.kwargs) -> ResponseParts[T]:
        given: tuple[Any, ...] = args
        if kwargs or len(given) != count:
            given = bound_arguments(found, args, kwargs)
        together = _merged(client.__roam_metadata__, sent)
        return await client.__roam_call__(found, given, together)

    call.__roam_method__ = found  # type: ignore[attr-defined]
    return call


class AnyClient(ABC):
    """The base class of all clients.

    Its names begin with an underscore, and those of methods of a service do not.
    """

    __slots__ = ("__roam_metadata__", "__roam_middleware__", "__weakref__")

    def __init__(self, middleware: tuple[Middleware, ...], metadata: Metadata) -> None:
        self.__roam_middleware__ = middleware
        self.__roam_metadata__ = metadata

    @abstractmethod
    async def __roam_call__(
        self, method: MethodDescriptor, args: tuple[Any, ...], sent: Metadata
    ) -> ResponseParts[Any]:
        """Make a call through the middleware, and return the result with metadata."""


class BaseClient(AnyClient):
    """The base class of the clients on one connection."""

    __slots__ = ("__roam_caller__",)

    def __init__(
        self, caller: Caller, middleware: tuple[Middleware, ...], metadata: Metadata
    ) -> None:
        super().__init__(middleware, metadata)
        self.__roam_caller__ = caller

    async def __roam_call__(
        self, method: MethodDescriptor, args: tuple[Any, ...], sent: Metadata
    ) -> ResponseParts[Any]:
        if self.__roam_middleware__:
            around = ClientCall(method, args, sent, self.__roam_caller__)
            try:
                value = await _go_through(self, around)
            except CallCancelled as refusal:
                around.note_refusal(refusal)
                raise
            return ResponseParts(value, around.response_metadata)
        response = await _call(self, method, args, sent)
        return ResponseParts(
            result_of(method, response, self.__roam_caller__), response.metadata
        )

    def __repr__(self) -> str:
        state = "connected" if self.__roam_caller__.is_connected else "disconnected"
        return f"<{type(self).__name__} {state}>"


def _call(
    client: BaseClient, method: MethodDescriptor, args: tuple[Any, ...], sent: Metadata
) -> Coroutine[Any, Any, RequestResponse]:
    return client.__roam_caller__.call(
        method.id, Payload(method.args_plan, args), metadata=sent
    )


def _go_through(client: BaseClient, around: ClientCall) -> Awaitable[Any]:
    """Make a call through the middleware of the client."""

    async def proceed() -> Any:
        around.was_made = True
        method, sent = around.method, around.metadata_to_send
        response = await _call(client, method, around.args, sent)
        around.response_metadata = response.metadata
        return result_of(method, response, client.__roam_caller__)

    return go_through(client.__roam_middleware__, around, proceed)


def _merged(default: Metadata, given: Metadata) -> Metadata:
    """Return the default metadata of a client with that of one call."""
    if not default:
        return given
    keys = {entry.key for entry in given}
    return Metadata((*(each for each in default if each.key not in keys), *given))


@cache
def _client_class(service: ServiceDescriptor) -> Callable[..., Any]:
    return _new_client_class(service)


def _new_client_class(service: ServiceDescriptor) -> Callable[..., Any]:
    members: dict[str, Any] = {"__slots__": (), "__doc__": service.doc}
    for method in service.methods:
        members[method.name] = client_method(method)
    return type(f"{service.name}Client", (BaseClient,), members)


def client_method(method: MethodDescriptor) -> Any:
    """Return a function that calls `method`."""
    count = method.positional_count

    async def call(self: BaseClient, /, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != count:
            args = bound_arguments(method, args, kwargs)
        caller, sent = self.__roam_caller__, self.__roam_metadata__
        if self.__roam_middleware__:
            around = ClientCall(method, args, sent, caller)
            try:
                return await _go_through(self, around)
            except CallCancelled as refusal:
                around.note_refusal(refusal)
                raise
        # As `_call` does, and a call less.
        response = await caller.call(
            method.id, Payload(method.args_plan, args), metadata=sent
        )
        return result_of(method, response, caller)

    return set_method(call, method)


def set_method(function: Any, method: MethodDescriptor) -> Any:
    """Give a function of a client the name, the texts and the mark of a method."""
    function.__name__ = method.name
    function.__qualname__ = f"{method.service}Client.{method.name}"
    function.__doc__ = method.doc
    function.__signature__ = _with_self(method.signature)
    function.__roam_method__ = method
    return function


def bound_arguments(
    method: MethodDescriptor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """Return all arguments by position, with defaults filled in.

    Raises:
        TypeError: they do not match the parameters of the method.
    """
    try:
        bound = method.signature.bind(*args, **kwargs)
    except TypeError as error:
        signature = show_signature(method.signature)
        raise TypeError(f"{method}{signature}: {error}") from None
    bound.apply_defaults()
    return tuple(bound.arguments[name] for name in method.signature.parameters)


def _with_self(signature: inspect.Signature) -> inspect.Signature:
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    if "self" in signature.parameters:
        return signature
    return signature.replace(parameters=[this, *signature.parameters.values()])
