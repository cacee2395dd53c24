"""The contract of trio's channels: what a memory channel does, a bound pair does too.

Each test runs with the ends of `trio.open_memory_channel(2)`, and with a `Tx` and an
`Rx` that a call has bound, one in each of two sessions, with a credit of 2.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel

from .running import Task, caller_of, join, streams

BUFFER = 2


class Ends:
    """A channel under test.

    Attributes:
        send: the end that sends.
        receive: the end that receives.
        most: number of items that are sent without waiting while nobody receives.
    """

    def __init__(self, send: Any, receive: Any) -> None:
        self.send = send
        self.receive = receive
        self.most = BUFFER


@asynccontextmanager
async def memory_channel() -> AsyncIterator[Ends]:
    yield Ends(*trio.open_memory_channel[int](BUFFER))


@asynccontextmanager
async def sent_by_the_caller() -> AsyncIterator[Ends]:
    """The caller has the Tx."""
    given: list[Rx[int]] = []

    async def take_2(numbers: Rx[int]) -> None:
        given.append(numbers)

    async with trio.open_nursery() as nursery:
        left, _ = await join(nursery, streams(take_2=take_2))
        tx, rx = channel[int]()
        await caller_of(left).take_2(rx)
        yield Ends(tx, given.pop())
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def sent_by_the_handler() -> AsyncIterator[Ends]:
    """The handler has the Tx."""
    given: list[Tx[int]] = []

    async def give_2(output: Tx[int]) -> None:
        given.append(output)

    async with trio.open_nursery() as nursery:
        left, _ = await join(nursery, streams(give_2=give_2))
        tx, rx = channel[int]()
        await caller_of(left).give_2(tx)
        yield Ends(given.pop(), rx)
        nursery.cancel_scope.cancel()


@pytest.fixture(
    params=[memory_channel, sent_by_the_caller, sent_by_the_handler],
    ids=lambda make: make.__name__,
)
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    async with request.param() as ends:
        yield ends


async def settle() -> None:
    """Wait until what was said has come, which takes no time in a memory channel."""
    await wait_all_tasks_blocked()


async def test_items_come_in_order_and_then_the_end(ends: Ends) -> None:
    await ends.send.send(1)
    ends.send.send_nowait(2)
    await settle()
    assert await ends.receive.receive() == 1
    await ends.send.aclose()
    assert ends.receive.receive_nowait() == 2
    with pytest.raises(trio.EndOfChannel):
        await ends.receive.receive()
    with pytest.raises(trio.EndOfChannel):
        ends.receive.receive_nowait()


async def test_blocks_close_their_ends(ends: Ends) -> None:
    with ends.send as same:
        assert same is ends.send
    with pytest.raises(trio.ClosedResourceError):
        await ends.send.send(1)
    with ends.receive as same:
        assert same is ends.receive
        await settle()
    ends.receive.close()
    with pytest.raises(trio.ClosedResourceError):
        await ends.receive.receive()


async def test_iteration_ends_with_the_channel(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            async with ends.send:
                for number in range(7):
                    await ends.send.send(number)

        nursery.start_soon(send)
        assert [number async for number in ends.receive] == list(range(7))


async def test_nowait_raises_would_block(ends: Ends) -> None:
    with pytest.raises(trio.WouldBlock):
        ends.receive.receive_nowait()
    for number in range(ends.most):
        ends.send.send_nowait(number)
    with pytest.raises(trio.WouldBlock):
        ends.send.send_nowait(9)
    await settle()
    assert [ends.receive.receive_nowait() for _ in range(ends.most)] == [0, 1]
    with pytest.raises(trio.WouldBlock):
        ends.receive.receive_nowait()


async def test_sender_waits_until_something_is_received(
    ends: Ends, nursery: trio.Nursery
) -> None:
    for number in range(ends.most):
        await ends.send.send(number)
    sending = Task(nursery, ends.send.send, 9)
    await settle()
    assert not sending.is_done
    assert [await ends.receive.receive() for _ in range(ends.most + 1)] == [0, 1, 9]
    await sending.result()


async def test_closed_end_raises_closed(ends: Ends) -> None:
    ends.send.close()
    ends.send.close()
    await ends.send.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ends.send.send(1)
    with pytest.raises(trio.ClosedResourceError):
        ends.send.send_nowait(1)
    with pytest.raises(trio.ClosedResourceError):
        ends.send.clone()
    await ends.receive.aclose()
    await ends.receive.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ends.receive.receive()
    with pytest.raises(trio.ClosedResourceError):
        ends.receive.receive_nowait()
    with pytest.raises(trio.ClosedResourceError):
        ends.receive.clone()


async def test_sender_whose_receiver_is_gone_raises_broken(
    ends: Ends, nursery: trio.Nursery
) -> None:
    for number in range(ends.most):
        await ends.send.send(number)
    waiting = Task(nursery, ends.send.send, 9)
    await settle()
    await ends.receive.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await waiting.result()
    with pytest.raises(trio.BrokenResourceError):
        await ends.send.send(1)
    with pytest.raises(trio.BrokenResourceError):
        ends.send.send_nowait(1)


async def test_closing_wakes_those_who_wait_in_the_same_end(
    ends: Ends, nursery: trio.Nursery
) -> None:
    for number in range(ends.most):
        await ends.send.send(number)
    sending = Task(nursery, ends.send.send, 9)
    await settle()
    ends.send.close()
    with pytest.raises(trio.ClosedResourceError):
        await sending.result()
    assert [await ends.receive.receive() for _ in range(ends.most)] == [0, 1]


async def test_closing_the_receiving_end_wakes_those_who_wait_in_it(
    ends: Ends, nursery: trio.Nursery
) -> None:
    receiving = Task(nursery, ends.receive.receive)
    await settle()
    await ends.receive.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await receiving.result()


async def test_each_item_goes_to_one_receiver(
    ends: Ends, nursery: trio.Nursery
) -> None:
    receiving = [Task(nursery, ends.receive.receive) for _ in range(3)]
    await settle()
    for number in range(3):
        await ends.send.send(number)
    assert sorted([await task.result() for task in receiving]) == [0, 1, 2]


async def test_cancelled_operation_has_done_nothing(ends: Ends) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await ends.send.send(1)
    assert scope.cancelled_caught
    await ends.send.send(2)
    await settle()
    with trio.CancelScope() as scope:
        scope.cancel()
        await ends.receive.receive()
    assert scope.cancelled_caught
    assert await ends.receive.receive() == 2


# ------------------------------------------------------------ clones


async def test_channel_ends_with_the_last_clone_of_its_sender(ends: Ends) -> None:
    clone = ends.send.clone()
    more = clone.clone()
    await ends.send.send(1)
    await clone.send(2)
    ends.send.close()
    with pytest.raises(trio.ClosedResourceError):
        await ends.send.send(9)
    with pytest.raises(trio.ClosedResourceError):
        ends.send.send_nowait(9)
    assert [await ends.receive.receive() for _ in range(2)] == [1, 2]
    await settle()
    clone.close()
    clone.close()
    await settle()
    with pytest.raises(trio.WouldBlock):
        ends.receive.receive_nowait()
    more.send_nowait(3)
    await more.aclose()
    assert await ends.receive.receive() == 3
    with pytest.raises(trio.EndOfChannel):
        await ends.receive.receive()


async def test_clones_of_the_receiver_share_the_items(
    ends: Ends, nursery: trio.Nursery
) -> None:
    clone = ends.receive.clone()
    await ends.send.send(1)
    await ends.send.send(2)
    assert await clone.receive() == 1
    assert await ends.receive.receive() == 2
    await ends.receive.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ends.receive.receive()
    with pytest.raises(trio.ClosedResourceError):
        ends.receive.receive_nowait()
    await ends.send.send(3)
    assert await clone.receive() == 3
    await clone.aclose()
    await settle()
    with pytest.raises(trio.BrokenResourceError):
        await ends.send.send(4)


async def test_closing_a_clone_wakes_those_who_wait_in_it_and_no_others(
    ends: Ends, nursery: trio.Nursery
) -> None:
    clone = ends.send.clone()
    for number in range(ends.most):
        await clone.send(number)
    here = Task(nursery, clone.send, 8)
    await settle()
    there = Task(nursery, ends.send.send, 9)
    await settle()
    clone.close()
    with pytest.raises(trio.ClosedResourceError):
        await here.result()
    assert not there.is_done
    assert [await ends.receive.receive() for _ in range(ends.most + 1)] == [0, 1, 9]
    receiving = ends.receive.clone()
    first = Task(nursery, receiving.receive)
    second = Task(nursery, ends.receive.receive)
    await settle()
    await receiving.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await first.result()
    assert not second.is_done
    await ends.send.send(5)
    assert await second.result() == 5


async def test_statistics_count_clones_and_tasks_that_wait(
    ends: Ends, nursery: trio.Nursery
) -> None:
    def counted() -> list[int]:
        send, receive = ends.send.statistics(), ends.receive.statistics()
        if isinstance(send, trio.MemoryChannelStatistics):
            return [
                send.open_send_channels,
                send.open_receive_channels,
                send.tasks_waiting_send,
                send.tasks_waiting_receive,
                send.current_buffer_used,
            ]
        return [
            send.clones,
            receive.clones,
            send.tasks_waiting,
            receive.tasks_waiting,
            receive.queued,
        ]

    assert counted() == [1, 1, 0, 0, 0]
    clone = ends.send.clone()
    other = ends.receive.clone()
    receiving = Task(nursery, other.receive)
    await settle()
    assert counted() == [2, 2, 0, 1, 0]
    for number in range(ends.most + 1):
        await clone.send(number)
    await settle()
    assert await receiving.result() == 0
    sending = Task(nursery, ends.send.send, 9)
    await settle()
    assert counted()[0:2] == [2, 2]
    clone.close()
    await other.aclose()
    assert counted()[0:2] == [1, 1]
    assert counted()[3:] == [0, ends.most]
    sending.cancel()
