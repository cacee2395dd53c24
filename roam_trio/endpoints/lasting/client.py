"""Clients whose calls go over the sessions of a pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from ...errors import CallCancelled, RoamError
from ...metadata import Metadata
from ...peers import Peer
from ...service import ResponseParts, with_metadata
from ...service.client import AnyClient, bound_arguments, set_method
from ...service.descriptor import MethodDescriptor, ServiceDescriptor
from ...service.middleware import ClientCall, Middleware, go_through
from .attempts import Attempts, Route
from .pool import Pool

__all__ = ["LastingClient", "lasting_client_class"]


class LastingClient(AnyClient):
    """The base class of the clients that `stay_connected` makes.

    Args:
        pool: keeps the sessions.
        route: finds the places for calls.
        middleware: wraps each call with all of its attempts.
        metadata: metadata of each call.
    """

    __slots__ = ("__roam_pool__", "__roam_route__")

    def __init__(
        self,
        pool: Pool[Any],
        route: Route[Any],
        middleware: tuple[Middleware, ...],
        metadata: Metadata,
    ) -> None:
        super().__init__(middleware, metadata)
        self.__roam_pool__ = pool
        self.__roam_route__ = route

    async def __roam_call__(
        self, method: MethodDescriptor, args: tuple[Any, ...], sent: Metadata
    ) -> ResponseParts[Any]:
        attempts = Attempts(self.__roam_route__, method)
        if not self.__roam_middleware__:
            return await attempts.call(_with_parts(method, args, sent))
        around = ClientCall(method, args, sent, _Answering(attempts))

        async def proceed() -> Any:
            around.was_made = True
            parts = await attempts.call(
                _with_parts(method, around.args, around.metadata_to_send)
            )
            around.response_metadata = parts.metadata
            return parts.value

        try:
            value = await go_through(self.__roam_middleware__, around, proceed)
        except CallCancelled as refusal:
            around.note_refusal(refusal)
            raise
        return ResponseParts(value, around.response_metadata)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__roam_pool__.phase}>"


class _Answering:
    """The side of a call that answers its last attempt."""

    def __init__(self, attempts: Attempts[Any]) -> None:
        self._attempts = attempts

    @property
    def peer(self) -> Peer:
        return self._attempts.peer


def _with_parts(
    method: MethodDescriptor, args: tuple[Any, ...], sent: Metadata
) -> Callable[[Any], Awaitable[ResponseParts[Any]]]:
    """Return a function that makes a call with the client of a session."""
    positional, named = method.by_position(args)

    def invoke(client: Any) -> Awaitable[ResponseParts[Any]]:
        bound = with_metadata(getattr(client, method.name), sent)
        return bound(*positional, **named)

    return invoke


@cache
def lasting_client_class(service: ServiceDescriptor) -> Callable[..., Any]:
    """Return the class of the lasting clients of a service."""
    members: dict[str, Any] = {"__slots__": (), "__doc__": service.doc}
    for method in service.methods:
        members[method.name] = _lasting_method(method)
    return type(f"{service.name}LastingClient", (LastingClient,), members)


def _lasting_method(method: MethodDescriptor) -> Any:
    name, count = method.name, method.positional_count

    async def call(self: LastingClient, /, *args: Any, **kwargs: Any) -> Any:
        route = self.__roam_route__
        if self.__roam_middleware__ or self.__roam_metadata__:
            given = args
            if kwargs or len(args) != count:
                given = bound_arguments(method, args, kwargs)
            parts = await self.__roam_call__(method, given, self.__roam_metadata__)
            return parts.value
        # Most calls are made once, and need no more than this.
        failed = None
        place = route.pick_at_once()
        if place is not None:
            route.budget.add_call()
            place.calls += 1
            try:
                return await getattr(place.client, name)(*args, **kwargs)
            except RoamError as error:
                failed = place, error
            finally:
                route.note_end(place)
        try:
            invoke = partial(_invoke, name, args, kwargs)
            return await Attempts(route, method).call(invoke, failed)
        finally:
            # Or else the error would hold this frame, and this frame the error.
            del failed

    return set_method(call, method)


def _invoke(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], client: Any
) -> Awaitable[Any]:
    called: Awaitable[Any] = getattr(client, name)(*args, **kwargs)
    return called
