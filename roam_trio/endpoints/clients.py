"""The sources of the clients of a server: listeners, or an acceptor of conduits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

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
        conduit_on: makes the conduit on a link.
        seconds: bound on the handshake of a link (`Limits.handshake_seconds`).
    """

    def __init__(
        self,
        listener: LinkListener,
        conduit_on: Callable[[Link], Awaitable[Conduit[Message] | None]],
        seconds: float,
    ) -> None:
        self._listener = listener
        self._conduit_on = conduit_on
        self._seconds = seconds
        self.name = without_secrets(listener.url)

    async def next(self) -> LinkFactory:
        return await accept_when_possible(self._listener.accept, self.name)

    async def conduit_of(self, client: LinkFactory) -> Conduit[Message] | None:
        return await self._conduit_on(await self._link_in_time(client))

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
