"""Clones of ends before a call binds the pair, and at its end."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import channel
from roam_trio.errors import RxClosed, RxUnbound, TxClosed, TxUnbound
from roam_trio.rpc.pairs import Binding

from .session.running import Task
from .test_many_by_hand import Sink, Source


class Ending(Sink):
    """Counts how it is ended."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = self.dropped = 0

    def close(self) -> None:
        self.closed += 1

    def drop(self) -> None:
        self.dropped += 1


class EndingSource(Source):
    def __init__(self, *items: object) -> None:
        super().__init__(*items)
        self.was_reset = self.dropped = 0

    def reset(self) -> None:
        self.was_reset += 1

    def drop(self) -> None:
        self.dropped += 1


def bind(binding: Binding, ending: Ending | EndingSource) -> None:
    if isinstance(ending, Ending):
        binding.bind(sink=ending)
    else:
        binding.bind(source=ending)


async def test_clones_made_before_the_call_send_once_it_binds_the_pair(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    first = Task(nursery, tx.send, 1)  # it waits before there is a clone
    await wait_all_tasks_blocked()
    clone = tx.clone()
    second = Task(nursery, clone.send, 2)
    await wait_all_tasks_blocked()
    assert tx.statistics().tasks_waiting == 1
    assert tx.statistics().clones == clone.statistics().clones == 2
    assert tx.statistics().credit is None
    sink = Ending()
    bind(rx.binding, sink)
    await first.result()
    await second.result()
    assert sorted(sink.sent) == [1, 2]
    tx.close()
    assert sink.closed == 0
    clone.close()
    assert sink.closed == 1


async def test_clone_closed_before_the_call_stays_closed(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    clone = tx.clone()
    waiting = Task(nursery, clone.send, 1)
    await wait_all_tasks_blocked()
    clone.close()
    with pytest.raises(TxClosed):
        await waiting.result()
    sink = Ending()
    bind(rx.binding, sink)
    with pytest.raises(TxClosed):
        await clone.send(1)
    clone.close()
    await tx.send_many([2, 3])
    assert sink.sent == [2, 3]
    assert sink.closed == 0
    tx.close()
    assert sink.closed == 1


def test_last_clone_closed_before_the_call_ends_the_pair() -> None:
    tx, rx = channel[int]()
    clone = tx.clone()
    tx.close()
    assert not rx.binding.tx_gone
    clone.close()
    assert rx.binding.tx_gone
    tx, rx = channel[int]()
    other = rx.clone()
    rx.reset()
    assert not tx.binding.rx_gone
    other.reset()
    assert tx.binding.rx_gone


async def test_clones_of_a_receiver_are_told_that_the_sender_is_gone(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    clone = rx.clone()
    waiting = Task(nursery, clone.recv)
    await wait_all_tasks_blocked()
    tx.close()
    with pytest.raises(RxUnbound):
        await waiting.result()
    with pytest.raises(RxUnbound):
        await rx.recv()


@pytest.mark.parametrize("is_bound", [True, False])
def test_dropped_clones_end_the_channel_with_the_last(is_bound: bool) -> None:
    tx, rx = channel[int]()
    sink = Ending()
    if is_bound:
        bind(rx.binding, sink)
    clone = tx.clone()
    del tx
    gc.collect()
    assert (sink.dropped, rx.binding.tx_gone) == (0, False)
    del clone
    gc.collect()
    assert (sink.dropped, rx.binding.tx_gone) == ((1, False) if is_bound else (0, True))


async def test_clones_of_a_receiver_do_all_that_it_does() -> None:
    tx, rx = channel[int]()
    source = EndingSource(1, 2, trio.WouldBlock(), 3)
    bind(tx.binding, source)
    clone = rx.clone()
    assert await clone.recv_many() == [1, 2]
    clone.grant(3)
    assert clone.recv_nowait() == 3
    assert repr(clone).startswith("<Rx clone of <")
    async with clone:
        pass
    clone.grant(1)
    with pytest.raises(RxClosed):
        await clone.recv_many()
    with pytest.raises(RxClosed):
        clone.recv_nowait()
    with pytest.raises(RxClosed):
        clone.clone()
    assert source.was_reset == 0
    del rx
    gc.collect()
    assert (source.was_reset, source.dropped) == (0, 1)


async def test_clones_of_a_sender_do_all_that_it_does() -> None:
    tx, rx = channel[int]()
    sink = Ending()
    bind(rx.binding, sink)
    with tx.clone() as clone:
        await clone.send_many([1, 2])
        with pytest.raises(trio.WouldBlock):
            clone.send_nowait(3)  # as with this sink
    with pytest.raises(TxClosed):
        clone.send_nowait(3)
    with pytest.raises(TxClosed):
        clone.clone()
    assert sink.sent == [1, 2]


def test_end_that_was_given_away_or_closed_has_no_clones() -> None:
    tx, rx = channel[int]()
    bind(tx.binding, EndingSource())
    with pytest.raises(TxUnbound):
        tx.clone()
    other_tx, other_rx = channel[int]()
    bind(other_rx.binding, Ending())
    with pytest.raises(RxUnbound):
        other_rx.clone()
    third, _ = channel[int]()
    third.close()
    with pytest.raises(TxClosed):
        third.clone()
    del rx, other_tx


def test_clone_cannot_be_given_to_a_call() -> None:
    tx, rx = channel[int]()
    assert tx.can_be_given
    clone = tx.clone()
    assert not clone.can_be_given
    assert not tx.can_be_given
    assert rx.can_be_given
