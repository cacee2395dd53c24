"""What becomes of a session in which somebody breaks the protocol.

`test_bad_input` has the single faults, on the root connection; here they come on
virtual ones, and from either side, and everybody on every connection learns of them.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel
from roam_trio.errors import (
    ConnectionClosed,
    ConnectionLost,
    LimitExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    RxConnectionLost,
    SessionProtocolError,
    SessionRejected,
    TxConnectionLost,
)
from roam_trio.limits import Limits
from roam_trio.metadata import Metadata, MetadataEntry, MetadataFlags
from roam_trio.session import ConnectionHandle
from roam_trio.wire.messages import (
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestResponse,
)
from tests.peer import Peer

from .connecting import (
    EVEN,
    ODD,
    Acceptor,
    encoded,
    hang,
    on,
    opened_by,
    opened_to,
    streams_on,
)
from .running import METHODS, Task, WithPeer, call_of, item, join, streams

SECRET = Metadata.of([MetadataEntry("token", "hunter2", MetadataFlags.SENSITIVE)])


class Everywhere(WithPeer):
    """A session that is busy on the root, on a connection of its own (1), and on one
    of the peer's (2), and that is opening another (3).

    On each it calls and has a channel either way, and hangs in a handler.
    """

    def __init__(self, **options: Any) -> None:
        self.cancelled = 0
        self._handler = streams(echo=self._echo)
        super().__init__(
            self._handler,
            on_connection=Acceptor(handler=self._handler),
            **options,
        )
        self.calls: list[Task[Any]] = []
        self.ends: list[tuple[Tx[int], Rx[int]]] = []

    async def _echo(self, text: str) -> str:
        try:
            return await hang()  # type: ignore[no-any-return]
        except trio.Cancelled:
            self.cancelled += 1
            raise

    async def get_busy(self, nursery: trio.Nursery) -> None:
        session, peer = self.session, self.peer
        one = await opened_to(session, peer, handler=self._handler)
        await opened_by(peer, 2)
        await wait_all_tasks_blocked()
        acceptor = session.connections._acceptor
        assert isinstance(acceptor, Acceptor)
        for connection in (session.root, one, acceptor.handles[0]):
            await self._get_busy_on(connection, nursery)
        self.opening = Task(nursery, session.open_connection)
        assert (await peer.hear(ConnectionOpen)).connection_id == 3

    async def _get_busy_on(
        self, connection: ConnectionHandle, nursery: trio.Nursery
    ) -> None:
        tx, rx = channel(int)
        back_tx, back_rx = channel(int)
        work = streams_on(connection)
        self.calls.append(Task(nursery, work.both, rx, back_tx))
        await self.peer.hear(RequestCall)
        self.ends.append((tx, back_rx))
        number = connection.connection_id
        own = connection.peer_settings.parity
        request_id = 2 if own.owns(2) else 1
        await self.peer.say(on(number, call_of("echo", request_id, "x")))
        await wait_all_tasks_blocked()

    async def everybody_knows(self, text: str) -> None:
        """Calls, channels, handlers and openings of all connections have ended."""
        await wait_all_tasks_blocked()
        reason = self.session.ended_because
        assert isinstance(reason, SessionProtocolError)
        assert str(reason) == f"{text} (peer: this process)"
        assert self.cancelled == 3
        errors: list[BaseException | None] = [call.error for call in self.calls]
        errors.append(self.opening.error)
        assert [type(error) for error in errors] == [ConnectionLost] * 4
        for tx, rx in self.ends:
            for _ in range(2):  # and it stays so
                with pytest.raises(TxConnectionLost) as sending:
                    await tx.send(1)
                with pytest.raises(RxConnectionLost) as receiving:
                    await rx.recv()
                errors += [sending.value, receiving.value]
        for error in errors:
            assert error is not None
            assert text in str(error)
            assert error.__cause__ is reason
        with pytest.raises(ConnectionLost, match="broke the protocol"):
            await self.session.caller.call(1, b"")
        with pytest.raises(ConnectionLost, match="broke the protocol"):
            await self.session.open_connection()

    async def __aenter__(self) -> Any:
        self.session, _ = await super().__aenter__()
        return self


# ------------------------------------------------------------ the peer breaks it

LIMITED: dict[str, Any] = {"limits": Limits(channels=3, early_items=4)}

FAULTS = [
    pytest.param(
        [RequestResponse(1, 99, (), Metadata(), b"\0")],
        "a response came for request 99, which is not in flight",
        {},
        id="response to nothing",
    ),
    pytest.param(
        [on(2, call_of("echo", 2, "again"))],
        "request 2 is in flight, and its id was used again",
        {},
        id="request id in use",
    ),
    pytest.param(
        [on(1, item(3, number)) for number in range(17)],
        "channel 3: an item came without credit",
        {},
        id="items without credit",
    ),
    pytest.param(
        [on(1, call_of("take", 4, channels=(3,)))],
        "channel 3 is open, and its id was used again",
        {},
        id="channel id in use",
    ),
    pytest.param(
        [on(1, call_of("both", 4, channels=(12, 14, 16, 18)))],
        "too many channels on one connection (limit: channels)",
        LIMITED,
        id="too many channels",
    ),
    pytest.param(
        [on(1, item(40, 1)) for _ in range(5)],
        "channel 40: 5 messages wait for channels that are not bound, at most 4 may "
        "(limit: early_items)",
        LIMITED,
        id="too many early items",
    ),
    pytest.param(
        [ConnectionClose(0)],
        "connection 0, the root, was closed",
        {},
        id="close of the root",
    ),
    pytest.param(
        [b"\x01\x0b"],
        "not a message: expected one of the message tags 0 to 10, got 11 - "
        "at $.payload",
        {},
        id="not a message",
    ),
    pytest.param(
        [ConnectionAccept(1, EVEN)],
        "ConnectionAccept came on connection 1, which is not being opened",
        {"strict": True},
        id="accepted again",
    ),
    pytest.param(
        [on(2, call_of("echo", 5, "x"))],
        "request 5 has not the parity of its sender, even",
        {"strict": True},
        id="request of our parity",
    ),
    pytest.param(
        [Ping(1, 5)],
        "expected Ping on connection 0, got it on 1",
        {"strict": True},
        id="ping elsewhere",
    ),
    pytest.param(
        [Pong(1, 5)],
        "expected Pong on connection 0, got it on 1",
        {"strict": True},
        id="pong elsewhere",
    ),
    pytest.param(
        [ProtocolError(1, "you")],
        "expected ProtocolError on connection 0, got it on 1",
        {"strict": True},
        id="protocol error elsewhere",
    ),
]


@pytest.mark.rule("session.protocol-error", "rpc.error.scope")
@pytest.mark.parametrize(("offence", "description", "options"), FAULTS)
async def test_what_the_peer_does_wrong_is_told_to_it_and_to_everybody(
    offence: Iterable[Message | bytes],
    description: str,
    options: dict[str, Any],
    nursery: trio.Nursery,
) -> None:
    async with Everywhere(**options) as everywhere:
        await everywhere.get_busy(nursery)
        peer: Peer = everywhere.peer
        for one in offence:
            await peer.say_bytes(one if isinstance(one, bytes) else encoded(one))
        assert await peer.hear(ProtocolError) == ProtocolError(0, description)
        await peer.hear_end()  # of the link, and nothing of any connection before
        await everywhere.everybody_knows(f"the peer broke the protocol: {description}")
        reason = everywhere.session.ended_because
        assert isinstance(reason, RemoteProtocolError)
        assert reason.description == description
        if "(limit: " in description:
            assert isinstance(reason, LimitExceeded)
            assert description.endswith(f"(limit: {reason.limit})")
        await peer.leave()
        await everywhere.session.closed()


@pytest.mark.rule("session.protocol-error", "session.message.connection-id")
async def test_bytes_of_a_protocol_error() -> None:
    async with WithPeer() as (_, peer):
        await peer.say(ConnectionClose(0))
        text = b"connection 0, the root, was closed"
        payload = await peer.rx.recv()
        assert payload is not None
        assert bytes(payload) == b"\x00\x02" + bytes([len(text)]) + text
        await peer.hear_end()


@pytest.mark.rule("session.protocol-error")
async def test_it_is_told_although_the_peer_does_not_read(
    nursery: trio.Nursery,
) -> None:
    """As the last word, once there is room."""
    async with WithPeer(buffer=1) as (session, peer):
        await peer.say(Ping(0, 1), Ping(0, 2), Ping(0, 3), ConnectionClose(0))
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, SessionProtocolError)
        for nonce in (1, 2, 3):
            assert await peer.hear(Pong) == Pong(0, nonce)
        await peer.hear(ProtocolError)
        await peer.hear_end()


@pytest.mark.rule("session.protocol-error")
async def test_what_comes_after_it_is_not_acted_on(nursery: trio.Nursery) -> None:
    acceptor = Acceptor()
    async with WithPeer(on_connection=acceptor) as (_, peer):
        for message in (
            ConnectionClose(0),
            Ping(0, 1),
            ConnectionOpen(2, EVEN),
            ConnectionClose(0),
        ):
            peer.tx.reserve_nowait().send([encoded(message)])
        await peer.hear(ProtocolError)
        await peer.hear_end()
        assert acceptor.asked == []


# ------------------------------------------------------------ the peer says we did


@pytest.mark.rule("session.protocol-error", "rpc.error.scope")
@pytest.mark.parametrize("connection_id", [0, 1, 7])
async def test_a_protocol_error_of_the_peer_ends_everything(
    connection_id: int, nursery: trio.Nursery
) -> None:
    """By default on any connection: peers differ in what they take as one."""
    async with Everywhere() as everywhere:
        await everywhere.get_busy(nursery)
        peer: Peer = everywhere.peer
        await peer.say(ProtocolError(connection_id, "that was wrong"))
        await peer.hear_end()  # nothing is said in return
        await everywhere.everybody_knows(
            "the peer says that we broke the protocol: that was wrong"
        )
        reason = everywhere.session.ended_because
        assert isinstance(reason, LocalProtocolError)
        assert reason.description == "that was wrong"


@pytest.mark.rule("session.protocol-error")
async def test_two_sessions_agree_on_who_broke_it(nursery: trio.Nursery) -> None:

    left, right = await join(nursery, accepting={"on_connection": Acceptor()})
    connection = await left.open_connection()
    connection.connection_run.port.outbox.push(ConnectionClose(0))
    await left.closed()
    await right.closed()
    assert str(right.ended_because) == (
        "the peer broke the protocol: connection 0, the root, was closed "
        "(peer: this process)"
    )
    assert str(left.ended_because) == (
        "the peer says that we broke the protocol: connection 0, the root, was closed "
        "(peer: this process)"
    )
    assert "ended: the peer broke the protocol" in repr(right)


# ------------------------------------------------------------ what must not show


def hides(text: str) -> bool:
    """Return True if the value is hidden; a function, as pytest keeps operands."""
    return "hunter2" not in text


def shown(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """All that people get to see of an error, and of what was logged."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "\n".join([*told.format(), str(error), repr(error), caplog.text])


