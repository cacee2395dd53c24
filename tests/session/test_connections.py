"""Virtual connections: how they are opened, and what they carry."""

from __future__ import annotations

import gc
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel, client, dispatcher, service
from roam_trio.errors import (
    ConnectionClosed,
    ConnectionLost,
    PayloadTooLarge,
    SessionProtocolError,
    SessionRejected,
    UnknownMethod,
)
from roam_trio.limits import Limits
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.metadata import Metadata, MetadataEntry, MetadataFlags
from roam_trio.session import (
    AcceptedConnection,
    ConnectionHandle,
    ConnectionPhase,
    ConnectionState,
)
from roam_trio.wire.ids import ConnectionId, Parity
from roam_trio.wire.messages import (
    ChannelClose,
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
    RequestCancel,
    RequestResponse,
)
from tests.peer import Peer

from .connecting import (
    EVEN,
    ODD,
    Acceptor,
    add,
    encoded,
    hang,
    has_only_the_root,
    hear_bytes,
    on,
    opened_by,
    opened_to,
    streams_on,
)
from .running import (
    Task,
    WithPeer,
    call_of,
    caller_of,
    join,
    response,
    streams,
)


@service
class Greeter(Protocol):
    """Another service than `Streams`."""

    async def greet(self, name: str) -> str: ...


class GreeterImpl:
    async def greet(self, name: str) -> str:
        return f"hello {name}"


# ------------------------------------------------------------ opening


@pytest.mark.rule("connection", "connection.root")
async def test_state_of_a_connection_is_plain_data_that_outlives_it() -> None:
    async with WithPeer() as (session, peer):
        root = session.root.state
        assert (root.id, root.settings, root.peer_settings) == (0, ODD, EVEN)
        connection = await opened_to(session, peer, max_concurrent_requests=7)
        state = connection.state
        settings = ConnectionSettings(Parity.ODD, 7)
        assert state == ConnectionState(ConnectionId(1), settings, EVEN)
        by_state = {root: "root", state: "first"}
        connection.close()
        assert connection.phase is ConnectionPhase.CLOSED
        assert connection.state == state
        assert by_state[connection.state] == "first"


@pytest.mark.rule(
    "connection.virtual",
    "connection.open",
    "session.connection-settings.open",
    "rpc.virtual-connection.open",
)
async def test_bytes_of_opening_calling_and_closing(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, session.open_connection)
        assert await hear_bytes(peer) == "01 03 00 40 00"
        await peer.say_bytes(bytes.fromhex("01 04 01 40 00"))
        connection = await task.result()
        assert connection.connection_id == 1
        assert connection.phase is ConnectionPhase.OPEN
        call = Task(nursery, streams_on(connection).add, 1, 2)
        request = await peer.hear(RequestCall)
        assert (request.connection_id, request.request_id) == (1, 1)
        await peer.say(on(1, response(1, b"\0\3")))
        assert await call.result() == 3
        connection.close()
        assert await hear_bytes(peer) == "01 06 00"
        connection.close()
        assert isinstance(connection.ended_because, ConnectionClosed)
        assert await peer.heard_nothing_more()


@pytest.mark.rule(
    "connection.virtual",
    "connection.open",
    "rpc.virtual-connection.accept",
)
async def test_bytes_of_accepting_serving_and_closing() -> None:
    acceptor = Acceptor(handler=streams(add=add))
    async with WithPeer(on_connection=acceptor) as (session, peer):
        await peer.say_bytes(bytes.fromhex("02 03 01 40 00"))
        assert await hear_bytes(peer) == "02 04 00 40 00"
        await peer.say(on(2, call_of("add", 2, 1, 2)))
        assert await hear_bytes(peer) == "02 07 02 01 00 00 00 03"
        (handle,) = acceptor.handles
        await peer.say_bytes(bytes.fromhex("02 06 00"))
        await handle.closed()
        assert await peer.heard_nothing_more()
        await has_only_the_root(session)


