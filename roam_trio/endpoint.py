"""`connect` and `serve` by URL: the short way to a client and to a server.

async with connect("tcp://127.0.0.1:7000", Adder) as adder:
    assert await adder.add(3, 5) == 8

server = await nursery.start(serve, "tcp://127.0.0.1:0", dispatcher(Adder, Impl()))
print(server.url)
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar
from urllib.parse import SplitResult, urlsplit

import attrs
import trio

from .calls import Handler, check_handler
from .errors import SessionError
from .limits import DEFAULT_LIMITS, Limits
from .links import Link, StreamLimits, connect_tcp, tcp_link
from .metadata import Metadata, MetadataLike
from .service import client, describe
from .session import OpenSession, acceptor, initiator

__all__ = ["Connecting", "Server", "connect", "serve"]

logger = logging.getLogger("roam_trio.endpoint")

T = TypeVar("T")


def connect(
    url: str,
    service: Callable[..., T],
    handler: Handler | None = None,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
) -> Connecting[T]:
    """Connect to a server and get a client, for the length of an ``async with`` block.

    Args:
        url: ``tcp://host:port``.
        service: the class of the service; the client is typed as it.
        handler: answers calls of the server's, if it makes any.
        max_concurrent_requests: how many calls of the server's may be in flight.
        metadata: sent along with the handshake.
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
    describe(service)
    if handler is not None:
        check_handler(handler)
    address = _TcpAddress.parse(url)
    if not address.host:
        raise ValueError(f"{_expected(url)}: there is no host to connect to")
    options = _Options(max_concurrent_requests, metadata, limits, strict)

    async def open_session() -> OpenSession:
        link = await connect_tcp(
            address.host, address.port, limits=options.stream_limits
        )
        return initiator(
            link,
            max_concurrent_requests=options.max_concurrent_requests,
            metadata=options.metadata,
            limits=options.limits,
            strict=options.strict,
        ).open(handler)

    return Connecting(open_session, service)


_HOW_TO_CONNECT = "write `async with connect(...) as client:` to have a client"


class Connecting(Generic[T]):
    """What `connect` returns: to be entered with ``async with``.

    Once left, it can be entered again, for a new connection.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[OpenSession]],
        service: Callable[..., T],
    ) -> None:
        self._open_session = open_session
        self._service = service
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
            session = await self._session.__aenter__()
        except BaseException:
            self._is_open = False
            raise
        return client(self._service, session.caller)

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

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """Where it listens, with the port it really has."""
        return self._url

    def __repr__(self) -> str:
        return f"<Server {self._url}>"


async def serve(
    url: str,
    handler: Handler,
    *,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, and serve whoever connects, until cancelled; for ``nursery.start``.

    A session that fails is logged, and harms no other.

    Args:
        url: ``tcp://host:port``; port 0 takes a free one, see `Server.url`. Without a
            host it listens on every address of the machine.
        handler: answers the calls of every client; `dispatcher` makes one.
        max_concurrent_requests: how many calls each client may have in flight.
        metadata: sent along with every handshake.
        limits: what each client can make this side hold.
        strict: see `connect`.

    Raises:
        ValueError: the URL is not of that form, or an option is out of range.
        TypeError: `handler` is not a `Handler`.
        OSError: it cannot listen there.
    """
    check_handler(handler)
    address = _TcpAddress.parse(url)
    options = _Options(max_concurrent_requests, metadata, limits, strict)

    async def serve_stream(stream: trio.SocketStream) -> None:
        try:
            link: Link = tcp_link(stream, limits=options.stream_limits)
            session = acceptor(
                link,
                max_concurrent_requests=options.max_concurrent_requests,
                metadata=options.metadata,
                limits=options.limits,
                strict=options.strict,
            )
            await session.run(handler)
        except (SessionError, OSError) as error:
            logger.warning("a client could not set up a session: %s", error)

    listeners = await trio.open_tcp_listeners(address.port, host=address.host or None)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve_stream, listeners)
        task_status.started(Server(address.with_port_of(listeners)))


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


@attrs.frozen
class _Options:
    """What sessions are set up with, checked before there is a connection."""

    max_concurrent_requests: int = attrs.field(
        validator=[attrs.validators.ge(1), attrs.validators.lt(2**32)]
    )
    metadata: Metadata = attrs.field(converter=_as_metadata)
    limits: Limits
    strict: bool

    @property
    def stream_limits(self) -> StreamLimits:
        return StreamLimits(
            max_payload=self.limits.max_payload,
            max_unsent_bytes=self.limits.max_unsent_bytes,
        )
