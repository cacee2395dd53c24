"""Several items in one step: what is sent and granted, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import Limits, Rx, Tx, channel
from roam_trio.errors import (
    EncodeError,
    PayloadTooLarge,
    RxClosed,
    RxConnectionLost,
    RxDecodeError,
    TxClosed,
    TxConnectionLost,
    TxReset,
)
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.session.channel_in import ITEM_BYTES
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ProtocolError,
    RequestCall,
)
from tests.peer import Peer

from .pair_of_sockets import SocketPair, Steps
from .running import Task, WithPeer, caller_of, item, join, number_in, streams


async def sending_with(
    method: str, nursery: trio.Nursery, session: Any, peer: Peer
) -> Tx[Any]:
    """A Tx of a call that has begun, with the credit of the method."""
    tx, rx = channel[Any]()
    Task(nursery, getattr(caller_of(session), method), rx)
    await peer.hear(RequestCall)
    return tx


async def receiving_with(
    method: str, nursery: trio.Nursery, session: Any, peer: Peer
) -> Rx[Any]:
    """An Rx of a call that has begun."""
    tx, rx = channel[Any]()
    Task(nursery, getattr(caller_of(session), method), tx)
    await peer.hear(RequestCall)
    return rx


async def hear_numbers(peer: Peer, count: int) -> list[int]:
    return [number_in(await peer.hear(ChannelItem)) for _ in range(count)]


# ------------------------------------------------------------ sending


async def test_items_below_the_credit_are_sent_without_waiting(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        await tx.send_many(range(16))
        assert await hear_numbers(peer, 16) == list(range(16))
        await tx.send_many([])


@pytest.mark.rule("rpc.flow-control.credit.exhaustion")
async def test_many_items_wait_for_credit_as_often_as_needed(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_2", nursery, session, peer)
        sending = Task(nursery, tx.send_many, iter(range(7)))
        await wait_all_tasks_blocked()
        assert await hear_numbers(peer, 2) == [0, 1]
        assert await peer.heard_nothing_more()
        await peer.say(ChannelGrantCredit(0, 1, 3))
        assert await hear_numbers(peer, 3) == [2, 3, 4]
        assert await peer.heard_nothing_more()
        await peer.say(ChannelGrantCredit(0, 1, 9))
        assert await hear_numbers(peer, 2) == [5, 6]
        await sending.result()


async def test_many_items_wait_for_room_in_the_link(nursery: trio.Nursery) -> None:
    async with WithPeer(buffer=3) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        sending = Task(nursery, tx.send_many, range(16))
        await wait_all_tasks_blocked()
        assert not sending.is_done
        assert await hear_numbers(peer, 16) == list(range(16))
        await sending.result()


async def test_cancelled_send_many_has_sent_those_before_the_one_it_waits_for(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_2", nursery, session, peer)
        values = iter(range(9))
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when_blocked, scope)
            await tx.send_many(values)
        assert scope.cancelled_caught
        assert await hear_numbers(peer, 2) == [0, 1]
        await peer.say(ChannelGrantCredit(0, 1, 6))
        await wait_all_tasks_blocked()
        assert await peer.heard_nothing_more()  # nothing of it is sent later
        await tx.send_many(values)
        assert await hear_numbers(peer, 6) == [3, 4, 5, 6, 7, 8]


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_send_many_that_is_cancelled_from_the_start_sends_nothing(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        with trio.CancelScope() as scope:
            scope.cancel()
            await tx.send_many([1, 2])
        assert scope.cancelled_caught
        assert await peer.heard_nothing_more()


async def test_items_before_one_that_cannot_be_encoded_are_sent(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        with pytest.raises(EncodeError, match=r"expected i32 .*, got 'three'"):
            await tx.send_many([1, 2, "three", 4])
        assert await hear_numbers(peer, 2) == [1, 2]
        await tx.send_many(range(14))  # the credit of those that were not sent is left
        assert await hear_numbers(peer, 14) == list(range(14))


async def test_items_before_a_failure_of_the_iterator_are_sent(
    nursery: trio.Nursery,
) -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        with pytest.raises(OSError, match="no more"):
            await tx.send_many(failing())
        assert await hear_numbers(peer, 1) == [1]


async def test_iterator_that_closes_its_channel_ends_the_sending(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)

        def closing() -> Iterator[int]:
            yield 1
            tx.close()
            yield 2

        with pytest.raises(TxClosed):
            await tx.send_many(closing())
        await peer.hear(ChannelClose)
        assert await peer.heard_nothing_more()


async def test_send_many_on_a_channel_that_has_ended_raises_as_send_does(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_2", nursery, session, peer)
        sending = Task(nursery, tx.send_many, range(5))
        await hear_numbers(peer, 2)
        await wait_all_tasks_blocked()
        await peer.say(ChannelReset(0, 1))
        with pytest.raises(TxReset):
            await sending.result()
        with pytest.raises(TxReset):
            await tx.send_many([1])
        lost = await sending_with("take_2", nursery, session, peer)
        waiting = Task(nursery, lost.send_many, range(5))
        await wait_all_tasks_blocked()
        await session.shutdown()
        with pytest.raises(TxConnectionLost):
            await waiting.result()
        with pytest.raises(TxConnectionLost):
            await lost.send_many([1])


async def test_credit_that_is_left_goes_to_the_next_sender(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_1", nursery, session, peer)
        await tx.send(0)
        assert await hear_numbers(peer, 1) == [0]
        many = Task(nursery, tx.send_many, [1, 2])
        await wait_all_tasks_blocked()
        one = Task(nursery, tx.send, 3)
        await wait_all_tasks_blocked()
        await peer.say(ChannelGrantCredit(0, 1, 3))
        assert sorted(await hear_numbers(peer, 3)) == [1, 2, 3]
        await many.result()
        await one.result()


async def test_item_that_is_too_long_raises_after_those_before_it(
    nursery: trio.Nursery,
) -> None:
    received: list[str] = []

    async def take_text(items: Rx[str]) -> None:
        async for text in items:
            received.append(text)

    limits = StreamLimits(max_payload=1000)
    one, other = trio.testing.memory_stream_pair()
    links = StreamLink(one, limits=limits), StreamLink(other, limits=limits)
    session, _ = await join(nursery, streams(take_text=take_text), links=links)
    tx, rx = channel[str]()
    call = Task(nursery, caller_of(session).take_text, rx)
    await wait_all_tasks_blocked()
    with pytest.raises(PayloadTooLarge):
        await tx.send_many(["a", "b", "c" * 2000, "d"])
    await tx.send_many(["e"])
    tx.close()
    await call.result()
    await session.shutdown()
    assert received == ["a", "b", "e"]


async def test_large_items_are_not_all_encoded_before_the_first_is_sent(
    nursery: trio.Nursery,
) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for _ in range(16):
            taken += 1
            yield "x" * 100_000

    async with WithPeer(buffer=1) as (session, peer):
        tx = await sending_with("take_text", nursery, session, peer)
        sending = Task(nursery, tx.send_many, texts())
        await wait_all_tasks_blocked()
        assert taken == 2  # one is on the link, and one waits for room
        for _ in range(16):
            await peer.hear(ChannelItem)
        await sending.result()


# ------------------------------------------------------------ without waiting


async def test_send_nowait_sends_where_there_is_credit_and_room(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx, rx = channel[int]()
        with pytest.raises(trio.WouldBlock):
            tx.send_nowait(0)  # no call has bound it
        Task(nursery, caller_of(session).take_2, rx)
        await peer.hear(RequestCall)
        with pytest.raises(EncodeError):
            tx.send_nowait("text")  # type: ignore[arg-type]
        tx.send_nowait(1)
        tx.send_nowait(2)
        with pytest.raises(trio.WouldBlock):
            tx.send_nowait(3)
        assert await hear_numbers(peer, 2) == [1, 2]
        await peer.say(ChannelGrantCredit(0, 1, 1))
        await wait_all_tasks_blocked()
        tx.send_nowait(3)
        assert await hear_numbers(peer, 1) == [3]
        tx.close()
        with pytest.raises(TxClosed):
            tx.send_nowait(4)


async def test_send_nowait_would_block_without_room_in_the_link(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=1) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        tx.send_nowait(1)
        with pytest.raises(trio.WouldBlock):
            tx.send_nowait(2)
        assert await hear_numbers(peer, 1) == [1]
        tx.send_nowait(2)
        assert await hear_numbers(peer, 1) == [2]


# ------------------------------------------------------------ receiving


@pytest.mark.rule("rpc.flow-control.credit.grant")
async def test_all_that_has_come_is_received_with_one_grant(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        for number in range(150):
            await peer.say(item(1, number % 60))
        await wait_all_tasks_blocked()
        assert session.statistics().connections[0].channels[0].queued == 150
        assert await rx.recv_many() == [number % 60 for number in range(150)]
        assert (await peer.hear(ChannelGrantCredit)).additional == 150
        assert await peer.heard_nothing_more()
        assert session.statistics().connections[0].channels[0].queued == 0


async def test_no_more_than_asked_for_are_received(nursery: trio.Nursery) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        await peer.say(*(item(1, number) for number in range(5)))
        await wait_all_tasks_blocked()
        assert await rx.recv_many(2) == [0, 1]
        assert await rx.recv() == 2
        assert await rx.recv_many(99) == [3, 4]
        with pytest.raises(ValueError, match="expected at least 1 item, got most=0"):
            await rx.recv_many(0)


async def test_interrupted_send_many_leaves_its_credit_to_the_next(
    nursery: trio.Nursery,
) -> None:
    def interrupted() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    async def send(tx: Tx[int]) -> None:
        with pytest.raises(KeyboardInterrupt):
            await tx.send_many(interrupted())

    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_0", nursery, session, peer)
        first = Task(nursery, send, tx)
        await wait_all_tasks_blocked()
        second = Task(nursery, tx.send, 7)
        await wait_all_tasks_blocked()
        await peer.say(ChannelGrantCredit(0, 1, 2))
        await first.result()
        await second.result()
        assert number_in(await peer.hear(ChannelItem)) == 7


async def test_recv_many_waits_for_the_first_item_and_not_for_more(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        received: list[list[int]] = []

        async def receive() -> None:
            received.append(await rx.recv_many())

        receiving = Task(nursery, receive)
        await wait_all_tasks_blocked()
        assert not receiving.is_done
        await peer.say(item(1, 7))
        await receiving.result()
        assert received == [[7]]


async def test_recv_many_raises_at_the_end_after_what_has_come(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        await peer.say(item(1, 1))
        await peer.say(ChannelClose(0, 1))
        await wait_all_tasks_blocked()
        assert await rx.recv_many() == [1]
        with pytest.raises(trio.EndOfChannel):
            await rx.recv_many()
        reset = await receiving_with("give_200", nursery, session, peer)
        reset.reset()
        with pytest.raises(RxClosed):
            await reset.recv_many()
        await peer.hear(ChannelReset)
        lost = await receiving_with("give_200", nursery, session, peer)
        receiving = Task(nursery, lost.recv_many)
        await wait_all_tasks_blocked()
        await session.shutdown()
        with pytest.raises(RxConnectionLost):
            await receiving.result()


async def test_item_that_is_none_is_told_after_those_before_it(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        encoded = (b"\x02", b"\x04", b"", b"\x06")
        await peer.say(*(ChannelItem(0, 1, value) for value in encoded))
        await wait_all_tasks_blocked()
        assert await rx.recv_many() == [1, 2]
        with pytest.raises(RxDecodeError):
            await rx.recv_many()
        assert await rx.recv_many() == [3]


async def test_cancelled_recv_many_takes_no_item(nursery: trio.Nursery) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        await peer.say(item(1, 1))
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await rx.recv_many()
        assert scope.cancelled_caught
        assert await rx.recv_many() == [1]


async def test_interrupted_recv_many_takes_no_item(nursery: trio.Nursery) -> None:
    def interrupt(items: Any, values: list[Any]) -> None:
        raise KeyboardInterrupt

    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        await peer.say(item(1, 1), item(1, 2))
        await wait_all_tasks_blocked()
        source: Any = rx.binding.source
        plan = source._plan
        source._plan = SimpleNamespace(decode_each=interrupt, weights=plan.weights)
        with pytest.raises(KeyboardInterrupt):
            await rx.recv_many()
        source._plan = plan
        assert await rx.recv_many() == [1, 2]


@pytest.mark.rule("rpc.flow-control.credit.initial.zero")
async def test_channel_without_credit_grants_one_item_for_each_receiver(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_0", nursery, session, peer)
        received: list[list[int]] = []

        async def receive() -> None:
            received.append(await rx.recv_many())

        receiving = Task(nursery, receive)
        assert (await peer.hear(ChannelGrantCredit)).additional == 1
        await peer.say(item(1, 5))
        await receiving.result()
        assert received == [[5]]


# ------------------------------------------------------------ runs of items


async def test_items_sent_in_one_step_are_one_write_and_wake_the_receiver_once() -> (
    None
):
    received: list[list[int]] = []

    async def take_200(numbers: Rx[int]) -> None:
        while True:
            received.append(await numbers.recv_many())
            if received[-1][-1] == 199:
                return

    async with SocketPair(streams(take_200=take_200)) as pair:
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.caller.take_200, rx)
            await wait_all_tasks_blocked()
            before = pair.writes
            with Steps() as steps:
                await tx.send_many(range(200))
                await wait_all_tasks_blocked()
            assert steps.by_role()["handler"] == 1
            # The items; the credit, the close and the response of the other side.
            assert pair.writes - before <= 3
    assert received == [list(range(200))]


async def test_run_of_items_beyond_the_credit_ends_the_session(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        rx = await receiving_with("give_2", nursery, session, peer)
        await peer.say(*(item(1, number) for number in range(8)))
        assert "without credit" in (await peer.hear(ProtocolError)).description
        with pytest.raises(RxConnectionLost):
            await rx.recv_many()


async def test_run_of_items_is_counted_against_the_unread_bytes(
    nursery: trio.Nursery,
) -> None:
    limits = Limits(unread_bytes=5 * (1 + ITEM_BYTES))
    async with WithPeer(buffer=64, limits=limits) as (session, peer):
        rx = await receiving_with("give_200", nursery, session, peer)
        for _ in range(3):  # what was received counts no longer
            await peer.say(*(item(1, number) for number in range(5)))
            await wait_all_tasks_blocked()
            assert await rx.recv_many() == list(range(5))
        await peer.say(*(item(1, number) for number in range(6)))
        assert "limit: unread_bytes" in (await peer.hear(ProtocolError)).description


async def test_sending_after_the_link_is_lost_is_a_lost_channel(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        tx.send_nowait(1)
        assert await hear_numbers(peer, 1) == [1]
        await peer.rx.close()  # nobody has noticed yet
        with pytest.raises(TxConnectionLost, match="the channel was lost: "):
            tx.send_nowait(2)


async def test_several_items_after_the_link_is_lost_are_a_lost_channel(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx = await sending_with("take_16", nursery, session, peer)
        await peer.rx.close()
        with pytest.raises(TxConnectionLost, match="the channel was lost: "):
            await tx.send_many([1, 2])


@pytest.mark.parametrize("bound", [False, True])
async def test_what_is_no_iterable_is_refused_with_what_was_expected(
    bound: bool, nursery: trio.Nursery
) -> None:
    async with WithPeer(buffer=64) as (session, peer):
        tx, _rx = channel[Any]()
        if bound:
            tx = await sending_with("take_16", nursery, session, peer)
        with pytest.raises(TypeError) as caught:
            await tx.send_many(5)  # type: ignore[arg-type]
        assert str(caught.value) == (
            "send_many: expected an iterable of items, got an object of type int; "
            "send() sends one item"
        )
        assert caught.value.__cause__ is None
        tx.close()
