"""A server's conduits, clients that come back, and others that should not be let in."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Link,
    LinkClosed,
    LinkDead,
    LinkError,
    StableConduit,
    StableConduitAcceptor,
    StableConduitError,
    StableConduitRx,
    StableConduitTx,
    StableHandshakeError,
    StableLimits,
    prepare_acceptor_attachment,
)
from roam_trio.links.base import LinkRx, LinkTx
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.peers import Peer

from .lines import Line, Texts

LIMITS = StableLimits(
    handshake_seconds=5, resume_seconds=30, lost_clients=2, acknowledge_seconds=1000
)


class Served:
    """A conduit of the server's, at work."""

    def __init__(self, conduit: StableConduit[str], nursery: trio.Nursery) -> None:
        self.tx: StableConduitTx[str]
        self.rx: StableConduitRx[str]
        self.conduit = conduit
        self.tx, self.rx = conduit.split()
        self.got: list[str] = []
        self.error: Exception | None = None
        nursery.start_soon(self._pump)
        nursery.start_soon(self._receive)

    async def _pump(self) -> None:
        try:
            await self.tx.pump()
        except StableConduitError as error:
            self.error = error

    async def _receive(self) -> None:
        try:
            while (text := await self.rx.recv()) is not None:
                self.got.append(text)
        except (StableConduitError, LinkClosed):
            pass


class LinkOf(Link):
    """A link of which the peer is described by the test."""

    def __init__(self, below: Link, peer: Peer) -> None:
        self._below = below
        self._peer = peer

    def split(self) -> tuple[LinkTx, LinkRx]:
        return self._below.split()

    def peer(self) -> Peer:
        return self._peer


