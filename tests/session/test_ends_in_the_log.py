"""A session that ends for what its peer did is in the log; a clean end is not."""

from __future__ import annotations

import logging
import re
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from roam_trio import Server, SessionKeepaliveConfig, serve
from roam_trio.limits import Limits
from roam_trio.links.tcp import tcp_link
from roam_trio.session import Session
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ConnectionClose,
    ConnectionSettings,
    Hello,
    ProtocolError,
)
from tests.peer import Peer

from .running import WithPeer, call_of, streams

End = Callable[[Session, Peer], Awaitable[None]]


async def says_nonsense(session: Session, peer: Peer) -> None:
    await peer.say_bytes(b"\xff" * 9)


async def says_too_much(session: Session, peer: Peer) -> None:
    await peer.say(call_of("take_1", 2, channels=(2,)))
    await peer.say(call_of("take_1", 4, channels=(4,)))


async def closes_the_root(session: Session, peer: Peer) -> None:
    await peer.say(ConnectionClose(0))


async def says_that_we_broke_the_protocol(session: Session, peer: Peer) -> None:
    await peer.say(ProtocolError(0, "no\n2030-01-01 CRITICAL all is lost\x1b[2J"))


async def answers_no_ping(session: Session, peer: Peer) -> None:
    await trio.sleep(60)


async def hang(rx: object) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    "end",
    [
        says_nonsense,
        says_too_much,
        closes_the_root,
        says_that_we_broke_the_protocol,
        answers_no_ping,
    ],
)
async def test_an_end_that_is_the_peers_doing_is_in_the_log(
    end: End,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    caplog.set_level(logging.WARNING)
    keepalive = SessionKeepaliveConfig(ping_interval=5, pong_timeout=5, while_idle=True)
    async with WithPeer(
        streams(take_1=hang), limits=Limits(channels=1), keepalive=keepalive
    ) as (session, peer):
        await end(session, peer)
        await session.closed()
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    reason = str(session.ended_because)
    assert record.getMessage() == f"a session has ended: {reason}"
    assert reason.isprintable()


async def leaves(session: Session, peer: Peer) -> None:
    await peer.leave()
    await session.closed()


async def is_left(session: Session, peer: Peer) -> None:
    """The block ends, and the session with it."""


async def is_shut_down(session: Session, peer: Peer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        await peer.leave()


async def is_shut_down_while_the_peer_talks(session: Session, peer: Peer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        await peer.say_bytes(b"\xff" * 9)
        await peer.leave()


@pytest.mark.parametrize(
    "end", [leaves, is_left, is_shut_down, is_shut_down_while_the_peer_talks]
)
async def test_a_clean_end_is_not_in_the_log(
    end: End,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    caplog.set_level(logging.WARNING)
    async with WithPeer() as (session, peer):
        await end(session, peer)
    assert caplog.messages == []


async def test_a_server_logs_once_how_a_session_has_ended(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", streams())
    port = int(server.url.rpartition(":")[2])
    link = tcp_link(await trio.open_tcp_stream("127.0.0.1", port))
    nursery.start_soon(link.split()[0].pump)
    peer = Peer(link)
    await peer.initiate()
    [session] = server.sessions
    tx, rx = peer.tx, peer.rx
    await peer.say(ConnectionClose(0))
    await tx.close()
    with trio.fail_after(10):
        await session.closed()
    [message] = caplog.messages
    assert message == f"a session has ended: {session.ended_because}"
    assert re.search(r"\(peer: 127\.0\.0\.1:\d+\)$", message)
    await tx.abort()
    await rx.close()
    nursery.cancel_scope.cancel()


async def test_a_connection_that_is_reset_leaves_no_warning(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", streams())
    port = int(server.url.rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
    hello = b"".join(
        encode_message(Hello(0, PROTOCOL_VERSION, ConnectionSettings(Parity.ODD, 64)))
    )
    await stream.send_all(len(hello).to_bytes(4, "little") + hello)
    await stream.receive_some()
    [session] = server.sessions
    await stream.aclose()
    with trio.fail_after(10):
        await session.closed()
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("a session was lost: ")
    assert "(peer: 127.0.0.1:" in record.getMessage()
    nursery.cancel_scope.cancel()


RESET_AT_ONCE = struct.pack("ii", 1, 0)
