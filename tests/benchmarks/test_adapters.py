"""Every adapter does every work, and notices a wrong answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair

from benchmarks.adapters.base import (
    RECORDS,
    TRACE,
    CallsWith,
    Client,
    WrongAnswer,
    make_rows,
    mix,
    receipt_for,
    receipt_of,
)
from benchmarks.adapters.floor import FloorClient, serve_stream
from benchmarks.adapters.loops import (
    call_many_in_asyncio,
    call_many_in_trio,
    run_asyncio,
    run_plain,
    run_trio,
)
from benchmarks.adapters.msgspec_alone import MsgspecClient
from benchmarks.adapters.roam import (
    LaterClient,
    LaterWorkplace,
    RoamClient,
    RoamRecord,
    Workplace,
    WorkplaceHandler,
    do_nothing_around,
)
from benchmarks.adapters.sockets import RawTrioStream
from benchmarks.adapters.telemetry import telemetry_of, traced
from benchmarks.stopwatch import Stopwatch
from benchmarks.works import SPEEDS, Connect, Work, find_work
from roam_trio import (
    Middleware,
    Rx,
    Tx,
    acceptor,
    client,
    connect,
    dispatcher,
    initiator,
    memory_link_pair,
    serving,
)
from roam_trio.metadata import MetadataLike

FLOOR_WORKS = [work for work in SPEEDS if not work.beside]

each_work_of_floor = pytest.mark.parametrize(
    "work", FLOOR_WORKS, ids=[work.name for work in FLOOR_WORKS]
)
each_work = pytest.mark.parametrize("work", SPEEDS, ids=[work.name for work in SPEEDS])

COUNT = 150
"""More than are in flight at once, and not a multiple of that."""

FEW = 3
"""Enough of what takes long."""


def count_of(work: Work) -> int:
    return FEW if work.name in ("echo", "records") else COUNT


async def measure(work: Work, connect: Connect, count: int) -> float:
    watch = Stopwatch()
    await work.measure(connect, count, watch)
    return watch.done().seconds


def test_checksum_shows_a_loss_a_swap_and_a_repetition() -> None:
    right = receipt_for(4)
    assert receipt_of([0, 1, 2, 3]) == right
    for wrong in ([0, 1, 3], [0, 2, 1, 3], [0, 1, 1, 3]):
        assert receipt_of(wrong).checksum != right.checksum
    assert mix(mix(0, 1), 2) != mix(mix(0, 2), 1)


def test_rows_are_the_same_every_time_and_differ_by_seed() -> None:
    assert make_rows(1) == make_rows(1) != make_rows(2)
    assert len(make_rows(1)) == RECORDS


# ------------------------------------------------------------ the floor


class Forger(trio.abc.Stream):
    """A server's stream that changes what is sent; the handshake is left alone."""

    def __init__(
        self, stream: trio.abc.Stream, forge: Callable[[bytes], bytes]
    ) -> None:
        self._stream = stream
        self._forge = forge

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        sent = bytes(data)
        await self._stream.send_all(self._forge(sent) if len(sent) > 4 else sent)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


def floor_client(
    nursery: trio.Nursery, forge: Callable[[bytes], bytes] = bytes
) -> FloorClient:
    async def open_stream() -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(serve_stream, Forger(theirs, forge))
        return ours

    return FloorClient(open_stream)


@asynccontextmanager
async def floor(forge: Callable[[bytes], bytes] = bytes) -> AsyncIterator[Client]:
    async with trio.open_nursery() as nursery:
        yield floor_client(nursery, forge)
        nursery.cancel_scope.cancel()


def change_last_byte(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def swap_first_two_answers(data: bytes) -> bytes:
    return data[8:16] + data[:8] + data[16:]


def repeat_an_answer(data: bytes) -> bytes:
    return data + data[-8:]


@each_work_of_floor
async def test_floor_does_the_work_again_and_again(work: Work) -> None:
    for count in (1, count_of(work), count_of(work)):
        assert await measure(work, floor, count) > 0


@each_work_of_floor
async def test_floor_notices_a_changed_byte(work: Work) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await measure(work, partial(floor, change_last_byte), count_of(work))
    assert caught.value.split(WrongAnswer)[1] is None


@pytest.mark.parametrize("forge", [swap_first_two_answers, repeat_an_answer])
async def test_floor_notices_answers_out_of_order(
    forge: Callable[[bytes], bytes], nursery: trio.Nursery
) -> None:
    with pytest.raises(WrongAnswer):
        await floor_client(nursery, forge).calls_in_flight(COUNT, can_wait=False)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["call", "in-flight", "items-both", "echo"])
