"""An error that somebody keeps holds nothing of the operation that has met it.

From Python 3.12 on, the frames of a traceback refer to those of everything that has
awaited them, and so to the channels of the caller.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    ConnectionLost,
    EncodeError,
    RoamTrioError,
    RxDecodeError,
    Session,
    Tx,
    TxConnectionLost,
    TxUnbound,
    channel,
)
from roam_trio.rpc.mapped import map_items
from roam_trio.wire.messages import ChannelItem, RequestCall

from .running import Task, WithPeer, call_of, caller_of, item, streams


class Numbers(list[int]):
    """A list whose end can be noticed."""


@pytest.fixture(autouse=True)
def nothing_is_collected() -> Iterator[None]:
    """What is part of a reference cycle stays alive in these tests."""
    gc.disable()
    yield
    gc.enable()


Operation = Callable[[], Awaitable[object]]


class Caller:
    """Runs an operation in frames that refer to something, and keeps its error."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    async def keep(self, operation: Operation, held: Numbers) -> None:
        """Keep the error without its own traceback, which refers to this frame."""
        try:
            await operation()
        except RoamTrioError as error:
            self.errors.append(error.with_traceback(None))
        assert held

    def start(
        self, nursery: trio.Nursery, operation: Operation
    ) -> weakref.ref[Numbers]:
        held = Numbers([1])
        nursery.start_soon(self.keep, operation, held)
        return weakref.ref(held)


def add(session: Session, _: Tx[int]) -> Awaitable[object]:
    return caller_of(session).add(1, 2)


def open_connection(session: Session, _: Tx[int]) -> Awaitable[object]:
    return session.open_connection()


def send(_: Session, tx: Tx[int]) -> Awaitable[object]:
    return tx.send(1)


def send_many(_: Session, tx: Tx[int]) -> Awaitable[object]:
    return tx.send_many([1, 2])


async def send_nowait(_: Session, tx: Tx[int]) -> None:
    tx.send_nowait(1)


OPERATIONS = {
    add: ConnectionLost,
    open_connection: ConnectionLost,
    send: TxConnectionLost,
    send_many: TxConnectionLost,
    send_nowait: TxConnectionLost,
}


@pytest.mark.parametrize(
    ("operate", "expected"), OPERATIONS.items(), ids=lambda one: one.__name__
)
async def test_error_of_what_finds_the_link_dead_holds_no_frames_of_its_caller(
    nursery: trio.Nursery,
    operate: Callable[[Session, Tx[int]], Awaitable[object]],
    expected: type[Exception],
) -> None:
    tx, rx = channel[int]()
    caller = Caller()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_200, rx)
        await peer.hear(RequestCall)
        await peer.rx.close()  # which nobody has noticed
        held = caller.start(nursery, partial(operate, session, tx))
        await wait_all_tasks_blocked()
    assert [type(error) for error in caller.errors] == [expected]
    assert held() is None


@pytest.mark.parametrize(
    ("operate", "expected"),
    [(one, error) for one, error in OPERATIONS.items() if one is not send_nowait],
    ids=lambda one: one.__name__,
)
async def test_error_of_what_waits_for_room_in_vain_holds_no_frames_of_its_caller(
    nursery: trio.Nursery,
    operate: Callable[[Session, Tx[int]], Awaitable[object]],
    expected: type[Exception],
) -> None:
    tx, rx = channel[int]()
    caller = Caller()
    async with WithPeer(buffer=1) as (session, peer):
        Task(nursery, caller_of(session).take_200, rx)
        await peer.hear(RequestCall)
        tx.send_nowait(1)  # and now there is no room
        held = caller.start(nursery, partial(operate, session, tx))
        await wait_all_tasks_blocked()
        assert held() is not None
        await peer.rx.close()
        await wait_all_tasks_blocked()
    assert [type(error) for error in caller.errors] == [expected]
    assert held() is None


async def test_channel_of_a_call_that_is_never_sent_ends_while_its_error_is_kept(
    nursery: trio.Nursery,
) -> None:
    errors: list[Exception] = []

    async def call(session: Session, *ends: Any) -> None:
        running = caller_of(session).both(*ends)
        del ends
        try:
            await running
        except ConnectionLost as error:
            errors.append(error.with_traceback(None))

    async def send(tx: Tx[int]) -> None:
        try:
            await tx.send(1)
        except TxUnbound as error:
            errors.append(error.with_traceback(None))

    async with WithPeer(buffer=1) as (session, peer):
        Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()  # and now there is no room
        tx, numbers = channel[int]()
        output, _ = channel[int]()
        nursery.start_soon(call, session, numbers, output)
        nursery.start_soon(send, tx)
        del numbers, output, tx
        await wait_all_tasks_blocked()
        await peer.rx.close()
        await wait_all_tasks_blocked()
    assert {type(error) for error in errors} == {ConnectionLost, TxUnbound}


