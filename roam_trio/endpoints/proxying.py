"""`ProxyAcceptor`, which forwards connections to another server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias
from weakref import WeakKeyDictionary

import trio

from ..errors import ConduitError, LinkError, SessionError
from ..logs import Log
from ..metadata import Metadata
from ..session import AcceptedConnection, Session
from ..session.proxy import Upstream, accept_from
from ..session.refusal import REFUSALS
from ..session.terms import SessionTerms, current_terms
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings
from .connect import Connecting, connect

__all__ = ["ProxyAcceptor"]

logger = Log("roam_trio.session")

_Connect: TypeAlias = Callable[[], Connecting[Session]]


class ProxyAcceptor:
    """A `ConnectionAcceptor` that forwards connections to another server.

    For each connection that the peer opens, it opens one on another session, and joins
    the two.

        serve("tcp://:7000", {}, on_connection=ProxyAcceptor("tcp://inner:7000"))

    The peer gets the answer of the far side: its settings and metadata, or its
    rejection.

    With a URL, each session of this side gets an upstream session of its own when it
    opens its first connection. The upstream session is closed with the session of the
    client. If it ends by itself, the next connection opens another one. A client that
    breaks the protocol therefore does not affect other clients.

    Args:
        upstream: the URL of the other server, or several as for `connect`; or a
            function that returns ``connect(url, ...)`` with options; or a session that
            all clients share, which is only for trusted clients.

    Raises:
        ValueError: a URL is wrong.
    """

    def __init__(
        self,
        upstream: Upstream | str | Sequence[str] | Callable[[], Connecting[Session]],
    ) -> None:
        self._upstream = upstream
        self._connect: _Connect | None = None
        self._shared: Upstream | None = None
        self._of_sessions: WeakKeyDictionary[SessionTerms, _OfSession] = (
            WeakKeyDictionary()
        )
        if isinstance(upstream, str):
            self._connect = _to(upstream)
        elif callable(upstream):
            self._connect = upstream
        elif isinstance(upstream, Sequence):
            self._connect = _to(upstream)
        else:
            self._shared = upstream

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        """See `ConnectionAcceptor.accept`."""
        upstream = self._shared
        if self._connect is not None:
            upstream = await self._of_this_session(self._connect).session()
        if upstream is None:
            return Metadata.of({"error": "the far side cannot be reached"})
        return await accept_from(upstream, settings, metadata)

    def _of_this_session(self, connect: _Connect) -> _OfSession:
        terms = current_terms()
        session = None if terms is None else terms.session()
        if terms is None or session is None:
            raise RuntimeError("a ProxyAcceptor accepts in tasks of a session")
        found = self._of_sessions.get(terms)
        if found is None or found.is_over:
            found = self._of_sessions[terms] = _OfSession(connect)
            session.root.start_soon(found.run)
        return found

    def __repr__(self) -> str:
        if self._shared is None:
            return "<ProxyAcceptor to a session for each client>"
        return f"<ProxyAcceptor to {self._shared!r}>"


class _OfSession:
    """The upstream session of one session, in a task that ends with that session.

    Args:
        connect: connects to the far side.
    """

    def __init__(self, connect: _Connect) -> None:
        self._connect = connect
        self._session: Session | None = None
        self._settled = trio.Event()
        self.is_over = False

    async def run(self) -> None:
        """Keep the session up."""
        try:
            async with self._connect() as self._session:
                self._settled.set()
                await self._session.closed()
        except (OSError, SessionError, LinkError, ConduitError, *REFUSALS) as error:
            logger.warning("a proxy cannot reach the far side: %s", error)
        finally:
            self.is_over = True
            self._session = None
            self._settled.set()

    async def session(self) -> Session | None:
        """Wait until the session is up, and return it; None if it is over."""
        await self._settled.wait()
        return self._session


def _to(urls: str | Sequence[str]) -> _Connect:
    connect(urls)  # raises errors of the URL
    return partial(connect, urls)
