"""Cancellation in both directions: nothing is torn, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel
from roam_trio.codec import CANCELLED, ChannelPlan
from roam_trio.errors import CallCancelled, RoamError
from roam_trio.links.memory import memory_link_pair
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import Session
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelItem,
    ChannelReset,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

from .running import (
    METHODS,
    Custom,
    Task,
    WithPeer,
    call_of,
    caller_of,
    idle,
    item,
    join,
    response,
    run_of,
    streams,
)

CHANNEL = ChannelPlan.of(METHODS["take"].args_plan.channels[0].channel)

# ------------------------------------------------------------ the caller's side


@pytest.mark.rule("rpc.cancel", "rpc.flow-control.max-concurrent-requests")
async def test_cancelled_call_without_a_grace_ignores_the_late_response(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(most=1, cancel_grace=0) as (session, peer):
        call = Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        call.cancel()
        assert await peer.hear(RequestCancel) == RequestCancel(0, 1)
        await wait_all_tasks_blocked()
        assert call.was_cancelled
        # Its id and its slot are in use until the response comes.
        assert "1 calling" in repr(run_of(session))
        following = Task(nursery, caller_of(session).add, 3, 4)
        assert await peer.heard_nothing_more()
        await peer.say(response(1, b"\x00\x03"))
        assert (await peer.hear(RequestCall)).request_id == 3
        await peer.say(response(3, b"\x00\x07"))
        assert await following.result() == 7
        assert idle(session)


@pytest.mark.rule("rpc.cancel")
@pytest.mark.parametrize("waits_for", ["slot", "room", "nothing"])
async def test_call_cancelled_before_it_was_sent_sends_nothing(
    waits_for: str, nursery: trio.Nursery
) -> None:
    most, buffer = (1, 64) if waits_for == "slot" else (64, 1)
    tx, rx = channel[int]()
    async with WithPeer(most=most, buffer=buffer) as (session, peer):
        calls = [Task(nursery, caller_of(session).add, 1, 2)]
        await wait_all_tasks_blocked()
        call = Task(nursery, caller_of(session).take, rx)
        if waits_for == "nothing":
            call.cancel()
        await wait_all_tasks_blocked()
        calls.append(Task(nursery, caller_of(session).add, 3, 4))
        await wait_all_tasks_blocked()
        call.cancel()
        await wait_all_tasks_blocked()
        assert call.was_cancelled
        assert repr(tx) == "<Tx unbound>"
        await peer.hear(RequestCall)
        await peer.say(response(1, b"\x00\x03"))
        # Slot and room went to the next in line.
        assert (await peer.hear(RequestCall)).request_id == 3
        await peer.say(response(3, b"\x00\x07"))
        assert [await one.result() for one in calls] == [3, 7]
        assert await peer.heard_nothing_more()
        assert idle(session)


@pytest.mark.rule("rpc.cancel", "rpc.flow-control.max-concurrent-requests")
async def test_cancelled_caller_hands_on_the_slot_it_was_woken_for(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(most=1, buffer=1) as (session, peer):
        calls = []
        for number in range(3):
            calls.append(Task(nursery, caller_of(session).add, number, 0))
            await wait_all_tasks_blocked()
        await peer.hear(RequestCall)
        # Something fills the link when the slot comes, so the second waits for room.
        session.caller.channel_binder.sink(101, CHANNEL).close()
        await peer.say(response(1, b"\x00\x00"))
        await wait_all_tasks_blocked()
        calls[1].cancel()
        await peer.hear(ChannelClose)
        assert bytes((await peer.hear(RequestCall)).args) == b"\x02\x00"
        await peer.say(response(3, b"\x00\x02"))
        assert await calls[2].result() == 2
        assert calls[1].was_cancelled
        assert idle(session)


@pytest.mark.rule("rpc.cancel", "rpc.error.scope")
async def test_response_that_comes_with_the_cancellation_is_the_result(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(most=1) as (session, peer):
        for request_id in range(1, 41, 2):
            call = Task(nursery, caller_of(session).add, 1, 2)
            await peer.hear(RequestCall)
            await peer.say(response(request_id, b"\x00\x03"))
            call.cancel()
            await wait_all_tasks_blocked()
            # The handler had finished all the same, whichever came first.
            with contextlib.suppress(trio.WouldBlock):
                peer.rx.recv_nowait()  # the Cancel, if it was first
            assert await call.result() == 3
            assert idle(session)


# ------------------------------------------------------------ the handler's side


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request", "rpc.pipelining")
async def test_cancel_of_the_peer_cancels_exactly_its_handler() -> None:
    cancelled: list[str] = []
    gate = trio.Event()

    async def echo(text: str) -> str:
        try:
            await gate.wait()
        except trio.Cancelled:
            cancelled.append(text)
            raise
        return text

    async with WithPeer(streams(echo=echo)) as (session, peer):
        await peer.say(*(call_of("echo", number, f"{number}") for number in (2, 4, 6)))
        await wait_all_tasks_blocked()
        await peer.say(RequestCancel(0, 4))
        assert await peer.hear(RequestResponse) == response(4, CANCELLED)
        assert await peer.heard_nothing_more()
        assert cancelled == ["4"]
        gate.set()
        answers = [(await peer.hear(RequestResponse)).request_id for _ in range(2)]
        assert sorted(answers) == [2, 6]
        assert idle(session)


@pytest.mark.rule("rpc.cancel")
async def test_cancel_of_an_unknown_or_finished_request_does_nothing() -> None:
    async def echo(text: str) -> str:
        return text

    async with WithPeer(streams(echo=echo)) as (session, peer):
        await peer.say(RequestCancel(0, 2), RequestCancel(0, 999))
        await peer.say(call_of("echo", 2, "x"))
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x01x")
        await peer.say(RequestCancel(0, 2))
        assert await peer.heard_nothing_more()
        assert session.ended_because is None


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request", "rpc.channel.close")
@pytest.mark.parametrize(
    ("method", "end"), [("take", ChannelReset(0, 2)), ("give_0", ChannelClose(0, 2))]
)
async def test_cancel_before_the_handler_started_answers_without_running_it(
    method: str, end: ChannelReset | ChannelClose
) -> None:
    started: list[object] = []

    async def handler(channel: Rx[int] | Tx[int]) -> None:
        started.append(channel)
        await trio.sleep_forever()

    async with WithPeer(streams(**{method: handler})) as (session, peer):
        # One after the other without a pause: they come to the reader as one batch.
        for message in (call_of(method, 2, channels=(2,)), RequestCancel(0, 2)):
            peer.tx.reserve_nowait().send(list(encode_message(message)))
        assert await peer.hear(type(end)) == end
        assert await peer.hear(RequestResponse) == response(2, CANCELLED)
        assert started == []
        assert idle(session)


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
@pytest.mark.parametrize("before", [0, 1, 3])
async def test_coroutine_of_a_handler_that_never_began_is_let_go_of(
    before: int,
) -> None:
    """What it holds, such as a channel, ends with it and before the response."""
    coroutines: list[weakref.ref[object]] = []

    async def answer(reply: ReplySink) -> None:
        await reply.send(b"")

    def handle(call: RequestCall, reply: ReplySink) -> Coroutine[Any, Any, None]:
        coroutine = answer(reply)
        coroutines.append(weakref.ref(coroutine))
        return coroutine

    async with WithPeer(Custom(handle)) as (_, peer):
        for number in range(before):
            await peer.say(call_of("add", 10 + 2 * number, 1, 2))
            await peer.hear(RequestResponse)
        coroutines.clear()
        for message in (call_of("add", 2, 1, 2), RequestCancel(0, 2)):
            peer.tx.reserve_nowait().send(list(encode_message(message)))
        assert await peer.hear(RequestResponse) == response(2, CANCELLED)
        assert [coroutine() for coroutine in coroutines] == [None]


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
async def test_handler_that_shields_finishes_and_its_answer_is_sent() -> None:
    gate = trio.Event()

    async def echo(text: str) -> str:
        with trio.CancelScope(shield=True):
            await gate.wait()
        return text

    async with WithPeer(streams(echo=echo)) as (_, peer):
        await peer.say(call_of("echo", 2, "x"))
        await wait_all_tasks_blocked()
        await peer.say(RequestCancel(0, 2))
        assert await peer.heard_nothing_more()
        gate.set()
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x01x")
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
@pytest.mark.parametrize("is_full", [False, True])
async def test_handler_that_swallows_the_cancellation_is_answered_once(
    is_full: bool, nursery: trio.Nursery
) -> None:
    async def echo(text: str) -> str:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        return text

    async with WithPeer(streams(echo=echo), buffer=1) as (session, peer):
        await peer.say(call_of("echo", 2, "x"))
        await wait_all_tasks_blocked()
        if is_full:
            Task(nursery, caller_of(session).add, 1, 2)
            await wait_all_tasks_blocked()
        await peer.say(RequestCancel(0, 2))
        await wait_all_tasks_blocked()
        if is_full:
            await peer.hear(RequestCall)
        answer = await peer.hear(RequestResponse)
        assert answer == response(2, CANCELLED if is_full else b"\x00\x01x")
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
async def test_cancelled_handler_that_fails_is_logged_and_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handle(call: RequestCall, reply: ReplySink) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError("while being cancelled")

    async with WithPeer(Custom(handle)) as (session, peer):
        await peer.say(call_of("echo", 2, "x"))
        await wait_all_tasks_blocked()
        await peer.say(RequestCancel(0, 2))
        assert await peer.hear(RequestResponse) == response(2, CANCELLED)
        assert "while being cancelled" in caplog.text
        assert session.ended_because is None


@pytest.mark.rule("rpc.cancel", "rpc.fallible.roam-error")
async def test_remote_cancellation_is_no_cancellation_here(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(text: str) -> str:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        raise RuntimeError(text)

    left, _ = await join(nursery, streams(echo=echo))
    with trio.CancelScope() as scope:
        with pytest.raises(CallCancelled) as caught:
            await caller_of(left).echo("x")
        assert isinstance(caught.value, RoamError)
        assert not isinstance(caught.value, trio.Cancelled)
    assert not scope.cancelled_caught
    assert "RuntimeError: x" in caplog.text


# ------------------------------------------------------------ channels of the call


@pytest.mark.rule("rpc.cancel.channels", "rpc.channel.lifecycle")
async def test_cancelled_call_leaves_its_channels_open(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer() as (session, peer):
        call = Task(nursery, caller_of(session).both, rx, back_tx)
        await peer.hear(RequestCall)
        call.cancel()
        await peer.hear(RequestCancel)
        assert await peer.heard_nothing_more()
        await tx.send(5)
        assert await peer.hear(ChannelItem) == item(1, 5)
        await peer.say(item(3, 6), response(1, CANCELLED))
        assert await back_rx.recv() == 6
        await tx.send(7)
        assert await peer.hear(ChannelItem) == item(1, 7)
        await peer.say(item(3, 8))
        assert await back_rx.recv() == 8
        tx.close()
        assert await peer.hear(ChannelClose) == ChannelClose(0, 1)
        back_rx.reset()
        assert await peer.hear(ChannelReset) == ChannelReset(0, 3)
        assert idle(session)


@pytest.mark.rule("rpc.cancel.channels", "rpc.channel.lifecycle")
async def test_cancelled_handler_leaves_channels_that_others_hold_open() -> None:
    kept: list[Any] = []

    async def both(numbers: Rx[int], output: Tx[int]) -> None:
        kept.extend((numbers, output))
        await trio.sleep_forever()

    async with WithPeer(streams(both=both)) as (_, peer):
        await peer.say(call_of("both", 2, channels=(2, 4)))
        await wait_all_tasks_blocked()
        await peer.say(RequestCancel(0, 2))
        assert await peer.hear(RequestResponse) == response(2, CANCELLED)
        assert await peer.heard_nothing_more()
        numbers, output = kept
        await output.send(1)
        assert await peer.hear(ChannelItem) == item(4, 1)
        await peer.say(item(2, 9))
        assert await numbers.recv() == 9
        # When they too let go, the channels end.
        del numbers, output
        kept.pop()
        assert await peer.hear(ChannelClose) == ChannelClose(0, 4)
        kept.pop()
        assert await peer.hear(ChannelReset) == ChannelReset(0, 2)


# ------------------------------------------------------------ at every await


Operation = Callable[[], Awaitable[Any]]


async def _cancel_after(checkpoints: int, operation: Operation) -> bool:
    """Run `operation`, and cancel it after so many turns; whether it got cancelled."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            await operation()
            nursery.cancel_scope.cancel()
    return scope.cancelled_caught


