"""`connect` and `serve` by URL: the short way to a client and to a server.

async with connect("tcp://127.0.0.1:7000", Adder) as adder:
    assert await adder.add(3, 5) == 8

server = await nursery.start(serve, "tcp://127.0.0.1:0", dispatcher(Adder, Impl()))
print(server.url)

How links are made for a URL is decided in `roam_trio.transports`.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeAlias, TypeVar, overload

import trio

from .calls import Handler, check_handler
from .conduits import (
    Backoff,
    BareConduitAcceptor,
    Conduit,
    ConduitAcceptor,
    RedialingSource,
    StableConduit,
    StableConduitAcceptor,
)
from .envelope import MessageFamily
from .errors import ConduitError, LinkError, SessionError, SessionIoError
from .limits import DEFAULT_LIMITS, Limits
from .links import Link
from .messages import Message
from .metadata import MetadataLike
from .options import SessionOptions
from .quantities import check_seconds
from .service import client, describe
from .session import (
    OpenSession,
    Session,
    SessionKeepaliveConfig,
    acceptor,
    initiator,
)
from .transports import (
    DEFAULT_CONNECT_TIMEOUT,
    LinkFactory,
    LinkListener,
    LinkOptions,
    dialer,
    transports_for,
    urls_of,
)

__all__ = ["Connecting", "Server", "connect", "serve"]

logger = logging.getLogger("roam_trio.endpoint")

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

    redial = dialer(url, link_options, connect_timeout=connect_timeout)

    def resuming(first: Link) -> StableConduit[Message]:
        backoff = resume if isinstance(resume, Backoff) else None
        source = RedialingSource(redial, backoff, first=first)
        return StableConduit(source, MessageFamily(), limits=options.stable_limits)

    async def open_session() -> OpenSession:
        try:
            link = await dial()
        except LinkError as error:
            raise SessionIoError(str(error)) from error
        carrier = resuming(link) if resume else link
        return initiator(carrier, **options.for_builder).open(options.root_handler)

    return Connecting.to(open_session, service)


def _the_session(session: Session) -> Session:
    return session


def _client_of(service: Callable[..., T], session: Session) -> T:
    return client(service, session.caller)


_HOW_TO_CONNECT = "write `async with connect(...) as client:` to have a client"


_OpenSession: TypeAlias = Callable[[], Awaitable[AbstractAsyncContextManager[Session]]]
"""Begins a session anew; entering what it returns sets it up, leaving ends it."""


class Connecting(Generic[T]):
    """What `connect` and `spawn` return: to be entered with ``async with``.

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


class Server:
    """A running server, as `serve` reports it."""

    def __init__(
        self,
        urls: Sequence[str],
        listening: trio.CancelScope,
        accepting: dict[trio.CancelScope, None],
        sessions: _Sessions,
    ) -> None:
        self._urls = tuple(urls)
        self._listening = listening
        self._accepting = accepting
        self._sessions = sessions

    @property
    def url(self) -> str:
        """Where it listens, with the port it really has; the first of several."""
        return self._urls[0]

    @property
    def urls(self) -> tuple[str, ...]:
        """Everywhere it listens, in the order in which `serve` was told."""
        return self._urls

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that are open now."""
        return self._sessions.open

    async def shutdown(self, grace: float = 0.0) -> None:
        """Stop listening, and end every session; `serve` returns then.

        For `grace` seconds, calls in flight and open channels may finish, while new
        calls and connections are refused; see `Session.shutdown`. Handshakes that are
        not complete are given up.

        Raises:
            ValueError: `grace` is negative or infinite; the server goes on.
            TypeError: `grace` is no number.
        """
        check_seconds("grace", grace, may_be_zero=True)
        self._listening.cancel()
        for scope in self._accepting:
            scope.cancel()
        async with trio.open_nursery() as nursery:
            for session in self._sessions.all:
                nursery.start_soon(session.shutdown, grace)

    def __repr__(self) -> str:
        ending = ", shutting down" if self._listening.cancel_called else ""
        where = ", ".join(self._urls)
        return f"<Server {where}, {len(self.sessions)} sessions{ending}>"


async def serve(
    url: str | Sequence[str],
    handler: Handler | Mapping[str, Handler],
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    origins: Sequence[str] = (),
    max_sessions: int = 1024,
    resume: bool = False,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, and serve whoever connects, until cancelled; for ``nursery.start``.

    A session that fails is logged, and harms no other.

    Args:
        url: ``tcp://host:port`` or another that the guide has in its table, or several.
            Port 0 takes a free one, see `Server.url`. Without a host it listens on
            every address of the machine.
        handler: answers the calls of every client; `dispatcher` makes one. Or handlers
            by name, ``{"counter": dispatcher(Counter, CounterImpl())}``: a client opens
            a connection for each service that it uses, with `Session.open`.
        max_concurrent_requests: how many calls each client may have in flight on each
            of its connections.
        metadata: sent along with every handshake.
        keepalive: when to ping clients; None for never.
        limits: what each client can make this side hold.
        strict: see `connect`.
        ssl_context: for URLs with TLS: one with the server's certificate.
        origins: the web pages that may connect over WebSocket, such as
            ``"https://example.org"``. Pages of other origins are refused, and programs
            that are no browsers have none.
        max_sessions: how many sessions there may be at a time, those included that
            are being set up. Who connects beyond that waits until another has left;
            with `resume`, a new client is refused.
        resume: keep the session of a client that has lost its link, and go on when the
            client comes back, from whatever address; see `Limits.resume_seconds`. All
            clients have to connect with ``resume=True`` then.

    Raises:
        ValueError: a URL is wrong, or an option is out of range.
        TypeError: `handler` is not a `Handler`, `url` no text, or `origins` one.
        OSError: it cannot listen there.
    """
    options = SessionOptions(
        handler, max_concurrent_requests, metadata, keepalive, limits, strict
    )
    if not isinstance(handler, Mapping):
        check_handler(handler)  # and None is none of a server's
    if max_sessions < 1:
        raise ValueError(f"max_sessions: expected at least 1, got {max_sessions}")
    link_options = LinkOptions(
        limits=options.stream_limits, ssl_context=ssl_context, origins=origins
    )
    urls = urls_of(url)
    if not urls:
        raise ValueError("expected at least one URL to listen at, got none")
    begin = [
        transport.to_listen(each, link_options)
        for each, transport in zip(
            urls, transports_for(urls, link_options), strict=True
        )
    ]
    with ExitStack() as closing:
        listeners: list[LinkListener] = []
        for begin_one in begin:
            for listener in await begin_one():
                closing.callback(listener.close)
                listeners.append(listener)
        await _Serving(options, max_sessions, resume).run(listeners, task_status)


