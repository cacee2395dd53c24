"""`ProxyAcceptor`, which forwards connections to another server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakKeyDictionary

from ..metadata import Metadata
from ..session import AcceptedConnection, Session
from ..session.acceptance import RelayingAcceptor
from ..session.proxy import Upstream, accept_from
from ..wire.ids import ConnectionId
from ..wire.messages import ConnectionSettings
from .connect import Connecting, connect
from .own_session import MakeSession, OwnSession, session_of_client

__all__ = ["ProxyAcceptor"]


class ProxyAcceptor(RelayingAcceptor):
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
        self._connect: MakeSession | None = None
        self._shared: Upstream | None = None
        self._of_sessions: WeakKeyDictionary[Session, OwnSession] = WeakKeyDictionary()
        if isinstance(upstream, str):
            self._connect = _to(upstream)
        elif callable(upstream):
            self._connect = upstream
        elif isinstance(upstream, Sequence):
            self._connect = _to(upstream)
        else:
            self._shared = upstream

    async def relay(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
        expected: bytes | None,
    ) -> AcceptedConnection | Metadata:
        """See `RelayingAcceptor.relay`."""
        upstream = self._shared
        if self._connect is not None:
            upstream = await self._of_this_session(self._connect).session()
        if upstream is None:
            return Metadata.of({"error": "the far side cannot be reached"})
        return await accept_from(upstream, settings, metadata, expected)

    def _of_this_session(self, connect: MakeSession) -> OwnSession:
        session = session_of_client()
        found = self._of_sessions.get(session)
        if found is None or found.is_over:
            found = self._of_sessions[session] = OwnSession(connect)
            session.root.start_soon(found.run)
        return found

    def __repr__(self) -> str:
        if self._shared is None:
            return "<ProxyAcceptor to a session for each client>"
        return f"<ProxyAcceptor to {self._shared!r}>"


def _to(urls: str | Sequence[str]) -> MakeSession:
    connect(urls)  # raises errors of the URL
    return partial(connect, urls)
