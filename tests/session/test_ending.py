"""Ends of sessions, by either side and at any time: at once, in bounds, and alone."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel, client, dispatcher, service
from roam_trio.errors import (
    CallCancelled,
    ConnectionLost,
    LinkClosed,
    LinkError,
    RxConnectionLost,
    SessionError,
    SessionIoError,
    TxConnectionLost,
)
from roam_trio.limits import Limits
from roam_trio.links.base import Link
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.memory import MemoryLink, memory_link_pair
from roam_trio.links.stream import StreamLink
from roam_trio.metadata import NO_METADATA
from roam_trio.schema import i32, i64
from roam_trio.service import describe
from roam_trio.session import ConnectionPhase, Session, acceptor, initiator
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelItem,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Ping,
    Pong,
    RequestCall,
    RequestCancel,
    joined,
)
from tests.peer import Peer, link_to_peer
from tests.session.running import Task


@service
class Work(Protocol):
    async def echo(self, text: str) -> str: ...
    async def hang(self) -> None: ...
    async def sum(self, numbers: Rx[i32]) -> i64: ...
    async def count(self, output: Tx[i32]) -> None: ...


class Worker:
    def __init__(self) -> None:
        self.hanging = 0

    async def echo(self, text: str) -> str:
        return text

    async def hang(self) -> None:
        self.hanging += 1
        try:
            await trio.sleep_forever()
        finally:
            self.hanging -= 1

    async def sum(self, numbers: Rx[i32]) -> int:
        total = 0
        async for number in numbers:
            total += number
        return total

    async def count(self, output: Tx[i32]) -> None:
        async with output:
            for number in range(3):
                await output.send(number)


def work(session: Session) -> Work:
    return client(Work, session.caller)


async def wait_for_loss(session: Session, nursery: trio.Nursery) -> list[Exception]:
    """Calls, a sender and a receiver that all wait; they add how they failed."""
    failures: list[Exception] = []

    async def note(function: Callable[..., Any], *args: Any) -> None:
        try:
            await function(*args)
        except (ConnectionLost, TxConnectionLost, RxConnectionLost) as error:
            failures.append(error)

    our_tx, their_rx = channel(i32)
    their_tx, our_rx = channel(i32)

    async def send_for_ever() -> None:
        while True:
            await our_tx.send(1)

    nursery.start_soon(note, work(session).hang)
    nursery.start_soon(note, work(session).sum, their_rx)
    nursery.start_soon(note, work(session).count, their_tx)
    nursery.start_soon(note, send_for_ever)
    nursery.start_soon(note, our_rx.recv)
    await wait_all_tasks_blocked()
    assert failures == []
    return failures


def assert_all_lost(failures: list[Exception], reason: Exception | None) -> None:
    assert sorted(type(failure).__name__ for failure in failures) == [
        "ConnectionLost",
        "ConnectionLost",
        "ConnectionLost",
        "RxConnectionLost",
        "TxConnectionLost",
    ]
    assert all(failure.__cause__ is reason for failure in failures)


def living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def assert_let_go(link: Link) -> None:
    """Both halves of `link` are closed, and nothing is reserved on it."""
    tx, rx = link.split()
    with pytest.raises(LinkClosed):
        await tx.reserve()
    with pytest.raises(LinkClosed):
        await rx.recv()
    assert isinstance(link, MemoryLink | StreamLink)
    assert link.split()[0].statistics().permits == 0
    assert link.split()[0].statistics().tasks_waiting == 0


async def accepted(
    link: Link, peer: Peer, nursery: trio.Nursery, **options: Any
) -> Any:
    """A session under test that serves `Work` to a scripted peer."""
    await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64)))
    run = acceptor(link, **options).run
    session: Session = await nursery.start(run, dispatcher(Work, Worker()))
    await peer.hear(HelloYourself)
    return session


# ------------------------------------------------------------ who ends it


@pytest.mark.rule("session")
class TestWhoEndsIt:
    async def opened(self, nursery: trio.Nursery) -> tuple[Session, Peer, Link]:
        link, peer = link_to_peer()
        return await accepted(link, peer, nursery), peer, link

    async def test_the_peer_closes(self, nursery: trio.Nursery) -> None:
        session, peer, link = await self.opened(nursery)
        failures = await wait_for_loss(session, nursery)
        await peer.leave()
        await wait_all_tasks_blocked()
        reason = session.ended_because
        assert isinstance(reason, SessionIoError)
        assert str(reason) == "the peer has closed the link (peer: this process)"
        assert_all_lost(failures, reason)
        await session.closed()
        await assert_let_go(link)

    async def test_the_peer_closes_one_direction(self, nursery: trio.Nursery) -> None:
        """It still gets what is committed, and the end."""
        session, peer, _ = await self.opened(nursery)
        await peer.say(Ping(0, 1))
        await peer.tx.close()
        await session.closed()
        assert await peer.hear(Pong) == Pong(0, 1)
        await peer.hear_end()

    async def test_this_side_shuts_down(self, nursery: trio.Nursery) -> None:
        session, peer, link = await self.opened(nursery)
        failures = await wait_for_loss(session, nursery)
        nursery.start_soon(session.shutdown)
        await wait_all_tasks_blocked()
        reason = session.ended_because
        assert_all_lost(failures, reason)
        await peer.leave()
        assert type(reason) is SessionError
        assert str(reason) == "this side has shut the session down"
        await session.closed()
        await assert_let_go(link)

    async def test_the_link_fails_on_sending(self, nursery: trio.Nursery) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Peer(StreamLink(theirs))
        nursery.start_soon(peer.tx.pump)
        link = StreamLink(ours)
        session = await accepted(link, peer, nursery)
        await peer.rx.close()
        await theirs.receive_stream.aclose()
        with pytest.raises(ConnectionLost) as caught:
            await work(session).echo("into the void")
        reason = session.ended_because
        assert isinstance(reason, SessionIoError)
        assert isinstance(reason.__cause__, LinkError)
        assert caught.value.__cause__ is reason
        await session.closed()
        await assert_let_go(link)

    async def test_the_link_fails_on_receiving(self, nursery: trio.Nursery) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Peer(StreamLink(theirs))
        nursery.start_soon(peer.tx.pump)
        link = StreamLink(ours)
        session = await accepted(link, peer, nursery)
        failures = await wait_for_loss(session, nursery)
        ours.receive_stream.close()
        await wait_all_tasks_blocked()
        reason = session.ended_because
        assert isinstance(reason, SessionIoError)
        assert isinstance(reason.__cause__, LinkError)
        assert_all_lost(failures, reason)
        await session.closed()
        await assert_let_go(link)

    async def test_its_nursery_is_cancelled(self) -> None:
        link, peer = link_to_peer()
        async with trio.open_nursery() as nursery:
            session = await accepted(link, peer, nursery)
            nursery.cancel_scope.cancel()
            await peer.leave()
        assert str(session.ended_because) == "the session was cancelled"
        await session.closed()
        await assert_let_go(link)

    async def test_a_handler_shuts_it_down(self, nursery: trio.Nursery) -> None:
        class Closer(Worker):
            async def hang(self) -> None:
                await session.shutdown()
                raise AssertionError("a handler does not outlive its session")

        left, right = memory_link_pair(8)
        session: Session
        nursery.start_soon(self.keep_open, left)
        session = await nursery.start(acceptor(right).run, dispatcher(Work, Closer()))
        await session.closed()
        assert str(session.ended_because) == "this side has shut the session down"

    async def keep_open(self, link: Link) -> None:
        async with initiator(link).open() as session:
            with pytest.raises(ConnectionLost):
                await work(session).hang()

    async def test_the_first_reason_stays(self, nursery: trio.Nursery) -> None:
        session, peer, _ = await self.opened(nursery)
        await peer.leave()
        await session.closed()
        reason = session.ended_because
        await session.shutdown()
        assert session.ended_because is reason


class TestAfterTheEnd:
    @pytest.fixture
    async def ended(self, nursery: Any) -> Session:
        link, peer = link_to_peer()
        session: Session = await accepted(link, peer, nursery)
        await peer.leave()
        await session.closed()
        return session

    async def test_calls_fail_with_the_reason(self, ended: Session) -> None:
        with pytest.raises(ConnectionLost, match="closed the link") as caught:
            await work(ended).echo("hello?")
        assert caught.value.__cause__ is ended.ended_because

    async def test_everybody_can_tell(self, ended: Session) -> None:
        assert not ended.caller.is_connected
        await ended.caller.closed()
        await ended.closed()
        assert ended.root.phase is ConnectionPhase.CLOSED
        why = "the peer has closed the link (peer: this process)"
        assert repr(ended) == f"<Session ended: {why}>"

    async def test_shutting_down_again_is_harmless(self, ended: Session) -> None:
        await ended.shutdown()
        await ended.shutdown()

    async def test_shutting_down_twice_at_once_is_harmless(
        self, nursery: trio.Nursery
    ) -> None:
        link, peer = link_to_peer()
        session = await accepted(link, peer, nursery)
        done: list[str] = []

        async def shut_down(name: str) -> None:
            await session.shutdown()
            done.append(name)

        nursery.start_soon(shut_down, "one")
        nursery.start_soon(shut_down, "other")
        await wait_all_tasks_blocked()
        assert done == []  # the peer has not closed yet
        await peer.leave()
        await wait_all_tasks_blocked()
        assert sorted(done) == ["one", "other"]

    async def test_many_can_wait_for_the_end(self, nursery: trio.Nursery) -> None:
        link, peer = link_to_peer()
        session = await accepted(link, peer, nursery)
        tasks = living_tasks()
        for _ in range(3):
            nursery.start_soon(session.closed)
            nursery.start_soon(session.caller.closed)
        await wait_all_tasks_blocked()
        assert living_tasks() == tasks + 6
        await peer.leave()
        await session.closed()
        await wait_all_tasks_blocked()
        assert living_tasks() < tasks


# ------------------------------------------------------------ what is still sent


class TestWhatIsStillSent:
    async def test_what_was_sent_before_the_end_arrives(
        self, nursery: trio.Nursery
    ) -> None:
        link, peer = link_to_peer()
        await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
        session: Session = await nursery.start(initiator(link).run)
        tx, rx = channel(i32)

        async def call() -> None:
            with pytest.raises(ConnectionLost):
                await work(session).sum(rx)

        nursery.start_soon(call)
        await tx.send(1)
        await tx.send(-1)
        tx.close()
        nursery.start_soon(session.shutdown)
        await peer.hear(Hello)
        assert (await peer.hear(RequestCall)).channels == (1,)
        assert await peer.hear(ChannelItem) == ChannelItem(0, 1, b"\2")
        assert await peer.hear(ChannelItem) == ChannelItem(0, 1, b"\1")
        assert await peer.hear(ChannelClose) == ChannelClose(0, 1)
        await peer.hear_end()
        await peer.leave()

    async def test_what_waits_for_room_goes_out_before_the_end(
        self, nursery: trio.Nursery
    ) -> None:
        link, peer = link_to_peer(1)
        session = await accepted(link, peer, nursery)
        for nonce in range(5):
            await peer.say(Ping(0, nonce))
        await wait_all_tasks_blocked()
        nursery.start_soon(session.shutdown)
        await wait_all_tasks_blocked()
        for nonce in range(5):
            assert await peer.hear(Pong) == Pong(0, nonce)
        await peer.hear_end()
        await peer.leave()

    async def test_what_still_comes_is_taken_while_the_rest_goes_out(
        self, nursery: trio.Nursery
    ) -> None:
        """A peer that reads only when it has sent everything is not waited for in
        vain; and nothing of what it sends is answered."""
        link, peer = link_to_peer(1)
        session = await accepted(link, peer, nursery)
        for nonce in range(5):
            await peer.say(Ping(0, nonce))
        await wait_all_tasks_blocked()
        nursery.start_soon(session.shutdown)
        await wait_all_tasks_blocked()
        for nonce in range(10, 20):
            await peer.say(Ping(0, nonce))
        await peer.say_bytes(b"not a message")
        await peer.say(Ping(0, 20))
        await peer.tx.close()
        for nonce in range(5):
            assert await peer.hear(Pong) == Pong(0, nonce)
        await peer.hear_end()
        await session.closed()
        assert str(session.ended_because) == "this side has shut the session down"

    async def test_a_cancelled_call_is_cancelled_at_the_peer_before_the_end(
        self, nursery: trio.Nursery
    ) -> None:
        link, peer = link_to_peer(1)
        session = await accepted(link, peer, nursery)
        with trio.CancelScope() as scope:
            nursery.start_soon(self.cancel_when_idle, scope)
            await work(session).hang()
        nursery.start_soon(session.shutdown)
        await peer.hear(RequestCall)
        await peer.hear(RequestCancel)
        await peer.hear_end()
        await peer.leave()

    async def cancel_when_idle(self, scope: trio.CancelScope) -> None:
        await wait_all_tasks_blocked()
        scope.cancel()


class TestBounds:
    """With a peer that does not do its part, the end takes `close_seconds`."""

    async def test_a_peer_that_never_reads(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()
        peer = Peer(StreamLink(theirs))
        nursery.start_soon(peer.tx.pump)
        link = StreamLink(ours)
        session = await accepted(link, peer, nursery, limits=Limits(close_seconds=7))
        await peer.say(*(Ping(0, nonce) for nonce in range(3)))
        await wait_all_tasks_blocked()
        await self.shuts_down_within(session, 7)
        await assert_let_go(link)
        await peer.leave()
        nursery.cancel_scope.cancel()

    async def test_a_peer_that_never_takes_what_waits_for_room(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        link, peer = link_to_peer(1)
        session = await accepted(link, peer, nursery, limits=Limits(close_seconds=7))
        for nonce in range(5):
            await peer.say(Ping(0, nonce))
        await wait_all_tasks_blocked()
        await self.shuts_down_within(session, 7)
        await assert_let_go(link)
        await peer.leave()

    async def test_a_peer_that_never_closes(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        link, peer = link_to_peer()
        session = await accepted(link, peer, nursery, limits=Limits(close_seconds=7))
        await self.shuts_down_within(session, 7)
        await assert_let_go(link)
        await peer.hear_end()

    async def test_a_peer_that_never_stops_sending(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        link, peer = link_to_peer()
        session = await accepted(link, peer, nursery, limits=Limits(close_seconds=7))

        async def talk() -> None:
            try:
                while True:
                    await peer.say(Ping(0, 1))
                    await trio.sleep(0.5)
            except LinkError:
                refused.append(trio.current_time())

        refused: list[float] = []
        nursery.start_soon(talk)
        await self.shuts_down_within(session, 7)
        await trio.sleep(1)
        assert refused

    async def test_a_cancelled_session_takes_no_longer(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        link, peer = link_to_peer(1)
        begun = trio.current_time()
        with trio.move_on_after(1) as scope:
            async with trio.open_nursery() as nursery:
                options = {"limits": Limits(close_seconds=7)}
                session = await accepted(link, peer, nursery, **options)
                await peer.say(Ping(0, 1), Ping(0, 2))
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - begun == pytest.approx(1 + 7)
        await session.closed()

    async def shuts_down_within(self, session: Session, seconds: float) -> None:
        begun = trio.current_time()
        await session.shutdown()
        assert trio.current_time() - begun == pytest.approx(seconds)


# ------------------------------------------------------------ at any moment


def memory_links() -> tuple[Link, Link]:
    return memory_link_pair(1)


def stream_links() -> tuple[Link, Link]:
    left, right = trio.testing.memory_stream_pair()
    return StreamLink(left), StreamLink(right)


class Mine(Exception):
    """The application's own."""


