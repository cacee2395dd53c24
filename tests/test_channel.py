"""The ends of a channel by themselves: pairs, and what they do until they are bound."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import trio
import trio.abc
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, SelfRef, Tx, channel
from roam_trio.codec import rpc_plan
from roam_trio.errors import ChannelError, RxClosed, RxUnbound, TxClosed, TxUnbound
from roam_trio.rpc.binding import (
    ChannelBinder,
    bind_channels_callee_args,
    bind_channels_caller_args,
)
from roam_trio.rpc.sinks import ChannelSink, ChannelSource
from roam_trio.schema import ChannelShape, i32
from tests.session.running import Task


class Sink(ChannelSink):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def send(self, value: Any) -> None:
        self.log.append(f"send {value}")

    def close(self) -> None:
        self.log.append("close")

    def drop(self) -> None:
        self.log.append("drop sink")

    def __repr__(self) -> str:
        return "the sink"


class Source(ChannelSource):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def receive(self, borrow: bool = False) -> Any:
        return SelfRef("received", b"") if borrow else "received"

    def receive_nowait(self) -> Any:
        return "received at once"

    def grant(self, count: int) -> None:
        self.log.append(f"grant {count}")

    def reset(self) -> None:
        self.log.append("reset")

    def drop(self) -> None:
        self.log.append("drop source")

    def __repr__(self) -> str:
        return "the source"


class Binder(ChannelBinder):
    """Notes what is made and done."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.next = 1

    def allocate(self) -> int:
        channel_id, self.next = self.next, self.next + 2
        return channel_id

    def sink(self, channel_id: int, shape: ChannelShape) -> Sink:
        self.log.append(f"sink {channel_id}")
        return Sink(self.log)

    def source(self, channel_id: int, shape: ChannelShape) -> Source:
        self.log.append(f"source {channel_id}")
        return Source(self.log)


def bind(*ends: Any) -> Binder:
    """Bind ends as the arguments of a call that is about to be sent."""
    plan: Any = rpc_plan(
        tuple[tuple(Tx[i32] if isinstance(end, Tx) else Rx[i32] for end in ends)]  # type: ignore[misc]
    )
    binder = Binder()
    bind_channels_caller_args(plan, tuple(ends), binder)
    return binder


# ------------------------------------------------------------ pairs


@pytest.mark.rule("rpc.channel.pair", "rpc.channel.direction")
def test_pair_has_one_end_of_each_kind() -> None:
    for tx, rx in (channel[int](), channel(int), channel()):
        assert isinstance(tx, Tx)
        assert isinstance(rx, Rx)
        assert repr(tx) == "<Tx unbound>"
        assert repr(rx) == "<Rx unbound>"


def test_ends_are_channels_of_trio() -> None:
    tx, rx = channel[int]()
    assert isinstance(tx, trio.abc.SendChannel)
    assert isinstance(rx, trio.abc.ReceiveChannel)


@pytest.mark.parametrize("end", [Tx, Rx])
def test_end_is_not_made_directly(end: Any) -> None:
    with pytest.raises(TypeError, match=r"channel\(\) makes a pair"):
        end()
    gc.collect()  # the remains are collected without complaint


# ------------------------------------------------------------ binding


@pytest.mark.rule(
    "rpc.channel.pair",
    "rpc.channel.pair.binding-propagation",
    "rpc.channel.binding.caller-args",
    "rpc.channel.binding.caller-args.rx",
    "rpc.channel.pair.tx-read",
)
async def test_binding_an_rx_lets_its_tx_send() -> None:
    tx, rx = channel[int]()
    binder = bind(rx)
    await tx.send(5)
    tx.close()
    assert binder.log == ["sink 1", "send 5", "close"]
    assert repr(tx) == "<Tx the sink>"
    assert repr(rx) == "<Rx given away in a call>"
    del rx
    assert binder.log[3:] == []
    del tx
    assert binder.log[3:] == ["drop sink"]


@pytest.mark.rule(
    "rpc.channel.pair",
    "rpc.channel.pair.binding-propagation",
    "rpc.channel.binding.caller-args",
    "rpc.channel.binding.caller-args.tx",
    "rpc.channel.pair.rx-take",
)
async def test_binding_a_tx_lets_its_rx_receive() -> None:
    tx, rx = channel[str]()
    binder = bind(tx)
    assert await rx.recv() == "received"
    assert await rx.receive() == "received"
    assert rx.recv_nowait() == "received at once"
    rx.grant(3)
    rx.reset()
    assert binder.log == ["source 1", "grant 3", "reset"]
    assert repr(rx) == "<Rx the source>"
    assert repr(tx) == "<Tx given away in a call>"
    del tx
    assert binder.log[3:] == []
    del rx
    assert binder.log[3:] == ["drop source"]


