"""Closing of virtual connections, and the end of everything on them."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel
from roam_trio.errors import (
    ConnectionClosed,
    ConnectionLost,
    RxConnectionLost,
    TxConnectionLost,
)
from roam_trio.limits import Limits
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry, MetadataFlags
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import ConnectionPhase
from roam_trio.session.connection_table import Phase
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionSettings,
    Message,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

from .connecting import (
    Acceptor,
    add,
    has_only_the_root,
    on,
    opened_by,
    opened_to,
    streams_on,
)
from .running import (
    Custom,
    Task,
    WithPeer,
    call_of,
    caller_of,
    connections_in,
    item,
    join,
    streams,
)


class Busy:
    """Two sessions with two connections, each with calls, handlers and channels."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.outcomes: dict[str, BaseException | None] = {}

    async def _take(self, numbers: Rx[int]) -> int:
        return sum([number async for number in numbers])

    async def _echo(self, text: str) -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.append(text)
            raise
        raise AssertionError

    async def _give(self, upto: int, output: Tx[int]) -> None:
        await output.send(1)
        await trio.sleep_forever()

    async def open(self, nursery: trio.Nursery) -> None:
        handler = streams(echo=self._echo, take=self._take, give=self._give)
        self.acceptor = Acceptor(handler=handler)
        self.left, self.right = await join(
            nursery, handler, accepting={"on_connection": self.acceptor}
        )
        self.handles = [await self.left.open_connection(handler) for _ in range(2)]
        await wait_all_tasks_blocked()
        self.channels: dict[str, tuple[Tx[int], Rx[int]]] = {}
        pairs = zip(self.handles, self.acceptor.handles, strict=True)
        for number, (near, far) in enumerate(pairs):
            for side, handle in (("near", near), ("far", far)):
                name = f"{side} {number}"
                work = streams_on(handle)
                tx, rx = channel(int)
                back_tx, back_rx = channel(int)
                self.channels[name] = (tx, back_rx)
                nursery.start_soon(self._run, f"echo {name}", work.echo, name)
                nursery.start_soon(self._run, f"take {name}", work.take, rx)
                nursery.start_soon(self._run, f"give {name}", work.give, 1, back_tx)
        await wait_all_tasks_blocked()
        assert self.outcomes == {}

    async def _run(self, name: str, function: Any, *args: Any) -> None:
        try:
            await function(*args)
        except ConnectionLost as error:
            self.outcomes[name] = error
        else:
            self.outcomes[name] = None

    async def ended_on_the_first(self, near_by: str, far_by: str) -> None:
        await wait_all_tasks_blocked()
        await self._calls_failed("near", near_by)
        await self._calls_failed("far", far_by)
        assert sorted(self.cancelled) == ["far 0", "near 0"]
        assert len(self.outcomes) == 6

    async def _calls_failed(self, side: str, by: str) -> None:
        who = "the peer" if by == "peer" else "this side"
        for method in ("echo", "take", "give"):
            error = self.outcomes[f"{method} {side} 0"]
            self._says_so(error, who, by)
        tx, rx = self.channels[f"{side} 0"]
        with pytest.raises(TxConnectionLost) as sending:
            await tx.send(1)
        self._says_so(sending.value, who, by)
        assert await rx.recv() == 1  # it had come already
        with pytest.raises(RxConnectionLost) as receiving:
            await rx.recv()
        self._says_so(receiving.value, who, by)
        tx.close()
        rx.reset()

    def _says_so(self, error: BaseException | None, who: str, by: str) -> None:
        assert error is not None
        assert f"{who} has closed the connection" in str(error)
        assert isinstance(error.__cause__, ConnectionClosed)
        assert error.__cause__.by == by
        wanted = Metadata.of({"why": "done"}) if by == "peer" else None
        assert wanted is None or error.__cause__.metadata == wanted

    async def others_go_on(self) -> None:
        tx, rx = self.channels["near 1"]
        await tx.send(20)
        await tx.send(22)
        tx.close()
        await wait_all_tasks_blocked()
        assert self.outcomes["take near 1"] is None
        assert await rx.recv() == 1
        assert len(self.left.statistics().connections) == 2
        assert len(self.right.statistics().connections) == 2


@pytest.mark.rule("connection.close", "connection.close.semantics")
@pytest.mark.parametrize("who", ["opener", "accepter", "both"])
async def test_close_ends_what_is_on_the_connection_and_nothing_else(
    who: str, nursery: trio.Nursery
) -> None:
    busy = Busy()
    await busy.open(nursery)
    if who != "accepter":
        busy.handles[0].close({"why": "done"})
    if who != "opener":
        busy.acceptor.handles[0].close({"why": "done"})
    await busy.ended_on_the_first(
        near_by="peer" if who == "accepter" else "us",
        far_by="peer" if who == "opener" else "us",
    )
    assert busy.handles[0].phase is ConnectionPhase.CLOSED
    assert busy.acceptor.handles[0].phase is ConnectionPhase.CLOSED
    await busy.others_go_on()
    nursery.cancel_scope.cancel()


