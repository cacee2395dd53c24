"""The handshake, in both roles against a scripted peer, to the byte."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from roam_trio.conduits.bare import BareConduit
from roam_trio.errors import (
    LimitExceeded,
    LinkClosed,
    LocalProtocolError,
    RemoteProtocolError,
    SessionError,
    SessionIoError,
    SessionProtocolError,
    TruncatedPayload,
)
from roam_trio.limits import Limits
from roam_trio.links.memory import MemoryLink, memory_link_pair
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry
from roam_trio.session import (
    ConnectionHandle,
    ConnectionPhase,
    SessionAcceptorBuilder,
    SessionInitiatorBuilder,
    acceptor,
    initiator,
)
from roam_trio.wire.envelope import MessageFamily, encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    Ping,
    ProtocolError,
    RequestCall,
    RequestResponse,
)
from tests.peer import Peer, link_to_peer

ODD, EVEN = Parity.ODD, Parity.EVEN
Builder = SessionInitiatorBuilder | SessionAcceptorBuilder
Opener = Callable[[Builder], Awaitable[None]]


async def enter(builder: Builder) -> None:
    async with builder.open():
        raise AssertionError("the session was set up")


async def start(builder: Builder) -> None:
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(builder.run)
        except SessionError as error:
            failure = error
        else:
            raise AssertionError("the session was set up")
    raise failure


KNOWS = b"\x09roam-trio\x02\x01\x02"
"""The entry by which a side says that it knows what roam_trio adds."""

both_ways = pytest.mark.parametrize("opener", [enter, start])


def living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def assert_let_go(link: MemoryLink) -> None:
    """Both halves of `link` are closed, and nothing is reserved on it."""
    tx, rx = link.split()
    with pytest.raises(LinkClosed):
        await tx.reserve()
    with pytest.raises(LinkClosed):
        await rx.recv()
    assert tx.statistics().permits == 0
    assert tx.statistics().tasks_waiting == 0


# ------------------------------------------------------------ how it goes


@pytest.mark.rule(
    "session.handshake",
    "session.connection-settings",
    "session.connection-settings.hello",
    "session.message.connection-id",
    "session.role",
    "connection.root",
    "rpc.flow-control.max-concurrent-requests.default",
)
class TestInitiator:
    async def test_says_hello_and_takes_the_answer(self) -> None:
        link, peer = link_to_peer()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer() -> None:
                assert await peer.rx.recv() == bytes.fromhex("00 00 07 00 40") + (
                    b"\1" + KNOWS
                )
                await peer.say_bytes(bytes.fromhex("00 01 01 20 00"))

            async with initiator(link).open() as session:
                root = session.root
                assert root.connection_id == 0
                assert root.settings == ConnectionSettings(ODD, 64)
                assert root.peer_settings == ConnectionSettings(EVEN, 32)
                assert root.peer_metadata == NO_METADATA
                assert root.phase is ConnectionPhase.OPEN
                assert session.caller is root.caller
                assert session.ended_because is None
                assert repr(session) == (
                    "<Session open: 1 connections, 0 calling, 0 answering, 0 channels>"
                )
                assert repr(root) == "<ConnectionHandle 0, open>"
                await peer.leave()
            assert root.phase is ConnectionPhase.CLOSED
            assert repr(root) == "<ConnectionHandle 0, closed>"

    async def test_tells_its_parity_limit_and_metadata(self) -> None:
        link, peer = link_to_peer()
        metadata = {"who": "me", "since": 300}
        builder = initiator(
            link, parity=EVEN, max_concurrent_requests=200, metadata=metadata
        )
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer() -> None:
                assert (
                    await peer.rx.recv()
                    == bytes.fromhex(
                        "00 00 07 01 c801 03 03 77686f 00 02 6d65 00"
                        "05 73696e6365 02 ac02 00"
                    )
                    + KNOWS
                )
                await peer.say(HelloYourself(0, ConnectionSettings(ODD, 1)))

            async with builder.open() as session:
                assert session.root.settings == ConnectionSettings(EVEN, 200)
                await peer.leave()

    async def test_learns_the_metadata_of_the_answer(self) -> None:
        link, peer = link_to_peer()
        metadata = Metadata([MetadataEntry("who", "you"), MetadataEntry("who", 2, 4)])
        await peer.say(HelloYourself(0, ConnectionSettings(EVEN, 64), metadata))
        async with initiator(link).open() as session:
            assert session.root.peer_metadata == metadata
            await peer.leave()

    async def test_an_acceptor_that_always_says_even_is_tolerated(self) -> None:
        link, peer = link_to_peer()
        await peer.say(HelloYourself(0, ConnectionSettings(EVEN, 64)))
        async with initiator(link, parity=EVEN).open() as session:
            assert session.root.settings.parity is EVEN
            await peer.leave()


@pytest.mark.rule(
    "session.handshake",
    "session.connection-settings",
    "session.connection-settings.hello",
    "session.message.connection-id",
    "session.role",
    "connection.root",
    "rpc.flow-control.max-concurrent-requests.default",
)
class TestAcceptor:
    async def test_takes_hello_and_answers(self) -> None:
        link, peer = link_to_peer()
        await peer.say_bytes(bytes.fromhex("00 00 07 00 20 00"))
        async with acceptor(link).open() as session:
            assert await peer.rx.recv() == bytes.fromhex("00 01 01 40 00")
            root = session.root
            assert root.connection_id == 0
            assert root.settings == ConnectionSettings(EVEN, 64)
            assert root.peer_settings == ConnectionSettings(ODD, 32)
            await peer.leave()

    @pytest.mark.rule("session.parity")
    @pytest.mark.parametrize("parity", Parity)
    async def test_takes_the_parity_that_is_left(self, parity: Parity) -> None:
        link, peer = link_to_peer()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def ask() -> None:
                answer = await peer.initiate(parity=parity)
                assert answer.settings.parity is parity.other()
                assert answer.connection_id == 0
                await peer.leave()

            async with acceptor(link).open() as session:
                assert session.root.settings.parity is parity.other()

    async def test_metadata_goes_both_ways(self) -> None:
        link, peer = link_to_peer()
        metadata = Metadata([MetadataEntry("who", "you"), MetadataEntry("?", b"x", 8)])
        await peer.say(Hello(0, 7, ConnectionSettings(ODD, 64), metadata))
        builder = acceptor(link, max_concurrent_requests=3, metadata={"who": "me"})
        async with builder.open() as session:
            assert session.root.peer_metadata == metadata
            assert await peer.hear(HelloYourself) == HelloYourself(
                0, ConnectionSettings(EVEN, 3), Metadata.of({"who": "me"})
            )
            await peer.leave()


@pytest.mark.rule("session")
async def test_a_session_runs_on_a_conduit_as_on_a_link() -> None:
    link, peer = link_to_peer()
    await peer.say(HELLO_YOURSELF)
    async with initiator(BareConduit(link, MessageFamily())).open() as session:
        assert session.root.peer_settings == HELLO_YOURSELF.settings
        await peer.leave()
    await assert_let_go(link)


@pytest.mark.rule("session.peer", "session.role", "session.connection-settings.hello")
async def test_what_one_side_calls_its_own_is_the_peers_on_the_other() -> None:
    left, right = memory_link_pair(8)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def initiate() -> None:
            builder = initiator(left, max_concurrent_requests=5, metadata={"i": 1})
            async with builder.open() as session:
                roots.append(session.root)
                await session.closed()

        roots: list[ConnectionHandle] = []
        builder = acceptor(right, max_concurrent_requests=6, metadata={"a": 2})
        async with builder.open() as session:
            roots.append(session.root)
            await trio.testing.wait_all_tasks_blocked()
    one, other = roots
    assert {one.settings, other.settings} == {
        ConnectionSettings(ODD, 5),
        ConnectionSettings(EVEN, 6),
    }
    assert (one.settings, one.peer_settings) == (other.peer_settings, other.settings)
    told = {root.settings.parity: root.peer_metadata for root in roots}
    assert told == {ODD: Metadata.of({"a": 2}), EVEN: Metadata.of({"i": 1})}


@pytest.mark.rule("session.parity", "connection.root", "rpc.request.id-allocation")
@pytest.mark.parametrize("parity", Parity)
async def test_requests_are_numbered_by_the_parity_agreed_on(parity: Parity) -> None:
    link, peer = link_to_peer()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            await peer.initiate(parity=parity)
            for _ in range(3):
                call = await peer.hear(RequestCall)
                heard.append(call.request_id)
                answer = RequestResponse(0, call.request_id, (), NO_METADATA, b"\0")
                await peer.say(answer)
            await peer.leave()

        heard: list[int] = []
        async with acceptor(link).open() as session:
            for _ in range(3):
                await session.caller.call(1, b"")
    assert heard == ([2, 4, 6] if parity is ODD else [1, 3, 5])


# ------------------------------------------------------------ how it fails

HELLO = Hello(0, 7, ConnectionSettings(ODD, 64))
HELLO_YOURSELF = HelloYourself(0, ConnectionSettings(EVEN, 64))
CALL = RequestCall(0, 1, 2, (), NO_METADATA, b"")

WRONG: list[tuple[str, Any, Message | bytes, str]] = [
    # what is wrong, the role under test, what the peer says, what it hears
    (
        "older version",
        acceptor,
        Hello(0, 6, ConnectionSettings(ODD, 64)),
        "expected protocol version 7, got 6",
    ),
    (
        "Ping for HelloYourself",
        initiator,
        Ping(0, 1),
        "expected HelloYourself as the first message, got Ping",
    ),
    (
        "unknown tag",
        acceptor,
        b"\0\x0b",
        "not a message: expected one of the message tags 0 to 10, got 11 - "
        "at $.payload",
    ),
    (
        "cut HelloYourself",
        initiator,
        b"\0\1\1\x40",
        "not a message: expected a whole message, but it ends after 4 bytes - at $",
    ),
]
"""One of each kind; `test_handshake_decisions.py` has what is wrong with a message."""

STRICTLY_WRONG: list[tuple[str, Any, Message | bytes, str]] = [
    (
        "Hello on a connection",
        acceptor,
        Hello(1, 7, ConnectionSettings(ODD, 64)),
        "expected Hello on connection 0, got it on 1",
    ),
    (
        "the parity of the initiator",
        initiator,
        HelloYourself(0, ConnectionSettings(ODD, 64)),
        "expected HelloYourself with parity even, got odd",
    ),
]


def rows(table: list[tuple[str, Any, Message | bytes, str]]) -> Any:
    return pytest.mark.parametrize(
        ("role", "said", "told"),
        [pytest.param(*row, id=name) for name, *row in table],
    )


async def talk(peer: Peer, said: Message | bytes, role: Any) -> ProtocolError:
    """Say what is wrong, and hear about it, and nothing more."""
    if role is initiator:
        await peer.hear(Hello)
    await peer.say_bytes(said if isinstance(said, bytes) else encode_message(said))
    error = await peer.hear(ProtocolError)
    await peer.hear_end()
    await peer.leave()
    return error


@pytest.mark.rule("session.handshake")
class TestFaultsOfThePeer:
    @both_ways
    @rows(WRONG)
    async def test_fails_and_the_peer_is_told_why(
        self, opener: Opener, role: Any, said: Message | bytes, told: str
    ) -> None:
        await self.fails(opener, role, said, told, strict=False)

    @rows(STRICTLY_WRONG)
    async def test_fails_if_strict(
        self, role: Any, said: Message | bytes, told: str
    ) -> None:
        await self.fails(enter, role, said, told, strict=True)

    async def fails(
        self,
        opener: Opener,
        role: Any,
        said: Message | bytes,
        told: str,
        *,
        strict: bool,
    ) -> None:
        link, peer = link_to_peer()
        tasks = living_tasks()
        heard: list[ProtocolError] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def script() -> None:
                heard.append(await talk(peer, said, role))

            with pytest.raises(SessionProtocolError) as caught:
                await opener(role(link, strict=strict))
        assert isinstance(caught.value, RemoteProtocolError)
        assert caught.value.description == told
        assert str(caught.value) == (
            f"the peer broke the protocol: {told} (peer: this process)"
        )
        assert heard == [ProtocolError(0, told)]
        assert living_tasks() == tasks
        await assert_let_go(link)

    @rows(STRICTLY_WRONG)
    async def test_what_other_peers_do_is_tolerated(
        self, role: Any, said: Message, told: str
    ) -> None:
        link, peer = link_to_peer()
        await peer.say(said)
        async with role(link).open() as session:
            assert session.ended_because is None
            await peer.leave()

    async def test_an_announcement_too_large_is_told_by_its_limit(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        link = StreamLink(ours, limits=StreamLimits(max_payload=100))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def script() -> None:
                await theirs.send_all((101).to_bytes(4, "little"))
                heard = b""
                while part := await theirs.receive_some():
                    heard += part
                assert heard[4:6] == b"\0\2"
                assert b"101 bytes came (limit: max_payload)" in heard
                await theirs.aclose()

            with pytest.raises(LimitExceeded) as caught:
                await enter(acceptor(link))
        assert caught.value.limit == "max_payload"


@pytest.mark.rule("session.handshake")
class TestOtherFailures:
    @both_ways
    @pytest.mark.parametrize("role", [initiator, acceptor])
    async def test_the_word_of_the_peer_is_raised(
        self, opener: Opener, role: Any
    ) -> None:
        """And not answered, since an answer would be an answer to the wrong thing."""
        link, peer = link_to_peer()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def script() -> None:
                if role is initiator:
                    await peer.hear(Hello)
                await peer.say(ProtocolError(0, "no version like yours"))
                await peer.hear_end()
                await peer.leave()

            with pytest.raises(SessionProtocolError) as caught:
                await opener(role(link))
        assert isinstance(caught.value, LocalProtocolError)
        assert str(caught.value) == (
            "the peer says that we broke the protocol: no version like yours "
            "(peer: this process)"
        )
        await assert_let_go(link)

    @both_ways
    @pytest.mark.parametrize(
        ("role", "awaited"),
        [
            (
                initiator,
                "HelloYourself; is it a server of roam, and with TLS, or without, as "
                "this side?",
            ),
            (acceptor, "Hello"),
        ],
        ids=["initiator", "acceptor"],
    )
    async def test_a_peer_that_closes_is_named(
        self, opener: Opener, role: Any, awaited: str
    ) -> None:
        link, peer = link_to_peer()
        await peer.tx.close()
        tasks = living_tasks()
        with pytest.raises(SessionIoError) as caught:
            await opener(role(link))
        assert str(caught.value) == (
            f"the peer closed the link; expected its {awaited} (peer: this process)"
        )
        assert living_tasks() == tasks
        await assert_let_go(link)

    @both_ways
    @pytest.mark.parametrize("role", [initiator, acceptor])
    async def test_a_broken_link_is_told(self, opener: Opener, role: Any) -> None:
        with pytest.raises(SessionIoError, match="inside a length prefix: 2 of 4"):
            await opener(role(await self.broken_link()))

    @pytest.mark.parametrize("role", [initiator, acceptor])
    async def test_a_broken_link_is_the_cause(self, role: Any) -> None:
        """Of what `run` raises; `Nursery.start` takes causes away in older trios."""
        with pytest.raises(SessionIoError) as caught:
            await role(await self.broken_link()).run()
        assert isinstance(caught.value.__cause__, TruncatedPayload)

    async def broken_link(self) -> StreamLink:
        """A link whose peer goes within a length prefix."""
        (there_send, _), (back_send, back_receive) = (
            trio.testing.memory_stream_one_way_pair(),
            trio.testing.memory_stream_one_way_pair(),
        )
        await back_send.send_all(b"\6\0")
        await back_send.aclose()
        return StreamLink(there_send, back_receive)

    @both_ways
    @pytest.mark.parametrize("role", [initiator, acceptor])
    async def test_a_silent_peer_is_given_up_after_handshake_seconds(
        self, opener: Opener, role: Any, autojump_clock: trio.testing.MockClock
    ) -> None:
        link, peer = link_to_peer()
        limits = Limits(handshake_seconds=3, close_seconds=2)
        tasks = living_tasks()
        begun = trio.current_time()
        with pytest.raises(SessionIoError) as caught:
            await opener(role(link, limits=limits))
        assert str(caught.value) == (
            "the handshake took longer than 3 s (limit: handshake_seconds) "
            "(peer: this process)"
        )
        assert trio.current_time() - begun == pytest.approx(3)
        assert living_tasks() == tasks
        await assert_let_go(link)
        if role is initiator:
            await peer.hear(Hello)
        await peer.hear_end()

    async def test_a_peer_that_does_not_take_hello_is_given_up_too(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Over a stream, where sending waits for the peer."""
        ours, _ = trio.testing.lockstep_stream_pair()
        limits = Limits(handshake_seconds=3, close_seconds=2)
        begun = trio.current_time()
        with pytest.raises(SessionIoError, match="limit: handshake_seconds"):
            await enter(initiator(StreamLink(ours), limits=limits))
        assert trio.current_time() - begun == pytest.approx(3)

    @both_ways
    @pytest.mark.parametrize("role", [initiator, acceptor])
    async def test_cancelled_while_it_waits_it_leaves_nothing(
        self, opener: Opener, role: Any, autojump_clock: trio.testing.MockClock
    ) -> None:
        link, peer = link_to_peer()
        tasks = living_tasks()
        with trio.move_on_after(1) as scope:
            await opener(role(link))
        assert scope.cancelled_caught
        assert living_tasks() == tasks
        await assert_let_go(link)
        if role is initiator:
            await peer.hear(Hello)
        await peer.hear_end()


# ------------------------------------------------------------ what is asked for wrongly


@pytest.mark.parametrize("role", [initiator, acceptor])
class TestArguments:
    @pytest.mark.parametrize("value", [0, -1, 2**32])
    def test_a_request_limit_that_cannot_be_told_is_refused(
        self, role: Any, value: int
    ) -> None:
        link, _ = link_to_peer()
        with pytest.raises(ValueError, match="max_concurrent_requests"):
            role(link, max_concurrent_requests=value)

    def test_metadata_is_checked_before_anything_is_sent(self, role: Any) -> None:
        link, _ = link_to_peer()
        with pytest.raises(ValueError, match="metadata 'k'"):
            role(link, metadata={"k": -1})
