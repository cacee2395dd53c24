"""`Observer`, which is told what becomes of sessions, connections and links."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from ..errors import RoamError, RoamTrioError
from ..failures import is_failure
from ..logs import Log
from ..metadata import Metadata
from ..peers import Peer
from .connection import AnySession, Connection

__all__ = ["Observer", "check_observer", "tell"]

P = ParamSpec("P")

logger = Log("roam_trio.session")


class Observer:
    """Is told of events of sessions. Its methods do nothing: override some.

    Give one to `serve`, `serving`, `connect`, `stay_connected`, `spawn`, `initiator` or
    `acceptor`. The methods are synchronous, and must return soon: they run where the
    event occurs, and the session waits. An exception in one is logged, once for each
    observer, and has no other effect.
    """

    _has_failed = False

    def session_opened(self, session: AnySession) -> None:
        """Called when a session is set up, and its root connection is open."""

    def session_closed(self, session: AnySession, because: Exception) -> None:
        """Called when a session that was set up has ended.

        Args:
            session: the session.
            because: the reason, as `Session.ended_because`.
        """

    def connection_opened(self, connection: Connection) -> None:
        """Called when a virtual connection is open, whichever side has opened it."""

    def connection_closed(self, connection: Connection, because: BaseException) -> None:
        """Called when a virtual connection has ended.

        Args:
            connection: the connection; handles of one connection are equal.
            because: the reason, as `ConnectionHandle.ended_because`.
        """

    def link_lost(self, session: AnySession, because: Exception) -> None:
        """Called when a session that can resume has lost its link."""

    def link_resumed(self, session: AnySession) -> None:
        """Called when a session continues on another link.

        `AnySession.peer` describes the new link.
        """

    def client_turned_away(self, peer: Peer, because: Exception) -> None:
        """Called when the session with a client could not be set up.

        Args:
            peer: the client.
            because: a `Refused` if ``on_session`` has refused it, an `Unavailable` if
                it has raised that or the server was shutting down, else the error of
                its handshake.
        """

    def call_turned_away(
        self,
        connection: Connection,
        method: str,
        metadata: Metadata,
        because: RoamError,
    ) -> None:
        """Called when a call of the peer's is answered before any middleware or handler
        has seen it.

        Args:
            connection: its connection.
            method: the service and the method, such as ``Bank.balance``, or the id of
                the method in hexadecimal if no service of this program has it.
            metadata: the metadata of the call.
            because: an `UnknownMethod`, an `InvalidPayload` if its arguments cannot be
                decoded, or an `Overloaded` if there is no room for a task.
        """

    # ------------------------------------------------------------ lasting clients

    def server_connecting(self, url: str) -> None:
        """Called when a client of `stay_connected` begins to connect to a server.

        Args:
            url: the URL of the server, without credentials, as in these other methods.
        """

    def server_ready(self, url: str, session: AnySession) -> None:
        """Called when a client of `stay_connected` has a session with a server, which
        now gets calls.

        Called after `session_opened` of this session.
        """

    def server_draining(self, url: str) -> None:
        """Called when a server gets no more calls of a client of `stay_connected`,
        because it shuts down, has failed, or is no longer an address of the target.
        """

    def server_lost(self, url: str, because: Exception, pause: float) -> None:
        """Called when the session of a client of `stay_connected` with a server has
        ended, or could not begin.

        Args:
            url: the URL of the server.
            because: the reason, as `Session.ended_because`, or what `connect` raises.
            pause: seconds for which the server is left alone. If its address is still
                one of the target, `server_connecting` is called then.
        """

    def servers_not_found(self, because: Exception | None) -> None:
        """Called when the target of `stay_connected` has no servers, or they cannot be
        found. The client keeps those that it knows.

        Args:
            because: what the `Resolver` has raised; None if it has found none.
        """

    def call_retried(
        self, url: str, method: str, because: RoamTrioError, pause: float
    ) -> None:
        """Called when a client of `stay_connected` makes a call again.

        Args:
            url: the URL of the server where the call has failed.
            method: the service and the method, such as ``Bank.balance``.
            because: the error of the call.
            pause: seconds until the next attempt, which also waits while no server is
                there.
        """


def check_observer(instance: object, attribute: object, observer: Observer) -> None:
    """Check an ``observer=``; a validator of attrs.

    Raises:
        TypeError: it is not an `Observer`, or a method of it is async.
    """
    if not isinstance(observer, Observer):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            "observer: expected an object of a subclass of Observer, "
            f"got {_named(observer)}"
        )
    for name in _EVENTS:
        if inspect.iscoroutinefunction(getattr(observer, name)):
            raise TypeError(
                f"observer: expected {type(observer).__name__}.{name} to be "
                "synchronous, got an async method; start a task in it, with the "
                "start_soon of a connection or a nursery"
            )


def tell(
    observer: Observer,
    event: Callable[Concatenate[Observer, P], None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
    """Tell an observer of an event, and keep its exceptions away from sessions.

    Args:
        observer: the observer.
        event: the method of `Observer`.
        args: its arguments.
        kwargs: its keyword arguments.
    """
    name = event.__name__
    try:
        getattr(observer, name)(*args, **kwargs)
    except BaseException as error:
        if not is_failure(error):
            raise
        if not observer._has_failed:  # pyright: ignore[reportPrivateUsage]
            observer._has_failed = True  # pyright: ignore[reportPrivateUsage]
            logger.failure(error, "an observer failed in %s", name)


_EVENTS = [name for name in vars(Observer) if not name.startswith("_")]


def _named(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"an object of type {type(value).__name__}"