async def test_raw_trio_does_the_work_on_a_socket(name: str) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        ours, theirs = map(RawTrioStream, socket.socketpair())

        async def open_stream() -> RawTrioStream:
            return ours

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, theirs)
            client = FloorClient(open_stream)
            yield client
            await client.aclose()

    work = find_work(name)
    assert await measure(work, connect, count_of(work)) > 0


# ------------------------------------------------------------ roam_trio


class Liar(WorkplaceHandler):
    """Is wrong now and then."""

    async def add(self, left: int, right: int) -> int:
        return left + right + (left in (0, COUNT - 1))

    add_or_wait = add

    async def take_16(self, items: Rx[int]) -> tuple[int, int]:
        received, checksum = await super().take_16(items)
        return received, checksum ^ 1

    take = take_16

    async def take_many(self, items: Rx[int]) -> tuple[int, int]:
        received, checksum = await super().take_many(items)
        return received, checksum ^ 1

    async def give(self, count: int, items: Tx[int]) -> None:
        await super().give(count - 1, items)

    async def give_back(self, items: Rx[int], back: Tx[int]) -> None:
        async with back:
            async for item in items:
                await back.send(item ^ 1)

    async def echo(self, data: bytes) -> bytes:
        return change_last_byte(data)

    async def swap(self, records: list[RoamRecord]) -> list[RoamRecord]:
        return records[::-1]


@asynccontextmanager
async def roam(
    handler: Workplace,
    middleware: Sequence[Middleware] = (),
    *,
    deadlines: bool = True,
    metadata: MetadataLike = (),
) -> AsyncIterator[Client]:
    ours, theirs = memory_link_pair(64)
    answering = dispatcher(Workplace, handler, middleware=middleware)
    others = {
        CallsWith.MIDDLEWARE: partial(roam, handler, [do_nothing_around]),
        CallsWith.MIDDLEWARE_ENTRY: partial(
            roam, handler, [do_nothing_around], metadata=TRACE
        ),
        CallsWith.RECORDED: partial(recorded, CallsWith.RECORDED, handler),
        CallsWith.UNSAMPLED: partial(recorded, CallsWith.UNSAMPLED, handler),
        CallsWith.SCOPE: partial(roam, handler, deadlines=False),
        CallsWith.VERSION: partial(later, handler),
    }
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(theirs).run, answering)
        async with initiator(ours, deadlines=deadlines).open() as session:
            workplace = client(
                Workplace,
                session.caller,
                middleware=middleware,
                metadata_for_calls=metadata,
            )
            yield RoamClient(workplace, others=others)


@asynccontextmanager
async def recorded(what: CallsWith, handler: Workplace) -> AsyncIterator[Client]:
    server, provider = telemetry_of(what)
    answering = dispatcher(Workplace, handler, middleware=[server.server])
    async with (
        traced(what) as telemetry,
        serving("memory://workplace", answering),
        connect(
            "memory://workplace", Workplace, middleware=[telemetry.client]
        ) as workplace,
    ):
        yield RoamClient(workplace)
    provider.shutdown()


@asynccontextmanager
async def later(handler: Workplace) -> AsyncIterator[Client]:
    async with (
        serving("memory://workplace", dispatcher(Workplace, handler)),
        connect("memory://workplace", LaterWorkplace) as workplace,
    ):
        yield LaterClient(workplace)


@each_work
async def test_roam_trio_does_the_work_again_and_again(work: Work) -> None:
    for count in (1, count_of(work), count_of(work)):
        assert await measure(work, partial(roam, WorkplaceHandler()), count) > 0


@each_work
async def test_roam_trio_client_notices_a_wrong_answer(work: Work) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await measure(work, partial(roam, Liar()), count_of(work))
    assert caught.value.split(WrongAnswer)[1] is None


# ------------------------------------------------------------ the rest


async def test_msgspec_alone_does_its_work() -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        yield MsgspecClient()

    assert await measure(find_work("records"), connect, FEW) > 0


def test_many_calls_are_made_once_each_and_so_many_at_once() -> None:
    for run, call_many in (
        (run_trio, call_many_in_trio),
        (run_asyncio, call_many_in_asyncio),
    ):
        called: list[int] = []

        async def call(number: int, called: list[int] = called) -> None:
            called.append(number)

        run(partial(call_many, call, COUNT))
        assert sorted(called) == list(range(COUNT))


def test_what_blocks_must_not_await() -> None:
    async def blocks() -> int:
        return 7

    assert run_plain(blocks) == 7
    with pytest.raises(RuntimeError, match="nothing to wait for"):
        run_plain(partial(asyncio.sleep, 0))