class Hall:
    """A server, and the clients that come to it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        limits: StableLimits = LIMITS,
        max_sessions: int = 1024,
    ) -> None:
        self.nursery = nursery
        self.acceptor = StableConduitAcceptor(
            Texts(), limits=limits, max_sessions=max_sessions
        )
        self.served: list[Served] = []
        self.errors: list[Exception] = []

    def come(self, peer: Peer | None = None) -> Line:
        """Open a link to the server, as this peer."""
        ours, theirs = memory_link_pair(16)
        link = theirs if peer is None else LinkOf(theirs, peer)
        self.nursery.start_soon(self._accept, link)
        return Line(ours)

    async def _accept(self, link: Link) -> None:
        try:
            conduit = await self.acceptor.conduit_of(link)
        except (LinkError, StableConduitError) as error:
            self.errors.append(error)
            return
        if conduit is not None:
            self.served.append(Served(conduit, self.nursery))

    async def new_client(self, peer: Peer | None = None) -> tuple[Line, bytes, Served]:
        line = self.come(peer)
        hello = await line.greet()
        assert hello is not None
        assert not hello.rejected
        return line, hello.resume_key, self.served[-1]

    async def is_refused(
        self, key: bytes | None, last_received: int | None, peer: Peer | None = None
    ) -> bool:
        """Return True if a client with this hello is rejected, and its link closed."""
        line = self.come(peer)
        hello = await line.greet(key, last_received)
        assert hello is not None
        if hello.rejected:
            assert hello == ServerHello(rejected=True)
            assert await line.hear() is None
        return hello.rejected


@pytest.fixture
def hall(nursery: trio.Nursery) -> Hall:
    return Hall(nursery)


@pytest.mark.rule(
    "stable.handshake",
    "stable.handshake.server-hello",
    "stable.resume-key",
    "stable.reconnect.server-replay",
    "stable.replay-buffer.order",
)
async def test_client_that_comes_back_gets_what_it_lacks_before_anything_new(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, key, served = await hall.new_client()
    await line.say_frame(0, "hello")
    for text in ("zero", "one", "two"):
        served.tx.send_nowait(text)
        await line.hear_frame()
    await line.break_off()
    await wait_all_tasks_blocked()
    served.tx.send_nowait("meanwhile")
    line = hall.come()
    hello = await line.greet(key, 0)
    assert hello is not None
    assert hello.last_received == 0
    assert hello.resume_key != key
    served.tx.send_nowait("new")
    for seq, text in ((1, "one"), (2, "two"), (3, "meanwhile"), (4, "new")):
        assert await line.hear_frame() == (seq, 0, text)
    await line.say_frame(1, "still me")
    await wait_all_tasks_blocked()
    assert served.got == ["hello", "still me"]
    assert len(hall.served) == 1


@pytest.mark.rule("stable.reconnect.failure")
@pytest.mark.parametrize("key", [bytes(16), b"a key of others."])
async def test_unknown_key_is_refused(
    key: bytes, hall: Hall, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await hall.new_client()
    with caplog.at_level(logging.WARNING, "roam_trio.links"):
        assert await hall.is_refused(key, None)
    assert "its key is of no session" in caplog.text
    assert key.decode() not in caplog.text
    assert (len(hall.served), hall.errors) == (1, [])


async def test_answer_that_was_cut_off_does_not_cost_the_session(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, key, served = await hall.new_client()
    await line.say_frame(0, "hello")
    for _ in range(3):
        await wait_all_tasks_blocked()
        await line.break_off()
        line = hall.come()
        await line.say(ClientHello(key).encode())
        await wait_all_tasks_blocked()  # the answer is under way, and gets lost
    await line.break_off()
    line = hall.come()
    hello = await line.greet(key)
    assert hello is not None
    assert not hello.rejected
    await line.say_frame(1, "here again")
    await wait_all_tasks_blocked()
    assert served.got == ["hello", "here again"]


async def test_key_shown_again_after_a_newer_one_was_used_is_refused(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, first, served = await hall.new_client()
    await line.say_frame(0, "hello")
    await line.break_off()
    line = hall.come()
    hello = await line.greet(first)
    assert hello is not None
    await line.say_frame(1, "newer key in use")
    await wait_all_tasks_blocked()
    assert await hall.is_refused(first, None)
    await line.say_frame(2, "not disturbed")
    await wait_all_tasks_blocked()
    assert served.got == ["hello", "newer key in use", "not disturbed"]


async def test_of_two_clients_with_one_key_the_later_one_goes_on_alone(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, key, served = await hall.new_client()
    await line.say_frame(0, "hello")
    await wait_all_tasks_blocked()
    thief = hall.come()
    stolen = await thief.greet(key)
    assert stolen is not None
    assert not stolen.rejected
    assert await line.hear() is None  # the link of the first is closed
    await thief.say_frame(1, "from the thief")
    await wait_all_tasks_blocked()
    assert await hall.is_refused(key, None)
    assert served.got == ["hello", "from the thief"]
    assert len(hall.served) == 1


@pytest.mark.rule("stable.reconnect.server-replay")
async def test_client_is_recognised_although_its_old_link_seems_alive(
    hall: Hall, autojump_clock: MockClock
) -> None:
    old, key, served = await hall.new_client()
    await old.say_frame(0, "hello")
    await wait_all_tasks_blocked()
    new = hall.come()
    assert await new.greet(key) is not None
    assert await old.hear() is None
    with pytest.raises(LinkError):
        await old.say_frame(1, "from a link that was given up")
    await new.say_frame(1, "from the new link")
    await wait_all_tasks_blocked()
    assert served.got == ["hello", "from the new link"]


@pytest.mark.parametrize("claim", [2, 3, 1000, 2**32 - 1])
async def test_client_that_cannot_have_got_what_it_claims_is_refused(
    claim: int, hall: Hall, autojump_clock: MockClock
) -> None:
    line, key, served = await hall.new_client()
    served.tx.send_nowait("zero")
    served.tx.send_nowait("one")
    await line.say_frame(0, "hello", ack=None)
    await wait_all_tasks_blocked()
    assert await hall.is_refused(key, claim)
    await line.say_frame(1, "not disturbed", ack=1)
    await wait_all_tasks_blocked()
    assert served.got == ["hello", "not disturbed"]
    assert await hall.is_refused(key, 0)  # it has acknowledged more
    assert await hall.is_refused(key, None)
    assert not await hall.is_refused(key, 1)


async def test_new_client_that_has_received_something_is_refused(
    hall: Hall, autojump_clock: MockClock
) -> None:
    assert await hall.is_refused(None, 0)
    assert hall.served == []


@pytest.mark.rule("stable.handshake")
@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "got 0"),
        (b"\0\0\7\0\x40\0", "got 6"),
        (b"ROSH" + bytes(21), "b'ROSH' came"),
        (b"ROCH" + bytes(22), "got 26"),
        (b"ROCH\xf0" + bytes(20), "flags"),
    ],
    ids=["empty", "bare", "server's", "long", "flags"],
)
async def test_client_that_says_something_else_is_refused(
    payload: bytes, complaint: str, hall: Hall, autojump_clock: MockClock
) -> None:
    line = hall.come()
    await line.say(payload)
    answer = await line.hear()
    assert answer is not None
    assert ServerHello.decode(answer).rejected
    assert await line.hear() is None
    await wait_all_tasks_blocked()
    (error,) = hall.errors
    assert isinstance(error, StableHandshakeError)
    assert complaint in str(error)
    assert "resume=True" in str(error)


async def test_client_that_says_nothing_is_not_waited_for_long(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line = hall.come()
    await line.hear()
    assert trio.current_time() == LIMITS.handshake_seconds
    await wait_all_tasks_blocked()
    (error,) = hall.errors
    assert "handshake_seconds" in str(error)


async def test_client_that_goes_before_its_hello_leaves_nothing(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line = hall.come()
    await line.break_off()
    await wait_all_tasks_blocked()
    (error,) = hall.errors
    assert isinstance(error, LinkError)
    assert hall.acceptor.is_idle


async def test_hello_that_is_awaited_in_vain_closes_the_link() -> None:
    ours, theirs = memory_link_pair(4)
    line = Line(ours)
    with trio.CancelScope() as scope:
        scope.cancel()
        await prepare_acceptor_attachment(theirs)
    assert await line.hear() is None


async def test_lost_client_is_given_up_after_a_time(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, key, served = await hall.new_client()
    assert "1 conduits, 0 of them without a client" in repr(hall.acceptor)
    await line.break_off()
    await wait_all_tasks_blocked()
    assert "1 conduits, 1 of them without a client" in repr(hall.acceptor)
    await trio.sleep(LIMITS.resume_seconds - 1)
    assert served.error is None
    await trio.sleep(2)
    assert isinstance(served.error, LinkDead)
    assert str(served.error) == (
        "the client did not return in 30 s (limit: resume_seconds)"
    )
    with pytest.raises(LinkDead):
        served.tx.send_nowait("nobody is there")
    assert hall.acceptor.is_idle
    assert await hall.is_refused(key, None)


async def test_only_so_many_lost_clients_are_waited_for(
    hall: Hall, autojump_clock: MockClock
) -> None:
    clients = [await hall.new_client() for _ in range(4)]
    for line, _, _ in clients[:3]:
        await line.break_off()
        await wait_all_tasks_blocked()
    errors = [served.error for _, _, served in clients]
    assert [isinstance(error, LinkDead) for error in errors] == [True] + 3 * [False]
    assert "(limit: lost_clients)" in str(errors[0])
    for (_, key, _), refused in zip(clients, [True, False, False], strict=False):
        assert await hall.is_refused(key, None) == refused


async def test_client_that_hurries_is_served_on_its_last_link(
    hall: Hall, autojump_clock: MockClock
) -> None:
    _, key, served = await hall.new_client()
    hurried = [hall.come() for _ in range(5)]
    for each in hurried:
        await each.say(ClientHello(key).encode())
    await wait_all_tasks_blocked()
    served.tx.send_nowait("found you")
    await wait_all_tasks_blocked()
    heard = [each.has_heard() for each in hurried]
    assert sum(b"\0\0found you" in payloads for payloads in heard) == 1


async def test_ended_conduit_takes_its_links_and_keys_along(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, key, served = await hall.new_client()
    await served.tx.abort()
    assert await line.hear() is None
    assert hall.acceptor.is_idle
    assert await hall.is_refused(key, None)


async def test_goodbye_of_a_client_frees_everything_at_once(
    hall: Hall, autojump_clock: MockClock
) -> None:
    line, _, served = await hall.new_client()
    hall.nursery.start_soon(served.tx.close)
    assert await line.hear() == b"\0\0"
    await line.say(b"\0\1\0")
    await wait_all_tasks_blocked()
    assert hall.acceptor.is_idle
    assert trio.current_time() == 0
