"""Peers that shake hands and then never read: senders wait, and little is held.

Such a peer is no session of ours, but a bare socket.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    ConnectionSettings,
    Limits,
    Message,
    Parity,
    RxConnectionLost,
    Session,
    StreamLimits,
    StreamLink,
    TxConnectionLost,
    channel,
    client,
    connect,
    describe,
    initiator,
)
from roam_trio.links.tcp import connect_tcp
from roam_trio.metadata import NO_METADATA
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ChannelGrantCredit,
    Hello,
    HelloYourself,
    RequestCall,
)

from .memory import KIB, MIB
from .processes import ServerProcess, within
from .workshop import POURED_SIZE, Workshop

UNSENT = 256 * KIB
"""How many bytes our side may hold for the peer."""

CLOSE_SECONDS = 3

CALLERS = 1000

BLOCK = bytes(16 * KIB)
"""`CALLERS` of these are far more than `UNSENT` and what the kernel takes together."""


def frames(*messages: Message) -> bytes:
    """Messages as they stand in a stream."""
    stream = bytearray()
    for message in messages:
        payload = b"".join(encode_message(message))
        stream += len(payload).to_bytes(4, "little") + payload
    return bytes(stream)


def unreading_socket() -> trio.socket.SocketType:
    """A socket with little room for what is not read."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
    return sock


class SessionWithUnreadingPeer:
    """A session on this side, to be left when it is told to, and the bare socket.

    Attributes:
        link: what the session runs on.
        leave: set to have the session left.
        has_ended: whether the session has let go of everything.
    """

    def __init__(self) -> None:
        self.leave = trio.Event()
        self.has_ended = False
        self.link: StreamLink
        self._listener = unreading_socket()

    async def run(self, *, task_status: trio.TaskStatus[Session]) -> None:
        """Set up both sides, and report the session as started."""
        with self._listener as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.link = await connect_tcp(
                *listener.getsockname(), limits=StreamLimits(max_unsent_bytes=UNSENT)
            )
            peer, _ = await listener.accept()
        with peer:
            settings = ConnectionSettings(Parity.EVEN, 2 * CALLERS)
            await peer.send(frames(HelloYourself(0, settings)))
            limits = Limits(close_seconds=CLOSE_SECONDS)
            async with initiator(self.link, limits=limits).open() as session:
                task_status.started(session)
                await self.leave.wait()
            self.has_ended = True


@contextmanager
def time_stands_still(clock: MockClock) -> Generator[None]:
    """In the block nothing is ended by a time limit; after it, all that waits for one.

    Otherwise a test that fails would wait for its session for ever.
    """
    try:
        yield
    finally:
        clock.autojump_threshold = 0


@pytest.mark.rule("link.tx.reserve")
async def test_peer_that_never_reads_makes_callers_and_senders_wait(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    lost: list[Exception] = []

    async def note_loss(work: Awaitable[object]) -> None:
        try:
            await work
        except (ConnectionLost, TxConnectionLost, RxConnectionLost) as error:
            lost.append(error)

    with time_stands_still(mock_clock):
        ours = SessionWithUnreadingPeer()
        session: Session = await nursery.start(ours.run)
        workshop = client(Workshop, session.caller)

        upward, held = channel[int]()
        held_too, downward = channel[int]()
        nursery.start_soon(note_loss, workshop.hold(held, held_too))
        await wait_all_tasks_blocked()
        for _ in range(CALLERS):
            nursery.start_soon(note_loss, workshop.echo(BLOCK, 0))
        await wait_all_tasks_blocked()
        nursery.start_soon(note_loss, upward.send(1))
        nursery.start_soon(note_loss, downward.recv())
        await wait_all_tasks_blocked()

        tx, _ = ours.link.split()
        held_here = tx.statistics()
        requests = session.root.connection_run.requests.table
        waiting_callers = 1 + CALLERS - len(requests.in_flight)
        assert waiting_callers > CALLERS // 4
        assert held_here.tasks_waiting == waiting_callers + 1  # and the sender
        assert UNSENT <= held_here.unsent_bytes < UNSENT + 2 * len(BLOCK)
        assert lost == []

        ours.leave.set()
        await wait_all_tasks_blocked()
        assert len(lost) == 1 + CALLERS + 2
        assert not ours.has_ended  # there is something to be sent still
        mock_clock.jump(CLOSE_SECONDS)
        await wait_all_tasks_blocked()
        assert ours.has_ended


@within(60)
async def test_server_waits_with_bounded_memory_for_a_client_that_never_reads() -> None:
    (pour,) = [m for m in describe(Workshop).methods if m.name == "pour"]
    poured_into, _ = channel[bytes]()
    settings = ConnectionSettings(Parity.ODD, 64)
    stream = frames(
        Hello(0, PROTOCOL_VERSION, settings),
        RequestCall(
            0,
            1,
            pour.id,
            (1,),
            NO_METADATA,
            b"".join(pour.args_plan.encode((poured_into,))),
        ),
        ChannelGrantCredit(0, 1, 2**32 - 1),
    )
    async with ServerProcess(close_seconds=0.2) as server:
        address = urlsplit(server.url)
        with unreading_socket() as peer:
            async with connect(server.url, Workshop) as workshop:
                before = await workshop.memory()
                await peer.connect((address.hostname, address.port))
                await peer.send(stream)
                await workshop.until_waiting(1)
                poured = await workshop.poured()
                after = await workshop.memory()
            # What Limits.max_unsent_bytes allows, and what the kernel took.
            assert 1 * MIB <= poured * POURED_SIZE < 64 * MIB
            assert after.peak - before.now < 8 * MIB
            # With this client still there, it ends in good order.
            await server.end()
