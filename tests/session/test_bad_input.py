"""What a running session does with input no peer should send.

Each fault ends the session it came on, with an error that says what was wrong; the
peer is told the same words, and whoever waits for something learns them too. A session
beside it goes on as if nothing had happened.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import attrs
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, client, dispatcher, service
from roam_trio.errors import (
    ConnectionLost,
    LimitExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    SessionIoError,
    TruncatedPayload,
)
from roam_trio.limits import Limits
from roam_trio.links.base import SplitLink
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.metadata import NO_METADATA
from roam_trio.schema import i32
from roam_trio.service import describe
from roam_trio.session import Session, acceptor, initiator
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)
from tests.peer import Peer, link_to_peer

SETTINGS = ConnectionSettings(Parity.ODD, 64)


@service
class Probe(Protocol):
    async def echo(self, text: str) -> str: ...
    async def hang(self) -> None: ...
    async def take(self, numbers: Rx[i32]) -> None: ...


class ProbeHandler:
    """Knows which of its methods were begun, and which of them cancelled."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0

    async def echo(self, text: str) -> str:
        return text

    async def hang(self) -> None:
        self.begun += 1
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled += 1
            raise

    async def take(self, numbers: Rx[i32]) -> None:
        await self.hang()


METHODS = {method.name: method.id for method in describe(Probe).methods}


def call(
    name: str, request_id: int, channels: tuple[int, ...] = (), args: bytes = b""
) -> RequestCall:
    return RequestCall(0, request_id, METHODS[name], channels, NO_METADATA, args)


def echo(request_id: int) -> RequestCall:
    return call("echo", request_id, (), b"\2hi")


ECHOED = b"\0\2hi"


class Running:
    """A session under test, its scripted peer, and a neighbour with the same handler.

    On entry the session has answered the handshake and has in flight: two requests of
    its own (2 and 4), a request of the peer's that hangs (1), and one (3) with an open
    channel (1), of which nothing has been received yet.
    """

    def __init__(self, **options: Any) -> None:
        self.handler = ProbeHandler()
        self.outcomes: dict[int, RequestResponse | ConnectionLost] = {}
        self._options = options
        self._dispatcher = dispatcher(Probe, self.handler)
        self._tasks = trio.open_nursery()

    session: Session
    peer: Peer

    async def __aenter__(self) -> Running:
        nursery = await self._tasks.__aenter__()
        left, right = memory_link_pair(8)
        nursery.start_soon(acceptor(right).run, self._dispatcher)
        self._neighbour: Session = await nursery.start(initiator(left).run)

        link, self.peer = link_to_peer()
        await self.peer.say(Hello(0, 7, SETTINGS))
        run = acceptor(link, **self._options).run
        self.session = await nursery.start(run, self._dispatcher)
        await self.peer.hear(HelloYourself)
        for request_id in (2, 4):
            nursery.start_soon(self._call, request_id)
            await self.peer.hear(RequestCall)
        await self.peer.say(call("hang", 1), call("take", 3, (1,)))
        await wait_all_tasks_blocked()
        assert self.handler.begun == 2
        return self

    async def _call(self, request_id: int) -> None:
        try:
            response = await self.session.caller.call(METHODS["echo"], b"")
        except ConnectionLost as error:
            self.outcomes[request_id] = error
        else:
            self.outcomes[request_id] = response

    async def say(self, offence: list[Message | bytes]) -> None:
        for one in offence:
            payload = one if isinstance(one, bytes) else b"".join(encode_message(one))
            await self.peer.say_bytes(payload)

    async def goes_on(self) -> None:
        """The session under test still serves."""
        await self.peer.say(echo(101))
        response = await self.peer.hear(RequestResponse)
        assert response.request_id == 101
        assert response.ret == ECHOED
        assert self.session.ended_because is None
        assert self.outcomes == {}

    async def fails(
        self, description: str, limit: str | None, *, answered: int | None = None
    ) -> None:
        """The session under test has ended over a fault, and told everybody."""
        assert await self.peer.hear(ProtocolError) == ProtocolError(0, description)
        await self.peer.hear_end()
        await self.peer.leave()
        await self.session.closed()
        await wait_all_tasks_blocked()
        reason = self.session.ended_because
        assert isinstance(reason, RemoteProtocolError)
        assert reason.description == description
        if limit is None:
            assert type(reason) is RemoteProtocolError
        else:
            assert isinstance(reason, LimitExceeded)
            assert reason.limit == limit
            assert description.endswith(f"(limit: {limit})")
        self._everybody_knows(reason, answered)

    def _everybody_knows(self, reason: Exception, answered: int | None) -> None:
        assert self.handler.cancelled == self.handler.begun
        assert set(self.outcomes) == {2, 4}
        for request_id, outcome in self.outcomes.items():
            if request_id == answered:
                assert isinstance(outcome, RequestResponse)
            else:
                assert isinstance(outcome, ConnectionLost)
                assert outcome.__cause__ is reason
                assert "the peer broke the protocol: " in str(outcome)

    async def neighbour_goes_on(self) -> None:
        assert await client(Probe, self._neighbour.caller).echo("hi") == "hi"
        assert self._neighbour.ended_because is None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.peer.leave()
        await self._neighbour.shutdown()
        await self._tasks.__aexit__(exc_type, exc, traceback)