@pytest.mark.rule("session.parity", "connection.open")
async def test_numbers_follow_the_parity_of_the_session_and_are_never_used_twice(
    nursery: trio.Nursery,
) -> None:
    there, back = Acceptor(), Acceptor()
    left, right = await join(
        nursery, on_connection=back, accepting={"on_connection": there}
    )
    for opener, wanted in ((left, [1, 3, 5, 7]), (right, [2, 4, 6, 8])):
        numbers: list[int] = []
        for _ in range(2):  # some closed before the next, some open side by side
            first = await opener.open_connection()
            first.close()
            second = await opener.open_connection()
            numbers += [first.connection_id, second.connection_id]
        assert numbers == wanted
    assert [asked[0] for asked in there.asked] == [1, 3, 5, 7]
    assert [asked[0] for asked in back.asked] == [2, 4, 6, 8]


@pytest.mark.rule("session.parity")
async def test_an_even_initiator_opens_even_numbers(nursery: trio.Nursery) -> None:
    there, back = Acceptor(), Acceptor()
    left, right = await join(
        nursery,
        parity=Parity.EVEN,
        on_connection=back,
        accepting={"on_connection": there},
    )
    assert (await left.open_connection()).connection_id == 2
    assert (await right.open_connection()).connection_id == 1


@pytest.mark.rule(
    "rpc.virtual-connection.accept",
    "rpc.virtual-connection.open",
    "session.connection-settings.open",
)
async def test_settings_and_metadata_go_both_ways(nursery: trio.Nursery) -> None:
    acceptor = Acceptor(max_concurrent_requests=7, metadata={"answer": 42})
    left, _ = await join(nursery, accepting={"on_connection": acceptor})
    connection = await left.open_connection(
        metadata={"service": "x", "n": 1}, max_concurrent_requests=9
    )
    await wait_all_tasks_blocked()
    (asked,) = acceptor.asked
    assert asked == (
        1,
        ConnectionSettings(Parity.ODD, 9),
        Metadata.of({"service": "x", "n": 1}),
    )
    (accepted,) = acceptor.handles
    assert accepted.peer_metadata == Metadata.of({"service": "x", "n": 1})
    assert accepted.settings == ConnectionSettings(Parity.EVEN, 7)
    assert accepted.peer_settings == ConnectionSettings(Parity.ODD, 9)
    assert connection.peer_metadata == Metadata.of({"answer": 42})
    assert connection.settings == accepted.peer_settings
    assert connection.peer_settings == accepted.settings


@pytest.mark.rule("session.connection-settings.open")
async def test_requests_wait_below_the_limit_of_their_own_connection(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionAccept(1, ConnectionSettings(Parity.EVEN, 1)))
        work = streams_on(await task.result())
        first, second = Task(nursery, work.add, 1, 1), Task(nursery, work.add, 2, 2)
        request = await peer.hear(RequestCall)
        assert await peer.heard_nothing_more()
        root = Task(nursery, caller_of(session).add, 3, 3)
        assert (await peer.hear(RequestCall)).connection_id == 0
        await peer.say(on(1, response(request.request_id, b"\0\0")))
        again = await peer.hear(RequestCall)
        assert (again.connection_id, again.request_id) == (1, request.request_id + 2)
        for call in (first, second, root):
            call.cancel()


@pytest.mark.rule("connection.parity")
@pytest.mark.parametrize("parity", list(Parity))
async def test_parity_of_a_connection_is_that_it_was_opened_with(
    parity: Parity, nursery: trio.Nursery
) -> None:
    first, second = (1, 3) if parity is Parity.ODD else (2, 4)
    async with WithPeer(strict=True) as (session, peer):
        connection = await opened_to(session, peer, parity=parity)
        work = streams_on(connection)
        assert connection.settings.parity is parity
        Task(nursery, work.add, 1, 2)
        assert (await peer.hear(RequestCall)).request_id == first
        Task(nursery, work.take, channel(int)[1])
        request = await peer.hear(RequestCall)
        assert (request.request_id, request.channels) == (second, (first,))
        await peer.hear(ChannelClose)
        connection.close()


