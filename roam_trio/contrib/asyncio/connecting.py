"""`connect` and `stay_connected` for programs on asyncio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, Unpack, overload

from ...endpoints.connect import connect as native_connect
from ...endpoints.lasting.balancing import Balance
from ...endpoints.lasting.resolving import Resolver
from ...endpoints.lasting.retry import DEFAULT_RETRY, Retry
from ...endpoints.lasting.staying import stay_connected as native_stay_connected
from ...endpoints.options import ConnectOptions
from ...metadata import MetadataLike
from ...service import Middleware
from .clients import client_in_asyncio
from .guest import Guest
from .holding import Holding
from .middleware import for_trio
from .opening import Opening
from .sessions import Session

__all__ = ["connect", "stay_connected"]

T = TypeVar("T")


@overload
def connect(
    url: str | Sequence[str],
    service: None = None,
    *,
    wait_for: float = 0.0,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    reflection: bool = False,
    **options: Unpack[ConnectOptions],
) -> Opening[Session]: ...
@overload
def connect(
    url: str | Sequence[str],
    service: Callable[..., T],
    *,
    wait_for: float = 0.0,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    reflection: bool = False,
    **options: Unpack[ConnectOptions],
) -> Opening[T]: ...
def connect(
    url: str | Sequence[str],
    service: Callable[..., Any] | None = None,
    *,
    wait_for: float = 0.0,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    reflection: bool = False,
    **options: Unpack[ConnectOptions],
) -> Opening[Any]:
    """Connect to a server, from a program on asyncio; see `roam_trio.connect`.

        async with connect("tcp://127.0.0.1:7000", Adder) as adder:
            assert await adder.add(3, 5) == 8

    In a notebook: ``adder = await connect(url, Adder)``, and later
    ``await aclose(adder)``. Without a service, this gives a `Session`.

    Cancelling a task that awaits a call cancels the call, and waits until the handler
    has stopped (for at most `cancel_grace`); so do asyncio's time-outs. A task that is
    cancelled gets its `asyncio.CancelledError` even if the call was done at the same
    moment.

    Args:
        url: see `roam_trio.connect`.
        service: the class of the service; the type of the client.
        wait_for: number of seconds to keep trying while the server is not up yet.
        middleware: wraps each call; each is an async function of asyncio.
        metadata_for_calls: metadata of each call.
        reflection: see `roam_trio.connect`.
        options: the other options of `roam_trio.connect`. A ``handler`` is one that
            `dispatcher` of this module makes; ``on_connection`` runs in trio.

    Raises:
        ValueError, TypeError: as `roam_trio.connect`.
        OSError, SessionError, Refused, Unavailable, IncompatibleService: (on entering)
            as `roam_trio.connect`.
        RuntimeError: (on entering) trio runs in this thread already.
    """
    around = for_trio(middleware)

    def make() -> Any:
        return native_connect(
            url,
            service,
            wait_for=wait_for,
            middleware=around,
            metadata_for_calls=metadata_for_calls,
            reflection=reflection,
            **options,
        )

    if service is None:
        return Opening(make, Session, "a session")
    return Opening(make, partial(_client, service), "a client")


def _client(
    service: Callable[..., T], guest: Guest, native: Any, holding: Holding
) -> T:
    return client_in_asyncio(service, guest, native, holding)


def stay_connected(
    target: str | Sequence[str] | Resolver,
    service: Callable[..., T],
    *,
    name: str | None = None,
    retry: Retry = DEFAULT_RETRY,
    balance: Balance = "first",
    sessions: int = 1,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    **options: Unpack[ConnectOptions],
) -> Opening[T]:
    """Return a client that outlives servers; see `roam_trio.stay_connected`.

    Enter it with ``async with``, or await it, as `connect`.

    Args:
        target: see `roam_trio.stay_connected`.
        service: the class of the service; the type of the client.
        name: see `roam_trio.stay_connected`.
        retry: see `roam_trio.stay_connected`.
        balance: see `roam_trio.stay_connected`.
        sessions: see `roam_trio.stay_connected`.
        middleware: wraps each call with all of its attempts; each is an async function
            of asyncio.
        metadata_for_calls: metadata of each call.
        options: the other options of `connect`, for each session.

    Raises:
        ValueError, TypeError: as `roam_trio.stay_connected`.
    """
    around = for_trio(middleware)

    def make() -> Any:
        return native_stay_connected(
            target,
            service,
            name=name,
            retry=retry,
            balance=balance,
            sessions=sessions,
            middleware=around,
            metadata_for_calls=metadata_for_calls,
            **options,
        )

    return Opening(make, partial(_client, service), "a client")
