"""`connect`, which makes clients by URL.

async with connect("tcp://127.0.0.1:7000", Adder) as adder:
    assert await adder.add(3, 5) == 8

`roam_trio.transports` makes the links for a URL.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeAlias, TypeVar, overload

import trio

from ..conduits.base import Conduit
from ..errors import ForeignProtocol, LinkError, RemoteProtocolError, SessionIoError
from ..limits import DEFAULT_LIMITS, Limits
from ..links.base import Link
from ..links.resuming.source import Backoff, RedialingSource
from ..metadata import MetadataLike
from ..rpc.expected_service import Expected, OfferedSchema
from ..rpc.handler import Handler
from ..rpc.observer import Observer
from ..rpc.service_class import ClientDefaults, ServiceClass, service_class
from ..running import check_trio_runs
from ..service import Middleware
from ..session import (
    ConnectionAcceptor,
    OpenSession,
    Session,
    SessionKeepaliveConfig,
    initiator,
)
from ..session.terms import CANCEL_GRACE
from ..transports import DEFAULT_CONNECT_TIMEOUT, Dialer, LinkOptions, dialer
from ..wire.envelope import MessageFamily
from ..wire.messages import Message
from .fetching import fetch_schema
from .options import (
    SessionOptions,
    check_can_poll,
    client_defaults,
    reserved_with,
)

__all__ = ["Connecting", "connect"]

T = TypeVar("T")
T2 = TypeVar("T2")


@overload
def connect(
    url: str | Sequence[str],
    service: None = None,
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
    resume: bool | Backoff = False,
    busy_poll: float | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    observer: Observer | None = None,
    reflection: bool = False,
) -> Connecting[Session]: ...
@overload
def connect(
    url: str | Sequence[str],
    service: Callable[..., T],
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
    resume: bool | Backoff = False,
    busy_poll: float | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    observer: Observer | None = None,
    reflection: bool = False,
) -> Connecting[T]: ...
def connect(
    url: str | Sequence[str],
    service: Callable[..., T] | None = None,
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
    resume: bool | Backoff = False,
    busy_poll: float | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    observer: Observer | None = None,
    reflection: bool = False,
) -> Connecting[T] | Connecting[Session]:
    """Connect to a server for the length of an ``async with`` block.

    With a service, the block gets a client of it on the root connection. Without one,
    it gets the `Session`, for services on separate connections: `Session.open`. Leaving
    the block ends the session. An exception of the block passes through unchanged.

    Args:
        url: the URL of the server, such as ``tcp://host:port`` or ``unix:///path``; the
            guide has a table. Or several URLs: they are tried in order, each with all
            addresses of its host, and the first that answers is used.
        service: the class of the service; the type of the client.
        handler: answers calls of the server; or handlers by name, for the connections
            that the server opens.
        max_concurrent_requests: number of calls that the server may have in flight.
        metadata: metadata of the handshake.
        keepalive: when to ping the server; None for never.
        limits: bounds on what the server can make this side hold.
        strict: also refuse the known departures of other implementations from the
            rules.
        deadlines: tell the server with each call how much time is left for it
            (`trio.current_effective_deadline`), and in the handshake that this side
            knows what roam_trio adds to the protocol.
        cancel_grace: number of seconds for which a cancelled call waits until the
            server has stopped; 0 means that it does not wait.
        max_waiting: number of calls that may wait because the server does not read, or
            has as many calls in flight as it accepts; None for any number. Beyond it,
            a call raises `Overloaded` and is not sent.
        ssl_context: for URLs with TLS; None means `ssl.create_default_context`.
        connect_timeout: number of seconds that one URL may take to answer. The
            handshake of the session has its own limit, `Limits.handshake_seconds`.
        wait_for: number of seconds to keep trying while the server is not up yet: it
            refuses connections, has not made its socket, or the network is down. Other
            errors are raised at once.
        resume: continue on another link when the link is lost: the session is not
            affected, and nothing is lost or done twice. The server must agree
            (``serve(..., resume=True)``). A `Backoff` sets the schedule of attempts.
        busy_poll: number of seconds for which a call looks at the socket for its
            response before it waits, at most 0.001; None for not at all. It takes a
            processor while it looks, and makes a lone call faster: see the page on
            performance for when not to use it. Then a call may not be a schedule point;
            at least every ninth is. Only with ``tcp:`` and ``unix:``, and without
            `resume`.
        on_connection: decides on connections that the server opens without a name from
            `handler`; for example a `ProxyAcceptor`.
        middleware: wraps the calls that this side makes, by the client or by the
            clients that `Session.open` makes; the first is outermost. Those that the
            server makes are wrapped by the middleware of `dispatcher`.
        metadata_for_calls: metadata of each of these calls, such as a token.
        observer: is told of events of the session; see `Observer`.
        reflection: offer ``reflection`` and ``health`` to the server, for what
            `handler` offers; see `serve`.

    Raises:
        ValueError: a URL is wrong, or an option is out of range; or `busy_poll` is
            given for a URL that cannot have it, or with `resume`.
        TypeError: `service` is not a service, `handler` is not a `Handler`, or `url` is
            not a text.
        OSError: (on entering) no server listens there, or TLS failed. With several
            URLs, the error describes each attempt.
        SessionError: (on entering) the handshake failed.
        Refused: (on entering) the server has turned this client away.
        Unavailable: (on entering) the server is shutting down, or says that it cannot
            serve clients now.
        IncompatibleService: (on entering) the server offers another version of
            `service`, and calls cannot be translated.
    """
    defaults = client_defaults(middleware, metadata_for_calls)
    options = SessionOptions(
        handler,
        max_concurrent_requests,
        metadata,
        keepalive,
        limits,
        strict,
        deadlines=deadlines,
        cancel_grace=cancel_grace,
        max_waiting=max_waiting,
        on_connection=on_connection,
        observer=observer,
        busy_poll=busy_poll,
        reserved=reserved_with(reflection),
    )
    link_options = LinkOptions(limits=options.stream_limits, ssl_context=ssl_context)
    if busy_poll is not None:
        check_can_poll(url, resume=bool(resume))
    dial = dialer(url, link_options, connect_timeout=connect_timeout, wait_for=wait_for)

    backoff = resume if isinstance(resume, Backoff) else None
    resuming = _resuming(dial, backoff, options) if resume else None

    async def open_session(expected: Expected | None) -> OpenSession:
        try:
            link = await dial()
        except ForeignProtocol as error:
            raise RemoteProtocolError(str(error)) from error
        except LinkError as error:
            raise SessionIoError(str(error)) from error
        carrier = link if resuming is None else resuming(link)
        builder = initiator(carrier, expected=expected, **options.for_builder)
        return builder.open(options.root_handler)

    return Connecting.to(open_session, service, defaults)


def _resuming(
    dial: Dialer, backoff: Backoff | None, options: SessionOptions
) -> Callable[[Link], Conduit[Message]]:
    """Return a function that makes a conduit that survives the loss of its link."""
    # Import here and not in the returned function, where it would block a running
    # program.
    from ..conduits.stable import StableConduit

    def conduit(first: Link) -> Conduit[Message]:
        source = RedialingSource(dial.without_waiting(), backoff, first=first)
        return StableConduit(source, MessageFamily(), limits=options.stable_limits)

    return conduit


def _the_session(
    defaults: ClientDefaults, session: Session, offered: OfferedSchema | None
) -> Session:
    session.for_clients = defaults
    return session


def _client_of(
    service: ServiceClass[T],
    defaults: ClientDefaults,
    session: Session,
    offered: OfferedSchema | None,
) -> T:
    return service.client(
        session.caller,
        middleware=defaults.middleware,
        metadata_for_calls=defaults.metadata,
        offered=offered,
    )


_HOW_TO_CONNECT = "write `async with connect(...) as client:` to have a client"


_OpenSession: TypeAlias = Callable[
    [Expected | None], Awaitable[AbstractAsyncContextManager[Session]]
]
"""Begins a new session; entering the returned manager sets it up, leaving it ends it.
It is told which service is called on the root connection.
"""


def _nothing_expected() -> None:
    return None


class Connecting(Generic[T]):
    """The result of `connect` and `spawn`; enter it with ``async with``.

    After leaving, it can be entered again, for a new connection.
    """

    def __init__(
        self,
        open_session: _OpenSession,
        face: Callable[[Session, OfferedSchema | None], T],
        expected: Callable[[], Expected | None] = _nothing_expected,
    ) -> None:
        self._open_session = open_session
        self._face = face
        self._expected = expected
        self._session: AbstractAsyncContextManager[Session] | None = None
        self._running: Session | None = None
        self._is_open = False

    @staticmethod
    def to(
        open_session: _OpenSession,
        service: Callable[..., T2] | None,
        defaults: ClientDefaults,
    ) -> Connecting[T2] | Connecting[Session]:
        """Return a manager whose block gets a client of a service, or the session.

        Raises:
            TypeError: `service` is not a service.
        """
        if service is None:
            return Connecting(open_session, partial(_the_session, defaults))
        known = service_class(service)
        face = partial(_client_of, known, defaults)
        return Connecting(open_session, face, known.expected)

    @property
    def session(self) -> Session:
        """The session of the block.

        Raises:
            RuntimeError: the block is not entered, or has ended.
        """
        if self._running is None:
            raise RuntimeError("there is a session only within the block")
        return self._running

    if not TYPE_CHECKING:  # type checkers refuse both by themselves

        def __await__(self) -> NoReturn:
            raise TypeError(f"connect() is not awaited: {_HOW_TO_CONNECT}")

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{type(self).__name__} has no {name!r}: {_HOW_TO_CONNECT}"
            )

    async def __aenter__(self) -> T:
        if self._is_open:
            raise RuntimeError(
                "this connection is already open; call connect() for another"
            )
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            check_trio_runs("a connection")  # which says what to do about it
        self._is_open = True
        try:
            expected = self._expected()
            self._session = await self._open_session(expected)
            session = self._running = await self._session.__aenter__()
        except BaseException:
            self._is_open = False
            raise
        try:
            offered = None
            if expected is not None:
                offered = await expected.answer(fetch_schema, session, "")
            return self._face(session, offered)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        try:
            await self._session.__aexit__(exc_type, exc, traceback)
        finally:
            self._is_open = False
            self._running = None
