"""The effect on one process when the other one ends, however it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    Limits,
    RoamError,
    Rx,
    RxConnectionLost,
    RxError,
    TxConnectionLost,
    TxError,
    channel,
)

from .client import ENDLESS_CALLS
from .numbers import FOR_EVER, send_numbers
from .over import Over
from .processes import NO_LIMIT, within
from .workshop import DOWN, UP, Workshop

PATIENT = Limits(close_seconds=NO_LIMIT)

Lost = dict[str, type[Exception]]
"""What was raised, by the name of what was going on."""

ALL_LOST: Mapping[str, type[Exception]] = {
    "call": ConnectionLost,
    "sender": TxConnectionLost,
    "receiver": RxConnectionLost,
}


async def note_loss(lost: Lost, name: str, work: Awaitable[object]) -> None:
    try:
        await work
    except (RoamError, TxError, RxError, trio.EndOfChannel) as error:
        lost[name] = type(error)


async def receive_for_ever(rx: Rx[int], some_came: trio.Event) -> None:
    due = 0
    async for number in rx:
        assert number == due
        due += DOWN
        if number == 1000 * DOWN:
            some_came.set()


async def idle(workshop: Workshop, nursery: trio.Nursery) -> Lost:
    """A call without answer, a sender without credit, a receiver without items."""
    lost: Lost = {}
    upward, held = channel[int]()
    held_too, downward = channel[int]()
    for name, work in {
        "call": workshop.hold(held, held_too),
        "sender": send_numbers(upward, FOR_EVER, UP),
        "receiver": downward.recv(),
    }.items():
        nursery.start_soon(note_loss, lost, name, work)
    await workshop.until_waiting(1)
    await wait_all_tasks_blocked()
    return lost


async def busy(workshop: Workshop, nursery: trio.Nursery) -> Lost:
    """Calls one after the other, and items both ways."""
    lost: Lost = {}
    upward, taken = channel[int]()
    given, downward = channel[int]()
    some_came = trio.Event()

    async def call_for_ever() -> None:
        while True:
            assert await workshop.add(1, 2) == 3

    for name, work in {
        "flow": workshop.flow(taken, given),
        "call": call_for_ever(),
        "sender": send_numbers(upward, FOR_EVER, UP),
        "receiver": receive_for_ever(downward, some_came),
    }.items():
        nursery.start_soon(note_loss, lost, name, work)
    await some_came.wait()
    return lost


at_work = pytest.mark.parametrize("start", [idle, busy])
Start = Callable[[Workshop, trio.Nursery], Awaitable[Lost]]


@at_work
@within(60)
async def test_calls_and_channels_fail_at_once_when_the_server_is_killed(
    start: Start, mostly_over_tcp: Over
) -> None:
    over = mostly_over_tcp
    async with over.server() as server:
        async with over.connect(server.url, limits=PATIENT) as workshop:
            async with trio.open_nursery() as nursery:
                lost = await start(workshop, nursery)
                assert lost == {}
                await server.kill()
            assert lost.items() >= ALL_LOST.items()
            with pytest.raises(ConnectionLost):
                await workshop.add(1, 2)
        with pytest.raises(OSError, match=r"failed|refused"):
            async with over.connect(server.url):
                pass
        over.clear_away(server.url)


@at_work
@within(60)
async def test_control_c_ends_a_server_without_a_word(
    start: Start, mostly_over_tcp: Over
) -> None:
    over = mostly_over_tcp
    async with (
        over.server() as server,
        over.connect(server.url, limits=PATIENT) as workshop,
    ):
        async with trio.open_nursery() as nursery:
            await start(workshop, nursery)
            await server.interrupt()
        # It has taken its leave, so a call may have had an answer, and a channel
        # an end; but by now nothing waits for it any more.
        with pytest.raises(ConnectionLost):
            await workshop.add(1, 2)


@within(60)
async def test_handlers_of_a_killed_client_end(mostly_over_tcp: Over) -> None:
    over = mostly_over_tcp
    async with over.server() as server, over.connect(server.url) as workshop:
        before = await workshop.state()
        async with over.client(server.url) as client:
            await workshop.until_waiting(ENDLESS_CALLS)
            await client.kill()
        await workshop.until_waiting(0)
        assert await workshop.state() == before