@pytest.mark.rule("rpc.metadata.flags.sensitive")
class TestSensitiveMetadata:
    @pytest.fixture(autouse=True)
    def _log_everything(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

    async def test_does_not_show_of_a_rejection(
        self, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with WithPeer() as (session, peer):
            task = Task(nursery, lambda: session.open_connection(metadata=SECRET))
            assert (await peer.hear(ConnectionOpen)).metadata == SECRET
            await peer.say(ConnectionReject(1, SECRET))
            with pytest.raises(SessionRejected, match="does not say why") as caught:
                await task.result()
            assert caught.value.metadata == SECRET
            assert hides(shown(caught.value, caplog))

    async def test_does_not_show_of_a_close(
        self, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with WithPeer() as (session, peer):
            connection = await opened_to(session, peer)
            call = Task(nursery, streams_on(connection).add, 1, 2)
            await peer.hear(RequestCall)
            await peer.say(ConnectionClose(1, SECRET))
            with pytest.raises(ConnectionLost) as caught:
                await call.result()
            closed = caught.value.__cause__
            assert isinstance(closed, ConnectionClosed)
            assert closed.metadata == SECRET
            assert hides(shown(caught.value, caplog))
            assert hides(repr(connection))

    async def test_does_not_show_of_an_open_that_fails_to_be_decided(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Failing(Acceptor):
            async def accept(
                self,
                connection_id: int,
                settings: ConnectionSettings,
                metadata: Metadata,
            ) -> Any:
                raise ValueError(f"cannot decide on {metadata}")

        async with WithPeer(on_connection=Failing()) as (_, peer):
            await peer.say(ConnectionOpen(2, EVEN, SECRET))
            reject = await peer.hear(ConnectionReject)
            (record,) = caplog.records
            assert record.exc_info is not None
            assert record.exc_info[1] is not None
            assert "cannot decide on Metadata" in caplog.text
            assert hides(shown(record.exc_info[1], caplog))
            assert hides(str(reject))

    @pytest.mark.parametrize(
        "wrong",
        [
            RequestCall(0, 3, METHODS["add"].id, (), SECRET, b""),
            RequestResponse(0, 77, (), SECRET, b""),
            ConnectionOpen(5, ODD, SECRET),
            ConnectionAccept(9, ODD, SECRET),
            ConnectionClose(0, SECRET),
        ],
        ids=lambda message: type(message).__name__,
    )
    async def test_does_not_show_of_what_breaks_the_protocol(
        self, wrong: Message, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with WithPeer(strict=True) as (session, peer):
            await peer.say(wrong)
            error = await peer.hear(ProtocolError)
            assert hides(error.description)
            assert session.ended_because is not None
            assert hides(shown(session.ended_because, caplog))
            assert hides(repr(session))

    async def test_does_not_show_of_bytes_that_are_no_message(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with WithPeer() as (session, peer):
            broken = encoded(RequestCall(0, 2, 1, (), SECRET, b""))[:-1]
            await peer.say_bytes(broken)
            error = await peer.hear(ProtocolError)
            assert hides(error.description)
            assert session.ended_because is not None
            told = traceback.format_exception(session.ended_because)
            assert hides("".join(told))
            assert hides(caplog.text)
