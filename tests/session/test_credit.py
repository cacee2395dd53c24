"""Credit: how far a sender may run ahead of its receiver, and who lets it go on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel
from roam_trio.errors import (
    ConnectionLost,
    EncodeError,
    RxConnectionLost,
    SessionProtocolError,
    TxReset,
)
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ProtocolError,
    RequestCall,
    RequestResponse,
)
from tests.peer import Peer

from .running import (
    Task,
    WithPeer,
    call_of,
    caller_of,
    item,
    join,
    number_in,
    streams,
)

CREDITS = {
    0: ("take_0", "give_0"),
    1: ("take_1", "give_1"),
    2: ("take_2", "give_2"),
    16: ("take_16", "give"),
    200: ("take_200", "give_200"),
}


async def hear_items(peer: Peer, count: int) -> list[int]:
    """What the next `count` messages carry, all of them items."""
    return [number_in(await peer.hear(ChannelItem)) for _ in range(count)]


async def send_all(tx: Tx[int], count: int, sent: list[int]) -> None:
    """Send numbers, and note each that was sent."""
    for number in range(count):
        await tx.send(number % 50)
        sent.append(number)


@pytest.mark.rule(
    "rpc.flow-control",
    "rpc.flow-control.credit",
    "rpc.flow-control.credit.initial",
    "rpc.flow-control.credit.initial.zero",
    "rpc.flow-control.credit.exhaustion",
)
@pytest.mark.parametrize("credit", CREDITS)
async def test_caller_blocks_when_the_initial_credit_is_used_up(
    credit: int, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    sent: list[int] = []
    async with WithPeer(buffer=512) as (session, peer):
        Task(nursery, getattr(caller_of(session), CREDITS[credit][0]), rx)
        await peer.hear(RequestCall)
        Task(nursery, send_all, tx, credit + 10, sent)
        await wait_all_tasks_blocked()
        assert len(sent) == credit
        await hear_items(peer, credit)
        assert await peer.heard_nothing_more()
        # Each grant adds exactly what it says, and grants add up.
        await peer.say(ChannelGrantCredit(0, 1, 1))
        await wait_all_tasks_blocked()
        assert len(sent) == credit + 1
        await peer.say(ChannelGrantCredit(0, 1, 2), ChannelGrantCredit(0, 1, 3))
        await wait_all_tasks_blocked()
        assert len(sent) == credit + 6


@pytest.mark.rule(
    "rpc.flow-control.credit",
    "rpc.flow-control.credit.initial",
    "rpc.flow-control.credit.initial.zero",
    "rpc.flow-control.credit.exhaustion",
)
@pytest.mark.parametrize("credit", [0, 1, 2, 200])
async def test_handler_blocks_when_the_initial_credit_is_used_up(credit: int) -> None:
    sent: list[int] = []

    async def give(output: Tx[int]) -> None:
        await send_all(output, credit + 10, sent)

    name = CREDITS[credit][1]
    async with WithPeer(streams(**{name: give}), buffer=512) as (_, peer):
        await peer.say(call_of(name, 2, channels=(2,)))
        await wait_all_tasks_blocked()
        assert len(sent) == credit
        await peer.say(ChannelGrantCredit(0, 2, 10))
        await hear_items(peer, credit + 10)
        await peer.hear(ChannelClose)
        await peer.hear(RequestResponse)


@pytest.mark.rule("rpc.flow-control.credit.grant", "rpc.flow-control.credit.exhaustion")
@pytest.mark.parametrize("credit", [0, 1, 2, 200])
async def test_producer_into_an_unread_channel_stops_between_two_sessions(
    credit: int, nursery: trio.Nursery
) -> None:
    gate = trio.Event()
    received: list[int] = []
    sent: list[int] = []

    async def take(numbers: Rx[int]) -> None:
        await gate.wait()
        async for number in numbers:
            received.append(number)

    name = CREDITS[credit][0]
    left, right = await join(nursery, streams(**{name: take}), buffer=512)
    tx, rx = channel[int]()
    call = Task(nursery, getattr(caller_of(left), name), rx)
    total = 3 * credit + 20
    sending = Task(nursery, send_all, tx, total, sent)
    await wait_all_tasks_blocked()
    assert len(sent) == credit
    gate.set()
    await sending.result()
    tx.close()
    await call.result()
    assert received == [number % 50 for number in range(total)]
    assert left.ended_because is right.ended_because is None


@pytest.mark.rule("rpc.flow-control.credit.initial.zero")
async def test_channel_without_credit_hands_over_one_item_per_receive(
    nursery: trio.Nursery,
) -> None:
    received: list[int] = []
    sent: list[int] = []
    ask, asks = trio.open_memory_channel[None](10)

    async def take(numbers: Rx[int]) -> None:
        async for _ in asks:
            received.append(await numbers.recv())

    left, _ = await join(nursery, streams(take_0=take))
    tx, rx = channel[int]()
    Task(nursery, caller_of(left).take_0, rx)
    Task(nursery, send_all, tx, 10, sent)
    for asked in range(4):
        await wait_all_tasks_blocked()
        assert len(received) == len(sent) == asked
        ask.send_nowait(None)


@pytest.mark.rule("rpc.flow-control.credit.initial.zero")
async def test_several_receivers_on_a_channel_without_credit_are_all_served(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        tx, rx = channel[int]()
        Task(nursery, caller_of(session).give_0, tx)
        await peer.hear(RequestCall)
        tasks = [Task(nursery, rx.recv) for _ in range(3)]
        await wait_all_tasks_blocked()
        for _ in tasks:
            assert await peer.hear(ChannelGrantCredit) == ChannelGrantCredit(0, 1, 1)
        assert await peer.heard_nothing_more()
        await peer.say(item(1, 5), item(1, 6), item(1, 7))
        assert sorted([await task.result() for task in tasks]) == [5, 6, 7]
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.flow-control.credit", "session.protocol-error")
@pytest.mark.parametrize("credit", [0, 1, 2, 16, 200])
async def test_items_beyond_credit_end_the_session(
    credit: int, nursery: trio.Nursery
) -> None:
    name = "give_" + str(credit) if credit != 16 else "give"
    args: tuple[Any, ...] = () if credit != 16 else (1,)
    tx, rx = channel[int]()
    async with WithPeer(buffer=512) as (session, peer):
        Task(nursery, getattr(caller_of(session), name), *args, tx)
        await peer.hear(RequestCall)
        await peer.say(*(item(1, number % 50) for number in range(credit)))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        await peer.say(item(1, 1))
        assert "without credit" in (await peer.hear(ProtocolError)).description
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, SessionProtocolError)
        # What came within the credit is gone as well: every attempt has to fail.
        with pytest.raises(RxConnectionLost, match="the peer broke the protocol"):
            await rx.recv()
        with pytest.raises(RxConnectionLost, match="the peer broke the protocol"):
            rx.recv_nowait()


@pytest.mark.rule("rpc.channel.close", "rpc.flow-control.credit")
async def test_close_and_reset_cost_no_credit(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    other_tx, other_rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_0, rx)
        await peer.hear(RequestCall)
        tx.close()
        assert (await peer.hear(ChannelClose)).channel_id == 1
        Task(nursery, caller_of(session).give_0, other_tx)
        await peer.hear(RequestCall)
        other_rx.reset()
        assert (await peer.hear(ChannelReset)).channel_id == 3


@pytest.mark.rule("rpc.flow-control.credit", "rpc.flow-control.credit.exhaustion")
async def test_grant_wakes_as_many_senders_as_it_pays_for(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_0, rx)
        await peer.hear(RequestCall)
        sends = []
        for number in range(5):
            sends.append(Task(nursery, tx.send, number))
            await wait_all_tasks_blocked()
        await peer.say(ChannelGrantCredit(0, 1, 3))
        assert await hear_items(peer, 3) == [0, 1, 2]
        assert await peer.heard_nothing_more()
        assert [send.is_done for send in sends] == [True] * 3 + [False] * 2


@pytest.mark.rule("rpc.flow-control.credit")
async def test_item_that_does_not_encode_costs_no_credit(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[Any]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take_0, rx)
        await peer.hear(RequestCall)
        bad = Task(nursery, tx.send, "no number")
        await wait_all_tasks_blocked()
        good = Task(nursery, tx.send, 7)
        await wait_all_tasks_blocked()
        await peer.say(ChannelGrantCredit(0, 1, 1))
        with pytest.raises(EncodeError, match="i32"):
            await bad.result()
        await good.result()
        assert await hear_items(peer, 1) == [7]


@pytest.mark.rule("rpc.flow-control.credit")
@pytest.mark.parametrize("waits_for", ["credit", "room"])
async def test_cancelled_sender_passes_its_turn_on(
    waits_for: str, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    async with WithPeer(buffer=1) as (session, peer):
        Task(nursery, caller_of(session).take_0, rx)
        await peer.hear(RequestCall)
        if waits_for == "room":
            Task(nursery, caller_of(session).add, 1, 2)  # fills the link
        sends = []
        for number in range(3):
            sends.append(Task(nursery, tx.send, number))
            await wait_all_tasks_blocked()
        if waits_for == "room":
            await peer.say(ChannelGrantCredit(0, 1, 1))
            await wait_all_tasks_blocked()
            sends[0].cancel()
            await wait_all_tasks_blocked()
            await peer.hear(RequestCall)
        else:
            sends[0].cancel()
            await peer.say(ChannelGrantCredit(0, 1, 1))
        assert await hear_items(peer, 1) == [1]
        assert sends[0].was_cancelled
        assert not sends[2].is_done
        await peer.say(ChannelGrantCredit(0, 1, 1))
        assert await hear_items(peer, 1) == [2]


@pytest.mark.rule("rpc.flow-control.credit")
async def test_credit_spent_while_waiting_for_room_is_waited_for_again(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer(buffer=1) as (session, peer):
        Task(nursery, caller_of(session).take_1, rx)
        await wait_all_tasks_blocked()
        sends = []
        for number in range(2):  # both see the credit, and wait for room
            sends.append(Task(nursery, tx.send, number))
            await wait_all_tasks_blocked()
        await peer.hear(RequestCall)
        assert await hear_items(peer, 1) == [0]
        assert await peer.heard_nothing_more()
        assert not sends[1].is_done
        await peer.say(ChannelGrantCredit(0, 1, 1))
        assert await hear_items(peer, 1) == [1]


@pytest.mark.rule("rpc.flow-control", "conduit.permit")
async def test_full_link_makes_send_wait(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    sent: list[int] = []
    async with WithPeer(buffer=4) as (session, peer):
        Task(nursery, caller_of(session).take, rx)
        await wait_all_tasks_blocked()
        Task(nursery, send_all, tx, 10, sent)
        await wait_all_tasks_blocked()
        assert len(sent) == 3  # the call holds the fourth place
        await peer.hear(RequestCall)
        assert await hear_items(peer, 5) == [0, 1, 2, 3, 4]
        await wait_all_tasks_blocked()
        assert len(sent) == 9


@pytest.mark.rule("rpc.channel.reset")
async def test_sender_that_waits_for_room_learns_of_a_reset(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer(buffer=1) as (session, peer):
        Task(nursery, caller_of(session).take, rx)
        await wait_all_tasks_blocked()
        send = Task(nursery, tx.send, 1)
        await wait_all_tasks_blocked()
        await peer.say(ChannelReset(0, 1))
        await wait_all_tasks_blocked()
        await peer.hear(RequestCall)
        with pytest.raises(TxReset):
            await send.result()
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.flow-control.credit.initial.zero")
async def test_receiver_that_finds_the_link_dead_as_it_grants_does_not_wait() -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer), trio.open_nursery() as nursery:
        call = Task(nursery, caller_of(session).give_0, tx)
        await peer.hear(RequestCall)
        await peer.rx.close()  # which nobody has noticed
        with pytest.raises(RxConnectionLost):
            await rx.recv()
        with pytest.raises(ConnectionLost):
            await call.result()
