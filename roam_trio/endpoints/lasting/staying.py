"""`stay_connected`, and what it tells of its sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, Protocol, TypeVar, Unpack, cast, overload

import attrs
import trio

from ...extras import how_to_install
from ...failures import alone
from ...legible import without_secrets
from ...logs import Log
from ...metadata import MetadataLike
from ...quantities import check_count
from ...running import check_trio_runs
from ...service import Middleware, describe
from ...service.client import BaseClient
from ...session import Session
from ..connect import connect
from ..options import ConnectOptions, client_defaults
from .balancing import Balance, EndpointTable, Phase
from .client import LastingClient, lasting_client_class
from .links import Links
from .opening import LastingSession
from .pool import Pool, PoolPhase
from .resolving import Resolver, StaticResolver
from .retry import DEFAULT_RETRY, Retry
from .subset import MOST_ADDRESSES

__all__ = [
    "EndpointState",
    "LastingState",
    "StayingConnected",
    "begin_session",
    "resolver_of",
    "state",
    "state_of",
    "stay_connected",
]

T = TypeVar("T")

logger = Log("roam_trio.lasting")

_BY_NAME: Final = ("dns+", "srv+")
"""Beginnings of URLs that the Domain Name System resolves."""

_ANY_URL: Final = "memory://any"
_ANY_URL_WITH_TLS: Final = "tls://any:1"


@overload
def stay_connected(
    target: str | Sequence[str] | Resolver,
    service: None = None,
    *,
    retry: Retry = DEFAULT_RETRY,
    balance: Balance = "first",
    sessions: int = 1,
    servers: int = MOST_ADDRESSES,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    **options: Unpack[ConnectOptions],
) -> StayingConnected[LastingSession]: ...
@overload
def stay_connected(
    target: str | Sequence[str] | Resolver,
    service: Callable[..., T],
    *,
    name: str | None = None,
    retry: Retry = DEFAULT_RETRY,
    balance: Balance = "first",
    sessions: int = 1,
    servers: int = MOST_ADDRESSES,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    **options: Unpack[ConnectOptions],
) -> StayingConnected[T]: ...
def stay_connected(
    target: str | Sequence[str] | Resolver,
    service: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    retry: Retry = DEFAULT_RETRY,
    balance: Balance = "first",
    sessions: int = 1,
    servers: int = MOST_ADDRESSES,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    **options: Unpack[ConnectOptions],
) -> StayingConnected[Any]:
    """Return a client for the length of a block that outlives servers.

    ``async with stay_connected(urls, Bank) as bank:`` keeps a session with each server,
    and connects again when one ends. The block begins at once, whether a server is
    there or not. A call waits while no server is there, within the deadline of its
    caller. A call that fails with its session is made again if that cannot do it twice:
    see `Retry`. Its channels end with the session, and the call with them.

    Without a service, the block gets a `LastingSession`, whose `LastingSession.open`
    makes clients on virtual connections.

    Args:
        target: the URL of the server; or several, of servers that offer the same; or
            ``dns+tcp://host:port`` for all addresses of a host; or
            ``srv+tcp://_bank._tcp.host`` or ``srv+tls://`` for those of SRV records; or
            a `Resolver`, which finds them.
        service: the class of the service; None for a `LastingSession`.
        name: the name by which the servers offer the service; None if it is the one on
            the root connection.
        retry: which calls are made again.
        balance: which server gets a call; see `Balance`.
        sessions: number of sessions with each server.
        servers: number of servers that this client uses, if the target has more: the
            first, or with another `balance` some that are chosen by chance. Others take
            the place of those that cannot be reached.
        middleware: wraps each call, with all of its attempts.
        metadata_for_calls: metadata of each call.
        options: the other options of `connect`, for each session.

    Raises:
        ValueError: a URL is wrong, there is none, or an option is out of range.
        TypeError: `service` is not a service, there is a `name` without one, or an
            option is of the wrong type.
    """
    _check_retry(retry)
    check_count("sessions", sessions)
    check_count("servers", servers)
    resolver = resolver_of(target, options)
    defaults = client_defaults(middleware, metadata_for_calls)
    observer = options.get("observer")
    if service is None:
        if name is not None:
            raise TypeError(
                f"name: expected none without a service, got {name!r}: give the "
                "service too, or use the method open() of the session"
            )
        session_table = EndpointTable[Session](balance, retry.backoff)
        begin_one = partial(begin_session, options)
        of_sessions = Pool(
            begin_one, resolver, session_table, retry, sessions, observer, servers
        )
        return StayingConnected(of_sessions, LastingSession(of_sessions, defaults))
    client_class = lasting_client_class(describe(service))
    table = EndpointTable[BaseClient](balance, retry.backoff)
    begin = partial(_begin, service, name, options)
    pool = Pool(begin, resolver, table, retry, sessions, observer, servers)
    client = client_class(pool, pool, defaults.middleware, defaults.metadata)
    return StayingConnected(pool, client)


def _check_retry(retry: object) -> None:
    if not isinstance(retry, Retry):
        raise TypeError(f"retry: expected a Retry, got {retry!r}")


async def begin_session(
    options: ConnectOptions, url: str, links: Links, stack: AsyncExitStack
) -> tuple[Session, Session]:
    """Begin a session; see `Begin`."""
    connecting = connect(url, **links.followed_with(options))
    session = await stack.enter_async_context(connecting)
    return session, session


async def _begin(
    service: Callable[..., Any],
    name: str | None,
    options: ConnectOptions,
    url: str,
    links: Links,
    stack: AsyncExitStack,
) -> tuple[Session, BaseClient]:
    """Begin a session; see `Begin`."""
    options = links.followed_with(options)
    if name is None:
        connecting = connect(url, service, **options)
        client = await stack.enter_async_context(connecting)
        return connecting.session, client
    session = await stack.enter_async_context(connect(url, **options))
    return session, await stack.enter_async_context(session.open(service, name))


def resolver_of(
    target: str | Sequence[str] | Resolver, options: ConnectOptions
) -> Resolver:
    """Return the resolver of a target.

    Raises:
        ValueError: a URL is wrong, or there is none.
    """
    if isinstance(target, Resolver):
        _check(options)
        return target
    if isinstance(target, str) and target.startswith(_BY_NAME):
        resolver = _by_name(target)
        _check(options)
        return resolver
    urls = [target] if isinstance(target, str) else [*target]
    if not urls:
        raise ValueError("expected at least one URL to connect to, got none")
    for url in urls:
        _check_is_of_one(url)
        connect(url, **options)  # checks the URL and the options
    return StaticResolver(urls)


def _check_is_of_one(url: object) -> None:
    # `connect` finds out that it is no text.
    if isinstance(url, str) and url.startswith(_BY_NAME):
        raise ValueError(
            f"{without_secrets(url)!r} already stands for all servers of a name: "
            "expected it alone, as a text, got it in a list"
        )


def _check(options: ConnectOptions) -> None:
    """Check the options of `connect` before there is a URL.

    Raises:
        ValueError: an option is out of range.
    """
    has_tls = options.get("ssl_context") is not None
    connect(_ANY_URL_WITH_TLS if has_tls else _ANY_URL, **options)


def _by_name(url: str) -> Resolver:
    """Return a resolver that asks the Domain Name System.

    Raises:
        ValueError: the URL is wrong, or the package for it is not installed.
    """
    try:
        from .dns import DnsResolver
    except ImportError as error:
        raise ValueError(
            f"the package for {url.partition(':')[0]} is missing ({error}); "
            + how_to_install("dns")
        ) from error
    return DnsResolver(url)


class KeepsSessions(Protocol):
    """Keeps sessions with servers."""

    async def run(self) -> None:
        """Keep them until it is cancelled."""
        ...

    def close(self) -> None:
        """Let fail what waits for a session."""
        ...


class StayingConnected(Generic[T]):
    """The result of `stay_connected`; enter it once, with ``async with``."""

    def __init__(self, pool: KeepsSessions, client: T) -> None:
        self._pool = pool
        self._client = client
        self._scope = trio.CancelScope()
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._error: BaseException | None = None

    async def __aenter__(self) -> T:
        if self._manager is not None:
            raise RuntimeError("this client is in use already, or was; make another")
        check_trio_runs("a client")
        await trio.lowlevel.checkpoint()
        # The scope is around the nursery: it cancels the block, and takes its Cancelled
        # when the nursery is over.
        self._scope.__enter__()
        self._manager = trio.open_nursery()
        nursery: trio.Nursery = await self._manager.__aenter__()
        nursery.start_soon(self._run)
        self._nursery = nursery
        return self._client

    async def _run(self) -> None:
        try:
            await self._pool.run()
        except BaseException as error:
            rest = _without_cancelled(error)
            if rest is None:
                raise
            # Kept, as the nursery would put it into a group.
            self._error = rest
            self._scope.cancel()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._nursery is not None, "it was entered"
        self._nursery.cancel_scope.cancel()
        leaving: BaseException | None = None
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseException as error:
            leaving = error
        self._pool.close()
        try:
            self._leave(exc, leaving)
        finally:
            # Break the reference cycle between the errors and this frame.
            del exc, leaving, traceback

    def _leave(self, exc: BaseException | None, leaving: BaseException | None) -> None:
        """Raise what comes out of the block, unless it is `exc`.

        An exception of the block comes before Cancelled, and before an error of the
        pool, which is logged then.

        Args:
            exc: the exception of the block.
            leaving: what the end of the nursery has raised: Cancelled, or an exception
                that ends programs.
        """
        ends_more = None if leaving is None else _without_cancelled(leaving)
        outcome = ends_more or exc or leaving
        is_cancelled = outcome is not None and _without_cancelled(outcome) is None
        error = self._error
        try:
            if outcome is None:
                self._scope.__exit__(None, None, None)
            else:
                self._scope.__exit__(type(outcome), outcome, outcome.__traceback__)
            if error is not None and (outcome is None or is_cancelled):
                raise error
            if error is not None:
                logger.failure(error, "a client has failed, and its block too")
            if outcome is not None and outcome is not exc:
                raise outcome
        finally:
            del exc, leaving, ends_more, outcome, error


def _without_cancelled(error: BaseException) -> BaseException | None:
    """Return what an exception has beside Cancelled, without a group if it is one."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        rest = group.split(trio.Cancelled)[1]
        return None if rest is None else alone(rest)
    return None if isinstance(error, trio.Cancelled) else error


