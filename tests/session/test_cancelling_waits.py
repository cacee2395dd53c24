"""A cancelled call waits until the other side has stopped, so that nothing overlaps."""

from __future__ import annotations

import logging
import random
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import Fallible, client, dispatcher, service, u32
from roam_trio.codec import CANCELLED
from roam_trio.errors import UserError
from roam_trio.links.memory import memory_link_pair
from roam_trio.testing import connected_pair
from roam_trio.wire.messages import RequestCall, RequestCancel

from .running import (
    Task,
    WithPeer,
    caller_of,
    idle,
    join,
    response,
    streams,
)

pytestmark = pytest.mark.rule("rpc.cancel")


# ------------------------------------------------------------ one call


async def test_cancelled_call_returns_when_its_handler_has_stopped(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stopped: list[float] = []

    async def echo(text: str) -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.4)
            stopped.append(trio.current_time())
        return text

    left, _ = await join(nursery, streams(echo=echo))
    with trio.move_on_after(2) as scope:
        await caller_of(left).echo("x")
    assert scope.cancelled_caught
    assert stopped == [trio.current_time()] == [pytest.approx(2.4)]
    assert idle(left)


async def test_call_whose_handler_had_finished_all_the_same_returns_its_result(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def echo(text: str) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(2.5)
        return text

    left, _ = await join(nursery, streams(echo=echo))
    with trio.move_on_after(2) as scope:
        assert await caller_of(left).echo("x") == "x"
    assert scope.cancel_called
    assert not scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2.5)


@service
class Sales(Protocol):
    async def sell(self, number: u32) -> Fallible[None, str]: ...


class Selling:
    async def sell(self, number: int) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2.5)
        raise UserError("sold out")


async def test_call_whose_handler_had_failed_all_the_same_raises_its_error(
    autojump_clock: MockClock,
) -> None:
    async with connected_pair(Sales, Selling()) as sales:
        with trio.move_on_after(2) as scope, pytest.raises(UserError) as caught:
            await sales.sell(1)
        assert caught.value.error == "sold out"
        assert not scope.cancelled_caught


