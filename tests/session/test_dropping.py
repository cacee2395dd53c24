"""Dropping the last reference to an end of a channel."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel
from roam_trio.codec import CANCELLED
from roam_trio.errors import CallCancelled, EncodeError, TxReset, TxUnbound
from roam_trio.rpc.binding import bind_channels_callee_args
from roam_trio.rpc.handler import ReplySink
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelItem,
    ChannelReset,
    RequestCall,
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
    streams,
)


class Cycle:
    """Refers to itself, so that only the collector finds it."""

    def __init__(self, content: Any) -> None:
        self.content = content
        self.itself = self


def drop(holder: list[Any], how: str) -> None:
    """Let go of what a list holds, in one of the ways it can happen."""
    if how == "here":
        holder.clear()
    elif how == "in a thread":
        thread = threading.Thread(target=holder.clear)
        thread.start()
        thread.join()
    elif how == "in a cycle":
        Cycle(holder.pop())
        gc.collect()
    else:
        Cycle(holder.pop())
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()


HOW = ["here", "in a thread", "in a cycle", "in a cycle, found by a thread"]


@pytest.mark.rule("rpc.channel.close", "rpc.channel.lifecycle")
@pytest.mark.parametrize("how", HOW)
async def test_dropped_tx_closes_its_channel(how: str, nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take, rx)
        await peer.hear(RequestCall)
        await tx.send(1)
        assert await peer.hear(ChannelItem) == item(1, 1)
        holder = [tx]
        del tx
        drop(holder, how)
        assert await peer.hear(ChannelClose) == ChannelClose(0, 1)
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.lifecycle")
@pytest.mark.parametrize("how", HOW)
async def test_dropped_rx_resets_its_channel(how: str, nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).give, 1, tx)
        await peer.hear(RequestCall)
        await peer.say(item(1, 1))
        assert await rx.recv() == 1
        holder = [rx]
        del rx
        drop(holder, how)
        assert await peer.hear(ChannelReset) == ChannelReset(0, 1)
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.channel.close", "rpc.channel.reset")
@pytest.mark.parametrize("how", ["closed", "reset by the peer", "lost"])
async def test_dropping_an_end_of_a_channel_that_has_ended_sends_nothing(
    how: str, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).both, rx, back_tx)
        await peer.hear(RequestCall)
        if how == "closed":
            tx.close()
            await peer.hear(ChannelClose)
            await peer.say(ChannelClose(0, 3))
        elif how == "reset by the peer":
            await peer.say(ChannelReset(0, 1), ChannelReset(0, 3))
        else:
            await peer.say(response(1, b"\x01\x01"))
        await wait_all_tasks_blocked()
        del tx, back_rx
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.channel.close", "rpc.channel.lifecycle")
@pytest.mark.parametrize("ends", ["returns", "raises", "cannot wait"])
async def test_close_comes_before_the_response(
    ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def give(output: Tx[int]) -> None:
        await output.send(1)
        if ends == "raises":
            raise ZeroDivisionError

    async def give_nothing(output: Tx[int]) -> None:
        pass

    handler = streams(give_1=give_nothing if ends == "cannot wait" else give)
    async with WithPeer(handler) as (session, peer):
        await peer.say(call_of("give_1", 2, channels=(2,)))
        if ends != "cannot wait":
            await peer.hear(ChannelItem)
        assert await peer.hear(ChannelClose) == ChannelClose(0, 2)
        ret = CANCELLED if ends == "raises" else b"\x00"
        assert await peer.hear(RequestResponse) == response(2, ret)
        assert idle(session)
    assert ("ZeroDivisionError" in caplog.text) is (ends == "raises")


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.lifecycle")
async def test_reset_comes_before_the_response() -> None:
    async def take(numbers: Rx[int]) -> int:
        return await numbers.recv()

    async with WithPeer(streams(take=take)) as (session, peer):
        await peer.say(call_of("take", 2, channels=(2,)), item(2, 5), item(2, 6))
        assert await peer.hear(ChannelReset) == ChannelReset(0, 2)
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x0a")
        assert idle(session)


@pytest.mark.rule("rpc.channel.close", "rpc.channel.reset")
async def test_handler_that_fails_at_once_ends_its_channels_before_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handle(call: RequestCall, reply: ReplySink) -> None:
        plan = METHODS["give_1"].args_plan
        args = plan.decode(b"")
        bind_channels_callee_args(plan, args, call.channels, reply.channel_binder)
        raise ZeroDivisionError

    # Without a log that keeps the traceback, and so the arguments.
    monkeypatch.setattr(logging.getLogger("roam_trio.session"), "disabled", True)
    async with WithPeer(Custom(handle)) as (_, peer):
        await peer.say(call_of("give_1", 2, channels=(2,)))
        assert await peer.hear(ChannelClose) == ChannelClose(0, 2)
        assert await peer.hear(RequestResponse) == response(2, CANCELLED)


@pytest.mark.rule("rpc.channel.close")
async def test_close_comes_before_the_response_on_a_full_link(
    nursery: trio.Nursery,
) -> None:
    async def give(output: Tx[int]) -> None:
        await output.send(1)

    async with WithPeer(streams(give_1=give), buffer=1) as (session, peer):
        for _ in range(3):  # they wait for room before the handler does
            Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        await peer.say(call_of("give_1", 2, channels=(2,)))
        await wait_all_tasks_blocked()
        for _ in range(3):
            await peer.hear(RequestCall)
        assert await peer.hear(ChannelItem) == item(2, 1)
        assert await peer.hear(ChannelClose) == ChannelClose(0, 2)
        assert await peer.hear(RequestResponse) == response(2)


@pytest.mark.rule("rpc.channel.lifecycle")
async def test_handler_may_keep_its_tx_beyond_the_response(
    nursery: trio.Nursery,
) -> None:
    gate = trio.Event()

    async def produce(output: Tx[int]) -> None:
        await gate.wait()
        for number in range(40):
            await output.send(number)

    async def give(upto: int, output: Tx[int]) -> None:
        nursery.start_soon(produce, output)

    left, right = await join(nursery, streams(give=give))
    tx, rx = channel[int]()
    await caller_of(left).give(40, tx)
    await wait_all_tasks_blocked()
    gate.set()
    assert [number async for number in rx] == list(range(40))
    assert idle(left)
    assert idle(right)


@pytest.mark.rule("rpc.channel.lifecycle", "rpc.channel.reset")
async def test_rx_dropped_by_the_handler_stops_the_sender(
    nursery: trio.Nursery,
) -> None:
    async def take(numbers: Rx[int]) -> int:
        return await numbers.recv()

    left, right = await join(nursery, streams(take=take))
    tx, rx = channel[int]()
    call = Task(nursery, caller_of(left).take, rx)
    sent: list[int] = []

    async def produce() -> None:
        while True:
            await tx.send(7)
            sent.append(7)

    with pytest.raises(TxReset):
        await produce()
    assert 1 <= len(sent) <= 16
    assert await call.result() == 7
    assert idle(left)
    assert idle(right)


async def test_ends_dropped_after_the_session_do_no_harm(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).both, rx, back_tx)
        await peer.hear(RequestCall)
    del tx, rx, back_tx, back_rx
    await wait_all_tasks_blocked()
    assert idle(session)


async def test_ends_dropped_after_the_run_do_no_harm() -> None:
    kept: list[Any] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            async with WithPeer() as (session, peer):
                tx, rx = channel[int]()
                kept.append(tx)
                Task(nursery, caller_of(session).take, rx)
                await peer.hear(RequestCall)
            nursery.cancel_scope.cancel()

    await trio.to_thread.run_sync(trio.run, main)
    kept.clear()


@pytest.mark.rule("rpc.channel.pair")
async def test_pair_of_a_call_that_was_not_sent_ends_with_its_arguments(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        send = Task(nursery, tx.send, 1)
        await wait_all_tasks_blocked()
        ends = [rx]
        del rx
        with pytest.raises(EncodeError):
            await caller_of(session).both(ends.pop(), "no channel")  # type: ignore[arg-type]
        with pytest.raises(TxUnbound, match="is gone"):
            await send.result()
        assert await peer.heard_nothing_more()


async def test_failed_handler_lets_go_of_its_channels(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def both(numbers: Rx[int], output: Tx[int]) -> None:
        await output.send(await numbers.recv())
        raise ZeroDivisionError

    left, right = await join(nursery, streams(both=both))
    tx, rx = channel[int]()
    back_tx, back_rx = channel[int]()
    call = Task(nursery, caller_of(left).both, rx, back_tx)
    await tx.send(3)
    assert [number async for number in back_rx] == [3]
    with pytest.raises(CallCancelled):
        await call.result()
    with pytest.raises(TxReset):
        await tx.send(4)
    assert idle(left)
    assert idle(right)
    assert "ZeroDivisionError" in caplog.text
