"""The sources of the clients of a server: listeners, or an acceptor of conduits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import trio

from ..conduits.attaching import AttachingAcceptor
from ..conduits.base import Conduit, ConduitAcceptor
from ..conduits.into import check_conduit
from ..errors import SessionIoError
from ..legible import without_secrets
from ..links.base import Link
from ..peers import Peer
from ..transports import LinkFactory, LinkListener
from ..transports.listening import SocketClient, accept_when_possible
from ..wire.messages import Message

__all__ = ["AcceptedClients", "Clients", "ListenedClients"]

T = TypeVar("T")


class Clients(ABC, Generic[T]):
    """One source of clients.

    Attributes:
        name: identifies it in the log, without secrets.
    """

    name: str

    @abstractmethod
    async def next(self) -> T:
        """Wait for the next client. Cancellation loses no client.

        Raises:
            trio.EndOfChannel: there will never be another client.
        """

    @abstractmethod
    async def conduit_of(self, client: T) -> Conduit[Message] | None:
        """Return the conduit of a client, or None if there is nothing to serve.

        Called in the task of that client.
        """

    def conduit_at_once(self, client: T) -> Conduit[Message] | None:
        """As `conduit_of`, without waiting; None if that takes waiting."""
        return None

    @abstractmethod
    def peer_of(self, client: T) -> Peer | None:
        """Describe a client, if it is known before its conduit is made."""

    def over(self) -> None:
        """Note that nothing is left of one of the clients. Never waits."""
        return

    def close(self) -> None:
        """Accept no more clients. Never waits."""
        return


class ListenedClients(Clients[LinkFactory]):
    """Clients that connect to a listener.

    Args:
        listener: accepts their connections; this takes it over.
        conduits: make the conduit on a link.
        seconds: bound on the handshake of a link (`Limits.handshake_seconds`).
    """

    def __init__(
        self,
        listener: LinkListener,
        conduits: AttachingAcceptor[Message],
        seconds: float,
    ) -> None:
        self._listener = listener
        self._conduits = conduits
        self._seconds = seconds
        self.name = without_secrets(listener.url)

    async def next(self) -> LinkFactory:
        return await accept_when_possible(self._listener.accept, self.name)

    async def conduit_of(self, client: LinkFactory) -> Conduit[Message] | None:
        return await self._conduits.conduit_of(await self._link_in_time(client))

    def conduit_at_once(self, client: LinkFactory) -> Conduit[Message] | None:
        if not (self._conduits.are_at_once and isinstance(client, SocketClient)):
            return None
        link = client.link_at_once()
        return None if link is None else self._conduits.conduit_at_once(link)

    def peer_of(self, client: LinkFactory) -> Peer | None:
        return client.peer() if isinstance(client, SocketClient) else None

    async def _link_in_time(self, make_link: LinkFactory) -> Link:
        with trio.move_on_after(self._seconds):
            return await make_link()
        raise SessionIoError(
            f"the handshake of the link took more than {self._seconds} seconds "
            "(limit: handshake_seconds)"
        )

    def over(self) -> None:
        self._listener.over()

    def close(self) -> None:
        self._listener.close()


class AcceptedClients(Clients[Conduit[Message]]):
    """Clients that a `ConduitAcceptor` accepts.

    Args:
        acceptor: returns their conduits; the program closes it.
    """

    def __init__(self, acceptor: ConduitAcceptor[Message]) -> None:
        self._acceptor = acceptor
        self.name = type(acceptor).__name__

    async def next(self) -> Conduit[Message]:
        conduit = await self._acceptor.accept()
        check_conduit(conduit, f"{self.name}.accept()")
        return conduit

    async def conduit_of(self, client: Conduit[Message]) -> Conduit[Message]:
        # No checkpoint: if the server shuts down now, the caller must get the conduit,
        # to close it.
        return client

    def peer_of(self, client: Conduit[Message]) -> Peer:
        return client.peer()