@pytest.mark.rule("rpc.metadata.flags.sensitive")
async def test_reason_of_a_close_is_told_on_both_sides_without_what_is_sensitive(
    nursery: trio.Nursery,
) -> None:
    reason = [
        MetadataEntry("error", "the quota is used up"),
        MetadataEntry("token", "hunter2", MetadataFlags.SENSITIVE),
    ]
    busy = Busy()
    await busy.open(nursery)
    busy.handles[0].close(reason)
    await wait_all_tasks_blocked()
    for who, name, whose in (
        ("this side", "echo near 0", ""),
        ("the peer", "echo far 0", " (peer: this process)"),
    ):
        assert str(busy.outcomes[name]) == (
            f"the connection has ended: {who} has closed the connection: "
            f"error='the quota is used up'{whose}"
        )
    nursery.cancel_scope.cancel()


@pytest.mark.rule("connection.close")
async def test_nothing_is_sent_on_a_connection_after_its_close(
    nursery: trio.Nursery,
) -> None:
    release = trio.Event()

    async def stubborn(text: str) -> str:
        with trio.CancelScope(shield=True):
            await release.wait()
        return text

    async with WithPeer(strict=True) as (session, peer):
        connection = await opened_to(session, peer, handler=streams(echo=stubborn))
        work, caller = streams_on(connection), connection.caller.clone()
        tx, rx = channel(int)
        back_tx, back_rx = channel(int)
        call = Task(nursery, work.both, rx, back_tx)
        assert (await peer.hear(RequestCall)).channels == (1, 3)
        await peer.say(on(1, call_of("echo", 2, "late")))
        await peer.say(*(on(1, item(3, number)) for number in range(16)))
        await wait_all_tasks_blocked()
        connection.close()
        await peer.hear(ConnectionClose)
        with pytest.raises(ConnectionLost):
            await call.result()
        release.set()
        with pytest.raises(ConnectionLost, match="this side has closed"):
            await work.add(1, 2)
        with pytest.raises(ConnectionLost, match="this side has closed"):
            await caller.call(1, b"")
        caller.close()
        with pytest.raises(TxConnectionLost):
            await tx.send(1)
        tx.close()
        for number in range(16):  # of which credit would be granted
            assert await back_rx.recv() == number
        with pytest.raises(RxConnectionLost):
            await back_rx.recv()
        back_rx.reset()
        assert await peer.heard_nothing_more()


async def test_a_handler_that_answers_after_the_close_is_not_logged(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    release = trio.Event()

    async def answer(call: RequestCall, reply: ReplySink) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()
            await reply.send(b"\0")
        reply.send_nowait(b"\0")

    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer, handler=Custom(answer))
        await peer.say(on(1, call_of("echo", 2, "x")))
        await wait_all_tasks_blocked()
        connection.close()
        await peer.hear(ConnectionClose)
        release.set()
        assert await peer.heard_nothing_more()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def late_messages() -> list[Message]:
    return [
        RequestCall(1, 2, 3, (), NO_METADATA, b""),
        RequestResponse(1, 1, (), NO_METADATA, b"\0"),
        RequestCancel(1, 2),
        ChannelItem(1, 1, b"\0"),
        ChannelClose(1, 1),
        ChannelGrantCredit(1, 1, 1),
    ]


@pytest.mark.rule("connection.close.semantics")
@pytest.mark.parametrize("strict", [False, True])
async def test_what_crosses_our_close_is_ignored(strict: bool) -> None:
    async with WithPeer(strict=strict) as (session, peer):
        (await opened_to(session, peer)).close()
        await peer.hear(ConnectionClose)
        await peer.say(*late_messages(), ConnectionClose(1))
        assert await peer.heard_nothing_more()
        assert session.ended_because is None


@pytest.mark.rule("connection.close.semantics", "session.protocol-error")
@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("late", [*late_messages(), ConnectionClose(1)])
async def test_what_follows_the_close_of_the_peer_ends_a_strict_session(
    late: Message, ours_first: bool
) -> None:
    async with WithPeer(strict=True) as (session, peer):
        connection = await opened_to(session, peer)
        if ours_first:
            connection.close()
            await peer.hear(ConnectionClose)
        await peer.say(ConnectionClose(1), late)
        error = await peer.hear(ProtocolError)
        assert error.description == (
            f"{type(late).__name__} came on connection 1, which is not open"
        )
        await peer.hear_end()


@pytest.mark.rule("connection.close.semantics")
async def test_what_follows_the_close_of_the_peer_is_dropped_by_default() -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        await peer.say(ConnectionClose(1), *late_messages(), ConnectionClose(1))
        assert await peer.heard_nothing_more()
        assert connection.phase is ConnectionPhase.CLOSED
        assert session.ended_because is None