@pytest.mark.rule("rpc.channel.direction", "rpc.channel.pair")
async def test_end_that_was_given_away_is_of_no_use_here(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    other_tx, other_rx = channel[int]()
    bind(rx, other_tx)
    with pytest.raises(RxUnbound, match="use the Tx of the pair"):
        await rx.recv()
    with pytest.raises(RxUnbound, match="use the Tx of the pair"):
        rx.recv_nowait()
    with pytest.raises(RxUnbound):
        rx.grant(1)
    with pytest.raises(TxUnbound, match="use the Rx of the pair"):
        await other_tx.send(1)
    # Closing it is harmless: it is the handler's.
    rx.reset()
    other_tx.close()
    await tx.send(1)
    assert await other_rx.recv() is not None


@pytest.mark.rule("rpc.channel.pair")
@pytest.mark.parametrize("which", ["rx", "tx"])
def test_end_given_twice_is_refused_and_nothing_is_bound(which: str) -> None:
    tx, rx = channel[int]()
    fresh_tx, fresh_rx = channel[int]()
    end: Any = rx if which == "rx" else tx
    with pytest.raises(ChannelError, match=r"belongs to one call; make a new pair"):
        bind(fresh_rx, end, end)
    for one in (tx, fresh_tx, rx, fresh_rx):
        assert "unbound" in repr(one)
    bind(fresh_rx, end)


@pytest.mark.rule("rpc.channel.pair")
def test_both_ends_of_a_pair_cannot_be_given() -> None:
    tx, rx = channel[int]()
    with pytest.raises(ChannelError, match="belongs to one call"):
        bind(tx, rx)
    assert repr(tx) == "<Tx unbound>"
    assert repr(rx) == "<Rx unbound>"


@pytest.mark.rule("rpc.channel.pair")
def test_end_that_is_bound_is_refused_and_nothing_is_bound() -> None:
    tx, rx = channel[int]()
    fresh_tx, fresh_rx = channel[int]()
    bind(rx)
    for end in (rx, tx):
        with pytest.raises(ChannelError):
            bind(fresh_rx, end)
    assert repr(fresh_tx) == "<Tx unbound>"
    bind(fresh_rx)


@pytest.mark.rule("rpc.channel.pair")
def test_end_that_was_closed_is_refused() -> None:
    tx, rx = channel[int]()
    tx.close()
    with pytest.raises(ChannelError):
        bind(tx)
    _, other_rx = channel[int]()
    other_rx.reset()
    with pytest.raises(ChannelError):
        bind(other_rx)
    del rx


@pytest.mark.rule("rpc.channel.close", "rpc.channel.pair")
@pytest.mark.parametrize("how", ["close", "drop"])
async def test_tx_that_is_done_before_the_call_ends_the_channel_after_it(
    how: str,
) -> None:
    tx, rx = channel[int]()
    if how == "close":
        tx.close()
        with pytest.raises(TxClosed):
            await tx.send(1)
    else:
        del tx
    assert bind(rx).log == ["sink 1", "drop sink"]


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.pair")
@pytest.mark.parametrize("how", ["reset", "drop"])
async def test_rx_that_is_done_before_the_call_ends_the_channel_after_it(
    how: str,
) -> None:
    tx, rx = channel[int]()
    if how == "reset":
        rx.reset()
        with pytest.raises(RxClosed):
            await rx.recv()
        with pytest.raises(RxClosed):
            rx.recv_nowait()
    else:
        del rx
    assert bind(tx).log == ["source 1", "drop source"]


# ------------------------------------------------------------ decoded ends


@pytest.mark.rule(
    "rpc.channel.binding",
    "rpc.channel.binding.callee-args",
    "rpc.channel.binding.callee-args.rx",
    "rpc.channel.binding.callee-args.tx",
    "rpc.channel.pair.tx-read",
    "rpc.channel.pair.rx-take",
)
async def test_decoded_ends_are_bound_to_the_ids_of_the_request() -> None:
    plan: Any = rpc_plan(tuple[Rx[i32], Tx[i32]])
    rx, tx = plan.decode(b"")
    binder = Binder()
    bind_channels_callee_args(plan, (rx, tx), [44, 46, 48], binder)
    assert binder.log == ["source 44", "sink 46"]
    assert await rx.recv() == "received"
    await tx.send(1)


@pytest.mark.rule("rpc.channel.binding", "rpc.channel.binding.callee-args")
async def test_decoded_ends_without_an_id_are_unbound_for_good() -> None:
    plan: Any = rpc_plan(tuple[Rx[i32], Tx[i32], Rx[i32]])
    bound, tx, rx = plan.decode(b"")
    bind_channels_callee_args(plan, (bound, tx, rx), [2], Binder())
    assert await bound.recv() == "received"
    with pytest.raises(TxUnbound):
        await tx.send(1)
    with pytest.raises(RxUnbound):
        await rx.recv()


# ------------------------------------------------------------ waiting for the binding


@pytest.mark.rule("rpc.channel.pair.tx-read")
async def test_send_waits_for_the_binding(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    sends = [Task(nursery, tx.send, number) for number in range(3)]
    await wait_all_tasks_blocked()
    assert not any(send.is_done for send in sends)
    binder = bind(rx)
    for send in sends:
        await send.result()
    assert sorted(binder.log) == ["send 0", "send 1", "send 2", "sink 1"]


@pytest.mark.rule("rpc.channel.pair.rx-take")
async def test_recv_waits_for_the_binding(nursery: trio.Nursery) -> None:
    tx, rx = channel[str]()
    with pytest.raises(trio.WouldBlock):
        rx.recv_nowait()
    with pytest.raises(RxUnbound, match="belongs to no call yet"):
        rx.grant(1)
    receive = Task(nursery, rx.recv)
    await wait_all_tasks_blocked()
    assert not receive.is_done
    bind(tx)
    assert await receive.result() == "received"


async def test_wait_for_the_binding_can_be_cancelled(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    send, receive = Task(nursery, tx.send, 1), Task(nursery, rx.recv)
    await wait_all_tasks_blocked()
    send.cancel()
    receive.cancel()
    await wait_all_tasks_blocked()
    assert send.was_cancelled
    assert receive.was_cancelled
    assert bind(rx).log == ["sink 1"]
    await tx.send(1)


@pytest.mark.parametrize("is_pending", [True, False])
async def test_use_of_an_unbound_end_is_a_cancellation_point(is_pending: bool) -> None:
    tx, rx = channel[int]()
    other_tx, other_rx = channel[int]()
    if not is_pending:
        rx.reset()
        other_tx.close()
    with trio.CancelScope() as scope:
        scope.cancel()
        await tx.send(1)
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await other_rx.recv()
    assert scope.cancelled_caught


def _lose(end: list[Any], how: str) -> None:
    """Close or drop the end in a list, or have a thread or the collector drop it."""
    if how == "close":
        one = end[0]
        if isinstance(one, Tx):
            one.close()
        else:
            one.reset()
    elif how == "drop":
        end.clear()
    elif how == "thread":
        thread = threading.Thread(target=end.clear)
        thread.start()
        thread.join()
    else:
        cycle: list[Any] = [end.pop()]
        cycle.append(cycle)
        del cycle
        gc.collect()


@pytest.mark.rule("rpc.channel.pair")
@pytest.mark.parametrize("how", ["close", "drop", "thread", "cycle"])
@pytest.mark.parametrize("waits", ["tx", "rx"])
async def test_waiting_end_is_unbound_when_its_twin_is_gone(
    how: str, waits: str, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    task: Task[Any]
    if waits == "tx":
        task, twin = Task(nursery, tx.send, 1), [rx]
    else:
        task, twin = Task(nursery, rx.recv), [tx]
    del tx, rx
    await wait_all_tasks_blocked()
    assert not task.is_done
    _lose(twin, how)
    with pytest.raises(TxUnbound if waits == "tx" else RxUnbound, match="is gone"):
        await task.result()


async def test_end_dropped_after_the_run_is_over_does_no_harm() -> None:
    kept: list[Any] = []

    def in_a_run_of_its_own() -> None:
        async def main() -> None:
            tx, rx = channel[int]()
            with trio.move_on_after(0):
                await tx.send(1)
            kept.extend((tx, rx))

        trio.run(main)

    await trio.to_thread.run_sync(in_a_run_of_its_own)
    kept.clear()


async def test_blocks_close_and_reset(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    binder = bind(rx)
    async with tx as entered:
        assert entered is tx
    await tx.aclose()
    assert binder.log == ["sink 1", "close", "close"]
    tx, rx = channel[int]()
    binder = bind(tx)
    async with rx as entered_rx:
        assert entered_rx is rx
    await rx.aclose()
    assert binder.log == ["source 1", "reset", "reset"]


def test_send_nowait_of_a_pair_that_no_call_can_bind_says_why() -> None:
    tx, rx = channel[int]()
    del rx
    with pytest.raises(TxUnbound, match="the Rx of this pair is gone"):
        tx.send_nowait(1)
    tx, rx = channel[int]()
    tx.close()
    with pytest.raises(TxClosed):
        tx.send_nowait(1)
    del rx
