"""`connect` and `serve` by URL: the short way to a client and to a server.

async with connect("tcp://127.0.0.1:7000", Adder) as adder:
    assert await adder.add(3, 5) == 8

server = await nursery.start(serve, "tcp://127.0.0.1:0", dispatcher(Adder, Impl()))
print(server.url)
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypedDict, TypeVar, overload
from urllib.parse import SplitResult, urlsplit

import attrs
import trio

from .calls import Handler, check_handler
from .errors import SessionError
from .limits import DEFAULT_LIMITS, Limits
from .links import Link, StreamLimits, connect_tcp, tcp_link
from .metadata import Metadata, MetadataLike
from .offering import OfferedServices
from .service import client, describe
from .session import (
    ConnectionAcceptor,
    OpenSession,
    Session,
    SessionKeepaliveConfig,
    acceptor,
    initiator,
)

__all__ = ["Connecting", "Server", "connect", "serve"]

logger = logging.getLogger("roam_trio.endpoint")

T = TypeVar("T")


@overload
def connect(
    url: str,
    service: None = None,
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
) -> Connecting[Session]: ...
@overload
def connect(
    url: str,
    service: Callable[..., T],
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
) -> Connecting[T]: ...
def connect(
    url: str,
    service: Callable[..., T] | None = None,
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
) -> Connecting[T] | Connecting[Session]:
    """Connect to a server for the length of an ``async with`` block.

    With a service the block gets a client of it, on the root connection. Without one it
    gets the `Session`, for services on connections of their own: `Session.open`.

    Args:
        url: ``tcp://host:port``.
        service: the class of the service; the client is typed as it.
        handler: answers calls of the server's, if it makes any; or handlers by name,
            for the connections it opens.
        max_concurrent_requests: how many calls of the server's may be in flight.
        metadata: sent along with the handshake.
        keepalive: when to ping the server; None for never.
        limits: what the server can make this side hold.
        strict: also refuse what other implementations are known to do differently
            from the rules.

    Raises:
        ValueError: the URL is not of that form, or an option is out of range.
        TypeError: `service` is not a service, or `handler` not a `Handler`.
        OSError: (on entering) nobody listens there.
        SessionError: (on entering) the handshake failed.

    Leaving the block ends the session; an exception of the block's passes through as
    it is.
    """
    if service is not None:
        describe(service)
    address = _TcpAddress.parse(url)
    if not address.host:
        raise ValueError(f"{_expected(url)}: there is no host to connect to")
    options = _Options(
        handler, max_concurrent_requests, metadata, keepalive, limits, strict
    )

    async def open_session() -> OpenSession:
        link = await connect_tcp(
            address.host, address.port, limits=options.stream_limits
        )
        return initiator(link, **options.for_builder).open(options.root_handler)

    if service is None:
        return Connecting(open_session, _the_session)
    return Connecting(open_session, partial(_client_of, service))


def _the_session(session: Session) -> Session:
    return session


def _client_of(service: Callable[..., T], session: Session) -> T:
    return client(service, session.caller)


_HOW_TO_CONNECT = "write `async with connect(...) as client:` to have a client"


class Connecting(Generic[T]):
    """What `connect` returns: to be entered with ``async with``.

    Once left, it can be entered again, for a new connection.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[OpenSession]],
        face: Callable[[Session], T],
    ) -> None:
        self._open_session = open_session
        self._face = face
        self._session: OpenSession | None = None
        self._is_open = False

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
        url: str,
        listening: trio.CancelScope,
        setting_up: dict[trio.CancelScope, None],
        sessions: dict[Session, None],
    ) -> None:
        self._url = url
        self._listening = listening
        self._setting_up = setting_up
        self._sessions = sessions

    @property
    def url(self) -> str:
        """Where it listens, with the port it really has."""
        return self._url

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that are open now."""
        return tuple(self._sessions)

    async def shutdown(self, grace: float = 0.0) -> None:
        """Stop listening, and end every session; `serve` returns then.

        For `grace` seconds, calls in flight and open channels may finish, while new
        calls and connections are refused; see `Session.shutdown`. Handshakes that are
        not complete are given up.
        """
        self._listening.cancel()
        for scope in self._setting_up:
            scope.cancel()
        async with trio.open_nursery() as nursery:
            for session in self.sessions:
                nursery.start_soon(session.shutdown, grace)

    def __repr__(self) -> str:
        ending = ", shutting down" if self._listening.cancel_called else ""
        return f"<Server {self._url}, {len(self._sessions)} sessions{ending}>"


async def serve(
    url: str,
    handler: Handler | Mapping[str, Handler],
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, and serve whoever connects, until cancelled; for ``nursery.start``.

    A session that fails is logged, and harms no other.

    Args:
        url: ``tcp://host:port``; port 0 takes a free one, see `Server.url`. Without a
            host it listens on every address of the machine.
        handler: answers the calls of every client; `dispatcher` makes one. Or handlers
            by name, ``{"counter": dispatcher(Counter, CounterImpl())}``: a client opens
            a connection for each service that it uses, with `Session.open`.
        max_concurrent_requests: how many calls each client may have in flight on each
            of its connections.
        metadata: sent along with every handshake.
        keepalive: when to ping clients; None for never.
        limits: what each client can make this side hold.
        strict: see `connect`.

    Raises:
        ValueError: the URL is not of that form, or an option is out of range.
        TypeError: `handler` is not a `Handler`.
        OSError: it cannot listen there.
    """
    address = _TcpAddress.parse(url)
    options = _Options(
        handler, max_concurrent_requests, metadata, keepalive, limits, strict
    )
    listening = trio.CancelScope()
    setting_up: dict[trio.CancelScope, None] = {}
    sessions: dict[Session, None] = {}

    async def serve_stream(stream: trio.SocketStream) -> None:
        if listening.cancel_called:
            return
        with trio.CancelScope() as scope:
            setting_up[scope] = None
            try:
                link: Link = tcp_link(stream, limits=options.stream_limits)
                builder = acceptor(link, **options.for_builder)
                async with builder.open(options.root_handler) as session:
                    del setting_up[scope]
                    sessions[session] = None
                    try:
                        await session.closed()
                    finally:
                        del sessions[session]
            except (SessionError, OSError) as error:
                logger.warning("a client could not set up a session: %s", error)
            except Exception:
                logger.exception("a session has failed; the others go on")
            finally:
                setting_up.pop(scope, None)

    listeners = await trio.open_tcp_listeners(address.port, host=address.host or None)
    server = Server(address.with_port_of(listeners), listening, setting_up, sessions)
    async with trio.open_nursery() as nursery:
        with listening:
            task_status.started(server)
            await trio.serve_listeners(serve_stream, listeners, handler_nursery=nursery)


