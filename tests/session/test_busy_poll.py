"""Sessions that look at their socket before they wait, with scripted peers.

The peer is a socket in the same task: it acts in the moment in which a look yields the
processor, as another process would.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import ConnectionLost, Session, acceptor, initiator
from roam_trio.links import polling
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.poll_policy import MOST_IN_A_ROW, PAUSE, UNUSED_STEPS
from roam_trio.links.stream import StreamLink
from roam_trio.metadata import Metadata
from roam_trio.session.requests_polled import PolledRequests
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    Ping,
    Pong,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

from .pair_of_sockets import Steps
from .running import Streams, call_of, caller_of, join, response, run_of, streams

SECONDS = 100e-6
ECHOED = b"\x00\x01x"
"""The response of `echo`: the text "x"."""


def frame(*messages: Message | bytes) -> bytes:
    """The messages as they go over a stream."""
    payloads = [
        m if isinstance(m, bytes) else b"".join(encode_message(m)) for m in messages
    ]
    return b"".join(struct.pack("<I", len(each)) + each for each in payloads)


class SocketPeer:
    """The other end of a socket: it acts whenever a look finds nothing.

    Attributes:
        act: what it does then.
        act_later: what it does when something has come and nobody looks.
        looks: how often it could have acted.
        heard: what it has heard, and not answered.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.looks = 0
        self.act: Callable[[], object] = self.answer
        self.act_later: Callable[[], object] = self.answer
        self.heard: list[Message] = []
        self._bytes = b""

    def say(self, *messages: Message | bytes) -> None:
        """Send messages with one write."""
        self.sock.sendall(frame(*messages))

    def hear(self) -> list[Message]:
        """Take what has come."""
        with suppress(BlockingIOError):
            self._bytes += self.sock.recv(65536)
        while len(self._bytes) >= 4:
            stop = 4 + struct.unpack_from("<I", self._bytes)[0]
            if len(self._bytes) < stop:
                break
            self.heard.append(decode_message(self._bytes[4:stop]))
            self._bytes = self._bytes[stop:]
        heard, self.heard = self.heard, []
        return heard

    def answer(self) -> None:
        """Answer all requests that have come, and keep the rest."""
        for message in self.hear():
            if isinstance(message, RequestCall):
                self.say(response(message.request_id, ECHOED))
            else:
                self.heard.append(message)

    async def answer_who_waits(self) -> None:
        """Answer those that have not looked, or not for long enough."""
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            with suppress(BrokenPipeError):  # the test is over
                self.act_later()


class Clock:
    """The time of looks: each yield takes 10 us."""

    def __init__(self) -> None:
        self.now = 0.0
        self.peers: list[SocketPeer] = []

    def perf_counter(self) -> float:
        return self.now

    def sched_yield(self) -> None:
        self.now += 10e-6
        for peer in self.peers:
            peer.looks += 1
            peer.act()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(polling, "time", clock)
    monkeypatch.setattr(polling, "sched_yield", clock.sched_yield)
    return clock


@asynccontextmanager
async def polling_client(
    clock: Clock, handler: Any = None, *, seconds: float = SECONDS
) -> AsyncIterator[tuple[Session, Streams, SocketPeer]]:
    """A session that has been alone for long enough to look, and its peer."""
    ours, theirs = socket.socketpair()
    peer = SocketPeer(theirs)
    peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    link = StreamLink.over(SocketTransport(ours))
    builder = initiator(link, busy_poll=seconds, cancel_grace=0.0)
    with theirs:
        async with builder.open(handler) as session:
            (hello,) = peer.hear()
            assert isinstance(hello, Hello)
            client = caller_of(session)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.answer_who_waits)
                for _ in range(PAUSE):
                    assert await client.echo("x") == "x"
                clock.peers.append(peer)
                try:
                    yield session, client, peer
                finally:
                    clock.peers.remove(peer)
                    nursery.cancel_scope.cancel()
                    theirs.shutdown(socket.SHUT_RDWR)


