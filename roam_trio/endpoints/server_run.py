"""The work of a server: it accepts clients, and runs their sessions or refuses them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from ..conduits.attaching import AttachingAcceptor, let_go
from ..conduits.bare import BareConduitAcceptor
from ..conduits.base import Conduit
from ..errors import ConduitError, LinkError, Overloaded, SessionError
from ..logs import Log
from ..peer_identity import holder_of
from ..session import OnSession, Session
from ..session.builders import sessions_of_server
from ..session.refusal import REFUSALS
from ..session.server_budget import ServerBudget
from ..session.timers import Timers
from ..session.turning_away import turn_away
from ..transports import LinkListener
from ..wire.envelope import MessageFamily
from ..wire.messages import Message
from .announcing import Presence
from .clients import Clients, ListenedClients
from .lingering import Lingering
from .options import SessionOptions
from .places import Place, Places
from .refusals import Refusal, Refusals
from .server import Offering, Server, ServerSessions
from .wrapping import counting_with, deciding_with, waiting_with

if TYPE_CHECKING:
    from ..links.resuming.siblings import Siblings

__all__ = ["ServerRun"]

T = TypeVar("T")

logger = Log("roam_trio.serve")

_ENDS_OF_CLIENTS: Final = (
    SessionError,
    LinkError,
    ConduitError,
    OSError,
    trio.BrokenResourceError,
)
"""Errors of a handshake (of a session, a WebSocket or TLS) for which the client is to
blame.
"""


_REFUSING_SECONDS: Final = 2.0
"""Bound on the time of one refusal, the handshake of the link included."""


class ServerRun:
    """The work of `serve` once it listens."""

    def __init__(
        self,
        options: SessionOptions,
        max_sessions: int,
        max_sessions_per_peer: int | None,
        resume: bool | Siblings,
        offering: Offering,
        on_session: OnSession | None,
        budget: ServerBudget,
        *,
        asks_for_certificates: bool,
        presence: Presence,
    ) -> None:
        self.presence = presence
        self._offering = offering
        self._options = options
        self._conduits: AttachingAcceptor[Message] = BareConduitAcceptor(
            MessageFamily()
        )
        if resume:
            from ..conduits.stable import StableConduitAcceptor

            self._conduits = StableConduitAcceptor(
                MessageFamily(),
                limits=options.stable_limits,
                max_sessions=max_sessions,
                siblings=None if resume is True else resume,
            )
        # Twice as many: a returning client must get in even if the number of sessions
        # is reached.
        self._knows_early = max_sessions_per_peer is not None and not resume
        self._places = Places(
            2 * max_sessions if resume else max_sessions,
            max_sessions_per_peer,
            may_identify=on_session is not None or asks_for_certificates,
        )
        for_builder = options.for_builder
        for_builder["on_connection"] = offering.services
        self._sessions_with = partial(
            sessions_of_server, options.root_handler, budget=budget, **for_builder
        )
        self._on_session = counting_with(
            deciding_with(on_session, offering.middleware), self._places
        )
        self._session_on: Callable[[Conduit[Message]], Session]
        self._session_with_room_on: Callable[[Conduit[Message]], Session]
        self._listening = trio.CancelScope()
        self._accepting: dict[trio.CancelScope, None] = {}
        self._refusals = Refusals(_REFUSING_SECONDS)
        self._sessions = ServerSessions()
        self._lingering = Lingering(options.limits, budget, self._sessions)

    def offer_statistics(self) -> None:
        """Offer ``statistics``, unless the program offers a service of this name."""
        # Only now, because most servers do not offer it.
        from .statistics import STATISTICS, statistics_of

        if STATISTICS not in self._offering.services.services:
            self._offering.offer(STATISTICS, statistics_of(self._sessions))

    def listened(self, listener: LinkListener) -> ListenedClients:
        """Return the clients that connect to a listener."""
        return ListenedClients(
            listener,
            self._conduits,
            self._options.limits.handshake_seconds,
        )

    async def run(
        self,
        sources: Sequence[Clients[Any]],
        urls: Iterable[str],
        task_status: trio.TaskStatus[Server],
    ) -> None:
        server = Server(
            tuple(dict.fromkeys(urls)),
            self._listening,
            self._accepting,
            self._sessions,
            self._offering,
            self.presence,
        )
        async with trio.open_nursery() as sessions:
            timers, on_session = Timers(sessions), self._on_session
            self._session_on = self._sessions_with(timers=timers, on_session=on_session)
            self._session_with_room_on = self._sessions_with(
                timers=timers, on_session=waiting_with(on_session, self._lingering)
            )
            with self._listening:
                task_status.started(server)
                async with trio.open_nursery() as accepting:
                    if self.presence:
                        accepting.start_soon(self.presence.hold, server.urls)
                    for clients in sources:
                        accepting.start_soon(self._accept_all, clients, sessions)
            # Close at once: clients must not connect to a server that will not answer.
            for clients in sources:
                clients.close()

    async def _accept_all(self, clients: Clients[T], sessions: trio.Nursery) -> None:
        places = self._places
        while True:
            try:
                client = await clients.next()
            except trio.EndOfChannel:
                return
            # Not with `resume`: a client may return to a session that has a place.
            place = places.enter(clients.peer_of(client) if self._knows_early else None)
            if isinstance(place, Place):
                sessions.start_soon(self._serve_client, clients, client, place)
            else:
                peer = clients.peer_of(client)
                refusal = self._refusals.begin(peer and holder_of(peer))
                sessions.start_soon(
                    self._refuse_client, clients, client, place, refusal
                )

    async def _refuse_client(
        self, clients: Clients[T], client: T, why: Overloaded, refusal: Refusal
    ) -> None:
        """Tell a client why there is no place for it."""
        logger.warning("%s: a client was refused: %s", clients.name, why.text)
        try:
            with self._accepting_in(refusal.scope):
                conduit = await clients.conduit_of(client)
                if conduit is not None:
                    await self._turn_away(conduit, why)
        except _ENDS_OF_CLIENTS:
            pass  # there is no client left to tell
        except BaseException as error:
            logger.failure(error, "refusing a client has failed; the others go on")
        finally:
            self._refusals.end(refusal)
            clients.over()

    async def _turn_away(self, conduit: Conduit[Message], why: Overloaded) -> None:
        options = self._options
        seconds = options.limits.close_seconds
        await turn_away(conduit, why, seconds, options.observer)

    async def _serve_client(self, clients: Clients[T], client: T, place: Place) -> None:
        # Run the session in this task, with as few scopes and coroutines around it as
        # possible, because an idle session holds their memory.
        try:
            session = await self._accept(clients, client, place)
            del client  # for as long as the session lasts
            if session is None:
                return
            self._sessions.add(session)
            try:
                await session.run(task_status=self._sessions)
            finally:
                self._sessions.remove(session)
                self._lingering.over(session.peer)
                self._places.of_sessions.pop(session.peer, None)
        except REFUSALS as refusal:
            # The application has decided so, and its observer can count it.
            logger.info("a client was turned away: %s", refusal)
        except _ENDS_OF_CLIENTS as error:
            if not self._listening.cancel_called:
                logger.warning("a client could not set up a session: %s", error)
        except BaseException as error:
            logger.failure(error, "a session has failed; the others go on")
        finally:
            self._places.leave(place)
            clients.over()

    @contextmanager
    def _accepting_in(
        self, scope: trio.CancelScope
    ) -> Generator[trio.CancelScope, None, None]:
        """Enter a cancel scope that `Server.shutdown` cancels, too."""
        with scope:
            self._accepting[scope] = None
            if self._listening.cancel_called:
                scope.cancel()
            try:
                yield scope
            finally:
                del self._accepting[scope]

    async def _accept(
        self, clients: Clients[T], client: T, place: Place
    ) -> Session | None:
        """Return the session to set up, or None if there is none."""
        # Most links take no waiting, and then no scopes, which would cost more.
        conduit = clients.conduit_at_once(client)
        if conduit is None:
            with self._accepting_in(trio.CancelScope()):
                conduit = await clients.conduit_of(client)
        if conduit is None:
            return None
        if self._listening.cancel_called:
            # The client connected just when the server began to shut down.
            await let_go(conduit)
            return None
        found = self._session_of(conduit, place)
        if isinstance(found, Session):
            return found
        try:
            with self._accepting_in(trio.CancelScope()):
                await self._turn_away(conduit, found)
            raise found
        finally:
            del found  # or the error and this frame would hold each other

    def _session_of(
        self, conduit: Conduit[Message], place: Place
    ) -> Session | Overloaded:
        places, session_on = self._places, self._session_on
        if self._lingering.may_be_many:
            session_on = self._session_with_room_on
        if not places.are_counted:
            return session_on(conduit)
        # Without `on_session`, no client gets an identity after this.
        is_undecided = self._on_session is not None
        count = places.count_handshake if is_undecided else places.count_session
        too_many = count(place, conduit.peer())
        if too_many is not None:
            return too_many
        session = session_on(conduit)
        if is_undecided:
            places.of_sessions[session.peer] = place
        return session