@pytest.mark.rule("rpc.cancel", "link.tx.cancel-safe")
@pytest.mark.parametrize("buffer", [1, 64])
async def test_call_can_be_cancelled_at_every_await(
    buffer: int, nursery: trio.Nursery
) -> None:
    async def echo(text: str) -> str:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        return text

    async def add(left: int, right: int) -> int:
        return left + right

    left, right = await join(
        nursery,
        streams(echo=echo, add=add),
        buffer=buffer,
        accepting={"max_concurrent_requests": 1},
    )
    outcomes = set()
    for checkpoints in range(40):
        outcomes.add(
            await _cancel_after(checkpoints, lambda: caller_of(left).echo("x"))
        )
        assert await caller_of(left).add(checkpoints, 1) == checkpoints + 1
        await wait_all_tasks_blocked()
        assert idle(left)
        assert idle(right)
    assert outcomes == {True, False}


@pytest.mark.rule("rpc.cancel", "rpc.flow-control.credit")
async def test_send_and_recv_can_be_cancelled_at_every_await(
    nursery: trio.Nursery,
) -> None:
    received: list[int] = []
    cancelled = {"send": 0, "recv": 0}

    async def take_1(numbers: Rx[int]) -> None:
        checkpoints = 0
        ended = trio.Event()

        async def receive() -> None:
            try:
                received.append(await numbers.recv())
            except trio.EndOfChannel:
                ended.set()

        while not ended.is_set():
            if await _cancel_after(checkpoints % 7, receive):
                cancelled["recv"] += 1
            checkpoints += 1

    left, _ = await join(nursery, streams(take_1=take_1), buffer=1)
    tx, rx = channel[int]()
    call = Task(nursery, caller_of(left).take_1, rx)
    sent: list[int] = []
    for number in range(200):

        async def send(number: int = number) -> None:
            await tx.send(number)
            sent.append(number)

        if await _cancel_after(number % 11, send):
            cancelled["send"] += 1
    tx.close()
    await call.result()
    assert received == sent
    assert min(cancelled.values()) > 0
    assert len(sent) > 0