async def _let_go(conduit: Conduit[Message] | None) -> None:
    if conduit is not None:
        tx, rx = conduit.split()
        with trio.CancelScope(shield=True):
            await tx.abort()
            await rx.close()


class _Sessions(trio.TaskStatus[Session]):
    """The sessions of a server, which are told to it as they start."""

    def __init__(self) -> None:
        self._are_open: dict[Session, bool] = {}

    def add(self, session: Session) -> None:
        """Take note of a session that is about to be set up."""
        self._are_open[session] = False

    def started(self, value: Session) -> None:
        self._are_open[value] = True

    def remove(self, session: Session) -> None:
        """Forget a session that has ended, or could not be set up."""
        del self._are_open[session]

    @property
    def all(self) -> tuple[Session, ...]:
        """All of them."""
        return tuple(self._are_open)

    @property
    def open(self) -> tuple[Session, ...]:
        """Those that are set up."""
        return tuple(each for each, is_open in self._are_open.items() if is_open)


class _Serving:
    """What `serve` does once it listens."""

    def __init__(
        self, options: SessionOptions, max_sessions: int, resume: bool
    ) -> None:
        self._options = options
        self._max_sessions = max_sessions
        self._conduits: ConduitAcceptor[Message] = BareConduitAcceptor(MessageFamily())
        if resume:
            self._conduits = StableConduitAcceptor(
                MessageFamily(), limits=options.stable_limits, max_sessions=max_sessions
            )
        # A client that comes back has to get in although all sessions are taken.
        self._slots = trio.Semaphore(2 * max_sessions if resume else max_sessions)
        self._listening = trio.CancelScope()
        self._accepting: dict[trio.CancelScope, None] = {}
        self._sessions = _Sessions()

    async def run(
        self, listeners: Sequence[LinkListener], task_status: trio.TaskStatus[Server]
    ) -> None:
        if len(listeners) > self._max_sessions:
            raise ValueError(
                f"max_sessions: expected at least {len(listeners)}, as so many sockets "
                f"are listened on, got {self._max_sessions}"
            )
        urls = dict.fromkeys(listener.url for listener in listeners)
        server = Server(list(urls), self._listening, self._accepting, self._sessions)
        async with trio.open_nursery() as clients:
            with self._listening:
                task_status.started(server)
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept_all, listener, clients)
            # Nobody may connect to what will not answer.
            for listener in listeners:
                listener.close()

    async def _accept_all(self, listener: LinkListener, clients: trio.Nursery) -> None:
        while True:
            await self._take_slot(listener)
            try:
                make_link = await listener.accept()
            except BaseException as error:
                self._slots.release()
                if isinstance(error, trio.EndOfChannel):
                    return
                raise
            clients.start_soon(self._serve_client, make_link)

    async def _take_slot(self, listener: LinkListener) -> None:
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            logger.warning(
                "%s: there are %d sessions, and others have to wait "
                "(limit: max_sessions)",
                listener.url,
                self._max_sessions,
            )
            await self._slots.acquire()

    async def _serve_client(self, make_link: LinkFactory) -> None:
        # The session runs in this very task, with as little around it as can be: each
        # scope, and each coroutine, is memory that an idle session holds.
        try:
            session = await self._accept(make_link)
            if session is None:
                return
            self._sessions.add(session)
            try:
                await session.run(task_status=self._sessions)
            finally:
                self._sessions.remove(session)
        except (SessionError, LinkError, ConduitError, OSError) as error:
            if not self._listening.cancel_called:
                logger.warning("a client could not set up a session: %s", error)
        except Exception:
            logger.exception("a session has failed; the others go on")
        finally:
            self._slots.release()

    async def _accept(self, make_link: LinkFactory) -> Session | None:
        """A session that is to be set up; None if there is none to be."""
        options = self._options
        with trio.CancelScope() as scope:
            self._accepting[scope] = None
            if self._listening.cancel_called:
                scope.cancel()
            try:
                conduit = await self._conduits.accept(
                    await self._link_in_time(make_link)
                )
            finally:
                del self._accepting[scope]
            if scope.cancel_called:
                # It came in the moment in which the server began to shut down.
                await _let_go(conduit)
            elif conduit is not None:
                builder = acceptor(conduit, **options.for_builder)
                return builder.session(options.root_handler)
        return None

    async def _link_in_time(self, make_link: LinkFactory) -> Link:
        seconds = self._options.limits.handshake_seconds
        with trio.move_on_after(seconds):
            return await make_link()
        raise SessionIoError(
            f"the handshake of the link took more than {seconds} seconds "
            "(limit: handshake_seconds)"
        )
