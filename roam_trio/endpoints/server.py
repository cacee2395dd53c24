"""The handle of a running server, its sessions, and the services that it offers."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ..legible import without_secrets
from ..quantities import check_seconds
from ..rpc.handler import Handler
from ..running import check_run
from ..service import Middleware
from ..session import Session
from .announcing import Presence
from .options import SessionOptions
from .wrapping import with_middleware

__all__ = ["Offering", "Server", "ServerSessions"]


class Server:
    """A running server, which `serve` reports when it listens."""

    def __init__(
        self,
        urls: Sequence[str],
        listening: trio.CancelScope,
        accepting: dict[trio.CancelScope, None],
        sessions: ServerSessions,
        offering: Offering,
        presence: Presence,
    ) -> None:
        self._offering = offering
        self._presence = presence
        self._urls = tuple(urls)
        self._token = trio.lowlevel.current_trio_token()
        self._listening = listening
        self._accepting = accepting
        self._sessions = sessions

    @property
    def url(self) -> str:
        """The URL at which it listens, with its actual port; the first of several.

        Raises:
            ValueError: it listens at no URL, because it serves a `ConduitAcceptor`.
        """
        if not self._urls:
            raise ValueError("this server accepts conduits, and listens at no URL")
        return self._urls[0]

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs at which it listens, in the order of the argument of `serve`; empty
        if it serves a `ConduitAcceptor`."""
        return self._urls

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that are open now."""
        return self._sessions.open

    def offer(self, name: str, handler: Handler) -> None:
        """Offer a service by name from now on, or another handler for it.

        Sessions that are open can use it too, except those for which ``on_session`` has
        given handlers of their own. Connections that are open keep their handlers. The
        middleware of the server wraps it.

        Args:
            name: the name with which clients ask for it; see `Session.open`.
            handler: answers the calls.

        Raises:
            TypeError: `handler` is not a `Handler`, or cannot have middleware around
                it.
        """
        self._offering.offer(name, handler)

    def withdraw(self, name: str) -> None:
        """Offer a service no longer. Connections to it that are open stay open.

        Raises:
            ValueError: no service of this name is offered.
        """
        self._offering.withdraw(name)

    async def shutdown(self, grace: float = 0.0) -> None:
        """Stop listening and end every session; then `serve` returns.

        What is announced is withdrawn before that, so that no client comes that has to
        leave again; see the argument `announce` of `serve`.

        For `grace` seconds, calls in flight and open channels may finish, while new
        calls and connections are refused; see `Session.shutdown`. Incomplete handshakes
        are abandoned.

        Raises:
            ValueError: `grace` is negative or infinite; the server continues.
            TypeError: `grace` is not a number.
        """
        check_seconds("grace", grace, may_be_zero=True)
        check_run(self._token, "this server")
        try:
            await self._presence.end()
        finally:
            self._listening.cancel()
            for scope in self._accepting:
                scope.cancel()
        async with trio.open_nursery() as nursery:
            for session in self._sessions.all:
                nursery.start_soon(session.shutdown, grace)

    def __repr__(self) -> str:
        ending = ", shutting down" if self._listening.cancel_called else ""
        where = ", ".join(map(without_secrets, self._urls)) or "on conduits"
        return f"<Server {where}, {len(self.sessions)} sessions{ending}>"


class ServerSessions(trio.TaskStatus[Session]):
    """The sessions of a server."""

    def __init__(self) -> None:
        self._are_open: dict[Session, bool] = {}

    def add(self, session: Session) -> None:
        """Add a session that is about to be set up."""
        self._are_open[session] = False

    def started(self, value: Session) -> None:
        self._are_open[value] = True

    def remove(self, session: Session) -> None:
        """Remove a session that has ended, or could not be set up."""
        del self._are_open[session]

    @property
    def all(self) -> tuple[Session, ...]:
        """All sessions."""
        return tuple(self._are_open)

    @property
    def open(self) -> tuple[Session, ...]:
        """The sessions that are set up."""
        return tuple(each for each, is_open in self._are_open.items() if is_open)


class Offering:
    """The services by name that a server offers, and the middleware around them.

    Args:
        options: have the handlers to begin with.
        middleware: is around those, and around those to come.
    """

    def __init__(
        self, options: SessionOptions, middleware: tuple[Middleware, ...]
    ) -> None:
        self.services = options.offered()
        self.middleware = middleware

    def offer(self, name: str, handler: Handler) -> None:
        """See `Server.offer`."""
        self.services.offer(name, with_middleware(handler, self.middleware))

    def withdraw(self, name: str) -> None:
        """See `Server.withdraw`."""
        self.services.withdraw(name)
