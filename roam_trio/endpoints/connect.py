"""`connect` by URL: the short way to a client.

async with connect("tcp://127.0.0.1:7000", Adder) as adder:
    assert await adder.add(3, 5) == 8

How links are made for a URL is decided in `roam_trio.transports`.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeAlias, TypeVar, overload

from ..conduits.base import Conduit
from ..errors import ForeignProtocol, LinkError, RemoteProtocolError, SessionIoError
from ..limits import DEFAULT_LIMITS, Limits
from ..links.base import Link
from ..links.resuming.source import Backoff, RedialingSource
from ..metadata import MetadataLike
from ..rpc.handler import Handler
from ..running import check_trio_runs
from ..service import client, describe
from ..session import OpenSession, Session, SessionKeepaliveConfig, initiator
from ..transports import DEFAULT_CONNECT_TIMEOUT, Dialer, LinkOptions, dialer
from ..wire.envelope import MessageFamily
from ..wire.messages import Message
from .options import SessionOptions

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
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
    resume: bool | Backoff = False,
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
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
    resume: bool | Backoff = False,
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
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
    resume: bool | Backoff = False,
) -> Connecting[T] | Connecting[Session]:
    """Connect to a server for the length of an ``async with`` block.

    With a service the block gets a client of it, on the root connection. Without one it
    gets the `Session`, for services on connections of their own: `Session.open`.

    Args:
        url: where the server is, such as ``tcp://host:port`` or ``unix:///path``; the
            guide has a table. Or several URLs: the first that answers is taken. If a
            host's name stands for several addresses, those are tried as well.
        service: the class of the service; the client is typed as it.
        handler: answers calls of the server's, if it makes any; or handlers by name,
            for the connections it opens.
        max_concurrent_requests: how many calls of the server's may be in flight.
        metadata: sent along with the handshake.
        keepalive: when to ping the server; None for never.
        limits: what the server can make this side hold.
        strict: also refuse what other implementations are known to do differently
            from the rules.
        ssl_context: for URLs with TLS; None is `ssl.create_default_context`.
        connect_timeout: how many seconds one URL may take to answer. The handshake of
            the session has a limit of its own, `Limits.handshake_seconds`.
        wait_for: for how many seconds to try again while the server is not up yet:
            while it refuses connections, has not made its socket, or the network is
            down. What cannot pass by itself is raised at once.
        resume: when the link is lost, go on with another: the session does not notice,
            and nothing is lost or done twice. The server has to agree
            (``serve(..., resume=True)``). A `Backoff` says how to go about it.

    Raises:
        ValueError: a URL is wrong, or an option is out of range.
        TypeError: `service` is not a service, `handler` not a `Handler`, or `url` no
            text.
        OSError: (on entering) nobody listens there, or TLS failed; of several URLs, it
            tells what became of each.
        SessionError: (on entering) the handshake failed.

    Leaving the block ends the session; an exception of the block's passes through as
    it is.
    """
    options = SessionOptions(
        handler, max_concurrent_requests, metadata, keepalive, limits, strict
    )
    link_options = LinkOptions(limits=options.stream_limits, ssl_context=ssl_context)
    dial = dialer(url, link_options, connect_timeout=connect_timeout, wait_for=wait_for)

    backoff = resume if isinstance(resume, Backoff) else None
    resuming = _resuming(dial, backoff, options) if resume else None

    async def open_session() -> OpenSession:
        try:
            link = await dial()
        except ForeignProtocol as error:
            raise RemoteProtocolError(str(error)) from error
        except LinkError as error:
            raise SessionIoError(str(error)) from error
        carrier = link if resuming is None else resuming(link)
        return initiator(carrier, **options.for_builder).open(options.root_handler)

    return Connecting.to(open_session, service)


def _resuming(
    dial: Dialer, backoff: Backoff | None, options: SessionOptions
) -> Callable[[Link], Conduit[Message]]:
    """Return a function that makes a conduit that goes on when its link is lost."""
    # Here and not in the function: no import is to hold up a running program.
    from ..conduits.stable import StableConduit

    def conduit(first: Link) -> Conduit[Message]:
        source = RedialingSource(dial.without_waiting(), backoff, first=first)
        return StableConduit(source, MessageFamily(), limits=options.stable_limits)

    return conduit


def _the_session(session: Session) -> Session:
    return session


def _client_of(service: Callable[..., T], session: Session) -> T:
    return client(service, session.caller)


_HOW_TO_CONNECT = "write `async with connect(...) as client:` to have a client"


_OpenSession: TypeAlias = Callable[[], Awaitable[AbstractAsyncContextManager[Session]]]
"""Begins a session anew; entering what it returns sets it up, leaving ends it."""


class Connecting(Generic[T]):
    """The result of `connect` and `spawn`, to be entered with ``async with``.

    Once left, it can be entered again, for a new connection.
    """

    def __init__(
        self, open_session: _OpenSession, face: Callable[[Session], T]
    ) -> None:
        self._open_session = open_session
        self._face = face
        self._session: AbstractAsyncContextManager[Session] | None = None
        self._is_open = False

    @staticmethod
    def to(
        open_session: _OpenSession, service: Callable[..., T2] | None
    ) -> Connecting[T2] | Connecting[Session]:
        """Whose block gets a client of a service, or the session without one.

        Raises:
            TypeError: `service` is not a service.
        """
        if service is None:
            return Connecting(open_session, _the_session)
        describe(service)
        return Connecting(open_session, partial(_client_of, service))

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
                "this connection is open already; call connect() for another"
            )
        check_trio_runs("a connection")
        self._is_open = True
        try:
            self._session = await self._open_session()
            return self._face(await self._session.__aenter__())
        except BaseException:
            self._is_open = False
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
