"""Every adapter does every work, and notices a wrong answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import memory_stream_pair

from benchmarks.adapters.base import WrongAnswer, mix, receipt_for
from benchmarks.adapters.floor import FloorClient, serve_stream
from benchmarks.adapters.roam import RoamClient, Workplace, WorkplaceHandler
from benchmarks.works import WORKS, Work
from roam_trio import (
    Rx,
    acceptor,
    client,
    dispatcher,
    initiator,
    memory_link_pair,
)

each_work = pytest.mark.parametrize("work", WORKS, ids=[work.name for work in WORKS])

COUNT = 150
"""More than are in flight at once, and not a multiple of that."""


def test_checksum_shows_a_loss_a_swap_and_a_repetition() -> None:
    def checksum(*items: int) -> int:
        result = 0
        for item in items:
            result = mix(result, item)
        return result

    assert checksum(0, 1, 2, 3) == receipt_for(4).checksum
    wrong = [checksum(0, 1, 3), checksum(0, 2, 1, 3), checksum(0, 1, 1, 3)]
    assert receipt_for(4).checksum not in wrong


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


def change_last_byte(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def swap_first_two_answers(data: bytes) -> bytes:
    return data[8:16] + data[:8] + data[16:]


def repeat_an_answer(data: bytes) -> bytes:
    return data + data[-8:]


@each_work
async def test_floor_does_the_work_again_and_again(
    work: Work, nursery: trio.Nursery
) -> None:
    client = floor_client(nursery)
    for count in (1, COUNT, COUNT):
        assert await work.measure(client, count) > 0
    nursery.cancel_scope.cancel()


@each_work
async def test_floor_notices_a_changed_byte(work: Work, nursery: trio.Nursery) -> None:
    with pytest.raises(WrongAnswer):
        await work.measure(floor_client(nursery, change_last_byte), COUNT)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("forge", [swap_first_two_answers, repeat_an_answer])
async def test_floor_notices_answers_out_of_order(
    forge: Callable[[bytes], bytes], nursery: trio.Nursery
) -> None:
    with pytest.raises(WrongAnswer):
        await floor_client(nursery, forge).calls_in_flight(COUNT, can_wait=False)
    nursery.cancel_scope.cancel()


# ------------------------------------------------------------ roam_trio


class Liar(WorkplaceHandler):
    """Is wrong now and then."""

    async def add(self, left: int, right: int) -> int:
        return left + right + (left == COUNT - 1)

    add_or_wait = add

    async def take_16(self, items: Rx[int]) -> tuple[int, int]:
        received, checksum = await super().take_16(items)
        return received, checksum ^ 1

    take_256 = take_16

    async def echo(self, data: bytes) -> bytes:
        return change_last_byte(data)


async def measure_roam(work: Work, handler: Workplace, *counts: int) -> list[float]:
    ours, theirs = memory_link_pair(64)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(theirs).run, dispatcher(Workplace, handler))
        async with initiator(ours).open() as session:
            workplace = client(Workplace, session.caller)
            return [
                await work.measure(RoamClient(workplace), count) for count in counts
            ]


@each_work
async def test_roam_trio_does_the_work_again_and_again(work: Work) -> None:
    seconds = await measure_roam(work, WorkplaceHandler(), 1, COUNT, COUNT)
    assert min(seconds) > 0


@each_work
async def test_roam_trio_client_notices_a_wrong_answer(work: Work) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await measure_roam(work, Liar(), COUNT)
    assert caught.value.split(WrongAnswer)[1] is None