# ------------------------------------------------------------ faults


@attrs.frozen
class Fault:
    name: str
    offence: list[Message | bytes]
    description: str
    limit: str | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    answered: int | None = None
    """Which of our requests the peer has answered before it did wrong."""

    @property
    def has_stray_items(self) -> bool:
        """Return True if a strict session refuses the first message already."""
        return self.limit in ("early_items", "early_bytes") and any(
            isinstance(message, ChannelItem) for message in self.offence
        )


def items(channel_id: int, count: int, size: int = 1) -> list[Message | bytes]:
    return [ChannelItem(0, channel_id, bytes(size)) for _ in range(count)]


RESPONSE = RequestResponse(0, 2, (), NO_METADATA, ECHOED)
BAD_KEY = bytes.fromhex("00 07 05 02 01 02 c328 02 00 00")
BAD_VALUE = bytes.fromhex("00 07 05 00 07 00 01 01 6b 00 01 ff 00")

FAULTS = [
    Fault(
        "nothing",
        [b""],
        "not a message: expected a whole message, but it ends after 0 bytes - at $",
    ),
    Fault(
        "cut message",
        [b"".join(encode_message(call("hang", 5)))[:8]],
        "not a message: expected a whole message, but it ends after 8 bytes - at $",
    ),
    Fault(
        "unknown message",
        [b"\0\x0b\0"],
        "not a message: expected one of the message tags 0 to 10, got 11 - "
        "at $.payload",
    ),
    Fault(
        "unknown request message",
        [b"\0\7\5\3\0"],
        "not a message: expected one of the request tags 0 to 2, got 3 - "
        "at $.request.body",
    ),
    Fault(
        "unknown channel message",
        [b"\0\x08\1\4\0"],
        "not a message: expected one of the channel tags 0 to 3, got 4 - "
        "at $.channel.body",
    ),
    Fault(
        "more than a message",
        [b"\0\7\1\2\0more"],
        "not a message: expected the end of RequestCancel after 5 bytes, but 4 more "
        "follow - at $",
    ),
    Fault(
        "number too long",
        [b"\0\x09" + b"\x80" * 10 + b"\1"],
        "not a message: expected a varint of at most 10 bytes - at $.nonce",
    ),
    Fault(
        "key in no UTF-8",
        [BAD_KEY],
        "not a message: expected UTF-8 text: invalid continuation byte - "
        "at $.metadata[0].key",
    ),
    Fault(
        "value in no UTF-8",
        [BAD_VALUE],
        "not a message: expected UTF-8 text: invalid start byte - "
        "at $.metadata[0].value",
    ),
    Fault(
        "too many requests",
        [call("hang", 5), call("hang", 7)],
        "request 7 came while 3 requests were in flight "
        "(limit: max_concurrent_requests)",
        "max_concurrent_requests",
        {"max_concurrent_requests": 3},
    ),
    Fault(
        "request id in flight",
        [echo(1)],
        "request 1 is in flight, and its id was used again",
    ),
    Fault(
        "request id in flight, cancelled",
        [RequestCancel(0, 1), echo(1)],
        "request 1 is in flight, and its id was used again",
    ),
    Fault(
        "more items than credit",
        items(1, 17),
        "channel 1: an item came without credit",
    ),
    Fault(
        "second response",
        [RESPONSE, RESPONSE],
        "a response came for request 2, which is not in flight",
        answered=2,
    ),
    Fault(
        "response to nothing",
        [RequestResponse(0, 99, (), NO_METADATA, ECHOED)],
        "a response came for request 99, which is not in flight",
    ),
    Fault(
        "response to a request of its own",
        [RequestResponse(0, 1, (), NO_METADATA, ECHOED)],
        "a response came for request 1, which is not in flight",
    ),
    Fault(
        "too many channels",
        [call("hang", 5, (3, 5)), call("hang", 7, (7, 9, 11))],
        "too many channels on one connection (limit: channels)",
        "channels",
        {"limits": Limits(channels=3)},
    ),
    Fault(
        "channel id in use",
        [call("take", 5, (1,))],
        "channel 1 is open, and its id was used again",
    ),
    Fault(
        "channel id twice in one call",
        [call("take", 5, (3, 3))],
        "channel 3 is open, and its id was used again",
    ),
    Fault(
        "too many items for nobody",
        items(9, 4),
        "channel 9: 4 messages wait for channels that are not bound, "
        "at most 3 may (limit: early_items)",
        "early_items",
        {"limits": Limits(early_items=3)},
    ),
    Fault(
        "too many empty items for many nobodies",
        [ChannelItem(0, channel_id, b"") for channel_id in (9, 11, 13, 15)],
        "channel 15: 4 messages wait for channels that are not bound, "
        "at most 3 may (limit: early_items)",
        "early_items",
        {"limits": Limits(early_items=3)},
    ),
    Fault(
        "too many closes for nobody",
        [ChannelClose(0, 9), ChannelReset(0, 11), ChannelClose(0, 13)],
        "channel 13: 3 messages wait for channels that are not bound, "
        "at most 2 may (limit: early_items)",
        "early_items",
        {"limits": Limits(early_items=2)},
    ),
    Fault(
        "too many bytes for nobody",
        items(9, 2, size=50),
        "channel 9: 108 bytes wait for channels that are not bound, "
        "at most 99 may (limit: early_bytes)",
        "early_bytes",
        {"limits": Limits(early_bytes=99)},
    ),
]