@pytest.mark.rule("connection.parity")
async def test_the_accepting_side_takes_the_other_parity(nursery: trio.Nursery) -> None:
    acceptor = Acceptor()
    async with WithPeer(on_connection=acceptor, strict=True) as (_, peer):
        for connection_id, asked, answered in ((12, ODD, EVEN), (14, EVEN, ODD)):
            await peer.say(ConnectionOpen(connection_id, asked))
            accept = await peer.hear(ConnectionAccept)
            assert accept == ConnectionAccept(connection_id, answered)
        await wait_all_tasks_blocked()
        for handle, request_id in zip(acceptor.handles, (2, 1), strict=True):
            call = Task(nursery, streams_on(handle).add, 1, 2)
            assert (await peer.hear(RequestCall)).request_id == request_id
            call.cancel()
            await peer.hear(RequestCancel)


@pytest.mark.rule(
    "rpc.virtual-connection.open",
    "rpc.virtual-connection.accept",
    "rpc.one-service-per-connection",
    "connection",
)
async def test_both_sides_call_on_a_connection_and_it_has_a_service_of_its_own(
    nursery: trio.Nursery,
) -> None:
    acceptor = Acceptor(handler=dispatcher(Greeter, GreeterImpl()))
    left, _ = await join(
        nursery, streams(add=add), accepting={"on_connection": acceptor}
    )
    connection = await left.open_connection(streams(add=add))
    await wait_all_tasks_blocked()
    (back,) = acceptor.handles
    assert await client(Greeter, connection.caller).greet("you") == "hello you"
    assert await streams_on(back).add(2, 3) == 5
    with pytest.raises(UnknownMethod):
        await streams_on(connection).add(1, 2)
    with pytest.raises(UnknownMethod):
        await client(Greeter, left.caller).greet("you")
    assert await caller_of(left).add(1, 2) == 3


@pytest.mark.rule("connection")
async def test_connections_count_requests_and_channels_each_for_itself(
    nursery: trio.Nursery,
) -> None:
    async def take(numbers: Rx[int]) -> int:
        return sum([number async for number in numbers])

    acceptor = Acceptor(handler=streams(take=take))
    left, _ = await join(
        nursery, streams(take=take), accepting={"on_connection": acceptor}
    )
    connections = [await left.open_connection() for _ in range(3)]
    calls: list[tuple[Tx[int], Task[int]]] = []
    for each in (left.root, *connections):
        tx, rx = channel(int)
        calls.append((tx, Task(nursery, streams_on(each).take, rx)))
        await wait_all_tasks_blocked()
    assert [
        (c.connection_id, c.calling[0].request_id, c.channels[0].channel_id)
        for c in left.statistics().connections
    ] == [(0, 1, 1), (1, 1, 1), (3, 1, 1), (5, 1, 1)]
    for number, (tx, _task) in enumerate(calls):
        await tx.send(number)
        await tx.send(10)
        tx.close()
    assert [await task.result() for _, task in calls] == [10, 11, 12, 13]


