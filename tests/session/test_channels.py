"""Channels of calls: what goes over them, how they end, and what must never happen."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import hypothesis.strategies as st
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel, client, dispatcher, service
from roam_trio.codec import INVALID_PAYLOAD, UNKNOWN_METHOD
from roam_trio.errors import (
    ChannelError,
    ConnectionLost,
    EncodeError,
    PayloadTooLarge,
    RxClosed,
    RxConnectionLost,
    RxDecodeError,
    RxReset,
    TxClosed,
    TxConnectionLost,
    TxReset,
    TxUnbound,
)
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.rpc.mapped import map_items
from roam_trio.schema import i32
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    RequestCall,
    RequestResponse,
    joined,
)

from .running import (
    Task,
    WithPeer,
    call_of,
    caller_of,
    idle,
    item,
    join,
    response,
    streams,
)


async def total(numbers: Rx[int]) -> int:
    """Sum what comes."""
    total = 0
    async for number in numbers:
        total += number
    return total


# ------------------------------------------------------------ both directions


@pytest.mark.rule(
    "rpc.channel",
    "rpc.channel.direction",
    "rpc.channel.item",
    "rpc.channel.close",
    "rpc.channel.binding.caller-args.rx",
    "rpc.channel.binding.callee-args.rx",
)
async def test_caller_sends_to_the_handler_in_order(nursery: trio.Nursery) -> None:
    received: list[int] = []

    async def take(numbers: Rx[int]) -> int:
        received.extend([number async for number in numbers])
        return sum(received)

    left, right = await join(nursery, streams(take=take))
    tx, rx = channel[int]()
    call = Task(nursery, caller_of(left).take, rx)
    async with tx:
        for number in range(1000):
            await tx.send(number)
    assert await call.result() == 499500
    assert received == list(range(1000))
    assert idle(left)
    assert idle(right)


@pytest.mark.rule(
    "rpc.channel",
    "rpc.channel.direction",
    "rpc.channel.item",
    "rpc.channel.binding.caller-args.tx",
    "rpc.channel.binding.callee-args.tx",
)
async def test_handler_sends_to_the_caller_in_order(nursery: trio.Nursery) -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        for number in range(upto):
            await output.send(number)

    left, right = await join(nursery, streams(give=give))
    tx, rx = channel[int]()
    call = Task(nursery, caller_of(left).give, 1000, tx)
    assert [number async for number in rx] == list(range(1000))
    await call.result()
    with pytest.raises(trio.EndOfChannel):
        await rx.recv()
    with pytest.raises(trio.EndOfChannel):
        rx.recv_nowait()
    assert idle(left)
    assert idle(right)


@pytest.mark.rule("rpc.channel", "rpc.channel.direction", "rpc.channel.allocation")
async def test_both_directions_at_once(nursery: trio.Nursery) -> None:
    async def both(numbers: Rx[int], output: Tx[int]) -> None:
        async for number in numbers:
            await output.send(number * 2)

    left, _ = await join(nursery, streams(both=both))
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    call = Task(nursery, caller_of(left).both, rx, back_tx)

    async def produce() -> None:
        async with tx:
            for number in range(100):
                await tx.send(number)

    nursery.start_soon(produce)
    assert [number async for number in back_rx] == list(range(0, 200, 2))
    await call.result()


@pytest.mark.rule(
    "rpc.channel.item",
    "rpc.channel.close",
    "rpc.channel.reset",
    "rpc.channel.allocation",
)
async def test_bytes_of_every_channel_message(nursery: trio.Nursery) -> None:
    async def hear() -> bytes | None:
        payload = await peer.rx.recv()
        return None if payload is None else bytes(payload)

    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).both, rx, back_tx)
        assert (await peer.hear(RequestCall)).channels == (1, 3)
        await tx.send(1)
        assert await hear() == bytes.fromhex("00 08 01 00 02")
        tx.close()
        assert await hear() == bytes.fromhex("00 08 01 01 00")
        await peer.say(*(item(3, number) for number in range(8)))
        for number in range(8):
            assert await back_rx.recv() == number
        assert await hear() == bytes.fromhex("00 08 03 03 08")
        back_rx.reset()
        assert await hear() == bytes.fromhex("00 08 03 02 00")


# ------------------------------------------------------------ places of channels


class Job(msgspec.Struct):
    """A struct with channels in it."""

    name: str
    progress: Tx[i32]
    inputs: Rx[i32] | None = None


@attrs.frozen
class Quiet:
    """A variant without a channel."""

    level: i32


@attrs.frozen
class Watched:
    """A variant with one."""

    output: Tx[i32]


@service
class Placed(Protocol):
    """Channels at every place where they may be."""

    async def run(self, job: Job, mode: Quiet | Watched, last: Tx[i32]) -> i32: ...


class PlacedImpl:
    async def run(self, job: Job, mode: Quiet | Watched, last: Tx[int]) -> int:
        total = 0
        if job.inputs is not None:
            async for number in job.inputs:
                total += number
        await job.progress.send(1)
        if isinstance(mode, Watched):
            await mode.output.send(2)
        await last.send(3)
        return total


@pytest.mark.rule(
    "rpc.channel.discovery",
    "rpc.channel.payload-encoding",
    "rpc.channel.binding",
    "rpc.channel.binding.caller-args",
    "rpc.channel.binding.callee-args",
)
@pytest.mark.parametrize("has_inputs", [True, False])
@pytest.mark.parametrize("is_watched", [True, False])
async def test_channels_in_structs_options_and_variants(
    has_inputs: bool, is_watched: bool, nursery: trio.Nursery
) -> None:
    left, right = await join(nursery, dispatcher(Placed, PlacedImpl()))
    progress, seen = channel[int]()
    numbers, inputs = channel[int]()
    output, watched = channel[int]()
    last, third = channel[int]()
    mode = Watched(output) if is_watched else Quiet(5)
    job = Job("name", progress, inputs if has_inputs else None)
    call = Task(nursery, client(Placed, left.caller).run, job, mode, last)
    if has_inputs:
        await numbers.send(20)
        await numbers.send(22)
        numbers.close()
    assert [number async for number in seen] == [1]
    if is_watched:
        assert [number async for number in watched] == [2]
    assert [number async for number in third] == [3]
    assert await call.result() == (42 if has_inputs else 0)
    assert idle(left)
    assert idle(right)


@pytest.mark.rule("rpc.channel.discovery", "rpc.channel.payload-encoding")
async def test_request_lists_channels_in_the_order_of_the_arguments(
    nursery: trio.Nursery,
) -> None:
    ends = [channel[int]() for _ in range(4)]
    (progress, seen), (numbers, inputs), (output, watched), (last, third) = ends
    async with WithPeer() as (session, peer):
        placed = client(Placed, session.caller)
        Task(nursery, placed.run, Job("n", progress, inputs), Watched(output), last)
        request = await peer.hear(RequestCall)
        assert request.channels == (1, 3, 5, 7)
        assert bytes(joined(request.args)) == b"\x01n" + b"\x01" + b"\x01"
        await numbers.send(1)
        assert (await peer.hear(ChannelItem)).channel_id == 3
        for channel_id, end in ((1, seen), (5, watched), (7, third)):
            await peer.say(item(channel_id, channel_id))
            assert await end.recv() == channel_id


@pytest.mark.rule("rpc.channel.binding", "rpc.channel.binding.callee-args")
async def test_ids_beyond_the_channels_of_a_method_are_ignored() -> None:
    async with WithPeer(streams(take=total)) as (session, peer):
        await peer.say(call_of("take", 2, channels=(2, 4)), ChannelClose(0, 2))
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x00")
        assert idle(session)


# ------------------------------------------------------------ how channels end


@pytest.mark.rule("rpc.channel.close")
async def test_nothing_is_sent_after_close(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take, rx)
        await peer.hear(RequestCall)
        await tx.send(1)
        tx.close()
        tx.close()
        with pytest.raises(TxClosed, match="has been closed"):
            await tx.send(2)
        assert await peer.hear(ChannelItem) == item(1, 1)
        assert await peer.hear(ChannelClose) == ChannelClose(0, 1)
        assert await peer.heard_nothing_more()
        assert "closed" in repr(tx)


@pytest.mark.rule("rpc.channel.close")
async def test_senders_that_wait_learn_of_the_close(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_0, rx)
        await peer.hear(RequestCall)
        sends = [Task(nursery, tx.send, number) for number in range(3)]
        await wait_all_tasks_blocked()
        tx.close()
        for send in sends:
            with pytest.raises(TxClosed):
                await send.result()
        assert await peer.hear(ChannelClose) == ChannelClose(0, 1)


@pytest.mark.rule("rpc.channel.close", "rpc.channel.lifecycle")
async def test_all_items_come_before_the_end_of_the_channel(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        call = Task(nursery, caller_of(session).give, 1, tx)
        await peer.hear(RequestCall)
        waiting = Task(nursery, rx.recv)
        await wait_all_tasks_blocked()
        await peer.say(item(1, 1), item(1, 2), ChannelClose(0, 1), response(1))
        await call.result()
        assert await waiting.result() == 1
        assert rx.recv_nowait() == 2
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await rx.recv()
        rx.reset()
        with pytest.raises(RxClosed):
            await rx.recv()
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.channel.reset")
async def test_nothing_is_sent_after_the_receiver_has_reset(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_1, rx)
        await peer.hear(RequestCall)
        await tx.send(1)
        await peer.hear(ChannelItem)
        waiting = Task(nursery, tx.send, 2)
        await wait_all_tasks_blocked()
        await peer.say(ChannelReset(0, 1), ChannelGrantCredit(0, 1, 8))
        with pytest.raises(TxReset, match="wants no more"):
            await waiting.result()
        with pytest.raises(TxReset):
            await tx.send(3)
        tx.close()
        assert await peer.heard_nothing_more()
        assert "reset" in repr(tx)


@pytest.mark.rule("rpc.channel.reset")
@pytest.mark.parametrize("ends", ["close", "reset", "link"])
async def test_who_waits_for_the_end_of_a_channel_learns_of_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, ends: str
) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        early = Task(nursery, tx.closed)
        Task(nursery, caller_of(session).take_1, rx)
        await peer.hear(RequestCall)
        later = Task(nursery, tx.closed)
        await tx.send(1)
        await wait_all_tasks_blocked()
        assert not early.is_done
        assert not later.is_done
        if ends == "close":
            tx.close()
        elif ends == "reset":
            await peer.say(ChannelReset(0, 1))
        else:
            await session.shutdown()
        await early.result()
        await later.result()
        await tx.closed()


async def test_clones_and_middleware_learn_of_the_end_of_a_channel(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    clone = tx.clone()
    map_items(rx, lambda direction, value: value)
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_1, rx)
        await peer.hear(RequestCall)
        waiting = Task(nursery, clone.closed)
        await wait_all_tasks_blocked()
        assert not waiting.is_done
        await peer.say(ChannelReset(0, 1))
        await waiting.result()


async def test_end_of_a_channel_that_no_call_can_bind_is_not_waited_for() -> None:
    tx, rx = channel[int]()
    rx.reset()
    with pytest.raises(TxUnbound):
        await tx.closed()
    tx.close()
    with pytest.raises(TxClosed):
        await tx.closed()


@pytest.mark.rule("rpc.channel.reset")
async def test_receivers_that_wait_learn_of_a_reset(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).give, 1, tx)
        await peer.hear(RequestCall)
        receives = [Task(nursery, rx.recv) for _ in range(2)]
        await wait_all_tasks_blocked()
        # Some peers pass a reset on to the receiver.
        await peer.say(ChannelReset(0, 1))
        for receive in receives:
            with pytest.raises(RxReset):
                await receive.result()


@pytest.mark.rule("rpc.channel.lifecycle")
async def test_channel_outlives_its_call(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer() as (session, peer):
        call = Task(nursery, caller_of(session).both, rx, back_tx)
        await peer.hear(RequestCall)
        await peer.say(response(1))
        await call.result()
        await tx.send(1)
        assert await peer.hear(ChannelItem) == item(1, 1)
        await peer.say(item(3, 2), ChannelClose(0, 3))
        assert [number async for number in back_rx] == [2]
        tx.close()
        await peer.hear(ChannelClose)
        assert idle(session)


@pytest.mark.rule("rpc.channel.lifecycle", "connection.root")
@pytest.mark.parametrize("waits_for", ["nothing", "credit", "room"])
async def test_channels_are_lost_with_the_connection(
    waits_for: str, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer(buffer=1) as (session, peer):
        Task(nursery, caller_of(session).both, rx, back_tx)
        await peer.hear(RequestCall)
        await peer.say(item(3, 1))
        sends = []
        if waits_for == "room":
            sends = [Task(nursery, tx.send, number) for number in range(3)]
        elif waits_for == "credit":
            for number in range(16):
                await tx.send(number)
                await peer.hear(ChannelItem)
            sends = [Task(nursery, tx.send, number) for number in range(3)]
        await wait_all_tasks_blocked()
        await peer.leave()
        await wait_all_tasks_blocked()
        lost = [send for send in sends if send.error is not None]
        assert len(lost) == {"nothing": 0, "credit": 3, "room": 2}[waits_for]
        for send in lost:
            assert isinstance(send.error, TxConnectionLost)
            assert send.error.__cause__ is session.ended_because
        with pytest.raises(TxConnectionLost, match="closed the link") as caught:
            await tx.send(1)
        assert caught.value.__cause__ is session.ended_because
        # What came before is still there.
        assert await back_rx.recv() == 1
        with pytest.raises(RxConnectionLost, match="closed the link") as caught_rx:
            await back_rx.recv()
        assert caught_rx.value.__cause__ is session.ended_because
        with pytest.raises(RxConnectionLost):
            back_rx.recv_nowait()
        tx.close()
        back_rx.reset()


@pytest.mark.rule("rpc.unknown-method", "rpc.error.scope", "rpc.channel.lifecycle")
@pytest.mark.parametrize("ret", [UNKNOWN_METHOD, INVALID_PAYLOAD])
async def test_channels_of_a_call_that_no_handler_took_up_are_lost(
    ret: bytes, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer() as (session, peer):
        call = Task(nursery, caller_of(session).both, rx, back_tx)
        await peer.hear(RequestCall)
        receive = Task(nursery, back_rx.recv)
        await wait_all_tasks_blocked()
        await peer.say(response(1, ret))
        with pytest.raises(RxConnectionLost) as caught:
            await receive.result()
        assert isinstance(caught.value.__cause__, ConnectionLost)
        with pytest.raises(TxConnectionLost):
            await tx.send(1)
        tx.close()
        back_rx.reset()
        del tx, back_rx
        assert await peer.heard_nothing_more()
        assert call.is_done
        assert idle(session)


# ------------------------------------------------------------ bad items


@pytest.mark.rule("rpc.channel.item", "rpc.error.scope")
async def test_item_that_does_not_decode_is_an_error_of_its_own(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).give_1, tx)
        await peer.hear(RequestCall)
        for bad in (b"", b"\x02\x02", b"\xff" * 12):
            await peer.say(ChannelItem(0, 1, bad))
            with pytest.raises(RxDecodeError) as caught:
                await rx.recv()
            assert caught.value.__cause__ is not None
            assert await peer.hear(ChannelGrantCredit) == ChannelGrantCredit(0, 1, 1)
        await peer.say(item(1, 5))
        assert await rx.recv() == 5
        assert session.ended_because is None


@pytest.mark.rule("rpc.channel.item")
async def test_item_that_does_not_encode_leaves_the_channel_as_it_was(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[Any]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_1, rx)
        await peer.hear(RequestCall)
        for bad in ("text", 2**31, None):
            with pytest.raises(EncodeError, match="i32"):
                await tx.send(bad)
        await tx.send(-1)
        assert await peer.hear(ChannelItem) == item(1, -1)


@pytest.mark.rule("rpc.channel.item", "link.tx.alloc.limits")
async def test_item_too_large_for_the_link_leaves_the_channel_as_it_was(
    nursery: trio.Nursery,
) -> None:
    received: list[str] = []

    async def take_text(items: Rx[str]) -> None:
        received.extend([text async for text in items])

    ours, theirs = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=256)
    left, _ = await join(
        nursery,
        streams(take_text=take_text),
        links=(StreamLink(ours, limits=limits), StreamLink(theirs)),
    )
    tx, rx = channel[str]()
    call = Task(nursery, caller_of(left).take_text, rx)
    for number in range(20):  # more often than there is credit
        with pytest.raises(PayloadTooLarge, match="max_payload"):
            await tx.send("x" * 300)
        await tx.send(str(number))
    tx.close()
    await call.result()
    assert received == [str(number) for number in range(20)]


# ------------------------------------------------------------ several tasks on one end


@pytest.mark.rule("rpc.channel", "rpc.flow-control.credit")
@pytest.mark.parametrize("credit", [0, 1, 2, 16])
async def test_several_tasks_send_and_receive_on_one_channel(
    credit: int, nursery: trio.Nursery
) -> None:
    received: list[int] = []

    async def receive(numbers: Rx[int]) -> None:
        async for number in numbers:
            received.append(number)

    async def take(numbers: Rx[int]) -> None:
        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(receive, numbers)

    async def produce(tx: Tx[int], first: int) -> None:
        for number in range(first, first + 100):
            await tx.send(number)

    name = f"take_{credit}"
    handler = streams(**{name: take})
    left, right = await join(nursery, handler, buffer=4)
    tx, rx = channel[int]()
    call = Task(nursery, getattr(caller_of(left), name), rx)
    async with tx, trio.open_nursery() as producers:
        for first in (0, 100, 200):
            producers.start_soon(produce, tx, first)
    await call.result()
    assert sorted(received) == list(range(300))
    for first in (0, 100, 200):
        mine = [number for number in received if first <= number < first + 100]
        assert mine == sorted(mine)
    assert idle(left)
    assert idle(right)


async def test_end_given_to_a_second_call_is_refused_and_the_first_goes_on(
    nursery: trio.Nursery,
) -> None:
    left, _ = await join(nursery, streams(take=total))
    tx, rx = channel[int]()
    call = Task(nursery, caller_of(left).take, rx)
    await tx.send(1)
    with pytest.raises(ChannelError, match="belongs to one call"):
        await caller_of(left).take(rx)
    await tx.send(2)
    tx.close()
    assert await call.result() == 3


@pytest.mark.rule("rpc.channel.close", "rpc.channel.pair")
async def test_producer_without_items_may_be_done_before_the_call(
    nursery: trio.Nursery,
) -> None:
    left, right = await join(nursery, streams(take=total))
    tx, rx = channel[int]()
    async with tx:
        pass
    assert await caller_of(left).take(rx) == 0
    assert idle(left)
    assert idle(right)


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.pair")
async def test_close_of_a_tx_that_was_done_early_follows_the_call() -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    tx.close()
    del back_rx
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        Task(nursery, caller_of(session).both, rx, back_tx)
        assert (await peer.hear(RequestCall)).channels == (1, 3)
        assert await peer.hear(ChannelClose) == ChannelClose(0, 1)
        assert await peer.hear(ChannelReset) == ChannelReset(0, 3)
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------ whatever the interleaving


OPERATIONS = st.lists(
    st.one_of(
        st.sampled_from(
            ["send", "recv", "settle", "turn", "cancel send", "cancel recv"]
        ),
        st.tuples(st.just("grant"), st.integers(1, 5)),
    ),
    max_size=60,
)


class Model:
    """One channel from a caller to a handler, driven from outside and watched."""

    def __init__(self, nursery: trio.Nursery, tx: Tx[int], rx: Rx[int]) -> None:
        self.nursery = nursery
        self.tx, self.rx = tx, rx
        self.sent: list[int] = []
        self.received: list[int] = []
        self.sends: list[Task[None]] = []
        self.receives: list[Task[None]] = []
        self.given = 0

    async def send(self, number: int) -> None:
        await self.tx.send(number)
        self.sent.append(number)

    async def receive(self) -> None:
        self.received.append(await self.rx.recv())

    async def receive_all(self) -> None:
        while True:
            await self.receive()

    async def apply(self, operation: str | tuple[str, int]) -> None:
        match operation:
            case "send":
                number = len(self.sends)
                self.sends.append(Task(self.nursery, self.send, number))
            case "recv":
                self.receives.append(Task(self.nursery, self.receive))
            case "cancel send":
                self._cancel_one(self.sends)
            case "cancel recv":
                self._cancel_one(self.receives)
            case "settle":
                await wait_all_tasks_blocked()
            case "turn":
                await trio.lowlevel.checkpoint()
            case (_, int(count)):
                self.rx.grant(count)
                self.given += count

    def _cancel_one(self, tasks: list[Task[None]]) -> None:
        pending = [task for task in tasks if not task.is_done]
        if pending:
            pending[len(pending) // 2].cancel()

    def check(self, credit: int) -> None:
        assert self.received == self.sent[: len(self.received)]
        ahead = len(self.sent) - len(self.received)
        # At credit 0 a receiver that was cancelled has granted its one item.
        extra = len(self.receives) if credit == 0 else 0
        assert ahead <= credit + self.given + extra


@pytest.mark.rule(
    "rpc.channel",
    "rpc.channel.item",
    "rpc.flow-control.credit",
    "rpc.flow-control.credit.grant.additive",
)
@given(
    operations=OPERATIONS,
    credit=st.sampled_from([0, 1, 2, 16]),
    buffer=st.sampled_from([1, 2, 64]),
    ending=st.sampled_from(["close", "reset", "drop tx", "drop rx", "connection"]),
)
async def test_items_arrive_once_in_order_and_never_beyond_the_credit(
    operations: list[Any], credit: int, buffer: int, ending: str
) -> None:
    handed: list[Rx[int]] = []
    done = trio.Event()

    async def take(numbers: Rx[int]) -> None:
        handed.append(numbers)
        del numbers
        await done.wait()

    name = f"take_{credit}"
    async with trio.open_nursery() as nursery:
        left, right = await join(nursery, streams(**{name: take}), buffer=buffer)
        tx, rx = channel[int]()
        call = Task(nursery, getattr(caller_of(left), name), rx)
        await wait_all_tasks_blocked()
        model = Model(nursery, tx, handed.pop())
        del tx, rx
        for operation in operations:
            await model.apply(operation)
            model.check(credit)
        await wait_all_tasks_blocked()
        model.check(credit)
        assert left.ended_because is right.ended_because is None
        await _end(model, ending, left, nursery)
        await wait_all_tasks_blocked()
        model.check(credit)
        assert all(task.is_done for task in model.sends + model.receives)
        if ending in ("close", "drop tx"):
            assert model.received == model.sent
        done.set()
        await wait_all_tasks_blocked()
        assert call.is_done
        assert idle(left)
        assert idle(right)
        nursery.cancel_scope.cancel()


async def _end(model: Model, ending: str, session: Any, nursery: trio.Nursery) -> None:
    """End the channel in one of the ways it can end."""
    if ending in ("close", "drop tx"):
        for send in model.sends:
            send.cancel()
        await wait_all_tasks_blocked()
        if ending == "close":
            model.tx.close()
        else:
            del model.tx
        # For everything that is still under way.
        with pytest.raises(trio.EndOfChannel):
            await model.receive_all()
    elif ending == "connection":
        await session.shutdown()
    elif ending == "reset":
        model.rx.reset()
    else:
        for receive in model.receives:
            receive.cancel()
        await wait_all_tasks_blocked()
        del model.rx