@pytest.mark.parametrize("outer", ["fail_after", "nursery"])
async def test_call_that_was_cancelled_raises_what_trio_makes_of_it(
    outer: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        return text

    left, _ = await join(nursery, streams(echo=echo))
    if outer == "fail_after":
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await caller_of(left).echo("x")
    else:
        async with trio.open_nursery() as inner:
            inner.start_soon(caller_of(left).echo, "x")
            await wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
    assert idle(left)


async def test_call_cancelled_in_its_queue_goes_on_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with WithPeer(most=1) as (session, peer):
        Task(nursery, caller_of(session).echo, "first")
        await peer.hear(RequestCall)
        with trio.move_on_after(2) as scope:
            await caller_of(session).echo("second")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(2)
        assert await peer.heard_nothing_more()


async def test_call_whose_connection_ends_while_it_waits_was_cancelled(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with WithPeer() as (session, peer):
        call = Task(nursery, caller_of(session).echo, "x")
        await peer.hear(RequestCall)
        call.cancel()
        await peer.hear(RequestCancel)
        assert not call.is_done
        await peer.leave()
        await session.closed()
        await wait_all_tasks_blocked()
        assert call.was_cancelled
        assert trio.current_time() == 0


# ------------------------------------------------------------ the grace


async def test_peer_that_does_not_stop_is_waited_for_only_so_long(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WithPeer(cancel_grace=0.5) as (session, peer):
        with trio.move_on_after(2) as scope:
            await caller_of(session).echo("x")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(2.5)
        await peer.hear(RequestCall)
        await peer.hear(RequestCancel)
        (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
        address = session.peer.address
        assert record.getMessage().startswith(
            f"Streams.echo at {address} was cancelled, and has not stopped within 0.5 s"
        )
        assert not idle(session)  # the id is in use until the response comes
        await peer.say(response(1, CANCELLED))
        await wait_all_tasks_blocked()
        assert idle(session)


async def test_without_a_grace_a_cancelled_call_goes_on_at_once(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WithPeer(cancel_grace=0) as (session, peer):
        with trio.move_on_after(2):
            await caller_of(session).echo("x")
        assert trio.current_time() == pytest.approx(2)
        await peer.hear(RequestCall)
        await peer.hear(RequestCancel)
    assert caplog.messages == []


# ------------------------------------------------------------ nothing overlaps


@service
class Room(Protocol):
    async def enter(self, number: u32) -> u32: ...


class Alone:
    """Handlers that must not overlap."""

    def __init__(self, numbers: random.Random) -> None:
        self._numbers = numbers
        self._is_taken = False
        self.entered = self.overlaps = 0

    async def enter(self, number: int) -> int:
        self.entered += 1
        self.overlaps += self._is_taken
        self._is_taken = True
        try:
            await trio.sleep(self._numbers.uniform(0, 2))
        finally:
            if self._numbers.random() < 0.5:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self._numbers.uniform(0, 0.5))
            self._is_taken = False
        return number


async def _cancel_at_random(count: int, buffer: int) -> None:
    numbers = random.Random(count)
    alone = Alone(numbers)
    cancelled = finished = 0
    async with trio.open_nursery() as nursery:
        links = memory_link_pair(buffer)
        handler = dispatcher(Room, alone)
        left, _ = await join(nursery, handler, links=links)
        room = client(Room, left.caller)
        for number in range(count):
            with trio.move_on_after(numbers.uniform(0, 2)) as scope:
                assert await room.enter(number) == number
                finished += 1
            cancelled += scope.cancelled_caught
        assert idle(left)
        await left.shutdown()
    assert alone.overlaps == 0
    assert cancelled + finished == count
    assert min(cancelled, finished) > count / 5


async def test_no_handlers_overlap_however_their_calls_are_cancelled(
    autojump_clock: MockClock,
) -> None:
    await _cancel_at_random(1_000, 16)


@pytest.mark.slow
async def test_no_handlers_overlap_in_10_000_random_cancellations(
    autojump_clock: MockClock,
) -> None:
    await _cancel_at_random(10_000, 16)


async def _cancel_in_vain(count: int) -> None:
    """Cancel calls, one after the other, to a peer that reads and never answers."""
    options: dict[str, Any] = {"most": count, "buffer": 64}
    numbers = random.Random(7)
    async with (
        WithPeer(cancel_grace=0.25, **options) as (session, peer),
        trio.open_nursery() as nursery,
    ):
        heard: list[RequestCall | RequestCancel] = []

        async def read() -> None:
            while True:
                heard.append(await peer.hear(RequestCall))
                heard.append(await peer.hear(RequestCancel))

        nursery.start_soon(read)
        room = client(Room, session.caller)
        for number in range(count):
            wait = numbers.uniform(0, 2)
            began = trio.current_time()
            with trio.move_on_after(wait) as scope:
                await room.enter(number)
            assert scope.cancelled_caught
            assert trio.current_time() == pytest.approx(began + wait + 0.25)
        await wait_all_tasks_blocked()
        # Each call was told to the peer once, and cancelled once, before the next.
        ids = [each.request_id for each in heard]
        assert len(set(ids)) == count
        assert ids[::2] == ids[1::2]
        nursery.cancel_scope.cancel()


async def test_peer_that_never_answers_costs_each_cancelled_call_its_grace(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await _cancel_in_vain(200)
    assert "Room.enter at" in caplog.text
    assert "has not stopped within 0.25 s" in caplog.text


@pytest.mark.slow
async def test_peer_that_never_answers_bounds_each_of_10_000_cancellations(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Some 5 s on one core; the clock of trio jumps over the 3 hours in between."""
    await _cancel_in_vain(10_000)
    told = [each for each in caplog.messages if "has not stopped within" in each]
    # They come one after the other, more slowly than the log has to leave any out.
    assert len(told) == 10_000
