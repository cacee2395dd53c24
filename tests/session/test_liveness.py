"""The users that keep a connection alive, and its end without them."""

from __future__ import annotations

import gc
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, channel, client
from roam_trio.errors import ConnectionClosed, ConnectionLost
from roam_trio.rpc.caller import Caller, ErasedCaller, NoopCaller
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import ConnectionHandle, Session
from roam_trio.wire.messages import (
    ChannelClose,
    ConnectionClose,
    ConnectionOpen,
    RequestCall,
    RequestResponse,
)

from .connecting import (
    EVEN,
    Acceptor,
    add,
    hang,
    has_only_the_root,
    hear_bytes,
    on,
    opened_by,
    opened_to,
    streams_on,
)
from .running import (
    Custom,
    Streams,
    Task,
    WithPeer,
    call_of,
    caller_of,
    join,
    response,
    streams,
)

CLOSE = "01 06 00"


def callers(connection: ConnectionHandle) -> int:
    """How many callers it has, by the statistics."""
    return connection.connection_run.statistics().callers


# ------------------------------------------------------------ virtual connections


@pytest.mark.rule(
    "rpc.caller.liveness.refcounted",
    "rpc.caller.liveness.last-drop-closes-connection",
)
async def test_the_last_caller_closed_closes_the_connection_once() -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        first = connection.caller
        second = first.clone()
        third = second.clone()
        assert callers(connection) == 3
        second.close()
        second.close()
        first.close()
        assert callers(connection) == 1
        assert await peer.heard_nothing_more()
        third.close()
        assert not third.is_connected
        assert await hear_bytes(peer) == CLOSE
        third.close()
        connection.close()
        assert await peer.heard_nothing_more()
        assert isinstance(connection.ended_because, ConnectionClosed)
        assert connection.ended_because.by == "us"
        await has_only_the_root(session)


@pytest.mark.rule(
    "rpc.caller.liveness.refcounted",
    "rpc.caller.liveness.last-drop-closes-connection",
)
async def test_the_last_caller_dropped_closes_the_connection_once() -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        work = client(Streams, connection.caller.clone())
        connection.caller.close()
        del connection
        assert await peer.heard_nothing_more()
        del work
        gc.collect()
        assert await hear_bytes(peer) == CLOSE
        assert await peer.heard_nothing_more()
        await has_only_the_root(session)


@pytest.mark.rule("rpc.caller.liveness.last-drop-closes-connection")
async def test_dropping_in_a_cycle_closes_the_connection() -> None:
    async with WithPeer() as (session, peer):
        caller = (await opened_to(session, peer)).caller
        cycle: list[object] = [caller]
        cycle.append(cycle)
        gc.collect()
        del caller, cycle
        assert await peer.heard_nothing_more()
        gc.collect()
        assert await hear_bytes(peer) == CLOSE
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.caller.liveness.last-drop-closes-connection")
async def test_dropping_in_another_thread_closes_the_connection() -> None:
    async with WithPeer() as (session, peer):
        held: list[Caller] = [(await opened_to(session, peer)).caller]
        gc.collect()
        threads: list[int] = []

        def drop() -> None:
            threads.append(threading.get_ident())
            held.clear()

        await trio.to_thread.run_sync(drop)
        assert threads != [threading.get_ident()]
        assert await hear_bytes(peer) == CLOSE
        assert await peer.heard_nothing_more()


def test_dropping_after_the_end_of_trio_is_harmless() -> None:
    async def main() -> Caller:
        async with WithPeer() as (session, peer):
            return (await opened_to(session, peer)).caller

    caller = trio.run(main)
    assert not caller.is_connected
    del caller
    gc.collect()


@pytest.mark.rule("rpc.caller.liveness.refcounted")
async def test_a_connection_that_was_never_asked_for_a_caller_stays(
    nursery: trio.Nursery,
) -> None:
    acceptor = Acceptor(handler=streams(add=add))
    left, right = await join(nursery, accepting={"on_connection": acceptor})
    connection = await left.open_connection(streams(add=add))
    await wait_all_tasks_blocked()
    acceptor.handles.clear()  # the accepting side keeps nothing of it
    gc.collect()
    assert await streams_on(connection).add(1, 2) == 3
    assert callers(connection) == 1
    (_, accepted) = right.statistics().connections
    assert accepted.callers == 0


@pytest.mark.rule("rpc.caller.liveness.refcounted")
async def test_the_accepting_side_closes_as_well(nursery: trio.Nursery) -> None:
    acceptor = Acceptor()
    async with WithPeer(on_connection=acceptor) as (session, peer):
        await opened_by(peer, 2)
        await wait_all_tasks_blocked()
        acceptor.handles[0].caller.close()
        assert await hear_bytes(peer) == "02 06 00"
        await has_only_the_root(session)