@pytest.mark.rule("connection.open")
async def test_calls_right_behind_the_accept_are_served(nursery: trio.Nursery) -> None:
    async def echo(text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text

    async with WithPeer() as (session, peer):
        task = Task(
            nursery, lambda: session.open_connection(streams(add=add, echo=echo))
        )
        await peer.hear(ConnectionOpen)
        for message in (
            ConnectionAccept(1, EVEN),
            on(1, call_of("echo", 2, "hi")),
            on(1, call_of("add", 4, 1, 2)),
        ):
            peer.tx.reserve_nowait().send([encoded(message)])
        answers = {
            (await peer.hear(RequestResponse)).request_id,
            (await peer.hear(RequestResponse)).request_id,
        }
        assert answers == {2, 4}
        assert (await task.result()).phase is ConnectionPhase.OPEN


@pytest.mark.rule("connection.open", "connection.close.semantics")
async def test_accept_call_and_close_in_one_batch_leave_nothing(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, lambda: session.open_connection(streams(echo=hang)))
        await peer.hear(ConnectionOpen)
        for message in (
            ConnectionAccept(1, EVEN),
            on(1, call_of("echo", 2, "hi")),
            ConnectionClose(1),
        ):
            peer.tx.reserve_nowait().send([encoded(message)])
        connection = await task.result()
        assert connection.phase is ConnectionPhase.CLOSED
        with pytest.raises(ConnectionLost, match="the peer has closed"):
            await streams_on(connection).add(1, 2)
        await has_only_the_root(session)
        assert await peer.heard_nothing_more()
        gc.collect()  # a coroutine that was never awaited would complain


async def test_a_setup_runs_in_a_task_of_its_connection(nursery: trio.Nursery) -> None:
    seen: list[str] = []

    async def setup(handle: ConnectionHandle) -> None:
        greeter = client(Greeter, handle.caller)
        seen.append(await greeter.greet("you"))
        try:
            await trio.sleep_forever()
        finally:
            seen.append("cancelled")

    left, right = await join(
        nursery,
        accepting={"on_connection": Acceptor(AcceptedConnection(setup=setup))},
    )
    connection = await left.open_connection(dispatcher(Greeter, GreeterImpl()))
    await wait_all_tasks_blocked()
    assert seen == ["hello you"]
    connection.close()
    await has_only_the_root(right)
    assert seen == ["hello you", "cancelled"]


@pytest.mark.parametrize("in_cancellation", [False, True])
async def test_a_setup_that_fails_is_logged_and_harms_nothing(
    in_cancellation: bool, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        try:
            if in_cancellation:
                await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def setup(handle: ConnectionHandle) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    accepted = AcceptedConnection(setup=setup, handler=streams(add=add))
    left, right = await join(
        nursery, streams(add=add), accepting={"on_connection": Acceptor(accepted)}
    )
    connection = await left.open_connection()
    await wait_all_tasks_blocked()
    if not in_cancellation:
        assert await streams_on(connection).add(1, 2) == 3
    connection.close()
    await has_only_the_root(right)
    assert "the setup of connection 1 failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert await caller_of(left).add(1, 2) == 3


# ------------------------------------------------------------ rejection


@pytest.mark.rule("connection.open.rejection", "rpc.virtual-connection.open")
async def test_a_rejection_is_an_error_with_its_metadata(nursery: trio.Nursery) -> None:
    why = Metadata.of({"error": "not here", "code": 7})
    left, right = await join(nursery, accepting={"on_connection": Acceptor(why)})
    with pytest.raises(SessionRejected) as caught:
        await left.open_connection()
    assert caught.value.metadata == why
    assert str(caught.value) == (
        "the peer rejected the connection: error='not here', code=7 "
        "(peer: this process)"
    )
    await has_only_the_root(left)
    await has_only_the_root(right)


@pytest.mark.rule("connection.open.rejection")
async def test_without_an_acceptor_every_open_is_rejected() -> None:
    async with WithPeer() as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        assert (await hear_bytes(peer)).startswith("02 05 01 05")  # "error", and why
        await has_only_the_root(session)


async def test_a_rejection_without_metadata_says_so(nursery: trio.Nursery) -> None:
    refusing = Acceptor(Metadata())
    left, _ = await join(nursery, accepting={"on_connection": refusing})
    with pytest.raises(SessionRejected, match="it does not say why; it may offer no"):
        await left.open_connection()


@pytest.mark.parametrize(
    "verdict", [ValueError("secret reason"), 42], ids=["raises", "returns nonsense"]
)
@pytest.mark.rule("connection.open.rejection")
async def test_an_acceptor_that_fails_is_logged_and_rejects(
    verdict: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with WithPeer(on_connection=Acceptor(verdict)) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        assert await peer.hear(ConnectionReject) == ConnectionReject(
            2, Metadata.of({"error": "the acceptor failed"})
        )
        (record,) = caplog.records
        told = record.getMessage()
        assert told == "deciding on connection 2 failed (this process)"
        assert record.exc_info is not None
        await has_only_the_root(session)


async def test_an_acceptor_that_answers_nothing_is_logged_and_rejects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def decide() -> None:
        return None

    async with WithPeer(on_connection=Acceptor(decide=decide)) as (_, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        await peer.hear(ConnectionReject)
    assert "deciding on connection 2 failed" in caplog.text


@pytest.mark.rule("rpc.metadata.flags.sensitive")
async def test_a_sensitive_rejection_is_not_shown(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    why = Metadata.of(
        [
            MetadataEntry("error", "told"),
            MetadataEntry("token", "hunter2", MetadataFlags.SENSITIVE),
        ]
    )
    left, _ = await join(nursery, accepting={"on_connection": Acceptor(why)})
    with pytest.raises(SessionRejected, match=r"error='told' \(peer") as caught:
        await left.open_connection()
    assert caught.value.metadata.get("token") == "hunter2"
    shown = [str(caught.value), repr(caught.value), repr(caught.value.metadata)]
    assert not any("hunter2" in text for text in [*shown, caplog.text])
    assert "<sensitive>" in repr(caught.value.metadata)


# ------------------------------------------------------------ limits


@pytest.mark.rule("connection.open.rejection")
async def test_slow_acceptors_run_side_by_side_up_to_pending_opens(
    nursery: trio.Nursery,
) -> None:
    go_on = trio.Event()

    async def decide() -> AcceptedConnection:
        await go_on.wait()
        return AcceptedConnection()

    acceptor = Acceptor(decide=decide)
    limits = Limits(pending_opens=2)
    async with WithPeer(on_connection=acceptor, limits=limits) as (_, peer):
        await peer.say(*(ConnectionOpen(number, EVEN) for number in (2, 4, 6)))
        reject = await peer.hear(ConnectionReject)
        assert reject == ConnectionReject(
            6, Metadata.of({"error": "too many pending (limit: pending_opens)"})
        )
        await peer.say(Ping(0, 1))
        await peer.hear(Pong)  # all else goes on
        assert acceptor.deciding == 2
        go_on.set()
        accepted = {
            (await peer.hear(ConnectionAccept)).connection_id,
            (await peer.hear(ConnectionAccept)).connection_id,
        }
        assert accepted == {2, 4}
        await peer.say(ConnectionOpen(8, EVEN))
        assert (await peer.hear(ConnectionAccept)).connection_id == 8


@pytest.mark.rule("connection.open.rejection")
async def test_an_acceptor_that_runs_on_keeps_its_place_among_the_pending() -> None:
    """Or else a peer that opens and closes had no bound."""
    go_on = trio.Event()

    async def decide() -> AcceptedConnection:
        with trio.CancelScope(shield=True):
            await go_on.wait()
        return AcceptedConnection()

    acceptor = Acceptor(decide=decide)
    limits = Limits(pending_opens=1)
    async with WithPeer(on_connection=acceptor, limits=limits) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN), ConnectionClose(2))
        await peer.say(ConnectionOpen(4, EVEN))
        assert (await peer.hear(ConnectionReject)).connection_id == 4
        go_on.set()
        assert await peer.heard_nothing_more()  # of 2, which the peer has closed
        await has_only_the_root(session)


@pytest.mark.rule("connection.open.rejection")
async def test_connections_are_limited_and_the_rejection_names_the_limit() -> None:
    limits = Limits(connections=2)
    async with WithPeer(on_connection=Acceptor(), limits=limits) as (session, peer):
        await opened_by(peer, 2)
        mine = await opened_to(session, peer)
        await peer.say(ConnectionOpen(4, EVEN))
        assert await peer.hear(ConnectionReject) == ConnectionReject(
            4, Metadata.of({"error": "too many connections (limit: connections)"})
        )
        with pytest.raises(ConnectionLost, match=r"\(limit: connections\)$"):
            await session.open_connection()
        assert await peer.heard_nothing_more()
        mine.close()
        await peer.hear(ConnectionClose)
        await opened_by(peer, 6)
        await peer.say(ConnectionClose(2))
        await wait_all_tasks_blocked()
        assert (await opened_to(session, peer)).connection_id == 3


async def test_an_acceptance_with_too_much_metadata_is_closed(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(limits=Limits(connection_bytes=100)) as (session, peer):
        opening = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionAccept(1, EVEN, Metadata.of({"blob": bytes(100)})))
        with pytest.raises(ConnectionLost, match=r"\(limit: connection_bytes\)$"):
            await opening.result()
        assert await peer.hear(ConnectionClose) == ConnectionClose(1)
        await has_only_the_root(session)


# ------------------------------------------------------------ opening, interrupted


@pytest.mark.rule("connection.open")
@pytest.mark.parametrize("answer", [ConnectionAccept(1, EVEN), ConnectionReject(1)])
async def test_opening_cancelled_before_the_answer_closes(
    answer: Message, nursery: trio.Nursery
) -> None:
    async with WithPeer(strict=True) as (session, peer):
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        task.cancel()
        assert await peer.hear(ConnectionClose) == ConnectionClose(1)
        await peer.say(answer)  # it has crossed the close
        await has_only_the_root(session)
        assert task.was_cancelled
        assert await peer.heard_nothing_more()
        assert (await opened_to(session, peer)).connection_id == 3


@pytest.mark.rule("connection.open")
async def test_opening_cancelled_as_the_answer_comes_closes(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(strict=True) as (session, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(session.open_connection)
                await peer.hear(ConnectionOpen)
                await peer.say(ConnectionAccept(1, EVEN))
                scope.cancel()
        assert await peer.hear(ConnectionClose) == ConnectionClose(1)
        await has_only_the_root(session)
        assert await peer.heard_nothing_more()


async def test_opening_cancelled_leaves_nothing_on_either_side(
    nursery: trio.Nursery,
) -> None:
    acceptor = Acceptor(decide=hang)
    left, right = await join(nursery, accepting={"on_connection": acceptor})
    for _ in range(3):
        with trio.move_on_after(0):
            await left.open_connection()
        task = Task(nursery, left.open_connection)
        await wait_all_tasks_blocked()
        assert acceptor.deciding == 1
        task.cancel()
        await has_only_the_root(left)
        await has_only_the_root(right)
        assert acceptor.deciding == 0
    assert [asked[0] for asked in acceptor.asked] == [1, 3, 5]


async def test_opening_waits_for_room_and_cancelled_then_it_sends_nothing(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=1) as (session, peer):
        call = Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        task = Task(nursery, session.open_connection)
        await wait_all_tasks_blocked()
        assert not task.is_done
        task.cancel()
        await has_only_the_root(session)
        await peer.hear(RequestCall)
        assert await peer.heard_nothing_more()
        assert (await opened_to(session, peer)).connection_id == 1
        call.cancel()


def links_for_small_payloads() -> tuple[StreamLink, StreamLink]:
    left, right = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=1000)
    return StreamLink(left, limits=limits), StreamLink(right, limits=limits)


async def test_metadata_too_large_to_send_fails_the_open_and_nothing_else(
    nursery: trio.Nursery,
) -> None:
    left, _ = await join(
        nursery,
        streams(add=add),
        links=links_for_small_payloads(),
        accepting={"on_connection": Acceptor()},
    )
    with pytest.raises(PayloadTooLarge):
        await left.open_connection(metadata={"blob": bytes(2000)})
    await has_only_the_root(left)
    assert await caller_of(left).add(1, 2) == 3
    (await left.open_connection()).close()


@pytest.mark.parametrize("most", [0, -1, 2**32])
async def test_settings_that_cannot_be_sent_are_refused(most: int) -> None:
    async with WithPeer() as (session, peer):
        with pytest.raises(ValueError, match="max_concurrent_requests"):
            await session.open_connection(max_concurrent_requests=most)
        assert await peer.heard_nothing_more()


@pytest.mark.rule("connection.close.semantics")
async def test_the_peer_closes_what_it_has_not_answered(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionClose(1))
        with pytest.raises(ConnectionLost, match="the peer has closed") as caught:
            await task.result()
        assert isinstance(caught.value.__cause__, ConnectionClosed)
        await has_only_the_root(session)


async def test_opening_fails_when_the_session_ends(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.leave()
        with pytest.raises(ConnectionLost, match="has closed the link") as caught:
            await task.result()
        assert caught.value.__cause__ is session.ended_because
        with pytest.raises(ConnectionLost, match="has closed the link") as caught:
            await session.open_connection()
        assert caught.value.__cause__ is session.ended_because


@pytest.mark.rule("connection.close.semantics")
@pytest.mark.parametrize("is_deaf", [False, True])
async def test_the_peer_closes_while_it_is_decided_on(is_deaf: bool) -> None:
    go_on = trio.Event()

    async def decide() -> AcceptedConnection:
        await go_on.wait()
        return AcceptedConnection()

    acceptor = Acceptor(decide=decide)
    async with WithPeer(on_connection=acceptor, strict=True) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        await wait_all_tasks_blocked()
        assert acceptor.deciding == 1
        if is_deaf:  # it has decided, in the moment when the close comes
            go_on.set()
        await peer.say(ConnectionClose(2))
        await has_only_the_root(session)
        assert acceptor.deciding == 0
        # Whichever came first: what was accepted is closed, and else there is no word.
        await peer.say(Ping(0, 1))
        payload = await hear_bytes(peer)
        if payload.startswith("02 04"):
            assert is_deaf
            payload = await hear_bytes(peer)
        assert payload == "00 0a 01"


async def test_a_decision_after_the_end_of_the_session_is_not_sent() -> None:
    decided = trio.Event()

    async def decide() -> AcceptedConnection:
        with trio.CancelScope(shield=True):
            await decided.wait()
        return AcceptedConnection()

    acceptor = Acceptor(decide=decide)
    async with WithPeer(on_connection=acceptor) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        await wait_all_tasks_blocked()
        await peer.say(ConnectionClose(0))
        await peer.hear(ProtocolError)
        decided.set()
        await peer.hear_end()
        await peer.leave()
        await session.closed()
        assert acceptor.handles == []


# ------------------------------------------------------------ what is wrong


WRONG_OPENS = [
    pytest.param(ConnectionOpen(4, EVEN), "was opened again", id="being decided on"),
]
"""One for the way it takes; `test_connection_table.py` has all."""


class TestWrongOpens:
    """Rejected by default, as other implementations do; else a protocol error."""

    async def answer(self, peer: Peer, wrong: ConnectionOpen) -> None:
        await opened_by(peer, 2)
        await peer.say(ConnectionOpen(4, EVEN), wrong)

    def acceptor(self) -> Acceptor:
        class OnlySecond(Acceptor):
            async def accept(
                self,
                connection_id: int,
                settings: ConnectionSettings,
                metadata: Metadata,
            ) -> AcceptedConnection:
                if connection_id == 4:
                    await trio.sleep_forever()
                return AcceptedConnection()

        return OnlySecond()

    @pytest.mark.rule("connection.open", "session.parity")
    @pytest.mark.parametrize(("wrong", "text"), WRONG_OPENS)
    async def test_are_rejected(self, wrong: ConnectionOpen, text: str) -> None:
        async with WithPeer(on_connection=self.acceptor()) as (session, peer):
            await self.answer(peer, wrong)
            reject = await peer.hear(ConnectionReject)
            assert reject.connection_id == wrong.connection_id
            assert text in str(reject.metadata.get("error"))
            assert await peer.heard_nothing_more()
            assert session.ended_because is None

    @pytest.mark.rule("connection.open", "session.parity", "session.protocol-error")
    @pytest.mark.parametrize(("wrong", "text"), WRONG_OPENS)
    async def test_end_a_strict_session(self, wrong: ConnectionOpen, text: str) -> None:
        acceptor = self.acceptor()
        async with WithPeer(on_connection=acceptor, strict=True) as (session, peer):
            await self.answer(peer, wrong)
            assert text in (await peer.hear(ProtocolError)).description
            await peer.hear_end()
            assert isinstance(session.ended_because, SessionProtocolError)


@pytest.mark.rule("connection.root")
async def test_closing_the_root_is_a_protocol_error() -> None:
    async with WithPeer() as (session, peer):
        await peer.say(ConnectionClose(0))
        error = await peer.hear(ProtocolError)
        assert error.description == "connection 0, the root, was closed"
        await peer.hear_end()
        assert isinstance(session.ended_because, SessionProtocolError)


@pytest.mark.rule("connection.root")
async def test_this_side_does_not_close_the_root() -> None:
    async with WithPeer() as (session, peer):
        with pytest.raises(ValueError, match="the root connection"):
            session.root.close()
        async with session.root as root:
            assert root.connection_id == 0
        assert session.root.phase is ConnectionPhase.OPEN
        for number in (0, 1, 99):
            with pytest.raises(ValueError, match=f"got {number}$"):
                session.close_connection(number)
        assert await peer.heard_nothing_more()


@pytest.mark.rule("connection.open", "session.protocol-error")
async def test_messages_before_the_accept_end_a_strict_session(
    nursery: trio.Nursery,
) -> None:
    acceptor = Acceptor(decide=hang)
    async with WithPeer(on_connection=acceptor, strict=True) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.say(on(1, call_of("add", 2, 1, 2)))
        assert (await peer.hear(ProtocolError)).description == (
            "RequestCall came on connection 1, which is not open"
        )
        with pytest.raises(ConnectionLost, match="the peer broke the protocol"):
            await task.result()


@pytest.mark.rule("connection.close", "connection.open.rejection")
async def test_metadata_too_large_to_send_is_left_out_of_a_close_or_a_rejection(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    large = Metadata.of({"blob": bytes(2000)})
    verdicts: list[Any] = [AcceptedConnection(), large, AcceptedConnection()]

    async def decide() -> Any:
        return verdicts.pop(0)

    left, right = await join(
        nursery,
        streams(add=add),
        links=links_for_small_payloads(),
        accepting={"on_connection": Acceptor(decide=decide)},
    )
    connection = await left.open_connection()
    with pytest.raises(SessionRejected, match="the metadata was too large to send"):
        await left.open_connection()
    connection.close(large)
    await has_only_the_root(left)
    await has_only_the_root(right)
    assert caplog.text.count("(limit: max_payload)") == 2
    assert await caller_of(left).add(1, 2) == 3
    (await left.open_connection()).close()


async def test_closing_a_connection_on_a_link_that_is_gone_ends_the_session(
    autojump_clock: MockClock,
) -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        await peer.rx.close()
        connection.close()  # the first that notices
        assert session.ended_because is not None
        assert connection.phase is ConnectionPhase.CLOSED
        connection.close()
        await session.closed()