@attrs.frozen
class EndpointState:
    """A server of a lasting client.

    Attributes:
        url: its URL.
        phase: the phase of its session.
        calls: number of calls in flight, and of connections that stay with it.
        error: the error with which its last session failed to begin; None while there
            is a session.
    """

    url: str
    phase: Phase
    calls: int
    error: Exception | None


@attrs.frozen
class LastingState:
    """The sessions of a lasting client at present.

    Attributes:
        phase: ``"ready"`` while a session is there; otherwise ``"connecting"``, also
            while one has no link and tries to continue; and ``"down"`` once a session
            has failed to begin.
        endpoints: its servers, in their order.
    """

    phase: PoolPhase
    endpoints: tuple[EndpointState, ...]


def state(client: object) -> LastingState:
    """Return the state of what `stay_connected` has made.

    Args:
        client: a client of `stay_connected`; or a `LastingSession`, or a client that it
            has opened with ``reopen=True``.

    Raises:
        TypeError: it is nothing of these.
    """
    if isinstance(client, LastingSession):
        pool = client.pool
    elif isinstance(client, LastingClient):
        pool = client.__roam_pool__
    else:
        raise TypeError(f"expected a client of stay_connected, got {client!r}")
    return state_of(pool)


def state_of(pool: Pool[Any]) -> LastingState:
    """Return the state of a pool."""
    return LastingState(
        pool.phase,
        tuple(
            EndpointState(each.address.url, each.phase, each.calls, pool.error_of(each))
            for each in pool.table.endpoints
        ),
    )