# ------------------------------------------------------------ calls


async def test_own_response_is_taken_without_a_turn(clock: Clock) -> None:
    async with polling_client(clock) as (session, client, peer):
        assert isinstance(run_of(session).requests, PolledRequests)
        assert await client.echo("x") == "x"
        received = session.statistics().received.payloads
        with Steps() as steps:
            for _ in range(MOST_IN_A_ROW - 1):
                assert await client.echo("x") == "x"
        assert steps.turns == 0
        assert peer.looks == MOST_IN_A_ROW
        # Keepalive goes by it.
        now = session.statistics().received.payloads
        assert now - received == MOST_IN_A_ROW - 1
        assert not run_of(session).requests.table.in_flight
        assert run_of(session).requests.table.is_idle


async def test_loop_takes_a_turn_at_every_ninth_call(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        assert await client.echo("x") == "x"
        with Steps() as steps:
            for _ in range(MOST_IN_A_ROW * 10):
                assert await client.echo("x") == "x"
        assert steps.turns == 10
        assert steps.by_role() == {"caller": 10}
        assert peer.looks == 1 + MOST_IN_A_ROW * 10


async def test_other_tasks_run_between_looks(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, _), trio.open_nursery() as nursery:
        turns = []

        async def sleep_again_and_again() -> None:
            while True:
                await trio.sleep(0.0)
                turns.append(1)

        nursery.start_soon(sleep_again_and_again)
        for _ in range(30):
            assert await client.echo("x") == "x"
        assert len(turns) >= 30
        nursery.cancel_scope.cancel()


async def test_nobody_looks_while_another_task_is_ready(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        async with trio.open_nursery() as nursery:

            async def spin() -> None:
                while True:
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(spin)
            for _ in range(40):
                assert await client.echo("x") == "x"
            nursery.cancel_scope.cancel()
        assert peer.looks == 0


async def test_task_that_was_made_ready_runs_before_the_look(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        assert await client.echo("x") == "x"
        event, ran = trio.Event(), []

        async def wait() -> None:
            await event.wait()
            ran.append(peer.looks)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            looks = peer.looks
            event.set()
            assert await client.echo("x") == "x"
            assert ran == [looks]


async def test_call_that_was_not_written_does_not_look(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        assert await client.echo("x") == "x"
        looks = peer.looks
        assert await client.echo("y" * 4_000_000) == "x"  # the pump writes most of it
        assert peer.looks == looks


async def test_sessions_that_take_turns_do_not_look(clock: Clock) -> None:
    async with (
        polling_client(clock) as (_, one, first),
        polling_client(clock) as (_, two, second),
    ):
        for _ in range(20):
            assert await one.echo("x") == "x"
            assert await two.echo("x") == "x"
        assert (first.looks, second.looks) == (0, 0)


async def test_calls_at_once_do_not_look(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client.echo, "x")
        assert peer.looks == 0


async def test_response_that_comes_later_than_the_time_is_waited_for(
    clock: Clock,
) -> None:
    async with polling_client(clock) as (_, client, peer):

        def be_late() -> None:
            if peer.looks == 10:  # then the time is up
                peer.act = peer.answer

        peer.act = be_late
        assert await client.echo("x") == "x"
        assert peer.looks == 10
        assert await client.echo("x") == "x"
        assert peer.looks == 11


async def test_slow_peer_is_looked_for_ever_less_often(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        peer.act = int
        for _ in range(200):
            assert await client.echo("x") == "x"
        # After 1, 2, 4, 8 … calls.
        assert peer.looks == 10 * 9


async def test_look_ends_with_the_deadline_of_the_call(
    clock: Clock, mock_clock: trio.testing.MockClock
) -> None:
    async with polling_client(clock) as (_, client, peer):
        peer.act = int
        with trio.move_on_after(45e-6) as scope, trio.fail_after(1):
            mock_clock.autojump_threshold = 0.01
            peer.act_later = peer.hear
            await client.echo("x")
        assert scope.cancelled_caught
        assert peer.looks == 5


async def test_call_that_is_over_time_already_does_not_look(
    clock: Clock, mock_clock: trio.testing.MockClock
) -> None:
    async with polling_client(clock) as (_, client, peer):
        assert await client.echo("x") == "x"
        looks = peer.looks
        with trio.move_on_after(1) as scope:
            mock_clock.jump(1)
            await client.echo("x")
        assert scope.cancelled_caught
        assert peer.looks == looks


async def test_cancelled_look_cancels_the_call(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        heard: list[Message] = []
        peer.act_later = lambda: heard.extend(peer.hear())
        with trio.CancelScope() as scope:
            peer.act = scope.cancel  # as a handler of a signal may
            await client.echo("x")
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        call, cancellation = heard
        assert isinstance(call, RequestCall)
        assert cancellation == RequestCancel(0, call.request_id)
        peer.say(response(call.request_id, ECHOED))
        peer.act = peer.act_later = peer.answer
        for _ in range(30):
            assert await client.echo("x") == "x"


async def test_response_that_came_in_time_is_kept_when_cancelled(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        with trio.CancelScope() as scope:

            def answer_and_cancel() -> None:
                peer.answer()
                scope.cancel()

            peer.act = answer_and_cancel
            assert await client.echo("x") == "x"
        assert not scope.cancelled_caught


# ------------------------------------------------------------ all else that comes


Script = Callable[[SocketPeer, RequestCall], None]


def call_comes_first(peer: SocketPeer, call: RequestCall) -> None:
    peer.say(call_of("echo", 2, "y"))
    peer.say(call_of("echo", 4, "z"), response(call.request_id, ECHOED))


def call_comes_with_response(peer: SocketPeer, call: RequestCall) -> None:
    peer.say(call_of("echo", 2, "y"), response(call.request_id, ECHOED))
    peer.say(call_of("echo", 4, "z"))


def call_comes_after_response(peer: SocketPeer, call: RequestCall) -> None:
    peer.say(response(call.request_id, ECHOED), call_of("echo", 2, "y"))
    peer.say(call_of("echo", 4, "z"))


def calls_come_in_parts(peer: SocketPeer, call: RequestCall) -> None:
    whole = frame(
        call_of("echo", 2, "y"),
        response(call.request_id, ECHOED),
        call_of("echo", 4, "z"),
    )
    peer.sock.sendall(whole[:3])
    send_later(peer, whole[3:])


def send_later(peer: SocketPeer, rest: bytes) -> None:
    """Send the rest when everybody waits."""

    async def send() -> None:
        peer.sock.sendall(rest)

    trio.lowlevel.spawn_system_task(send)


@pytest.mark.parametrize(
    "script",
    [
        call_comes_first,
        call_comes_with_response,
        call_comes_after_response,
        calls_come_in_parts,
    ],
)
async def test_all_else_goes_to_the_reader_in_order(
    clock: Clock, script: Script
) -> None:
    handled: list[tuple[str, bool]] = []

    async def echo(text: str) -> str:
        handled.append((text, trio.lowlevel.current_task() is caller))
        return text

    caller = trio.lowlevel.current_task()
    async with polling_client(clock, streams(echo=echo)) as (_, client, peer):

        def act() -> None:
            (call,) = peer.hear()
            assert isinstance(call, RequestCall)
            peer.act = int
            script(peer, call)

        peer.act = act
        assert await client.echo("x") == "x"
        await wait_all_tasks_blocked()
        assert handled == [("y", False), ("z", False)]
        answers = [m for m in peer.hear() if isinstance(m, RequestResponse)]
        assert [answer.request_id for answer in answers] == [2, 4]
        peer.act = peer.answer
        for _ in range(30):
            assert await client.echo("x") == "x"


async def test_response_with_metadata_goes_to_the_reader(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):

        def act() -> None:
            (call,) = peer.hear()
            assert isinstance(call, RequestCall)
            answer = response(call.request_id, ECHOED)
            answer.metadata = Metadata.of({"key": "value"})
            peer.say(answer)

        peer.act = act
        with Steps() as steps:
            assert await client.echo("x") == "x"
        assert steps.by_role()["session"] == 1


async def test_ping_is_answered_while_a_call_looks(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):

        def act() -> None:
            peer.heard = peer.hear()
            peer.act = int
            peer.say(Ping(0, 7))

        peer.act = act
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.echo, "x")
                await wait_all_tasks_blocked()
                heard = peer.hear()
                assert [m for m in heard if isinstance(m, Pong)] == [Pong(0, 7)]
                scope.cancel()


def end_it(peer: SocketPeer) -> None:
    peer.sock.shutdown(socket.SHUT_WR)


def say_garbage(peer: SocketPeer) -> None:
    peer.say(b"\xff" * 40)


def announce_too_much(peer: SocketPeer) -> None:
    peer.sock.sendall(b"\xff" * 40)


def answer_nobody(peer: SocketPeer) -> None:
    peer.say(response(999, ECHOED))


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (end_it, "the peer has closed the link"),
        (say_garbage, "not a message"),
        (announce_too_much, "a payload of 4294967295 bytes"),
        (answer_nobody, "a response came for request 999"),
    ],
)
async def test_end_of_the_session_is_noticed_while_a_call_looks(
    clock: Clock, act: Callable[[SocketPeer], None], told: str
) -> None:
    async with polling_client(clock) as (_, client, peer):
        peer.act = lambda: act(peer)
        with pytest.raises(ConnectionLost, match=told):
            await client.echo("x")


async def test_error_that_a_look_finds_is_raised_to_the_reader(clock: Clock) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    listener.close()
    peer = SocketPeer(theirs)
    peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    link = StreamLink.over(SocketTransport(ours))
    async with initiator(link, busy_poll=SECONDS).open() as session:
        client = caller_of(session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer_who_waits)
            for _ in range(PAUSE):
                assert await client.echo("x") == "x"
            nursery.cancel_scope.cancel()

        def reset() -> None:
            linger = struct.pack("ii", 1, 0)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            theirs.close()
            peer.act = int

        clock.peers.append(peer)
        peer.act = reset
        with pytest.raises(ConnectionLost, match="reset"):
            await client.echo("x")


async def test_large_payload_comes_to_a_session_that_polls(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        text = "x" * 1_000_000

        async def send(rest: memoryview) -> None:
            while rest:
                await trio.lowlevel.wait_writable(peer.sock)
                rest = rest[peer.sock.send(rest) :]

        async with trio.open_nursery() as nursery:

            def answer() -> None:
                for call in peer.hear():
                    assert isinstance(call, RequestCall)
                    ret = b"\x00\xc0\x84\x3d" + text.encode()
                    whole = frame(response(call.request_id, ret))
                    nursery.start_soon(send, memoryview(whole))

            peer.act = answer
            assert await client.echo("x") == text
        peer.act = peer.answer
        for _ in range(30):
            assert await client.echo("x") == "x"


async def test_ready_tasks_are_counted_only_while_somebody_looks(clock: Clock) -> None:
    async with polling_client(clock) as (_, client, peer):
        for _ in range(3):
            looks = peer.looks
            assert await client.echo("x") == "x"
            assert peer.looks == looks + 1
            watch = polling.poll_watch()
            assert watch.policy.is_exact
            for _ in range(UNUSED_STEPS + 1):
                await trio.lowlevel.checkpoint()
            assert not watch.policy.is_exact
            with pytest.raises(KeyError):
                trio.lowlevel.remove_instrument(watch)


# ------------------------------------------------------------ servers


async def add(left: int, right: int) -> int:
    return left + right


@asynccontextmanager
async def polling_server(
    clock: Clock, handler: Any, method: str = "add", *args: Any
) -> AsyncIterator[SocketPeer]:
    """A server's session that has been alone for long enough to look, and its peer."""
    ours, theirs = socket.socketpair()
    peer = SocketPeer(theirs)
    peer.say(Hello(0, PROTOCOL_VERSION, ConnectionSettings(Parity.ODD, 64)))
    builder = acceptor(StreamLink.over(SocketTransport(ours)), busy_poll=SECONDS)
    with theirs:
        async with builder.open(handler) as session:
            assert not isinstance(run_of(session).requests, PolledRequests)
            (welcome,) = peer.hear()
            assert isinstance(welcome, HelloYourself)
            for number in range(PAUSE):
                peer.say(call_of(method, 2 * number + 1, *(args or (1, 2))))
                await wait_all_tasks_blocked()
                assert len(peer.hear()) == 1
            clock.peers.append(peer)
            try:
                yield peer
            finally:
                clock.peers.remove(peer)
                theirs.close()


async def serve_so_often(peer: SocketPeer, method: str, *args: Any) -> Steps:
    """Call, and call again in each look until one finds no answer to have come."""
    count = 0

    def act() -> None:
        nonlocal count
        if count < 40 and peer.hear():
            count += 1
            peer.say(call_of(method, 2001 + 2 * count, *args))

    peer.act = act
    with Steps() as steps:
        peer.say(call_of(method, 2001, *args))
        await wait_all_tasks_blocked()
    assert len(peer.hear()) == 1
    assert count == 40
    return steps


async def test_next_request_is_taken_without_a_turn(clock: Clock) -> None:
    async with polling_server(clock, streams(add=add)) as peer:
        steps = await serve_so_often(peer, "add", 1, 2)
        # 41 answers, and a turn at every ninth request at least.
        assert 41 / (MOST_IN_A_ROW + 1) <= steps.by_role()["session"] < 41 / 4


async def test_handler_that_waits_runs_before_the_next_look(clock: Clock) -> None:
    async def echo(text: str) -> str:
        if text == "wait":  # never: that it could is why it needs a task
            await trio.sleep_forever()
        return text

    async with polling_server(clock, streams(echo=echo), "echo", "x") as peer:
        steps = await serve_so_often(peer, "echo", "x")
        assert steps.by_role()["handler"] == 41
        assert steps.by_role()["session"] <= 41 * 2


async def test_server_waits_when_no_request_comes_in_time(clock: Clock) -> None:
    async with polling_server(clock, streams(add=add)) as peer:
        peer.act = int
        for number in range(100):
            peer.say(call_of("add", 3001 + 2 * number, 1, 2))
            await wait_all_tasks_blocked()
            assert len(peer.hear()) == 1
        assert peer.looks == 10 * 7  # after 1, 2, 4 … requests


async def test_server_with_two_busy_clients_does_not_look(clock: Clock) -> None:
    async with (
        polling_server(clock, streams(add=add)) as one,
        polling_server(clock, streams(add=add)) as two,
    ):
        one.act = two.act = int
        for number in range(20):
            for peer in (one, two):
                peer.say(call_of("add", 3001 + 2 * number, 1, 2))
                await wait_all_tasks_blocked()
                assert len(peer.hear()) == 1
        assert (one.looks, two.looks) == (0, 0)


async def test_server_notices_the_end_in_a_look(clock: Clock) -> None:
    async with polling_server(clock, streams(add=add)) as peer:
        peer.act = lambda: end_it(peer)
        peer.say(call_of("add", 3001, 1, 2))
        await wait_all_tasks_blocked()
        assert len(peer.hear()) == 1
        assert peer.sock.recv(10) == b""


async def test_other_links_do_without(clock: Clock) -> None:
    async with trio.open_nursery() as nursery:
        session, _ = await join(
            nursery,
            streams(add=add),
            accepting={"busy_poll": SECONDS},
            busy_poll=SECONDS,
        )
        assert not isinstance(run_of(session).requests, PolledRequests)
        assert await caller_of(session).add(1, 2) == 3
        await session.shutdown()
