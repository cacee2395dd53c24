"""Shutting down: what was begun may finish within the grace; nothing else starts."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    Limits,
    RoamError,
    Rx,
    Server,
    Session,
    SessionError,
    TxConnectionLost,
    Unavailable,
    channel,
    client,
    connect,
    current_call,
    dispatcher,
    serve,
    serving,
)
from roam_trio.conduits.bare import BareConduitAcceptor
from roam_trio.session import AcceptedConnection
from roam_trio.transports.listening import StreamLinkListener
from roam_trio.wire.messages import ConnectionAccept, ConnectionOpen, RequestCall
from tests.session.connecting import EVEN
from tests.session.running import (
    Streams,
    Task,
    WithPeer,
    caller_of,
    join,
    response,
    streams,
)

REFUSED = "the session is being shut down"
ENDED = "this side has shut the session down"


async def slow_echo(text: str) -> str:
    await trio.sleep(3)
    return text


class Offer:
    """Accepts every connection."""

    async def accept(self, *_: object) -> AcceptedConnection:
        return AcceptedConnection(handler=streams(echo=slow_echo))


async def two(
    nursery: trio.Nursery, **methods: Any
) -> tuple[Session, Session, Streams]:
    ours, theirs = await join(
        nursery,
        streams(**{"echo": slow_echo, **methods}),
        of_initiator=streams(echo=slow_echo),
        on_connection=Offer(),
        accepting={"on_connection": Offer()},
    )
    return ours, theirs, caller_of(ours)


@pytest.mark.parametrize("which", [0, 1])
async def test_running_calls_finish_and_new_ones_are_refused_on_both_sides(
    which: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    sessions = (await two(nursery))[:2]
    ending, other = sessions[which], sessions[1 - which]
    running = [Task(nursery, caller_of(s).echo, "begun") for s in sessions]
    await trio.sleep(1)
    nursery.start_soon(ending.shutdown, 10)
    await trio.sleep(1)
    with pytest.raises(ConnectionLost, match=REFUSED):
        await caller_of(ending).echo("new")
    with pytest.raises(CallCancelled):
        await caller_of(other).echo("new")
    with pytest.raises(ConnectionLost, match=REFUSED):
        await ending.open_connection()
    with pytest.raises(Unavailable, match=REFUSED) as caught:
        await other.open_connection()
    assert caught.value.was_begun is False
    assert [await task.result() for task in running] == ["begun", "begun"]
    await ending.closed()
    await other.closed()
    assert trio.current_time() == pytest.approx(3)
    assert str(ending.ended_because) == ENDED


async def test_a_refused_call_is_in_the_log_of_the_side_that_ends(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "roam_trio.session")
    ours, theirs, caller = await two(nursery)
    running = Task(nursery, caller.echo, "begun")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(theirs.shutdown, 10)
    await trio.testing.wait_all_tasks_blocked()
    assert caplog.messages == []
    with pytest.raises(Unavailable, match="the peer is shutting down") as caught:
        await caller.echo("new")
    assert caught.value.was_begun is False
    assert caplog.messages == [
        f"connection 0: refused a call of Streams.echo: {REFUSED} (this process)"
    ]
    assert await running.result() == "begun"
    await ours.closed()


async def test_a_call_that_waits_for_its_slot_was_begun_too(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _ = await join(
        nursery,
        streams(echo=slow_echo),
        accepting={"max_concurrent_requests": 1},
    )
    calls = [Task(nursery, caller_of(ours).echo, text) for text in "abc"]
    await trio.testing.wait_all_tasks_blocked()
    await ours.shutdown(60)
    assert sorted([await call.result() for call in calls]) == ["a", "b", "c"]
    assert trio.current_time() == pytest.approx(9)


async def test_a_call_given_up_in_the_queue_does_not_hold_the_end_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _ = await join(
        nursery,
        streams(echo=slow_echo),
        accepting={"max_concurrent_requests": 1},
    )
    calls = [Task(nursery, caller_of(ours).echo, text) for text in "ab"]
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(1):
        async with trio.open_nursery() as inner:
            inner.start_soon(caller_of(ours).echo, "given up")
    await ours.shutdown(60)
    assert sorted([await call.result() for call in calls]) == ["a", "b"]
    assert trio.current_time() == pytest.approx(6)


async def test_channels_may_finish_too(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    taken: list[int] = []

    async def take(numbers: Rx[int]) -> int:
        async for number in numbers:
            taken.append(number)
        return sum(taken)

    ours, theirs, caller = await two(nursery, take=take)
    tx, rx = channel[int]()
    call = Task(nursery, caller.take, rx)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(theirs.shutdown, 20)
    async with tx:
        for number in range(10):
            await trio.sleep(1)
            await tx.send(number)
    assert await call.result() == 45
    await ours.closed()
    assert trio.current_time() == pytest.approx(10)


async def test_after_the_grace_the_rest_is_cancelled(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    cancelled_at: list[float] = []

    async def take(numbers: Rx[int]) -> int:
        try:
            return len([number async for number in numbers])
        finally:
            cancelled_at.append(trio.current_time())

    _, theirs, caller = await two(nursery, take=take)
    tx, rx = channel[int]()
    call = Task(nursery, caller.take, rx)
    await trio.testing.wait_all_tasks_blocked()
    await theirs.shutdown(4)
    assert trio.current_time() == pytest.approx(4)
    assert cancelled_at == [pytest.approx(4)]
    with pytest.raises(Unavailable) as caught:
        await call.result()
    assert caught.value.was_begun is True
    with pytest.raises(TxConnectionLost):
        await tx.send(1)


@pytest.mark.parametrize(
    ("grace", "kind"),
    [
        (-1, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("3", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
async def test_a_grace_that_is_none_is_refused_and_all_goes_on(
    grace: Any,
    kind: type[Exception],
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server: Server = await nursery.start(
        serve, "memory://echo", streams(echo=slow_echo)
    )
    async with connect(server.url, Streams) as caller:
        for ending in (server, *server.sessions):
            with pytest.raises(kind, match=r"^grace: expected a finite number") as info:
                await ending.shutdown(grace)
            assert str(info.value).endswith(f"of seconds from 0, got {grace!r}")
        assert await caller.echo("unharmed") == "unharmed"
    await server.shutdown()


@pytest.mark.parametrize("grace", [0, 0.0])
async def test_without_grace_all_ends_at_once(
    grace: float, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _, caller = await two(nursery)
    call = Task(nursery, caller.echo, "begun")
    await trio.testing.wait_all_tasks_blocked()
    await ours.shutdown(grace)
    with pytest.raises(ConnectionLost, match=ENDED):
        await call.result()
    assert trio.current_time() == 0


async def test_an_idle_session_ends_at_once_whatever_the_grace(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs, _ = await two(nursery)
    await ours.open_connection()
    await ours.shutdown(1000)
    await theirs.closed()
    assert trio.current_time() == 0


async def test_only_the_side_that_shuts_down_with_a_grace_drains(
    nursery: trio.Nursery,
) -> None:
    ours, theirs, caller = await two(nursery)
    call = Task(nursery, caller.echo, "x")
    await wait_all_tasks_blocked()
    nursery.start_soon(ours.shutdown, 100)
    await wait_all_tasks_blocked()
    assert ours.draining.is_set()
    assert not theirs.draining.is_set()
    call.cancel()
    await ours.closed()


async def test_a_shutdown_without_a_grace_drains_nothing(nursery: trio.Nursery) -> None:
    ours, _, _ = await two(nursery)
    await ours.shutdown()
    assert not ours.draining.is_set()


async def test_a_second_shutdown_with_less_grace_counts(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _, caller = await two(nursery)
    call = Task(nursery, caller.echo, "begun")
    await trio.testing.wait_all_tasks_blocked()
    first = Task(nursery, ours.shutdown, 1000)
    await trio.sleep(1)
    await ours.shutdown(1)
    await first.result()
    assert trio.current_time() == pytest.approx(2)
    with pytest.raises(ConnectionLost):
        await call.result()


async def test_an_end_meanwhile_ends_the_wait(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs, caller = await two(nursery)
    call = Task(nursery, caller.echo, "begun")
    await trio.testing.wait_all_tasks_blocked()
    waiting = Task(nursery, ours.shutdown, 1000)
    await trio.sleep(1)
    await theirs.shutdown()
    await waiting.result()
    assert trio.current_time() == pytest.approx(1)
    with pytest.raises(ConnectionLost, match="closed the link"):
        await call.result()


async def test_a_busy_connection_that_closes_meanwhile_ends_the_wait(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs, _ = await two(nursery)
    connection = await theirs.open_connection()
    call = Task(nursery, client(Streams, connection.caller).echo, "begun")
    await trio.testing.wait_all_tasks_blocked()
    waiting = Task(nursery, ours.shutdown, 1000)
    await trio.sleep(1)
    connection.close()
    await waiting.result()
    assert trio.current_time() == pytest.approx(1)
    with pytest.raises(ConnectionLost):
        await call.result()


async def test_cancelled_it_ends_the_session_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _, caller = await two(nursery)
    call = Task(nursery, caller.echo, "begun")
    await trio.testing.wait_all_tasks_blocked()
    waiting = Task(nursery, ours.shutdown, 1000)
    await trio.sleep(1)
    waiting.cancel()
    with pytest.raises(ConnectionLost, match=ENDED):
        await call.result()
    await ours.closed()
    assert waiting.was_cancelled
    assert trio.current_time() == pytest.approx(1)


@pytest.mark.parametrize(("grace", "kind"), [(0, ConnectionLost), (5, Unavailable)])
async def test_a_handler_that_shuts_down_waits_for_itself_until_the_grace_is_over(
    grace: float,
    kind: type[RoamError],
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    sessions: list[Session] = []

    async def add(left: int, right: int) -> int:
        await sessions[0].shutdown(grace)
        return left + right

    _, theirs, caller = await two(nursery, add=add)
    sessions.append(theirs)
    with pytest.raises(kind):
        await caller.add(1, 2)
    await theirs.closed()
    assert trio.current_time() == pytest.approx(grace)


async def test_a_handler_can_leave_it_to_another_task(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    sessions: list[Session] = []

    async def add(left: int, right: int) -> int:
        nursery.start_soon(sessions[0].shutdown, 5)
        await trio.sleep(1)
        return left + right

    _, theirs, caller = await two(nursery, add=add)
    sessions.append(theirs)
    assert await caller.add(1, 2) == 3
    await theirs.closed()
    assert trio.current_time() == pytest.approx(1)


# ------------------------------------------------------------ servers


class Impl:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.answer = trio.Event()
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        async def not_called(*args: object) -> None:
            raise AssertionError(name)

        return not_called

    async def echo(self, text: str) -> str:
        self.begun += 1
        await self.answer.wait()
        return text


class Serving:
    """A server, and whether `serve` has returned."""

    def __init__(self, **options: Any) -> None:
        self.impl = Impl()
        self.options = options
        self.scope = trio.CancelScope()
        self.returned = trio.Event()

    async def run(
        self, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            with self.scope:
                await serve(
                    "tcp://127.0.0.1:0",
                    dispatcher(Streams, self.impl),
                    task_status=task_status,
                    **self.options,
                )
        finally:
            self.returned.set()


async def until_begun(impl: Impl, count: int) -> None:
    while impl.begun < count:
        await trio.lowlevel.checkpoint()


async def test_a_server_lets_every_session_finish_and_listens_no_more(
    nursery: trio.Nursery,
) -> None:
    serving = Serving()
    server: Server = await nursery.start(serving.run)
    async with connect(server.url, Streams) as one, connect(server.url, Streams) as two:
        calls = [Task(nursery, caller.echo, "begun") for caller in (one, two)]
        await until_begun(serving.impl, 2)
        shutdown = Task(nursery, server.shutdown, 1000)
        await trio.testing.wait_all_tasks_blocked()
        assert repr(server) == f"<Server {server.url}, 2 sessions, shutting down>"
        with pytest.raises(OSError, match=r"."):
            async with connect(server.url, Streams):
                pass
        assert not serving.returned.is_set()
        serving.impl.answer.set()
        assert [await call.result() for call in calls] == ["begun", "begun"]
        await shutdown.result()
        await serving.returned.wait()
        assert server.sessions == ()


async def test_a_server_gives_up_a_handshake_that_is_not_complete(
    nursery: trio.Nursery,
) -> None:
    serving = Serving(limits=Limits(close_seconds=0.05))
    server: Server = await nursery.start(serving.run)
    port = int(server.url.rpartition(":")[2])
    silent = await trio.open_tcp_stream("127.0.0.1", port)
    async with silent:
        while not server._sessions.all:
            await trio.lowlevel.checkpoint()
        with trio.fail_after(5):  # less than Limits.handshake_seconds
            await server.shutdown(1000)
            await serving.returned.wait()


async def test_a_client_that_comes_as_the_server_shuts_down_is_let_go(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = Serving()
    conduit_of = BareConduitAcceptor.conduit_of

    async def accept_late(self: Any, link: Any) -> Any:
        conduit = await conduit_of(self, link)
        with trio.CancelScope(shield=True):
            await server.shutdown()
        return conduit

    monkeypatch.setattr(BareConduitAcceptor, "are_at_once", False)
    monkeypatch.setattr(BareConduitAcceptor, "conduit_of", accept_late)
    server: Server = await nursery.start(serving.run)
    with trio.fail_after(5), pytest.raises(SessionError):
        await connect(server.url, Streams).__aenter__()
    await serving.returned.wait()


async def test_a_client_that_was_accepted_as_the_server_shut_down_is_let_go(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = Serving()
    accept = StreamLinkListener.accept

    async def accept_and_shut_down(self: Any) -> Any:
        make_link = await accept(self)
        with trio.CancelScope(shield=True):
            await server.shutdown()
        return make_link

    monkeypatch.setattr(StreamLinkListener, "accept", accept_and_shut_down)
    server: Server = await nursery.start(serving.run)
    with trio.fail_after(5):
        with pytest.raises(SessionError):
            await connect(server.url, Streams).__aenter__()
        await serving.returned.wait()


async def test_cancelling_the_shutdown_of_a_server_ends_all_sessions_at_once(
    nursery: trio.Nursery,
) -> None:
    serving = Serving()
    server: Server = await nursery.start(serving.run)
    async with connect(server.url, Streams) as caller:
        call = Task(nursery, caller.echo, "begun")
        await until_begun(serving.impl, 1)
        shutdown = Task(nursery, server.shutdown, 1000)
        await trio.testing.wait_all_tasks_blocked()
        shutdown.cancel()
        with pytest.raises(ConnectionLost):
            await call.result()
        await serving.returned.wait()


async def test_cancelling_serve_in_the_middle_of_a_shutdown_ends_all_at_once(
    nursery: trio.Nursery,
) -> None:
    serving = Serving()
    server: Server = await nursery.start(serving.run)
    async with connect(server.url, Streams) as caller:
        call = Task(nursery, caller.echo, "begun")
        await until_begun(serving.impl, 1)
        shutdown = Task(nursery, server.shutdown, 1000)
        await trio.testing.wait_all_tasks_blocked()
        serving.scope.cancel()
        await serving.returned.wait()
        with pytest.raises((ConnectionLost, CallCancelled)):
            await call.result()
        await shutdown.result()


async def test_connection_accepted_after_the_shutdown_began_makes_no_calls(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        running = Task(nursery, caller_of(session).echo, "begun")
        call = await peer.hear(RequestCall)
        opening = Task(nursery, session.open_connection)
        asked = await peer.hear(ConnectionOpen)
        stopping = Task(nursery, session.shutdown, 60)
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(ConnectionAccept(asked.connection_id, EVEN))
        connection = await opening.result()
        with pytest.raises(ConnectionLost, match=REFUSED):
            await client(Streams, connection.caller).echo("new")
        await peer.say(response(call.request_id, b"\0\x05begun"))
        assert await running.result() == "begun"
        stopping.cancel()
    assert repr(session) == f"<Session ended: {ENDED}>"


async def test_a_handler_learns_of_a_shutdown_with_a_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def until_draining(text: str) -> str:
        draining = current_call().draining
        assert not draining.is_set()
        await draining.wait()
        again = current_call().draining
        assert again is draining
        return text

    handler = streams(echo=until_draining)
    async with (
        serving("memory://draining", handler) as server,
        connect(server.url, Streams) as caller,
        trio.open_nursery() as some,
    ):
        for _ in range(2):
            some.start_soon(caller.echo, "x")
        await wait_all_tasks_blocked()
        (session,) = server.sessions
        began = trio.current_time()
        await session.shutdown(grace=60)
        assert trio.current_time() - began < 1
    assert session.draining.is_set()


async def test_who_asks_first_after_the_shutdown_has_begun_learns_of_it_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def late(text: str) -> str:
        await trio.sleep(3)
        await current_call().draining.wait()
        return text

    async with (
        serving("memory://late", streams(echo=late)) as server,
        connect(server.url, Streams) as caller,
        trio.open_nursery() as some,
    ):
        some.start_soon(caller.echo, "x")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await server.sessions[0].shutdown(grace=60)
        assert 3 <= trio.current_time() - began < 4
