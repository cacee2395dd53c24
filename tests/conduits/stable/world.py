"""A client and a server on stable conduits, and connections between them that go wrong.

Everything runs in memory under trio's clock: a run is the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from roam_trio import Session, acceptor
from roam_trio.conduits.stable import StableConduit, StableConduitAcceptor
from roam_trio.errors import ConduitError, LinkError
from roam_trio.links.base import Link
from roam_trio.links.resuming.limits import StableLimits
from roam_trio.links.resuming.source import Backoff, RedialingSource
from roam_trio.links.stream import StreamLink
from roam_trio.rpc.handler import Handler
from roam_trio.testing import Faults, FaultyStream, faulty_stream_pair
from roam_trio.wire.envelope import MessageFamily
from roam_trio.wire.messages import Message

__all__ = ["World"]

NO_FAULTS = Faults()


class World:
    """A server, and the way to it.

    Args:
        nursery: where the server lives.
        handler: answers the calls of every client.
        faults: for each connection in turn, what happens to the bytes that the client
            sends and receives on it; none on those after.
        limits: of all conduits.
        cleanly: see `FaultyStream`.

    Attributes:
        connections: the client's end of each connection, in the order of their opening.
        sessions: the server's sessions.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        handler: Handler | None = None,
        faults: Sequence[tuple[Faults, Faults]] = (),
        *,
        limits: StableLimits | None = None,
        cleanly: bool = False,
    ) -> None:
        self._nursery = nursery
        self._handler = handler
        self._faults = iter(faults)
        self._cleanly = cleanly
        self.limits = limits or StableLimits()
        self.family = MessageFamily()
        self.server: StableConduitAcceptor[Message] = StableConduitAcceptor(
            self.family, limits=self.limits
        )
        self.connections: list[FaultyStream] = []
        self.sessions: list[Session] = []
        self.refusals: list[Exception] = []
        self.is_up = True

    async def dial(self) -> Link:
        """Open a connection, as the client."""
        if not self.is_up:
            raise OSError("nobody listens there")
        sending, receiving = next(self._faults, (NO_FAULTS, NO_FAULTS))
        left, right = faulty_stream_pair(
            sending=sending, receiving=receiving, cleanly=self._cleanly
        )
        self.connections.append(left)
        self._nursery.start_soon(self.serve, StreamLink(right))
        return StreamLink(left)

    async def serve(self, link: Link) -> None:
        """What a server does with a connection."""
        try:
            conduit = await self.server.conduit_of(link)
        except (LinkError, ConduitError) as error:
            self.refusals.append(error)
            return
        if conduit is None:
            return
        try:
            async with acceptor(conduit).open(self._handler) as session:
                self.sessions.append(session)
                await session.closed()
        except Exception as error:
            self.refusals.append(error)

    def conduit(self, backoff: Backoff | None = None) -> StableConduit[Message]:
        """A client's conduit."""
        source = RedialingSource(
            self.dial, backoff or Backoff(chance=random.Random(0).random)
        )
        return StableConduit(source, self.family, limits=self.limits)