@pytest.mark.rule("connection.close.semantics")
async def test_calls_and_items_that_wait_for_room_end_at_once(
    nursery: trio.Nursery,
) -> None:
    """Not when the peer reads again."""
    async with WithPeer(buffer=1) as (session, peer):
        connection = await opened_to(session, peer)
        tx, rx = channel(int)
        taking = Task(nursery, streams_on(connection).take, rx)
        await peer.hear(RequestCall)
        filling = Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        calling = Task(nursery, streams_on(connection).add, 1, 2)
        sending = Task(nursery, tx.send, 1)
        await wait_all_tasks_blocked()
        assert not calling.is_done
        assert not sending.is_done
        await peer.say(ConnectionClose(1))
        await wait_all_tasks_blocked()
        assert isinstance(calling.error, ConnectionLost)
        assert isinstance(calling.error.__cause__, ConnectionClosed)
        assert isinstance(sending.error, TxConnectionLost)
        assert isinstance(sending.error.__cause__, ConnectionClosed)
        assert taking.is_done
        assert not filling.is_done
        assert (await peer.hear(RequestCall)).connection_id == 0
        assert await peer.heard_nothing_more()
        filling.cancel()


async def test_calls_that_wait_for_the_limit_of_the_peer_end_at_once(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionAccept(1, ConnectionSettings(Parity.EVEN, 1)))
        work = streams_on(await task.result())
        calls = [Task(nursery, work.add, 1, number) for number in range(3)]
        await peer.hear(RequestCall)
        await peer.say(ConnectionClose(1))
        await wait_all_tasks_blocked()
        assert [type(call.error) for call in calls] == [ConnectionLost] * 3
        assert await peer.heard_nothing_more()


async def test_a_block_closes_its_connection_and_lets_its_error_pass(
    nursery: trio.Nursery,
) -> None:
    left, right = await join(nursery, accepting={"on_connection": Acceptor()})
    with pytest.raises(ZeroDivisionError):
        async with await left.open_connection() as connection:
            raise ZeroDivisionError
    assert connection.phase is ConnectionPhase.CLOSED
    assert isinstance(connection.ended_because, ConnectionClosed)
    await has_only_the_root(right)
    assert repr(connection) == "<ConnectionHandle 1, closed>"


async def test_an_old_handle_does_not_close_a_new_connection_of_its_number() -> None:
    """Peers should not use a number twice, but one that does harms nobody else."""
    acceptor = Acceptor()
    async with WithPeer(on_connection=acceptor) as (session, peer):
        await opened_by(peer, 2)
        await wait_all_tasks_blocked()
        (old,) = acceptor.handles
        caller = old.caller
        await peer.say(ConnectionClose(2))
        await opened_by(peer, 2)
        old.close()
        caller.close()
        assert await peer.heard_nothing_more()
        assert len(session.statistics().connections) == 2


async def test_a_connection_left_open_ends_with_its_session_and_sends_nothing() -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        tx, rx = channel(int)
        async with trio.open_nursery() as nursery:
            call = Task(nursery, streams_on(connection).take, rx)
            await peer.hear(RequestCall)
            connection.caller.close()  # the channel keeps the connection
            await peer.say(ConnectionClose(0))
            await peer.hear(ProtocolError)
            with pytest.raises(ConnectionLost, match="the peer broke the protocol"):
                await call.result()
        with pytest.raises(TxConnectionLost, match="the peer broke the protocol"):
            await tx.send(1)
        connection.close()
        with pytest.raises(ValueError, match="an open virtual connection"):
            session.close_connection(1)
        assert session.statistics().connections == ()
        await peer.hear_end()


async def test_memory_of_closed_connections_is_given_back(
    nursery: trio.Nursery,
) -> None:
    acceptor = Acceptor(handler=streams(add=add))
    left, right = await join(
        nursery,
        accepting={"on_connection": acceptor, "limits": Limits(connections=10)},
        limits=Limits(connections=10),
    )
    runs: list[weakref.ref[object]] = []
    for _ in range(50):
        async with await left.open_connection() as connection:
            await wait_all_tasks_blocked()
            assert await streams_on(connection).add(1, 2) == 3
            runs.append(weakref.ref(connection.connection_run))
            runs.append(weakref.ref(acceptor.handles.pop().connection_run))
        acceptor.asked.clear()
    del connection
    await has_only_the_root(left)
    await has_only_the_root(right)
    gc.collect()
    assert [ref for ref in runs if ref() is not None] == []
    for session in (left, right):
        connections = session._run.connections
        assert connections is not None
        held = [connections.runs, connections._openings, connections._deciding]
        assert [len(each) for each in held] == [1, 0, 0]
        over = connections_in(session, Phase.OVER)
        assert len(over) <= 10
        assert connections_in(session, *Phase) == {0} | over