async def serve(link: Link, worker: Worker) -> None:
    async with acceptor(link).open(dispatcher(Work, worker)) as session:
        await session.closed()


async def use(link: Link, error: Mine | None) -> None:
    """A bit of everything a session does."""
    async with initiator(link).open() as session:
        worker = work(session)
        assert await worker.echo("hello") == "hello"
        our_tx, their_rx = channel(i32)
        their_tx, our_rx = channel(i32)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.count, their_tx)
            nursery.start_soon(worker.sum, their_rx)
            async with our_tx:
                for number in range(3):
                    await our_tx.send(number)
            received = [number async for number in our_rx]
        assert received == [0, 1, 2]
        with trio.move_on_after(1) as scope:
            scope.cancel()
            await worker.echo("never")
        if error is not None:
            raise error


async def cancel_after(steps: int, scope: trio.CancelScope) -> None:
    for _ in range(steps):
        await trio.lowlevel.cancel_shielded_checkpoint()
    scope.cancel()


class Attempt:
    """One session between a user and a server, either of which may be cancelled."""

    def __init__(self, links: tuple[Link, Link], error: Mine | None) -> None:
        self.left, self.right = links
        self.error = error
        self.worker = Worker()
        self.user_scope = trio.CancelScope()
        self.server_scope = trio.CancelScope()
        self.outcome = ""

    async def run(self, steps: int, scopes: list[trio.CancelScope]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run_user)
            nursery.start_soon(self.run_server)
            for scope in scopes:
                nursery.start_soon(cancel_after, steps, scope)
        if self.user_scope.cancelled_caught:
            self.outcome = "cancelled"

    async def run_user(self) -> None:
        with self.user_scope:
            try:
                await use(self.left, self.error)
            except Mine as caught:
                self.outcome = "mine" if caught is self.error else "another"
            except (*LOST, SessionError):
                self.outcome = "lost"
            except BaseExceptionGroup as group:
                # Of the block's own nursery; one of the session's never shows.
                _, rest = group.split(LOST)
                if rest is not None:
                    raise rest from None
                self.outcome = "lost"
            else:
                self.outcome = "done"

    async def run_server(self) -> None:
        with self.server_scope:
            try:
                await serve(self.right, self.worker)
            except SessionError:
                assert self.user_scope.cancel_called


