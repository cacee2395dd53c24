"""Two scripted peers with a proxy between them: what one says, the other hears."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import attrs
import trio
import trio.testing

from roam_trio.endpoints.proxying import ProxyAcceptor
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.session import (
    AcceptedConnection,
    ConnectionAcceptor,
    Session,
)
from roam_trio.session import acceptor as accepting
from roam_trio.session import initiator as initiating
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionAccept,
    ConnectionOpen,
    ConnectionSettings,
    RequestCall,
    RequestCancel,
    RequestResponse,
)
from tests.peer import Peer, link_to_peer

METHOD = 0xFEDC_BA98_7654_3210


class Side:
    """A scripted peer at one end of the proxy, speaking on one connection."""

    def __init__(self, peer: Peer, connection_id: int) -> None:
        self.peer = peer
        self.id = connection_id

    def call(
        self,
        request_id: int,
        args: bytes = b"",
        *,
        channels: tuple[int, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> RequestCall:
        return RequestCall(self.id, request_id, METHOD, channels, metadata, args)

    def response(
        self, request_id: int, ret: bytes = b"\x00", metadata: Metadata = NO_METADATA
    ) -> RequestResponse:
        return RequestResponse(self.id, request_id, (), metadata, ret)

    def cancel(self, request_id: int) -> RequestCancel:
        return RequestCancel(self.id, request_id)

    def item(self, channel_id: int, item: bytes) -> ChannelItem:
        return ChannelItem(self.id, channel_id, item)

    def grant(self, channel_id: int, additional: int) -> ChannelGrantCredit:
        return ChannelGrantCredit(self.id, channel_id, additional)

    def close(self, channel_id: int, metadata: Metadata = NO_METADATA) -> ChannelClose:
        return ChannelClose(self.id, channel_id, metadata)

    def reset(self, channel_id: int, metadata: Metadata = NO_METADATA) -> ChannelReset:
        return ChannelReset(self.id, channel_id, metadata)

    async def say(self, *messages: Any) -> None:
        await self.peer.say(*messages)

    async def hears(self, *messages: Any) -> None:
        """Exactly these, next and in this order."""
        for expected in messages:
            assert await self.peer.hear(type(expected)) == expected

    async def hears_nothing_more(self) -> None:
        assert await self.peer.heard_nothing_more()


class _Accepting:
    """Accepts what another does, and more or less requests."""

    def __init__(self, inner: ConnectionAcceptor, most: int) -> None:
        self._inner = inner
        self._most = most

    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        accepted = await self._inner.accept(connection_id, settings, metadata)
        assert isinstance(accepted, AcceptedConnection)
        return attrs.evolve(accepted, max_concurrent_requests=self._most)


class Joined:
    """``async with Joined() as joined:`` a proxy between two scripted peers:
    `joined.near` has opened a connection, and `joined.far` has accepted it.

    Connections, requests and channels have other numbers on the two sides: the near
    peer's are even on connection 9, and what the proxy makes of them is odd, on
    connection 1 of the far side.

    Args:
        near: how many payloads fit into the link to the near peer before it reads.
        far: the same for the far peer.
        near_most: how many requests the near peer accepts.
        far_most: how many requests the far peer accepts.
        near_accepts: how many the proxy accepts of the near peer; if not given, as many
            as the far peer.
        near_options, far_options: of the two sessions.
        near_metadata: what the near peer says of itself.
    """

    def __init__(
        self,
        *,
        near: int = 64,
        far: int = 64,
        near_most: int = 64,
        far_most: int = 64,
        near_options: dict[str, Any] | None = None,
        far_options: dict[str, Any] | None = None,
        near_accepts: int | None = None,
        near_metadata: Metadata = NO_METADATA,
    ) -> None:
        self._near_link, self._near_peer = link_to_peer(near)
        self._far_link, self._far_peer = link_to_peer(far)
        self._near_most = near_most
        self._far_most = far_most
        self._near_options = near_options or {}
        self._far_options = far_options or {}
        self._near_accepts = near_accepts
        self._near_metadata = near_metadata
        self._nursery_manager = trio.open_nursery()
        self.near = Side(self._near_peer, 9)
        self.far = Side(self._far_peer, 1)

    async def __aenter__(self) -> Joined:
        self._nursery = await self._nursery_manager.__aenter__()
        try:
            await self._set_up(self._nursery)
            await self._join()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _join(self) -> None:
        await self.near.say(
            ConnectionOpen(9, ConnectionSettings(Parity.EVEN, self._near_most))
        )
        await self.far.hears(
            ConnectionOpen(1, ConnectionSettings(Parity.ODD, self._near_most))
        )
        await self.far.say(
            ConnectionAccept(1, ConnectionSettings(Parity.EVEN, self._far_most))
        )
        await self.near.hears(
            ConnectionAccept(
                9, ConnectionSettings(Parity.ODD, self._near_accepts or self._far_most)
            )
        )
        await trio.testing.wait_all_tasks_blocked()

    async def _set_up(self, nursery: trio.Nursery) -> None:
        sessions: dict[str, Session] = {}

        async def initiate() -> None:
            sessions["far"] = await nursery.start(
                initiating(self._far_link, **self._far_options).run
            )

        async def accept(upstream: ConnectionAcceptor) -> None:
            builder = accepting(
                self._near_link, on_connection=upstream, **self._near_options
            )
            sessions["near"] = await nursery.start(builder.run)

        async with trio.open_nursery() as starting:
            starting.start_soon(initiate)
            await self._far_peer.accept()
        async with trio.open_nursery() as starting:
            upstream: ConnectionAcceptor = ProxyAcceptor(sessions["far"])
            if self._near_accepts is not None:
                upstream = _Accepting(upstream, self._near_accepts)
            starting.start_soon(accept, upstream)
            await self._near_peer.initiate(metadata=self._near_metadata)
        self.near_session = sessions["near"]
        self.far_session = sessions["far"]

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            # With peers that are gone, the sessions let go at once.
            await self._near_peer.leave()
            await self._far_peer.leave()
        finally:
            self._nursery.cancel_scope.cancel()
            await self._nursery_manager.__aexit__(exc_type, exc, traceback)

    @property
    def relayed(self) -> tuple[int, int]:
        """How many channels are joined, by the count of either session."""
        near, far = (
            sum(
                channel.direction == "proxied"
                for connection in session.statistics().connections
                for channel in connection.channels
            )
            for session in (self.near_session, self.far_session)
        )
        return near, far
