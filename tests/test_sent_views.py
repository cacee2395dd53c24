"""A view that was sent may be filled again at once: what arrives is what was sent."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
import trio

from roam_trio import (
    Rx,
    channel,
    connect,
    dispatcher,
    register_wire_type,
    serve,
    service,
)

SIZE = 8_000_000
"""More than the buffers of a socket take at once."""

OLD, NEW = b"o" * SIZE, b"n" * SIZE


class Frame:
    """Memory that is used again as soon as it has been encoded."""

    def __init__(self, content: bytes = OLD) -> None:
        self.memory = bytearray(content)

    def encode(self) -> memoryview:
        trio.lowlevel.current_trio_token().run_sync_soon(self.fill)
        return memoryview(self.memory).toreadonly()

    def fill(self) -> None:
        self.memory[:] = NEW


register_wire_type(Frame, bytes, unstructure=Frame.encode, structure=Frame)


@service
class Store(Protocol):
    async def put(self, frame: Frame) -> int: ...
    async def get(self) -> Frame: ...
    async def put_all(self, frames: Rx[Frame]) -> int: ...
    async def count(self, views: Rx[bytes]) -> int: ...


class Storing:
    """Counts the bytes that are those of an old frame."""

    async def put(self, frame: Frame) -> int:
        return frame.memory.count(b"o")

    async def get(self) -> Frame:
        return Frame()

    async def count(self, views: Rx[bytes]) -> int:
        return sum([len(view) async for view in views])

    async def put_all(self, frames: Rx[Frame]) -> int:
        return sum([frame.memory.count(b"o") async for frame in frames])


@pytest.fixture
async def url(nursery: trio.Nursery) -> str:
    async def run(task_status: trio.TaskStatus[Any]) -> None:
        handler = dispatcher(Store, Storing())
        await serve("tcp://127.0.0.1:0", handler, task_status=task_status)

    server = await nursery.start(run)
    return str(server.url)


async def test_an_argument_arrives_as_it_was_when_it_was_sent(url: str) -> None:
    async with connect(url, Store) as store:
        assert await store.put(Frame()) == SIZE


async def test_a_result_arrives_as_it_was_when_it_was_sent(url: str) -> None:
    async with connect(url, Store) as store:
        assert (await store.get()).memory == OLD


async def test_an_item_arrives_as_it_was_when_it_was_sent(url: str) -> None:
    tx, rx = channel[Frame]()

    async def produce() -> None:
        async with tx:
            await tx.send(Frame())

    async with connect(url, Store) as store, trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        assert await store.put_all(rx) == SIZE


async def test_views_arrive_that_are_released_as_soon_as_they_were_sent(
    url: str,
) -> None:
    tx, rx = channel[bytes]()

    async def produce() -> None:
        async with tx:
            for _ in range(2):
                with memoryview(OLD) as view:
                    await tx.send(view)

    async with connect(url, Store) as store, trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        assert await store.count(rx) == 2 * SIZE