STRICT_FAULTS = [
    Fault(
        "an item for nobody",
        items(9, 1),
        "channel 9: an item came, and it is not open",
    ),
    *(
        Fault(
            f"{type(message).__name__} on no connection",
            [message],
            f"{type(message).__name__} came on connection 5, which is not open",
        )
        for message in (
            RequestCall(5, 5, 6, (), NO_METADATA, b""),
            RequestResponse(5, 2, (), NO_METADATA, b""),
            RequestCancel(5, 1),
            ChannelItem(5, 1, b"\0"),
            ChannelClose(5, 1),
            ChannelReset(5, 1),
            ChannelGrantCredit(5, 1, 8),
        )
    ),
    Fault(
        "request of our parity",
        [call("hang", 6)],
        "request 6 has not the parity of its sender, odd",
    ),
    Fault(
        "channel of our parity",
        [call("take", 5, (6,))],
        "channel 6 has not the parity of its caller",
    ),
    *(
        Fault(
            f"{type(message).__name__} in the middle",
            [message],
            f"{type(message).__name__} came {what}",
        )
        for message, what in (
            (Hello(0, 7, SETTINGS), "again"),
            (HelloYourself(0, SETTINGS), "again"),
            (
                ConnectionAccept(1, SETTINGS),
                "on connection 1, which is not being opened",
            ),
            (ConnectionReject(1), "on connection 1, which is not being opened"),
            (ConnectionClose(1), "on connection 1, which is not open"),
        )
    ),
]


