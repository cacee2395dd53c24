"""Items travel on channels both ways, whoever calls, and as many as you like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import pytest
import trio

from roam_trio import Rx, Session, Tx, channel, client

from ..two_processes.processes import within
from .handlers import Everything
from .peer import Place, meet
from .services import Streams
from .wire_types import Figure, Order, Point, Polygon

pytestmark = pytest.mark.interop

T = TypeVar("T")

NUMBERS = [1, 16, 200, 10_000]

SOON = 0.3
"""So many seconds that what has not happened by then is not about to."""


async def send_all(items: Iterable[T], tx: Tx[T]) -> None:
    async with tx:
        for item in items:
            await tx.send(item)


async def streams_of(session: Awaitable[Session]) -> Streams:
    return client(Streams, (await session).caller)


async def count_with(
    count: Callable[[int, Tx[int]], Awaitable[object]], end: int
) -> list[int]:
    """The numbers that a method of `Streams` counts up to `end`."""
    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count, end, tx)
        return [number async for number in rx]


async def sum_with(sum: Callable[[Rx[int]], Awaitable[int]], end: int) -> int:
    """What a method of `Streams` makes of the numbers below `end`."""
    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, range(end), tx)
        return await sum(rx)


@within(300)
@pytest.mark.parametrize("number", NUMBERS)
async def test_items_reach_rust_and_come_from_it(
    place: Place, everything: Everything, number: int
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        assert await sum_with(streams.sum, number) == number * (number - 1) // 2
        assert await count_with(streams.count, number) == list(range(number))


@within(60)
@pytest.mark.parametrize("number", NUMBERS[:-1])
async def test_items_go_both_ways_in_one_call_of_rust(
    place: Place, everything: Everything, number: int
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        texts = [f"{item:05}é" for item in range(number)]
        tx, rx = channel[str]()
        given, taken = channel[str]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, texts, tx)
            nursery.start_soon(streams.reversed, rx, given)
            assert [text async for text in taken] == [text[::-1] for text in texts]


@within(300)
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("scenario", ["sum", "count"])
async def test_items_come_from_a_rust_caller_and_reach_it(
    place: Place, everything: Everything, scenario: str, number: int
) -> None:
    async with meet(
        place, "call", scenario, str(number), handler=everything
    ) as meeting:
        assert await meeting.peer.wait() == [f"done {scenario}"]


@within(60)
@pytest.mark.parametrize("number", NUMBERS[:-1])
async def test_items_go_both_ways_in_one_call_of_a_rust_caller(
    place: Place, everything: Everything, number: int
) -> None:
    async with meet(
        place, "call", "reversed", str(number), handler=everything
    ) as meeting:
        assert await meeting.peer.wait() == ["done reversed"]


@within(60)
async def test_the_two_agree_on_windows_of_other_sizes(
    place: Place, everything: Everything
) -> None:
    end = 500
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        for summing in (streams.sum_narrow, streams.sum_wide):
            assert await sum_with(summing, end) == end * (end - 1) // 2
        for counting in (
            streams.count_narrow,
            streams.count_wide,
            streams.count_widest,
        ):
            assert await count_with(counting, end) == list(range(end))


@within(60)
async def test_items_have_types_of_their_own(
    place: Place, everything: Everything
) -> None:
    corners = [Point(x, -x) for x in range(20)]
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[Point]()
        given, taken = channel[Figure]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, corners, tx)
            nursery.start_soon(streams.draw, rx, given)
            figures = [figure async for figure in taken]
    assert figures == [Polygon(corners[: end + 1]) for end in range(20)]


@within(60)
async def test_a_channel_may_be_left_out(place: Place, everything: Everything) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        assert await streams.sum_if_given(None) is None
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, [1, 2, 300], tx)
            assert await streams.sum_if_given(rx) == 303


@within(60)
@pytest.mark.parametrize("scenario", ["draw", "optional"])
async def test_a_rust_caller_has_these_channels_too(
    place: Place, everything: Everything, scenario: str
) -> None:
    async with meet(place, "call", scenario, handler=everything) as meeting:
        assert await meeting.peer.wait() == [f"done {scenario}"]


@within(60)
async def test_items_of_rust_come_after_its_response(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[int]()
        await streams.later(500, tx)
        assert [number async for number in rx] == list(range(500))


@within(60)
async def test_items_reach_a_rust_caller_after_its_response(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "later", "500", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["done later"]


@within(60)
async def test_rust_keeps_64_items_and_drops_more_without_a_word(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, [1] * 200, tx)
            assert await streams.sum_late(rx) == 64


@within(60)
async def test_a_channel_in_a_field_is_of_no_use_to_rust(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        _, rx = channel[int]()
        assert await streams.sum_in_order(Order("field", rx)) is None
        assert await count_with(streams.count, 100) == list(range(100))


@within(60)
async def test_rust_says_nothing_when_it_lets_go_of_a_channel(
    place: Place, everything: Everything
) -> None:
    """No Reset comes: the sender has its credit, and then waits."""
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[int]()
        sent = 0
        async with trio.open_nursery() as nursery:

            async def send_for_ever() -> None:
                nonlocal sent
                while True:
                    await tx.send(1)
                    sent += 1

            nursery.start_soon(send_for_ever)
            assert await streams.take(3, rx) == 3
            await trio.sleep(SOON)
            nursery.cancel_scope.cancel()
        assert sent == 16
        assert await count_with(streams.count, 100) == list(range(100))


@within(60)
async def test_rust_sends_its_credit_after_a_reset_and_its_handler_waits(
    place: Place, everything: Everything
) -> None:
    """What Rust sends on is ignored; only a Cancel ends its handler."""
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        streams = client(Streams, session.caller)
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streams.count, 1000, tx)
            assert [await rx.recv() for _ in range(5)] == list(range(5))
            rx.reset()
            await trio.sleep(SOON)
            (root,) = session.statistics().connections
            assert [call.method for call in root.calling] == ["Streams.count"]
            nursery.cancel_scope.cancel()
        assert await count_with(streams.count, 100) == list(range(100))


@within(60)
async def test_a_rust_caller_sends_its_credit_after_a_reset(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "take", "3", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["sent 16", "done take"]


@within(60)
async def test_a_channel_that_a_rust_caller_lets_go_of_holds_up_no_other(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "stop", "5", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["count waits", "done stop"]
