"""A service and a client in one process, for tests of a service without sockets.

    async with connected_pair(Adder, AdderImpl()) as adder:
        assert await adder.add(3, 5) == 8

The session is complete: values are encoded and decoded, limits apply, and exceptions of
a handler arrive as from another machine.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import attrs
import trio

from ..errors import SessionError
from ..limits import DEFAULT_LIMITS, Limits
from ..links.base import Link
from ..links.memory import memory_link_pair
from ..logs import Log
from ..rpc.handler import Handler
from ..running import check_trio_runs
from ..service import Dispatcher, client, describe, dispatcher
from ..session import OpenSession, Session, acceptor, initiator
from ..session.open_session import tell_beside

__all__ = ["ConnectedPair", "connected_pair"]

logger = Log("roam_trio.testing")

T = TypeVar("T")

_BUFFER = 16
"""Number of payloads that each direction holds: few, so that senders must wait."""


def connected_pair(
    service: Callable[..., T],
    handler: object,
    *,
    client_handler: Handler | None = None,
    links: tuple[Link, Link] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = True,
    identity: Any = None,
) -> ConnectedPair[T]:
    """Return a client of `service`, answered by `handler`, for an ``async with`` block.

    If the handler fails, the `HandlerFailed` of the call has its exception as
    ``__cause__``. An exception of the block passes through unchanged.

    Args:
        service: the class of the service; the type of the client.
        handler: an object with the methods of the service, which may be a mock such as
            ``AsyncMock()``; or a `Handler` without such methods, as `dispatcher` makes.
        client_handler: answers calls of the server.
        links: the client's and the server's end of the connection; by default a pair of
            memory links.
        limits: bounds on what each side can make the other hold.
        strict: refuse every departure from the rules of the protocol.
        identity: the `Peer.identity` of the client at the server, as `on_session` or
            middleware of a server would set it.

    Raises:
        SchemaError: `service` is not a service, or `handler` lacks its methods.
        SessionError: (on entering) the handshake failed, which is possible on your
            links.
    """
    answering = _as_handler(service, handler)
    near, far = links or memory_link_pair(_BUFFER)
    options: dict[str, Any] = {
        "limits": limits,
        "strict": strict,
        "tell_failures": "traceback",
    }
    kept: dict[str, BaseException] = {}  # both sides are in this process
    calling = attrs.evolve(initiator(near, **options), kept_failures=kept)
    serving = attrs.evolve(acceptor(far, **options), kept_failures=kept)
    return ConnectedPair(
        lambda session: client(service, session.caller),
        calling.open(client_handler),
        serving.open(answering),
        identity,
    )


class ConnectedPair(Generic[T]):
    """The result of `connected_pair`; entered once."""

    def __init__(
        self,
        client_of: Callable[[Session], T],
        calling: OpenSession,
        answering: OpenSession,
        identity: Any,
    ) -> None:
        self._identity = identity
        self._client_of = client_of
        self._calling = calling
        self._answering = answering
        self._nursery_manager: Any = None
        self._sessions: dict[str, Session] = {}
        self._serving = trio.Event()

    @property
    def client_session(self) -> Session:
        """The client's session; available inside the block."""
        return self._sessions["client"]

    @property
    def server_session(self) -> Session:
        """The server's session; available inside the block."""
        return self._sessions["server"]

    async def __aenter__(self) -> T:
        if self._nursery_manager is not None:
            raise RuntimeError("this pair was already used; make another")
        check_trio_runs("connected_pair()")
        self._nursery_manager = trio.open_nursery()
        nursery: trio.Nursery = await self._nursery_manager.__aenter__()
        nursery.start_soon(self._serve)
        try:
            session = self._sessions["client"] = await self._calling.__aenter__()
        except BaseException:
            nursery.cancel_scope.cancel()
            await self._nursery_manager.__aexit__(None, None, None)
            raise
        try:
            await self._serving.wait()
            return self._client_of(session)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _serve(self) -> None:
        try:
            async with self._answering as session:
                session.peer.identity = self._identity
                self._sessions["server"] = session
                self._serving.set()
                await session.closed()
        except SessionError as error:
            # The client's side has failed as well, and raises the error.
            logger.debug("the server's session could not be set up: %s", error)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._calling.__aexit__(exc_type, exc, traceback)
        finally:
            await self._leave_server(exc)

    async def _leave_server(self, exc: BaseException | None) -> None:
        """Leave the server's session, which ends because it has lost its peer."""
        try:
            await self._nursery_manager.__aexit__(None, None, None)
        except trio.Cancelled:
            if exc is None:
                raise
        except BaseExceptionGroup as group:
            if exc is None:
                raise
            tell_beside(exc, group, "the server of a pair")

    def __repr__(self) -> str:
        states = [f"{name}: {each!r}" for name, each in self._sessions.items()]
        return f"<ConnectedPair {', '.join(states) or 'not connected'}>"


def _as_handler(service: Callable[..., Any], handler: object) -> Handler:
    """Return a `Handler` unchanged, or make one of an object with the methods.

    Check for the methods of the service first: a mock has every attribute, ``handle``
    included.
    """
    answers: Any = handler
    if isinstance(answers, Dispatcher):
        return answers
    names = {method.name for method in describe(service).methods}
    has_methods = any(callable(getattr(answers, name, None)) for name in names)
    if not has_methods and callable(getattr(answers, "handle", None)):
        checked: Handler = answers
        return checked
    return dispatcher(service, handler)
