"""Clients, which dial, and servers, which accept: also those of a proxy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import trio

from roam_trio import (
    AcceptedConnection,
    Backoff,
    ConnectionAcceptor,
    ConnectionHandle,
    ConnectionSettings,
    Metadata,
    ProxyAcceptor,
    RedialingSource,
    Session,
    StableConduit,
    StableConduitAcceptor,
    StableLimits,
    acceptor,
    initiator,
)
from roam_trio.conduits.bare import BareConduit
from roam_trio.links.base import Link
from roam_trio.wire.envelope import MessageFamily
from roam_trio.wire.ids import ConnectionId
from roam_trio.wire.messages import Message
from tests.session.wire import LEFT, RIGHT

from .network import VirtualLink
from .progress import Planned
from .script import Client, Open
from .sessions import Joint, Sitting, WatchedFamily, run_side
from .stage import Stage

__all__ = ["Host", "Openings", "Server"]


class Host:
    """A client, or the proxy as the client that it is of the server.

    Args:
        stage: what all share.
        index: its number.
        how: how it is linked.
        server: where its links lead.
        numbers: those of sessions.

    Attributes:
        link: the link that it has dialed last.
        sitting: its session now, or the last one; None before the first.
        server: where its links lead.
        out_until: until when it cannot dial.
        joints: its connections, by the numbers of the script.
    """

    def __init__(
        self,
        stage: Stage,
        index: int,
        how: Client,
        server: Server,
        numbers: itertools.count[int],
    ) -> None:
        self.how = how
        self.link: VirtualLink | None = None
        self.sitting: Sitting | None = None
        self.out_until = 0.0
        self.joints: dict[int, Joint] = {}
        self._stage = stage
        self._index = index
        self.server = server
        self._numbers = numbers
        self._links = itertools.count()

    @property
    def near(self) -> Session | None:
        """Its session, while it is open."""
        return None if self.sitting is None else self.sitting.near

    def join(self) -> Sitting | None:
        """Begin a session, unless there is one; return the new one."""
        if self.sitting is not None and self.sitting.at_work:
            return None
        self.sitting = sitting = Sitting(next(self._numbers), self._stage)
        if trio.current_time() < self.out_until:
            sitting.why.append("outage")
        self.joints = {0: sitting.roots}
        self._stage.figures["sessions"] += 1
        sitting.at_work += 1
        self._stage.nursery.start_soon(self._run, sitting)
        return sitting

    async def _run(self, sitting: Sitting) -> None:
        family = WatchedFamily(sitting, LEFT)
        try:
            conduit = self._conduit(family)
        except OSError:
            return
        else:
            await run_side(initiator(conduit, **self._stage.options).run, family)
        finally:
            sitting.at_work -= 1

    def _conduit(self, family: WatchedFamily) -> Any:
        sitting = family.sitting
        if not self.how.is_stable:
            return BareConduit(self._dial(sitting), family)

        async def dial() -> Link:
            await trio.lowlevel.checkpoint()
            return self._dial(sitting)

        chance = Random(f"{self._stage.seed} {sitting.number}")
        source = RedialingSource(dial, Backoff(chance=chance.random))
        return StableConduit(source, family, limits=self._stage.stable_limits)

    def _dial(self, sitting: Sitting) -> Link:
        """Return the near end of a new link; the far end goes to the server.

        Raises:
            OSError: there is an outage.
        """
        if trio.current_time() < self.out_until:
            raise OSError("nobody is there")
        stage, setup, number = self._stage, self._stage.setup, next(self._links)
        stage.figures["links"] += 1
        self.link = link = VirtualLink(
            stage.clockwork,
            Random(f"{stage.seed} {self._index} {sitting.number} {number}"),
            slowest=setup.slowest,
            room=setup.room,
            may_double=self.how.is_stable,
            host=f"client {self._index}",
            note=lambda what, *args: stage.note(what, self._index, number, *args),
        )
        stage.note("link", self._index, number)
        family = WatchedFamily(sitting, RIGHT)
        take = self.server.take_again if self.how.is_stable else self.server.take
        stage.nursery.start_soon(take, link.ends[1], family)
        return link.ends[0]

    def survives(self, *, ends: bool) -> bool:
        """Return True if a session goes on after its link was disturbed.

        Args:
            ends: whether the link ends.
        """
        return self.how.is_stable or not (ends or self._stage.setup.keepalive)

    def look_at_link(self) -> None:
        """Note that all is well, if it is."""
        link, sitting = self.link, self.sitting
        if link is None or sitting is None or link.is_ailing:
            return
        if sitting.has_link:
            sitting.lost_at = float("inf")


class Server:
    """What answers the links of clients.

    Args:
        stage: what all share.
        on_connection: decides on connections.
    """

    def __init__(self, stage: Stage, on_connection: ConnectionAcceptor) -> None:
        self._stage = stage
        self._on_connection = on_connection
        self._stable = _StableAcceptor(MessageFamily(), limits=stage.stable_limits)

    async def take(self, link: Link, family: WatchedFamily) -> None:
        """Run the session on a link."""
        await self._serve(BareConduit(link, family), family)

    async def take_again(self, link: Link, family: WatchedFamily) -> None:
        """Let a link be that of a session, which may be a new one."""
        self._stable.families[link] = family
        await self._stable.attach(link)

    async def accept_all(self) -> None:
        """Run the sessions of all clients that resume."""
        while True:
            conduit = await self._stable.accept()
            family = self._stable.made.pop(conduit)
            self._stage.nursery.start_soon(self._serve, conduit, family)

    async def _serve(self, conduit: Any, family: WatchedFamily) -> None:
        options = self._stage.options
        builder = acceptor(conduit, on_connection=self._on_connection, **options)
        await run_side(builder.run, family)

    @property
    def is_idle(self) -> bool:
        """True if it remembers no clients."""
        return self._stable.is_idle


class _StableAcceptor(StableConduitAcceptor[Message]):
    """Makes conduits with the families of their links."""

    def __init__(self, family: MessageFamily, *, limits: StableLimits) -> None:
        super().__init__(family, limits=limits)
        self.families: dict[Link, WatchedFamily] = {}
        self.made: dict[object, WatchedFamily] = {}

    async def conduit_of(self, link: Link) -> StableConduit[Message] | None:
        family = self.families.pop(link)
        made = await super().conduit_of(link)
        if made is None:
            return None
        conduit = StableConduit.on(made.resuming, family)
        self.made[conduit] = family
        return conduit


class Openings:
    """Decides on connections as the steps say that ask for them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._asked_for: list[tuple[Open, Joint]] = []

    def ask(self, step: Open, joint: Joint) -> dict[str, str]:
        """Return the metadata of a new connection."""
        self._asked_for.append((step, joint))
        return {"number": str(len(self._asked_for) - 1)}

    def what_is_asked_for(self, metadata: Metadata) -> tuple[Open, Joint]:
        """Return the step that asks for a connection, and the connection."""
        return self._asked_for[int(str(metadata.get("number")))]

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        """See `ConnectionAcceptor.accept`."""
        step, joint = self.what_is_asked_for(metadata)
        await trio.sleep(step.seconds)
        if step.answer == "reject":
            return Metadata.of({"told": "to"})
        if step.answer == "fail":
            raise Planned("the acceptor is to fail")

        async def keep(handle: ConnectionHandle) -> None:
            _ = handle.caller  # the only one of this side
            joint.ends[RIGHT] = handle

        return AcceptedConnection(
            handler=self._stage.worker,
            max_concurrent_requests=self._stage.setup.requests,
            setup=keep,
        )

    def passed_on(self, upstream: Callable[[], Session | None]) -> ConnectionAcceptor:
        """Return what decides for a proxy.

        Args:
            upstream: returns the session with the server, if there is one.
        """
        return _PassedOn(self, upstream)


class _PassedOn:
    """Lets the server decide, if the proxy has a session with it."""

    def __init__(
        self, openings: Openings, upstream: Callable[[], Session | None]
    ) -> None:
        self._openings = openings
        self._upstream = upstream

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: Metadata,
    ) -> AcceptedConnection | Metadata:
        session = self._upstream()
        if session is not None:
            proxy = ProxyAcceptor(session)
            return await proxy.accept(connection_id, settings, metadata)
        _, joint = self._openings.what_is_asked_for(metadata)
        joint.is_closed = True
        return Metadata.of({"told": "there is no server"})