LOST = (ConnectionLost, CallCancelled, TxConnectionLost, RxConnectionLost)


@pytest.mark.parametrize("links", [memory_links, stream_links])
@pytest.mark.parametrize("error", [None, Mine("mine")])
@pytest.mark.parametrize("whom", [{"user"}, {"server"}, {"user", "server"}])
async def test_cancelled_at_any_moment_it_leaves_nothing(
    links: Callable[[], tuple[Link, Link]],
    error: Mine | None,
    whom: set[str],
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What comes out is nothing, the block's own exception, or a lost connection."""
    tasks = living_tasks()
    begun = trio.current_time()
    outcomes: set[str] = set()
    for steps in range(80):
        attempt = Attempt(links(), error)
        scopes = {"user": attempt.user_scope, "server": attempt.server_scope}
        await attempt.run(steps, [scopes[one] for one in whom])
        outcomes.add(attempt.outcome)
        assert living_tasks() == tasks
        assert attempt.worker.hanging == 0
        if steps > 1:  # before, a side may not even have begun
            await assert_let_go(attempt.left)
            await assert_let_go(attempt.right)
    # The loop went on for long enough to see the whole of a session, and all of it.
    at_the_end = "done" if error is None else "mine"
    assert attempt.outcome == at_the_end
    assert outcomes == {at_the_end, "cancelled" if "user" in whom else "lost"}
    assert trio.current_time() == begun  # nobody waited for the other in vain


# ------------------------------------------------------------ the block's own exception

OWN: list[Callable[[], BaseException]] = [
    lambda: Mine("mine"),
    lambda: ExceptionGroup("mine", [Mine("in a group")]),
    lambda: KeyboardInterrupt(),
    lambda: SessionIoError("one that looks like the session's"),
    lambda: StopAsyncIteration(),
]


@pytest.mark.parametrize("make", OWN)
class TestOwnException:
    """It passes through ``async with`` as it is."""

    @contextmanager
    def passes(self, error: BaseException) -> Iterator[None]:
        with pytest.raises(type(error)) as caught:
            yield
        assert caught.value is error
        assert error.__cause__ is None
        assert error.__context__ is None

    async def opened(self, **options: Any) -> tuple[Any, Peer]:
        link, peer = link_to_peer()
        await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
        return initiator(link, **options).open(dispatcher(Work, Worker())), peer

    async def test_of_a_healthy_session(
        self, make: Callable[[], BaseException]
    ) -> None:
        error = make()
        opening, peer = await self.opened()
        with self.passes(error):
            async with opening as session:
                await peer.leave()
                raise error
        assert session.ended_because is not None

    async def test_while_the_peer_breaks_the_protocol(
        self, make: Callable[[], BaseException]
    ) -> None:
        error = make()
        opening, peer = await self.opened()
        with self.passes(error):
            async with opening as session:
                await peer.say_bytes(b"\0\x0b")
                await peer.leave()
                await wait_all_tasks_blocked()
                assert session.ended_because is not None
                raise error

    async def test_in_the_same_moment_as_the_peer_breaks_the_protocol(
        self, make: Callable[[], BaseException]
    ) -> None:
        error = make()
        opening, peer = await self.opened()
        with self.passes(error):
            async with opening:
                await peer.say_bytes(b"\0\x0b")
                await peer.leave()
                raise error

    async def test_while_the_surroundings_are_cancelled(
        self, make: Callable[[], BaseException]
    ) -> None:
        error = make()
        opening, peer = await self.opened()
        with trio.CancelScope() as scope, self.passes(error):
            async with opening:
                await peer.leave()
                scope.cancel()
                raise error
        assert not scope.cancelled_caught

    async def test_while_the_peer_does_not_close(
        self,
        make: Callable[[], BaseException],
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        error = make()
        opening, _ = await self.opened(limits=Limits(close_seconds=3))
        begun = trio.current_time()
        with self.passes(error):
            async with opening:
                raise error
        assert trio.current_time() - begun == pytest.approx(3)

    async def test_after_shutting_down(self, make: Callable[[], BaseException]) -> None:
        error = make()
        opening, peer = await self.opened()
        with self.passes(error):
            async with opening as session:
                await peer.leave()
                await session.shutdown()
                raise error


async def test_a_cancelled_block_is_cancelled_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    link, peer = link_to_peer()
    await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    with trio.move_on_after(1) as scope:
        async with initiator(link).open():
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                cancelled = error
                await peer.leave()
                raise
    assert scope.cancelled_caught
    assert cancelled.__context__ is None


async def test_a_block_that_ends_in_cancelled_surroundings_is_cancelled() -> None:
    link, peer = link_to_peer()
    await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    with trio.CancelScope() as scope:
        async with initiator(link).open():
            await peer.leave()
            scope.cancel()
    assert scope.cancelled_caught


async def test_a_block_goes_on_when_its_session_has_ended() -> None:
    link, peer = link_to_peer()
    await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    async with initiator(link).open() as session:
        await peer.leave()
        await session.closed()
        await trio.lowlevel.checkpoint()
        went_on = True
    assert went_on


# ------------------------------------------------------------ a session that crashes


class Fatal(SystemExit):
    """What a handler raises to end the program."""


class Crashing(Worker):
    """Crashes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = trio.Event()
        self.crash = trio.Event()

    async def hang(self) -> None:
        self.begun.set()
        await self.crash.wait()
        raise Fatal


class TestCrash:
    """What ends programs comes out of the block as out of a nursery."""

    @pytest.fixture
    async def crash(self, nursery: Any) -> Callable[..., Awaitable[None]]:
        """Runs something in the block of a session that crashes at that moment."""
        link, peer = link_to_peer()
        await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
        await peer.say(call_of("hang", 2))
        handler = Crashing()

        async def follow() -> None:
            while await peer.rx.recv() is not None:
                pass
            await peer.leave()

        async def crash(body: Callable[[], Awaitable[None]]) -> None:
            async with initiator(link).open(dispatcher(Work, handler)):
                await handler.begun.wait()
                handler.crash.set()
                await body()

        nursery.start_soon(follow)
        return crash

    async def test_it_cancels_the_block_and_comes_out_of_it(
        self, crash: Callable[..., Awaitable[None]]
    ) -> None:
        with trio.CancelScope() as scope:
            with pytest.raises(BaseExceptionGroup) as caught:
                await crash(trio.sleep_forever)
            await trio.lowlevel.checkpoint()  # nothing else is cancelled
        assert not scope.cancelled_caught
        assert caught.value.subgroup(Fatal) is not None
        assert caught.value.split(Fatal)[1] is None

    async def test_it_comes_out_of_a_block_that_ends_at_that_moment(
        self, crash: Callable[..., Awaitable[None]]
    ) -> None:
        async def body() -> None:
            pass

        with pytest.raises(BaseExceptionGroup) as caught:
            await crash(body)
        assert caught.value.split(Fatal)[1] is None

    async def test_it_comes_out_beside_what_the_cancelled_block_raises(
        self, crash: Callable[..., Awaitable[None]]
    ) -> None:
        async def body() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.raise_when_cancelled)
                nursery.start_soon(trio.sleep_forever)

        with pytest.raises(BaseExceptionGroup) as caught:
            await crash(body)
        assert caught.value.subgroup(Mine) is not None
        assert caught.value.split((Fatal, Mine))[1] is None

    async def test_it_comes_out_beside_what_the_block_raises_by_itself(
        self, crash: Callable[..., Awaitable[None]]
    ) -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            await crash(self.raise_when_cancelled)
        assert caught.value.subgroup(Mine) is not None
        assert caught.value.split((Fatal, Mine))[1] is None

    async def raise_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Mine("mine")


async def test_what_ends_programs_comes_out_of_a_handshake_that_is_cancelled_too(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, _ = link_to_peer()
    rx = link.split()[1]

    async def strike() -> Any:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    monkeypatch.setattr(rx, "recv", strike)
    monkeypatch.setattr(rx, "recv_batch", strike)

    async def open_cancelled() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with initiator(link).open():
                raise AssertionError("it is not set up")

    with pytest.raises(BaseExceptionGroup) as caught:
        await open_cancelled()
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert caught.value.split(KeyboardInterrupt)[1] is None, "a Cancelled of the scope"


async def test_what_ends_a_session_is_not_hidden_by_what_fails_as_it_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link that was interrupted, for one, may not be fit to be read to its end."""
    link, peer = link_to_peer()
    await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    rx = link.split()[1]

    async def strike() -> Any:
        monkeypatch.setattr(rx, "recv_batch", stumble)
        raise KeyboardInterrupt

    async def stumble() -> Any:
        raise RuntimeError("half done")

    async def live() -> None:
        async with initiator(link).open(dispatcher(Work, Worker())):
            monkeypatch.setattr(rx, "recv_batch", strike)
            await peer.say(Ping(0, 1))
            await peer.say(Ping(0, 2))
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert caught.value.subgroup(RuntimeError) is not None
    monkeypatch.undo()
    await assert_let_go(link)


def call_of(name: str, request_id: int) -> RequestCall:
    """A request of a method without arguments."""
    (method_id,) = (m.id for m in describe(Work).methods if m.name == name)
    return RequestCall(0, request_id, method_id, (), NO_METADATA, b"")


async def test_a_link_that_takes_nothing_more_is_not_waited_for(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Though its peer could still say something."""
    link, peer = link_to_peer(1)
    session = await accepted(link, peer, nursery)
    for nonce in range(3):
        await peer.say(Ping(0, nonce))
    await wait_all_tasks_blocked()
    begun = trio.current_time()
    await peer.rx.close()
    await session.closed()
    assert isinstance(session.ended_because, SessionIoError)
    assert trio.current_time() == begun
    await assert_let_go(link)


async def test_a_payload_that_is_being_written_is_written_to_its_end(
    nursery: trio.Nursery,
) -> None:
    """Though the session is cancelled in its middle; the rest would be garbage."""
    left, right = map(SocketTransport, socket.socketpair())
    peer = Peer(StreamLink.over(right))
    nursery.start_soon(peer.tx.pump)
    await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    text = "much" * 1_000_000

    async def hear_it() -> None:
        await peer.hear(Hello)
        assert len(joined((await peer.hear(RequestCall)).args)) > len(text)
        while await peer.rx.recv() is not None:
            pass
        await peer.leave()

    async with trio.open_nursery() as ours:
        session = await ours.start(initiator(StreamLink.over(left)).run)
        ours.start_soon(work(session).echo, text)
        await wait_all_tasks_blocked(0.01)
        assert session.statistics().sent.unsent_payloads
        nursery.start_soon(hear_it)
        ours.cancel_scope.cancel()


async def test_a_pump_that_does_not_end_is_not_waited_for(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, peer = link_to_peer()
    monkeypatch.setattr(link.split()[0], "pump", trio.sleep_forever)
    session = await accepted(link, peer, nursery)
    await peer.leave()
    with trio.fail_after(5):
        await session.closed()
        while nursery.child_tasks:
            await trio.lowlevel.checkpoint()


async def test_a_handler_that_cleans_up_does_not_hold_up_the_end_of_the_link(
    nursery: trio.Nursery,
) -> None:
    """The peer sees the end at once; the session is over when its handlers are."""
    cleaning, release = trio.Event(), trio.Event()

    class Slow(Worker):
        async def hang(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                cleaning.set()
                with trio.CancelScope(shield=True):
                    await release.wait()

    link, peer = link_to_peer()
    await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64)))
    session = await nursery.start(acceptor(link).run, dispatcher(Work, Slow()))
    await peer.hear(HelloYourself)
    await peer.say(call_of("hang", 1))
    await wait_all_tasks_blocked()
    closing = Task(nursery, session.shutdown)
    await cleaning.wait()
    assert await peer.rx.recv() is None
    await peer.leave()
    await wait_all_tasks_blocked()
    await assert_let_go(link)
    assert (closing.is_done, session.tasks_left) == (False, 1)
    release.set()
    await closing.result()
    assert session.tasks_left == 0