@pytest.mark.rule("rpc.caller.liveness.refcounted")
async def test_open_channels_keep_their_connection(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        tx, rx = channel(int)
        back_tx, back_rx = channel(int)
        call = Task(nursery, streams_on(connection).both, rx, back_tx)
        assert (await peer.hear(RequestCall)).channels == (1, 3)
        await peer.say(on(1, response(1)))
        await call.result()
        connection.caller.close()
        assert await peer.heard_nothing_more()
        tx.close()
        assert await peer.hear(ChannelClose) == ChannelClose(1, 1)
        assert await peer.heard_nothing_more()
        await peer.say(ChannelClose(1, 3))
        assert await hear_bytes(peer) == CLOSE
        assert [item async for item in back_rx] == []
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.caller.liveness.refcounted", "connection.close")
async def test_the_end_of_the_last_channel_goes_before_the_close(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        tx, rx = channel(int)
        back_tx, back_rx = channel(int)
        for end, arguments, message in (
            (tx.close, (rx,), "01 08 01 01 00"),
            (back_rx.reset, (1, back_tx), "03 08 01 02 00"),
        ):
            connection = await opened_to(session, peer)
            number = connection.connection_id
            work = streams_on(connection)
            call = Task(
                nursery, work.take if end == tx.close else work.give, *arguments
            )
            await peer.hear(RequestCall)
            await peer.say(on(number, response(1, b"\0\0")))
            await wait_all_tasks_blocked()
            assert call.is_done
            connection.caller.close()
            assert await peer.heard_nothing_more()
            end()
            assert await hear_bytes(peer) == message
            assert await hear_bytes(peer) == f"{number:02x} 06 00"
            assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.caller.liveness.refcounted")
async def test_a_call_in_flight_keeps_the_caller_it_was_made_with(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        call = Task(nursery, client(Streams, connection.caller).add, 1, 2)
        del connection
        gc.collect()
        await peer.hear(RequestCall)
        gc.collect()
        assert await peer.heard_nothing_more()
        await peer.say(on(1, response(1, b"\0\3")))
        assert await call.result() == 3
        assert await hear_bytes(peer) == CLOSE


async def test_calls_in_flight_end_when_the_last_caller_is_closed(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        call = Task(nursery, streams_on(connection).add, 1, 2)
        await peer.hear(RequestCall)
        connection.caller.close()
        assert await hear_bytes(peer) == CLOSE
        with pytest.raises(ConnectionLost, match="this side has closed"):
            await call.result()


async def test_a_caller_that_was_closed_makes_no_calls_and_no_clones(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        keeper, caller = connection.caller, connection.caller.clone()
        assert repr(caller) == "<DriverCaller of connection 1, open>"
        caller.close()
        assert repr(caller) == "<DriverCaller of connection 1, closed>"
        with pytest.raises(ConnectionLost, match="this caller has been closed"):
            await caller.call(1, b"")
        with pytest.raises(ConnectionLost, match="this caller has been closed"):
            caller.clone()
        assert callers(connection) == 1
        assert keeper.is_connected
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.caller.liveness.refcounted")
async def test_erased_and_noop_callers_count_as_what_they_hide() -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        erased = ErasedCaller(connection.caller)
        noop = NoopCaller(erased.clone())
        other = ErasedCaller(connection.caller.clone())
        assert callers(connection) == 3
        erased.close()
        other.close()
        assert callers(connection) == 1
        assert noop.is_connected
        assert await peer.heard_nothing_more()
        del noop
        gc.collect()
        assert await hear_bytes(peer) == CLOSE
        assert not erased.is_connected
        await erased.closed()


async def test_a_handler_that_drops_the_last_caller_ends_its_connection(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """While it answers on that very connection: nobody is left to be answered."""
    held: list[Caller] = []

    async def echo(text: str) -> str:
        held.clear()
        return text

    async def give_up(numbers: Rx[int]) -> int:
        await trio.lowlevel.checkpoint()
        held.clear()
        raise ZeroDivisionError

    async with WithPeer() as (session, peer):
        for request in (call_of("echo", 2, "x"), call_of("take", 2, channels=(2,))):
            connection = await opened_to(
                session, peer, handler=streams(echo=echo, take=give_up)
            )
            number = connection.connection_id
            held.append(connection.caller)
            del connection
            await peer.say(on(number, request))
            while (heard := await hear_bytes(peer)) != f"{number:02x} 06 00":
                assert heard.startswith(f"{number:02x} 08")  # of the channel
            assert await peer.heard_nothing_more()
            await has_only_the_root(session)
        assert session.ended_because is None
    assert "RuntimeError" not in caplog.text


async def test_a_handler_that_drops_the_last_caller_and_answers_nothing() -> None:
    held: list[Caller] = []

    async def silent(call: RequestCall, reply: ReplySink) -> None:
        await trio.lowlevel.checkpoint()
        held.clear()

    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer, handler=Custom(silent))
        held.append(connection.caller)
        del connection
        await peer.say(on(1, call_of("echo", 2, "x")))
        assert await hear_bytes(peer) == CLOSE
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
        await has_only_the_root(session)


# ------------------------------------------------------------ the root connection


async def session_ends_alone(session: Session) -> None:
    await session.closed()
    assert str(session.ended_because) == "nobody needs the session any more"


@pytest.mark.rule(
    "rpc.caller.liveness.root-internal-close",
    "rpc.caller.liveness.root-teardown-condition",
)
async def test_the_last_root_caller_ends_the_session_and_sends_nothing() -> None:
    async with WithPeer() as (session, peer):
        other = session.caller.clone()
        session.caller.close()
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
        other.close()
        await peer.hear_end()
        await peer.leave()
        await session_ends_alone(session)


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
async def test_the_last_root_caller_dropped_ends_the_session(
    nursery: trio.Nursery,
) -> None:
    left, right = await join(nursery)
    erased = ErasedCaller(left.caller.clone())
    left.caller.close()
    await wait_all_tasks_blocked()
    assert left.ended_because is None
    del erased
    gc.collect()
    await session_ends_alone(left)
    await right.closed()
    assert str(right.ended_because) == (
        "the peer has closed the link (peer: this process)"
    )


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
async def test_open_channels_of_the_root_keep_the_session(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        tx, rx = channel(int)
        call = Task(nursery, caller_of(session).take, rx)
        await peer.hear(RequestCall)
        await peer.say(response(1, b"\0\0"))
        await call.result()
        session.caller.close()
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
        tx.close()
        await peer.hear(ChannelClose)
        await peer.hear_end()
        await peer.leave()
        await session_ends_alone(session)


@pytest.mark.rule(
    "rpc.caller.liveness.root-internal-close",
    "rpc.caller.liveness.root-teardown-condition",
)
@pytest.mark.parametrize("by", ["this side", "the peer", "the last caller"])
async def test_virtual_connections_keep_the_session_till_the_last_goes(
    by: str, nursery: trio.Nursery
) -> None:
    async with WithPeer(streams(add=add), on_connection=Acceptor()) as (session, peer):
        mine = await opened_to(session, peer)
        await opened_by(peer, 2)
        session.caller.close()
        assert await peer.heard_nothing_more()
        await peer.say(call_of("add", 2, 1, 2))  # the root is there all the same
        await peer.hear(RequestResponse)
        await peer.say(ConnectionClose(2))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        if by == "the peer":
            await peer.say(ConnectionClose(1))
        else:
            mine.caller.close() if by == "the last caller" else mine.close()
            assert await hear_bytes(peer) == CLOSE
        await peer.hear_end()
        await peer.leave()
        await session_ends_alone(session)


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
async def test_an_opening_keeps_the_session_till_it_is_answered(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        task = Task(nursery, session.open_connection)
        await peer.hear(ConnectionOpen)
        session.caller.close()
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
        task.cancel()
        assert await hear_bytes(peer) == CLOSE
        await peer.hear_end()
        await peer.leave()
        await session_ends_alone(session)


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
async def test_an_opening_that_waits_for_room_keeps_the_session(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=1) as (session, peer):
        call = Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        task = Task(nursery, session.open_connection)
        await wait_all_tasks_blocked()
        session.caller.close()
        assert session.ended_because is None
        await peer.hear(RequestCall)
        assert (await peer.hear(ConnectionOpen)).connection_id == 1
        task.cancel()
        call.cancel()
        await peer.leave()
        await session.closed()


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
@pytest.mark.parametrize("by", ["rejecting", "the peer"])
async def test_a_connection_that_is_decided_on_keeps_the_session(
    by: str, nursery: trio.Nursery
) -> None:
    go_on = trio.Event()

    async def reject() -> dict[str, str]:
        await go_on.wait()
        return {"error": "no"}

    acceptor = Acceptor(decide=reject if by == "rejecting" else hang)
    async with WithPeer(on_connection=acceptor) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN))
        await wait_all_tasks_blocked()
        session.caller.close()
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
        if by == "rejecting":
            go_on.set()
            assert (await hear_bytes(peer)).startswith("02 05 01")
        else:
            await peer.say(ConnectionClose(2))
        await peer.hear_end()
        await peer.leave()
        await session_ends_alone(session)


async def test_a_session_whose_root_was_never_used_stays(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        connection = await opened_to(session, peer)
        connection.close()
        await peer.hear(ConnectionClose)
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