@attrs.frozen
class _TcpAddress:
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> _TcpAddress:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{_expected(url)}: {error}") from None
        if parts.scheme != "tcp":
            raise ValueError(f"{_expected(url)}: the schemes are: tcp")
        if port is None:
            raise ValueError(f"{_expected(url)}: there is no port")
        if _has_more(parts):
            raise ValueError(f"{_expected(url)}: there is more than host and port")
        return cls(parts.hostname or "", port)

    def with_port_of(self, listeners: Sequence[trio.SocketListener]) -> str:
        port: int = listeners[0].socket.getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{port}"


def _expected(url: str) -> str:
    return f"expected a URL like tcp://127.0.0.1:7000, got {url!r}"


def _has_more(parts: SplitResult) -> bool:
    return bool(parts.path or parts.query or parts.fragment) or "@" in parts.netloc


def _as_metadata(source: MetadataLike) -> Metadata:
    return Metadata.of(source)


def _check_handlers(
    instance: object,
    attribute: object,
    value: Handler | Mapping[str, Handler] | None,
) -> None:
    for handler in value.values() if isinstance(value, Mapping) else [value]:
        if handler is not None:
            check_handler(handler)


class _BuilderOptions(TypedDict):
    max_concurrent_requests: int
    on_connection: ConnectionAcceptor | None
    keepalive: SessionKeepaliveConfig | None
    metadata: Metadata
    limits: Limits
    strict: bool


@attrs.frozen
class _Options:
    """What sessions are set up with, checked before there is a connection."""

    handler: Handler | Mapping[str, Handler] | None = attrs.field(
        validator=_check_handlers
    )
    max_concurrent_requests: int = attrs.field(
        validator=[attrs.validators.ge(1), attrs.validators.lt(2**32)]
    )
    metadata: Metadata = attrs.field(converter=_as_metadata)
    keepalive: SessionKeepaliveConfig | None
    limits: Limits
    strict: bool

    @property
    def root_handler(self) -> Handler | None:
        return None if isinstance(self.handler, Mapping) else self.handler

    @property
    def for_builder(self) -> _BuilderOptions:
        offered = None
        if isinstance(self.handler, Mapping):
            offered = OfferedServices(
                self.handler, max_concurrent_requests=self.max_concurrent_requests
            )
        return {
            "max_concurrent_requests": self.max_concurrent_requests,
            "on_connection": offered,
            "keepalive": self.keepalive,
            "metadata": self.metadata,
            "limits": self.limits,
            "strict": self.strict,
        }

    @property
    def stream_limits(self) -> StreamLimits:
        return StreamLimits(
            max_payload=self.limits.max_payload,
            max_unsent_bytes=self.limits.max_unsent_bytes,
        )