def faults(table: list[Fault]) -> Callable[..., Any]:
    return pytest.mark.parametrize(
        "fault", [pytest.param(fault, id=fault.name) for fault in table]
    )


class TestFaults:
    @faults(FAULTS)
    async def test_ends_its_session_and_no_other(self, fault: Fault) -> None:
        await self.ends(fault, strict=False)

    @faults([fault for fault in FAULTS if not fault.has_stray_items] + STRICT_FAULTS)
    async def test_ends_a_strict_session(self, fault: Fault) -> None:
        await self.ends(fault, strict=True)

    async def ends(self, fault: Fault, *, strict: bool) -> None:
        async with Running(strict=strict, **fault.options) as running:
            await running.say(fault.offence)
            await running.fails(fault.description, fault.limit, answered=fault.answered)
            await running.neighbour_goes_on()

    @faults(STRICT_FAULTS)
    async def test_what_others_are_known_to_do_is_tolerated(self, fault: Fault) -> None:
        async with Running() as running:
            await running.say(fault.offence)
            await running.goes_on()


# ------------------------------------------------------------ what is no fault


class TestTolerance:
    @pytest.mark.parametrize("strict", [False, True])
    async def test_cancels_and_credit_that_come_too_late_are_ignored(
        self, strict: bool
    ) -> None:
        """Their sender could not know."""
        async with Running(strict=strict) as running:
            await running.say([RequestCancel(0, 99), ChannelGrantCredit(0, 99, 8)])
            await running.goes_on()

    async def test_items_just_within_credit_are_taken(self) -> None:
        async with Running() as running:
            await running.say(items(1, 16))
            await running.goes_on()

    async def test_strays_just_within_their_limits_are_kept(self) -> None:
        async with Running(limits=Limits(early_items=3, early_bytes=162)) as running:
            await running.say(items(9, 3, size=50))
            await running.goes_on()

    async def test_requests_just_within_the_limit_are_taken(self) -> None:
        async with Running(max_concurrent_requests=3) as running:
            await running.goes_on()
            await running.goes_on()

    async def test_a_request_that_was_answered_makes_room_for_another(self) -> None:
        async with Running(max_concurrent_requests=3) as running:
            for request_id in (1, 5, 5, 7):
                if request_id == 1:
                    await running.say([RequestCancel(0, 1)])
                else:
                    await running.say([echo(request_id)])
                response = await running.peer.hear(RequestResponse)
                assert response.request_id == request_id

    @pytest.mark.rule("session.message.connection-id")
    @pytest.mark.parametrize("connection_id", [0, 5])
    async def test_a_ping_is_answered_with_its_nonce(self, connection_id: int) -> None:
        async with Running() as running:
            for nonce in (0, 300, 2**64 - 1):
                await running.say([Ping(connection_id, nonce)])
                assert await running.peer.hear(Pong) == Pong(connection_id, nonce)
            await running.goes_on()

    @pytest.mark.parametrize("strict", [False, True])
    async def test_a_pong_that_nobody_asked_for_is_ignored(self, strict: bool) -> None:
        async with Running(strict=strict) as running:
            await running.say([Pong(0, 7)])
            await running.goes_on()

    async def test_a_connection_that_is_opened_is_rejected(self) -> None:
        async with Running() as running:
            await running.say([ConnectionOpen(7, SETTINGS)])
            rejection = await running.peer.hear(ConnectionReject)
            assert rejection.connection_id == 7
            assert "offers no services by name" in str(rejection.metadata.get("error"))
            await running.goes_on()

    @pytest.mark.rule("connection")
    async def test_messages_of_a_connection_that_is_not_open_touch_nothing(
        self,
    ) -> None:
        """Though the numbers in them are in use on the root connection."""
        async with Running() as running:
            await running.say(
                [
                    RequestCancel(5, 1),
                    RequestResponse(5, 2, (), NO_METADATA, ECHOED),
                    ChannelClose(5, 1),
                    RequestCall(5, 1, METHODS["echo"], (), NO_METADATA, b"\2hi"),
                    *([ChannelItem(5, 1, b"\0")] * 20),
                ]
            )
            await running.goes_on()
            assert running.handler.cancelled == 0


