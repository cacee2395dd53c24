"""The visible state of a session: statistics, and the reprs of objects."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from roam_trio import Rx, Tx, channel, describe
from roam_trio.rpc.method_names import method_name, remember_method_name
from roam_trio.session import (
    AcceptedConnection,
    CallStatistics,
    ChannelStatistics,
    ConnectionStatistics,
    Session,
)
from roam_trio.wire.messages import RequestCall
from tests.session.running import (
    METHODS,
    Streams,
    Task,
    WithPeer,
    caller_of,
    join,
    run_of,
    streams,
)

USER_DATA = "not to be seen"


def connection_of(session: Session, number: int = 0) -> ConnectionStatistics:
    found = session.statistics().connections
    return next(each for each in found if each.connection_id == number)


async def test_an_idle_session_holds_nothing(nursery: trio.Nursery) -> None:
    ours, theirs = await join(nursery)
    for session in (ours, theirs):
        statistics = session.statistics()
        assert statistics.connections == (ConnectionStatistics(0, 0, (), (), ()),)
        assert statistics.sent.payloads == statistics.received.payloads == 1
        assert statistics.messages_kept == statistics.sent.unsent_payloads == 0
        assert repr(session) == (
            "<Session open: 1 connections, 0 calling, 0 answering, 0 channels>"
        )
    assert ours.statistics().sent.payload_bytes == (
        theirs.statistics().received.payload_bytes
    )
    nursery.cancel_scope.cancel()


async def test_calls_in_flight_show_method_and_age(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        raise AssertionError

    ours, theirs = await join(nursery, streams(echo=echo))
    nursery.start_soon(caller_of(ours).echo, USER_DATA)
    await trio.sleep(2)
    nursery.start_soon(caller_of(ours).echo, USER_DATA)
    await trio.sleep(1)
    id = METHODS["echo"].id
    expected = (CallStatistics(1, id, 3.0), CallStatistics(3, id, 1.0))
    assert connection_of(ours).calling == expected
    assert connection_of(theirs).answering == expected
    assert connection_of(ours).answering == connection_of(theirs).calling == ()
    assert {call.method for call in expected} == {"Streams.echo"}
    assert "2 calling" in repr(ours)
    assert "2 answering" in repr(theirs)
    nursery.cancel_scope.cancel()


async def test_channels_show_direction_credit_and_what_waits(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def both(numbers: Rx[int], output: Tx[int]) -> None:
        for number in range(3):
            await output.send(number)
        await trio.sleep_forever()

    ours, theirs = await join(nursery, streams(both=both))
    to, numbers = channel[int]()
    output, back = channel[int]()
    nursery.start_soon(caller_of(ours).both, numbers, output)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(5):
        await to.send(number)
    await trio.testing.wait_all_tasks_blocked()
    assert set(connection_of(ours).channels) == {
        ChannelStatistics(1, "out", 11, 0),
        ChannelStatistics(3, "in", 13, 3),
    }
    assert set(connection_of(theirs).channels) == {
        ChannelStatistics(1, "in", 11, 5),
        ChannelStatistics(3, "out", 13, 0),
    }
    assert "2 channels" in repr(ours)
    assert repr(run_of(theirs)) == (
        "<ConnectionRun 0: 1 answering, 0 calling, 2 channels>"
    )
    entries = run_of(ours).channels.entries.values()
    assert [repr(each.outgoing or each.incoming) for each in entries] == [
        "<channel 1 out, open, credit 11>",
        "<channel 3 in, open, 3 queued, allowance 13>",
    ]
    assert back is not None
    nursery.cancel_scope.cancel()


async def test_connections_are_listed_with_their_callers(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Offer:
        async def accept(self, *_: object) -> AcceptedConnection:
            return AcceptedConnection()

    ours, theirs = await join(nursery, accepting={"on_connection": Offer()})
    connection = await ours.open_connection()
    caller = connection.caller
    clone = caller.clone()
    assert [c.connection_id for c in theirs.statistics().connections] == [0, 1]
    assert connection_of(ours, 1).callers == 2
    assert repr(connection) == "<ConnectionHandle 1, open>"
    assert repr(caller) == "<DriverCaller of connection 1, open>"
    clone.close()
    assert connection_of(ours, 1).callers == 1
    caller.close()
    await connection.closed()
    assert repr(connection) == "<ConnectionHandle 1, closed>"
    assert repr(caller) == "<DriverCaller of connection 1, closed>"
    assert [c.connection_id for c in ours.statistics().connections] == [0]
    nursery.cancel_scope.cancel()


async def test_what_the_writer_holds_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        trio.open_nursery() as nursery,
        WithPeer(buffer=1) as (session, peer),
    ):
        caller = caller_of(session)
        calls = [Task(nursery, caller.echo, "stuck") for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        statistics = session.statistics()
        assert statistics.sent.unsent_payloads == 1
        assert statistics.sent.tasks_waiting == 2
        assert statistics.connections[0].calling[0].method == "Streams.echo"
        call = await peer.hear(RequestCall)
        await trio.testing.wait_all_tasks_blocked()
        calls_made = {c.request_id for c in connection_of(session).calling}
        assert call.request_id in calls_made
        for task in calls:
            task.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert session.statistics().messages_kept == 2  # a Cancel for each that went


async def test_no_data_of_users_shows(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def take_text(items: Rx[str]) -> None:
        await trio.sleep_forever()

    async def echo(text: str) -> str:
        await trio.sleep_forever()
        raise AssertionError

    ours, theirs = await join(nursery, streams(take_text=take_text, echo=echo))
    tx, rx = channel[str]()
    nursery.start_soon(caller_of(ours).take_text, rx)
    nursery.start_soon(caller_of(ours).echo, USER_DATA)
    await trio.testing.wait_all_tasks_blocked()
    await tx.send(USER_DATA)
    await trio.testing.wait_all_tasks_blocked()
    for session in (ours, theirs):
        run = run_of(session)
        shown: list[Any] = [session, session.statistics(), session.root, run]
        shown += [session.caller, run.port, run.port.outbox, tx, rx]
        for entry in run.channels.entries.values():
            shown += [entry.incoming, entry.outgoing]
        assert USER_DATA not in "".join(map(repr, shown))
    nursery.cancel_scope.cancel()


def test_an_ended_session_still_tells() -> None:
    sessions: list[Session] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            sessions.extend(await join(nursery, streams()))
            nursery.start_soon(swallow, caller_of(sessions[0]))
            await trio.testing.wait_all_tasks_blocked()
            await sessions[0].shutdown()
            for session in sessions:
                await session.closed()

    async def swallow(caller: Streams) -> None:
        with pytest.raises(Exception, match=r"."):
            await caller.echo("x")

    trio.run(main)
    for session in sessions:
        assert session.statistics().connections == ()
        assert session.statistics().sent.payloads >= 1
        assert repr(session).startswith("<Session ended: ")
        assert repr(session.root) == "<ConnectionHandle 0, closed>"
        assert "0 answering, 0 calling" in repr(run_of(session))


def test_methods_that_nobody_has_named_show_their_identity() -> None:
    assert method_name(0xAB) == "0x00000000000000ab"
    assert CallStatistics(1, 0xAB, 0.0).method == "0x00000000000000ab"
    remember_method_name(0xAC, "Some.method")
    assert method_name(0xAC) == "Some.method"


def test_a_service_tells_the_names_of_its_methods() -> None:
    for method in describe(Streams).methods:
        assert method_name(method.id) == f"Streams.{method.name}"


async def test_telling_costs_no_checkpoint_and_changes_nothing(
    nursery: trio.Nursery,
) -> None:
    ours, _ = await join(nursery)
    with trio.testing.assert_no_checkpoints():
        assert ours.statistics() == ours.statistics()
    nursery.cancel_scope.cancel()
