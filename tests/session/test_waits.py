"""Waits that last: they are logged once and counted, and calls can be refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import Limits, Tx, channel, service
from roam_trio.errors import EncodeError, Overloaded, TxClosed
from roam_trio.peers import Peer
from roam_trio.session.terms import SessionTerms
from roam_trio.session.waits import WaitFor, Waits
from roam_trio.testing import connected_pair
from roam_trio.wire.messages import (
    ChannelGrantCredit,
    ChannelItem,
    RequestCall,
    RequestCancel,
)

from .running import Task, WithPeer, call_of, caller_of, response, streams


class World:
    """Waits without a run of trio, and the time that is set by hand."""

    def __init__(self, after: float = 5.0) -> None:
        self.time = 100.0
        self.started: list[Callable[[], Awaitable[None]]] = []
        terms = SessionTerms(
            limits=Limits(warn_after=after), peer=Peer("memory", "nobody")
        )
        self.waits = Waits(
            terms, lambda: self.time, SimpleNamespace(start_soon=self.started.append)
        )

    def due(self) -> list[str]:
        return [wait.who for wait in self.waits.take_due()]


# ------------------------------------------------------------ decisions


def test_oldest_wait_is_due_first_and_each_once() -> None:
    world = World()
    world.waits.begin(WaitFor.CREDIT, 0, channel_id=1)
    world.time = 102.0
    second = world.waits.begin(WaitFor.SLOT, 0, method_id=0xAB)
    third = world.waits.begin(WaitFor.ROOM, 2)
    assert world.waits.next_at() == 105.0
    assert world.due() == []
    world.time = 105.0
    assert world.due() == ["an item of channel 1"]
    assert world.waits.next_at() == 107.0
    world.time = 108.0
    assert world.due() == ["a call of 0x00000000000000ab", "a response"]
    assert world.due() == []
    assert world.waits.next_at() is None
    assert [wait.age for wait in world.waits.statistics(0)] == [8.0, 6.0]
    assert [wait.what for wait in world.waits.statistics(2)] == ["room"]
    world.waits.end(second)
    world.waits.end(third)
    assert repr(world.waits) == "<Waits: 1 waiting>"


def test_wait_is_due_at_the_time_at_which_it_is_watched_for() -> None:
    for tenths in range(1, 1000):
        world = World(after=0.7)
        world.time = tenths / 10  # not exact, so that sums and differences are rounded
        world.waits.begin(WaitFor.CREDIT, 0, channel_id=1)
        next_at = world.waits.next_at()
        assert next_at is not None
        world.time = next_at
        assert world.due() == ["an item of channel 1"]


def test_wait_that_has_ended_is_never_due() -> None:
    world = World()
    world.waits.end(world.waits.begin(WaitFor.CREDIT, 0, channel_id=1))
    world.time = 200.0
    assert world.due() == []
    assert world.waits.statistics(0) == ()


def test_all_are_watched_by_one_task() -> None:
    world = World()
    for _ in range(3):
        world.waits.begin(WaitFor.CREDIT, 0, channel_id=1)
    assert len(world.started) == 1


def test_nothing_is_watched_without_a_limit_or_after_the_session() -> None:
    world = World(after=math.inf)
    world.waits.begin(WaitFor.CREDIT, 0, channel_id=1)
    assert world.started == []
    ended = World()
    ended.waits.close()
    ended.waits.begin(WaitFor.CREDIT, 0, channel_id=1)
    assert ended.started == []


# ------------------------------------------------------------ in sessions


@pytest.fixture(autouse=True)
def warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


async def test_item_that_waits_for_credit_is_logged_once(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with WithPeer(limits=Limits(warn_after=3)) as (session, peer):
        tx, rx = channel[int]()
        Task(nursery, caller_of(session).take_1, rx)
        await peer.hear(RequestCall)
        Task(nursery, tx.send_many, range(3))
        await trio.sleep(2.9)
        assert caplog.messages == []
        (waiting,) = session.statistics().connections[0].waiting
        assert (waiting.what, waiting.channel_id) == ("credit", 1)
        assert waiting.age == pytest.approx(2.9)
        await trio.sleep(60)
        assert caplog.messages == [
            "connection 0: an item of channel 1 has waited for 3 s for "
            "credit: the receiver takes no items (limit: warn_after) (this process)"
        ]
        await peer.say(ChannelGrantCredit(0, 1, 1))
        await trio.sleep(4)  # it goes on, and waits for the next
        assert len(caplog.messages) == 2
        await peer.say(ChannelGrantCredit(0, 1, 9))
        await wait_all_tasks_blocked()
        assert session.statistics().connections[0].waiting == ()


async def test_call_that_waits_for_a_slot_is_logged_with_its_method(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with WithPeer(most=1) as (session, _):
        Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        Task(nursery, caller_of(session).echo, "text")
        await trio.sleep(6)
        assert caplog.messages == [
            "connection 0: a call of Streams.echo has waited for 5 s "
            "for one of the calls in flight to end: the peer accepts no more at a time "
            "(max_concurrent_requests) (limit: warn_after) (this process)"
        ]
        (waiting,) = session.statistics().connections[0].waiting
        assert (waiting.what, waiting.channel_id) == ("slot", None)


@pytest.mark.parametrize("what", ["item", "items", "call"])
async def test_what_waits_for_room_in_the_link_is_logged(
    what: str,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WithPeer(buffer=1) as (session, peer):
        tx, rx = channel[int]()
        Task(nursery, caller_of(session).take_16, rx)
        await peer.hear(RequestCall)
        await tx.send(0)  # and now the link is full
        if what == "item":
            Task(nursery, tx.send, 1)
        elif what == "items":
            Task(nursery, tx.send_many, [1])
        else:
            Task(nursery, caller_of(session).add, 1, 2)
        await trio.sleep(6)
        [message] = caplog.messages
        who = "a call of Streams.add" if what == "call" else "an item of channel 1"
        assert f"{who} has waited for 5 s for room in the link" in message
        await peer.hear(ChannelItem)


async def test_response_that_waits_for_room_is_logged(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(text: str) -> str:
        return text

    async with WithPeer(streams(echo=echo), buffer=1) as (_, peer):
        await peer.say(call_of("echo", 1, "one"))
        await peer.say(call_of("echo", 3, "two"))
        await trio.sleep(6)
        [message] = caplog.messages
        assert "a response has waited for 5 s for room in the link" in message


async def test_waits_for_responses_and_for_items_are_not_logged(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with WithPeer() as (session, peer):
        tx, rx = channel[int]()
        Task(nursery, caller_of(session).give_200, tx)
        Task(nursery, rx.recv)
        Task(nursery, rx.recv_many)
        await trio.sleep(60)
        assert session.statistics().connections[0].waiting == ()
        await peer.hear(RequestCall)
    assert caplog.messages == []


async def test_watch_is_one_task_that_ends_when_nobody_waits(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with WithPeer(most=1) as (session, peer):
        first = Task(nursery, caller_of(session).echo, "text")
        await peer.hear(RequestCall)
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        waiting = [Task(nursery, caller_of(session).echo, "text") for _ in range(3)]
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before + 3 + 1
        for task in waiting:
            task.cancel()
        await trio.sleep(5.1)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert caplog.messages == []
        first.cancel()
        await peer.hear(RequestCancel)
        await peer.say(response(1))


async def test_wait_for_a_binding_is_logged_once(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    tx, rx = channel[int]()
    sending = Task(nursery, tx.send, 1)
    await trio.sleep(60)
    assert caplog.messages == [
        "an end of a channel has waited for 5 s for a call to bind its pair: "
        "give the other end to a call (limit: warn_after)"
    ]
    tx.close()
    with pytest.raises(TxClosed):
        await sending.result()
    del rx


@pytest.mark.parametrize("seconds", [2.0, math.inf])
async def test_wait_for_a_binding_in_a_handler_has_the_limits_of_its_session(
    seconds: float, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @service
    class Waiting(Protocol):
        async def wait(self) -> None: ...

    class Impl:
        async def wait(self) -> None:
            tx, rx = channel[int]()
            with trio.move_on_after(60):
                await tx.send(1)
            del rx

    async with connected_pair(
        Waiting, Impl(), limits=Limits(warn_after=seconds)
    ) as waiting:
        await waiting.wait()
    warnings = [each for each in caplog.messages if "to bind its pair" in each]
    assert [each.partition(" for a call")[0] for each in warnings] == (
        [] if seconds == math.inf else ["an end of a channel has waited for 2 s"]
    )


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_warn_after_is_a_number_of_seconds_or_infinite(seconds: float) -> None:
    with pytest.raises(ValueError, match="warn_after: expected a finite number"):
        Limits(warn_after=seconds)
    assert Limits(warn_after=math.inf).warn_after == math.inf


# ------------------------------------------------------------ too many calls


async def test_calls_beyond_max_waiting_are_refused_at_once(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(most=1, max_waiting=2) as (session, peer):
        Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        calls = [Task(nursery, caller_of(session).add, 1, 2) for _ in range(2)]
        await wait_all_tasks_blocked()
        refused = pytest.raises(Overloaded, match=r"2 calls wait .*\(max_waiting=2\)")
        with refused as told:
            await caller_of(session).add(1, 2)
        assert told.value.was_begun is False
        assert not told.value.by_peer
        calls[1].cancel()
        await wait_all_tasks_blocked()
        again = Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        assert not again.is_done
        with pytest.raises(Overloaded):
            await caller_of(session).add(1, 2)


async def test_calls_that_wait_for_room_count_against_max_waiting(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=1, max_waiting=1) as (session, peer):
        calls = [Task(nursery, caller_of(session).add, 1, 2) for _ in range(2)]
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await caller_of(session).add(1, 2)
        await peer.hear(RequestCall)
        await peer.hear(RequestCall)
        await wait_all_tasks_blocked()
        last = Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        assert not any(call.is_done for call in [*calls, last])


async def test_no_call_waits_where_none_may(nursery: trio.Nursery) -> None:
    async with WithPeer(most=1, max_waiting=0) as (session, peer):
        with pytest.raises(EncodeError):
            await caller_of(session).add("one", 2)  # type: ignore[arg-type]
        Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        with pytest.raises(Overloaded):
            await caller_of(session).add(1, 2)


async def test_channels_of_a_refused_call_are_left_to_be_used(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer(most=1, max_waiting=0) as (session, peer):
        Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        with pytest.raises(Overloaded):
            await caller_of(session).take_16(rx)
        assert rx.can_be_given
        assert isinstance(tx, Tx)


@pytest.mark.parametrize("most", [-1, 0.5, "many"])
async def test_max_waiting_is_a_whole_number(most: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="max_waiting: expected a whole"):
        WithPeer(max_waiting=most)