class TestTheEndOverAFault:
    async def test_nothing_that_follows_a_fault_is_acted_on(self) -> None:
        async with Running() as running:
            await running.say([Ping(0, 1), b"\0\x0b", Ping(0, 2), call("hang", 5)])
            assert await running.peer.hear(Pong) == Pong(0, 1)
            await running.fails(
                "not a message: expected one of the message tags 0 to 10, got 11 - "
                "at $.payload",
                None,
            )
            assert running.handler.begun == 2

    async def test_the_word_of_the_peer_ends_the_session_without_an_answer(
        self,
    ) -> None:
        async with Running() as running:
            await running.say([ProtocolError(0, "too many bananas"), Ping(0, 1)])
            await running.peer.hear_end()
            await running.peer.leave()
            await running.session.closed()
            reason = running.session.ended_because
            assert isinstance(reason, LocalProtocolError)
            assert reason.description == "too many bananas"
            await wait_all_tasks_blocked()
            for outcome in running.outcomes.values():
                assert isinstance(outcome, ConnectionLost)
                assert "we broke the protocol: too many bananas" in str(outcome)
            await running.neighbour_goes_on()

    async def test_what_came_before_is_sent_before_the_error(self) -> None:
        async with Running() as running:
            await running.say([echo(5)])
            await wait_all_tasks_blocked()
            await running.say([Ping(0, 1), b""])
            assert (await running.peer.hear(RequestResponse)).request_id == 5
            await running.peer.hear(Pong)
            await running.peer.hear(ProtocolError)
            await running.peer.hear_end()


# ------------------------------------------------------------ a peer that does not read


class TestPeerThatDoesNotRead:
    LIMITS = Limits(unsent_replies=5, close_seconds=2)

    @pytest.fixture
    async def opened(self, nursery: Any) -> tuple[Session, Peer, ProbeHandler]:
        """A session whose link holds a single payload on the way out."""
        (narrow_tx, _), (_, narrow_rx) = (end.split() for end in memory_link_pair(1))
        (wide_tx, _), (_, wide_rx) = (end.split() for end in memory_link_pair(64))
        peer = Peer(SplitLink(wide_tx, narrow_rx))
        handler = ProbeHandler()
        await peer.say(Hello(0, 7, SETTINGS))
        link = SplitLink(narrow_tx, wide_rx)
        run = acceptor(link, limits=self.LIMITS).run
        session = await nursery.start(run, dispatcher(Probe, handler))
        await peer.hear(HelloYourself)
        return session, peer, handler

    async def test_replies_within_the_limit_wait_for_it(
        self, opened: tuple[Session, Peer, ProbeHandler]
    ) -> None:
        session, peer, _ = opened
        for nonce in range(6):  # one on the link, and five that wait
            await peer.say(Ping(0, nonce))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        for nonce in range(6):
            assert await peer.hear(Pong) == Pong(0, nonce)
        assert await peer.heard_nothing_more()
        await peer.leave()

    async def test_replies_over_the_limit_end_the_session(
        self,
        opened: tuple[Session, Peer, ProbeHandler],
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        session, peer, _ = opened
        for nonce in range(7):
            await peer.say(Ping(0, nonce))
        begun = trio.current_time()
        await session.closed()
        reason = session.ended_because
        assert isinstance(reason, LimitExceeded)
        assert reason.limit == "unsent_replies"
        assert reason.description == (
            "the peer does not read, and 5 messages wait (limit: unsent_replies)"
        )
        assert trio.current_time() - begun == pytest.approx(2)  # close_seconds

    async def test_a_peer_that_reads_after_all_learns_why(
        self, opened: tuple[Session, Peer, ProbeHandler]
    ) -> None:
        """Everything that waited comes first, in order."""
        session, peer, _ = opened
        for nonce in range(7):
            await peer.say(Ping(0, nonce))
        await wait_all_tasks_blocked()
        for nonce in range(6):
            assert await peer.hear(Pong) == Pong(0, nonce)
        error = await peer.hear(ProtocolError)
        assert error.description.endswith("(limit: unsent_replies)")
        await peer.hear_end()
        await peer.leave()
        await session.closed()

    async def test_a_call_that_comes_with_the_last_straw_is_not_begun(
        self, opened: tuple[Session, Peer, ProbeHandler]
    ) -> None:
        session, peer, handler = opened
        pings = [Ping(0, nonce) for nonce in range(7)]
        await peer.say(*pings, call("hang", 1))
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, LimitExceeded)
        for nonce in range(6):
            assert await peer.hear(Pong) == Pong(0, nonce)
        await peer.hear(ProtocolError)
        await peer.hear_end()
        await peer.leave()
        await session.closed()
        assert handler.begun == 0


