"""Acceptors of conduits on links that the program has."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ..errors import ConduitError, LinkError
from ..links.base import Link
from ..logs import Log, about
from .base import Conduit, ConduitAcceptor

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AttachingAcceptor", "let_go"]

logger = Log("roam_trio.conduits")

M = TypeVar("M")

_CLOSED: Final = (trio.ClosedResourceError, trio.BrokenResourceError)
"""Errors of a memory channel, closed before or while somebody sends on it."""


class AttachingAcceptor(ConduitAcceptor[M]):
    """Makes conduits of the links that are given to `attach`.

        nursery.start_soon(serve, acceptor, handler)
        async for link in links:
            nursery.start_soon(acceptor.attach, link)

    Run each `attach` in its own task, so that a client with a slow handshake does not
    block others. ``with acceptor:`` closes the acceptor at the end of the block.
    """

    def __init__(self) -> None:
        # No buffer: a conduit stays with the `attach` that made it until it is
        # accepted, so that cancelling that task closes it.
        self._made, self._accepted = trio.open_memory_channel[Conduit[M]](0)

    @abstractmethod
    async def conduit_of(self, link: Link) -> Conduit[M] | None:
        """Return the conduit of the client that has opened `link`, and own `link`.

        Return None if there is no new conduit: the link went to an existing conduit, or
        the client was refused. If cancelled, close the link.

        Raises:
            LinkError, ConduitError: the link failed, or the client sent a wrong hello;
                the link is closed.
        """

    are_at_once: bool = False
    """True if `conduit_of` never waits; then there is `conduit_at_once` too."""

    def conduit_at_once(self, link: Link) -> Conduit[M]:
        """As `conduit_of`, without waiting."""
        raise NotImplementedError

    async def attach(self, link: Link) -> None:
        """Make a conduit on `link`, and wait until `accept` has returned it.

        Owns `link`. If the handshake fails, log a warning. If cancelled, or if this
        acceptor is closed, close the link.
        """
        with about(link.peer()):
            try:
                conduit = await self.conduit_of(link)
            except (LinkError, ConduitError) as error:
                logger.warning("a client was not accepted: %s", error)
                return
        if conduit is None:
            return
        try:
            await self._made.send(conduit)
        except BaseException as error:
            await let_go(conduit)
            if not isinstance(error, _CLOSED):
                raise

    async def accept(self) -> Conduit[M]:
        """See `ConduitAcceptor.accept`.

        Raises:
            trio.EndOfChannel: this acceptor is closed.
        """
        try:
            return await self._accepted.receive()
        except trio.ClosedResourceError:
            raise trio.EndOfChannel from None

    def close(self) -> None:
        """Accept no more clients. Never waits.

        A `serve` that accepts here returns when its sessions have ended. Accepted
        conduits stay open.
        """
        self._made.close()
        self._accepted.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


async def let_go(conduit: Conduit[M]) -> None:
    """Close a conduit that no session uses, at once."""
    tx, rx = conduit.split()
    with trio.CancelScope(shield=True):
        await tx.abort()
        await rx.close()
