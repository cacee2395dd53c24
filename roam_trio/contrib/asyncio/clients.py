"""Clients whose methods are awaited in asyncio, and make their calls in trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, TypeVar, cast

from ...endpoints.lasting.staying import LastingState
from ...endpoints.lasting.staying import state as state_of_native
from ...metadata import Metadata, MetadataLike
from ...rpc.caller import Caller
from ...service import Middleware, describe
from ...service import client as native_client
from ...service.client import AnyClient, ResponseParts, set_method
from ...service.descriptor import MethodDescriptor, ServiceDescriptor
from .deadlines import deadline_here
from .guest import Guest, guest_of_loop
from .holding import Holding
from .middleware import for_trio

__all__ = ["aclose", "client", "client_in_asyncio", "state"]

T = TypeVar("T")


class AsyncioClient(AnyClient):
    """The base class of the clients for asyncio.

    Args:
        guest: the run of trio in which the calls are made.
        native: makes them.
        holding: keeps the session open; None if something else does.
    """

    __slots__ = ("__roam_guest__", "__roam_holding__", "__roam_native__")

    def __init__(
        self, guest: Guest, native: AnyClient, holding: Holding | None
    ) -> None:
        super().__init__((), native.__roam_metadata__)
        self.__roam_guest__ = guest
        self.__roam_native__ = native
        self.__roam_holding__ = holding

    async def __roam_call__(
        self, method: MethodDescriptor, args: tuple[Any, ...], sent: Metadata
    ) -> ResponseParts[Any]:
        call = partial(self.__roam_native__.__roam_call__, method, args, sent)
        del args
        return await self.__roam_guest__.run(call, deadline_here())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.__roam_native__!r}>"


@cache
def _client_class(service: ServiceDescriptor) -> Callable[..., Any]:
    members: dict[str, Any] = {"__slots__": (), "__doc__": service.doc}
    for method in service.methods:
        members[method.name] = _method(method)
    return type(f"{service.name}AsyncioClient", (AsyncioClient,), members)


def _method(method: MethodDescriptor) -> Any:
    name = method.name

    async def call(self: AsyncioClient, /, *args: Any, **kwargs: Any) -> Any:
        make = partial(getattr(self.__roam_native__, name), *args, **kwargs)
        del args, kwargs  # a call that has ended holds no channels
        return await self.__roam_guest__.run(make, deadline_here())

    return set_method(call, method)


def client_in_asyncio(
    service: Callable[..., T], guest: Guest, native: Any, holding: Holding | None
) -> T:
    """Return a client for asyncio that calls by a client for trio."""
    return cast(T, _client_class(describe(service))(guest, native, holding))


def client(
    service: Callable[..., T],
    caller: Caller,
    *,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
) -> T:
    """Return a client on a connection that is open already, to call a caller back:

        display = client(Display, current_call().connection.caller)

    Args:
        service: the class of the service; the type of the client.
        caller: makes the calls, on its connection.
        middleware: wraps each call, as asyncio code; the first is outermost.
        metadata_for_calls: metadata of each call.

    Raises:
        TypeError: `service` is not a service, or `caller` is not a `Caller`.
        RuntimeError: nothing of roam_trio is in use in this loop.
    """
    guest = guest_of_loop()
    if guest is None:
        raise RuntimeError(
            "client: expected a connection of roam_trio.contrib.asyncio in this loop, "
            "and there is none; connect() makes one"
        )
    native = native_client(
        service,
        caller,
        middleware=for_trio(middleware),
        metadata_for_calls=metadata_for_calls,
    )
    return client_in_asyncio(service, guest, native, None)


async def aclose(client: object) -> None:
    """Close a client that was awaited: ``client = await connect(url, Service)``.

    Waits until the session has ended; cancelled, it ends at once. Has no effect the
    second time, and at the end of a block.

    Raises:
        TypeError: it is no client of `connect` or `stay_connected`.
    """
    if not isinstance(client, AsyncioClient) or client.__roam_holding__ is None:
        raise TypeError(
            "aclose: expected a client of connect() or stay_connected(), "
            f"got {client!r}"
        )
    await client.__roam_holding__.close()


def state(client: object) -> LastingState:
    """Return the state of a client of `stay_connected`; see `roam_trio.state`.

    Raises:
        TypeError: it is none.
    """
    native = client.__roam_native__ if isinstance(client, AsyncioClient) else client
    return state_of_native(native)