# ------------------------------------------------------------ streams


class OnStream:
    """A session on a stream of bytes, shaken hands with."""

    def __init__(self) -> None:
        ours, self.theirs = trio.testing.memory_stream_pair()
        self.link = StreamLink(ours, limits=StreamLimits(max_payload=1000))

    async def open(self, nursery: trio.Nursery) -> Session:
        await self.theirs.send_all(bytes.fromhex("06000000 000007004000"))
        session: Session = await nursery.start(acceptor(self.link).run)
        answer = await self.theirs.receive_some()
        assert answer == bytes.fromhex("05000000 0001014000")
        return session

    async def hear_all(self) -> bytes:
        heard = b""
        while part := await self.theirs.receive_some():
            heard += part
        await self.theirs.aclose()
        return heard


class TestStreams:
    @pytest.mark.parametrize("length", [1001, 2**31, 2**32 - 1])
    async def test_a_length_over_the_limit_is_refused_on_its_announcement(
        self, nursery: trio.Nursery, length: int
    ) -> None:
        stream = OnStream()
        session = await stream.open(nursery)
        await stream.theirs.send_all(struct.pack("<I", length))
        told = f"a payload of {length} bytes came (limit: max_payload)"
        expected = b"".join(encode_message(ProtocolError(0, told)))
        assert await stream.hear_all() == struct.pack("<I", len(expected)) + expected
        await session.closed()
        reason = session.ended_because
        assert isinstance(reason, LimitExceeded)
        assert reason.limit == "max_payload"
        assert reason.description == told

    @pytest.mark.parametrize("part", [b"\3", b"\3\0\0\0", b"\3\0\0\0\0\x09"])
    async def test_a_frame_cut_off_by_the_end_is_a_broken_link(
        self, nursery: trio.Nursery, part: bytes
    ) -> None:
        """And nobody is told that the peer broke the protocol, as it may have died."""
        stream = OnStream()
        session = await stream.open(nursery)
        await stream.theirs.send_all(part)
        await stream.theirs.send_eof()
        assert await stream.hear_all() == b""
        await session.closed()
        reason = session.ended_because
        assert isinstance(reason, SessionIoError)
        assert isinstance(reason.__cause__, TruncatedPayload)

    async def test_the_error_is_sent_whole_before_the_stream_ends(
        self, nursery: trio.Nursery
    ) -> None:
        stream = OnStream()
        session = await stream.open(nursery)
        await stream.theirs.send_all(b"\3\0\0\0\0\x09\7\2\0\0\0\0\x0b")
        told = (
            "not a message: expected one of the message tags 0 to 10, got 11 - "
            "at $.payload"
        )
        expected = b"".join(encode_message(ProtocolError(0, told)))
        assert await stream.hear_all() == (
            b"\3\0\0\0\0\x0a\7" + struct.pack("<I", len(expected)) + expected
        )
        await session.closed()