async def test_session_that_a_call_found_dead_keeps_no_arguments_of_it() -> None:
    async with WithPeer() as (session, peer):
        await peer.rx.close()  # which nobody has noticed
        numbers = Numbers([1, 2, 3])
        alive = weakref.ref(numbers)
        call = caller_of(session).count(numbers)
        del numbers
        try:
            await call
        except ConnectionLost as lost:
            kept = lost.with_traceback(None)
        del call
        await wait_all_tasks_blocked()  # the session's tasks end
        assert alive() is None
        assert session.ended_because is kept.__cause__


# ------------------------------------------------------------ cancelled tasks


async def wait_in_a_nursery() -> None:
    """What is cancelled here is a group."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


@pytest.mark.parametrize("wait", [trio.sleep_forever, wait_in_a_nursery])
@pytest.mark.parametrize("where", ["handler", "task of the connection"])
async def test_session_that_closes_its_link_keeps_nothing_of_what_it_has_cancelled(
    where: str, wait: Callable[[], Awaitable[None]], nursery: trio.Nursery
) -> None:
    alive: list[weakref.ref[Numbers]] = []

    async def echo(text: str) -> str:
        held = Numbers([1])
        alive.append(weakref.ref(held))
        await wait()
        return text + str(held)

    async with WithPeer(streams(echo=echo)) as (session, peer):
        if where == "handler":
            await peer.say(call_of("echo", 2, "x"))
        else:
            session.root.start_soon(echo, "x")
        await wait_all_tasks_blocked()
        ending = Task(nursery, session.shutdown)
        await wait_all_tasks_blocked()
        gc.collect()  # cycles of the exceptions are those of trio
        assert [each() for each in alive] == [None]
        assert not ending.is_done  # the peer has not closed the link yet


# ------------------------------------------------------------ errors that are not kept


async def give_up(
    operation: Operation, expected: type[Exception] | None, held: Numbers
) -> None:
    """Run an operation in a frame that refers to something, and drop its error."""
    met: type[Exception] | None = None
    try:
        await operation()
    except RoamTrioError as error:
        met = type(error)
    assert met is expected
    assert held


async def test_item_that_cannot_be_sent_among_many_leaves_no_cycle_of_references(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[Any]()
    held = Numbers([1])
    alive = weakref.ref(held)
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_200, rx)
        await peer.hear(RequestCall)
        await give_up(partial(tx.send_many, [1, "text"]), EncodeError, held)
        assert await peer.hear(ChannelItem) == item(1, 1)
        del held
        assert alive() is None


@pytest.mark.parametrize("before", [0, 1])
async def test_item_that_cannot_be_decoded_among_many_leaves_no_cycle_of_references(
    nursery: trio.Nursery, before: int
) -> None:
    tx, rx = channel[int]()
    held = Numbers([1])
    alive = weakref.ref(held)
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).give_200, tx)
        await peer.hear(RequestCall)
        good = [item(1, 5)] * before
        await peer.say(*good, ChannelItem(0, 1, b"\xff" * 12))
        await wait_all_tasks_blocked()
        expected = None if before else RxDecodeError
        await give_up(rx.recv_many, expected, held)
        del held
        assert alive() is None
        if before:
            with pytest.raises(RxDecodeError):
                await rx.recv_many()


async def test_item_that_a_function_refuses_leaves_no_cycle_of_references(
    nursery: trio.Nursery,
) -> None:
    def no_more_than_one(_: str, number: int) -> int:
        if number > 1:
            raise EncodeError("it is more than one")
        return number

    tx, rx = channel[int]()
    map_items(rx, no_more_than_one)
    held = Numbers([1])
    alive = weakref.ref(held)
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).give_200, tx)
        await peer.hear(RequestCall)
        await peer.say(item(1, 1), item(1, 2))
        await wait_all_tasks_blocked()
        assert await rx.recv_many() == [1]
        await give_up(rx.recv_many, EncodeError, held)
        del held
        assert alive() is None