# ------------------------------------------------------------ over and over


async def _cancel_many(left: Session, count: int) -> None:
    """Calls with channels, each cancelled as soon as its handler runs."""
    caller = caller_of(left)
    for _ in range(count):
        tx, rx = channel[int]()
        back_tx, back_rx = channel[int]()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel(scope: trio.CancelScope, back: Rx[int]) -> None:
                    await back.recv()
                    scope.cancel()

                nursery.start_soon(cancel, scope, back_rx)
                await caller.both(rx, back_tx)
        assert scope.cancelled_caught
        tx.close()
        back_rx.reset()


async def _check_nothing_is_left(nursery: trio.Nursery, rounds: list[int]) -> None:
    async def both(numbers: Rx[int], output: Tx[int]) -> None:
        await output.send(1)
        await trio.sleep_forever()

    left, right = await join(
        nursery,
        streams(both=both),
        links=memory_link_pair(8),
        accepting={"max_concurrent_requests": 2},
    )

    async def measure(calls: int) -> tuple[int, int]:
        await _cancel_many(left, calls)
        await wait_all_tasks_blocked()
        assert idle(left)
        assert idle(right)
        assert left.ended_because is right.ended_because is None
        gc.collect()
        return len(gc.get_objects()), tracemalloc.get_traced_memory()[0]

    # The first two fill caches, and what is remembered of the ends of channels.
    _, (objects, memory), *_, last = [await measure(calls) for calls in rounds]
    assert last[0] - objects < 200
    assert last[1] - memory < 100_000


@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
async def test_cancelled_calls_leave_nothing_behind(nursery: trio.Nursery) -> None:
    await _check_nothing_is_left(nursery, [50, 50, 100, 100])


@pytest.mark.slow
@pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
async def test_ten_thousand_cancelled_calls_leave_nothing_behind(
    nursery: trio.Nursery,
) -> None:
    tracemalloc.start()
    try:
        await _check_nothing_is_left(nursery, [2500, 2500, 2500, 2500])
    finally:
        tracemalloc.stop()
