"""Sinks and sources of one's own, and mapped ones, send and receive several items."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx
from roam_trio.errors import RxDecodeError
from roam_trio.rpc.mapped import map_items
from roam_trio.rpc.pairs import Binding
from roam_trio.rpc.sinks import ChannelSink, ChannelSource

from .session.running import Task


class Sink(ChannelSink):
    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, value: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(value)

    def close(self) -> None:
        pass

    def drop(self) -> None:
        pass


class Source(ChannelSource):
    """Has some items; exceptions are raised in their turn."""

    def __init__(self, *items: Any) -> None:
        self.items = deque(items)

    async def receive(self, borrow: bool = False) -> Any:
        await trio.lowlevel.checkpoint()
        return self.receive_nowait()

    def receive_nowait(self) -> Any:
        if not self.items:
            raise trio.EndOfChannel
        item = self.items.popleft()
        if isinstance(item, BaseException):
            raise item
        return item

    def grant(self, count: int) -> None:
        pass

    def reset(self) -> None:
        pass

    def drop(self) -> None:
        pass


def tx_of(sink: ChannelSink) -> Tx[Any]:
    binding = Binding()
    binding.bind(sink=sink)
    return Tx[Any].on(binding)


def rx_of(source: ChannelSource) -> Rx[Any]:
    binding = Binding()
    binding.bind(source=source)
    return Rx[Any].on(binding)


async def test_sink_that_does_not_tell_of_its_end_is_waited_for(
    nursery: trio.Nursery,
) -> None:
    waiting = Task(nursery, tx_of(Sink()).closed)
    await wait_all_tasks_blocked()
    assert not waiting.is_done
    waiting.cancel()


async def test_sink_that_sends_single_items_sends_many_one_by_one() -> None:
    sink = Sink()
    tx = tx_of(sink)
    await tx.send_many(range(3))
    assert sink.sent == [0, 1, 2]
    with pytest.raises(trio.WouldBlock):  # it can only be awaited
        tx.send_nowait(3)


async def test_source_of_single_items_gives_all_that_have_come() -> None:
    rx = rx_of(Source(1, 2, trio.WouldBlock(), 3, 4, 5))
    assert await rx.recv_many() == [1, 2]
    assert await rx.recv_many(2) == [3, 4]
    assert await rx.recv_many() == [5]
    with pytest.raises(trio.EndOfChannel):
        await rx.recv_many()


def positive(direction: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"{direction}: {value}")
    return value * 10


async def test_function_sees_each_of_many_items() -> None:
    sink = Sink()
    tx = tx_of(sink)
    map_items(tx, positive)
    with pytest.raises(ValueError, match="out: -1"):
        await tx.send_many([1, 2, -1, 4])
    assert sink.sent == [10, 20]
    rx = rx_of(Source(1, 2, trio.WouldBlock(), 3))
    map_items(rx, positive)
    assert await rx.recv_many() == [10, 20]
    assert await rx.recv_many(1) == [30]
    with pytest.raises(trio.EndOfChannel):
        await rx.recv_many()


@pytest.mark.parametrize("receive", ["recv", "recv_many", "recv_nowait"])
@pytest.mark.parametrize("bad", [-1, RxDecodeError("it is none")])
async def test_failure_of_a_mapped_item_is_told_after_those_before_it(
    bad: Any, receive: str
) -> None:
    rx = rx_of(Source(1, 2, bad, 3))
    map_items(rx, positive)
    assert await rx.recv_many() == [10, 20]

    async def call() -> None:
        result = getattr(rx, receive)()
        if receive != "recv_nowait":
            await result

    with pytest.raises((ValueError, RxDecodeError)):
        await call()
    assert await rx.recv_many() == [30]
