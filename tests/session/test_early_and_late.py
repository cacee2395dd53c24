"""Messages for channels that are not bound: early ones are kept, late ones are not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Limits, Rx, Tx, channel
from roam_trio.errors import LimitExceeded, SessionProtocolError, TxReset
from roam_trio.rpc.binding import bind_channels_callee_args
from roam_trio.rpc.handler import ReplySink
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ProtocolError,
    RequestCall,
    RequestResponse,
)

from .running import (
    METHODS,
    OK,
    Custom,
    Task,
    WithPeer,
    call_of,
    caller_of,
    item,
    response,
    run_of,
    streams,
)


def late(method: str, use: Any) -> tuple[Custom, trio.Event]:
    """A handler that binds its channels only when told so, and then uses them."""
    gate = trio.Event()

    async def handle(call: RequestCall, reply: ReplySink) -> None:
        await gate.wait()
        plan = METHODS[method].args_plan
        args = plan.decode(b"")
        bind_channels_callee_args(plan, args, call.channels, reply.channel_binder)
        await use(*args)
        await reply.send(OK)

    return Custom(handle), gate


# ------------------------------------------------------------ early


@pytest.mark.rule("rpc.channel.binding.callee-args", "rpc.channel.item")
@pytest.mark.parametrize("strict", [False, True])
async def test_early_items_are_replayed_in_order_when_the_handler_binds(
    strict: bool,
) -> None:
    received: list[int] = []

    async def take(numbers: Rx[int]) -> None:
        async for number in numbers:
            received.append(number)

    handler, gate = late("take", take)
    async with WithPeer(handler, strict=strict) as (_, peer):
        await peer.say(call_of("take", 2, channels=(2,)))
        await peer.say(*(item(2, number) for number in range(10)))
        await wait_all_tasks_blocked()
        gate.set()
        assert (await peer.hear(ChannelGrantCredit)).additional == 8
        await peer.say(item(2, 10), ChannelClose(0, 2))
        assert await peer.hear(RequestResponse) == response(2)
        assert received == list(range(11))


@pytest.mark.rule("rpc.channel.close", "rpc.channel.binding.callee-args")
async def test_early_close_is_replayed_after_the_items() -> None:
    received: list[int] = []

    async def take(numbers: Rx[int]) -> None:
        async for number in numbers:
            received.append(number)

    handler, gate = late("take", take)
    async with WithPeer(handler) as (_, peer):
        await peer.say(call_of("take", 2, channels=(2,)))
        await peer.say(item(2, 1), item(2, 2), ChannelClose(0, 2))
        await wait_all_tasks_blocked()
        gate.set()
        assert await peer.hear(RequestResponse) == response(2)
        assert received == [1, 2]
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.binding.callee-args")
async def test_early_reset_is_replayed() -> None:
    errors: list[Exception] = []

    async def give(output: Tx[int]) -> None:
        try:
            await output.send(1)
        except TxReset as error:
            errors.append(error)

    handler, gate = late("give_1", give)
    async with WithPeer(handler) as (_, peer):
        await peer.say(call_of("give_1", 2, channels=(2,)), ChannelReset(0, 2))
        await wait_all_tasks_blocked()
        gate.set()
        assert await peer.hear(RequestResponse) == response(2)
        assert len(errors) == 1
        assert await peer.heard_nothing_more()


@pytest.mark.rule(
    "rpc.flow-control.credit.grant", "rpc.flow-control.credit.initial.zero"
)
async def test_early_credit_is_replayed() -> None:
    async def give(output: Tx[int]) -> None:
        await output.send(1)
        await output.send(2)
        output.close()

    handler, gate = late("give_0", give)
    async with WithPeer(handler) as (_, peer):
        await peer.say(call_of("give_0", 2, channels=(2,)))
        await peer.say(ChannelGrantCredit(0, 2, 1), ChannelGrantCredit(0, 2, 1))
        await wait_all_tasks_blocked()
        gate.set()
        assert await peer.hear(ChannelItem) == item(2, 1)
        assert await peer.hear(ChannelItem) == item(2, 2)
        assert await peer.hear(ChannelClose) == ChannelClose(0, 2)
        assert await peer.hear(RequestResponse) == response(2)


@pytest.mark.rule("rpc.flow-control.credit")
async def test_early_items_beyond_the_credit_end_the_session() -> None:
    async def take(numbers: Rx[int]) -> None:
        await trio.sleep_forever()

    handler, gate = late("take_1", take)
    async with WithPeer(handler) as (session, peer):
        await peer.say(call_of("take_1", 2, channels=(2,)), item(2, 1), item(2, 2))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        gate.set()
        assert "without credit" in (await peer.hear(ProtocolError)).description
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, SessionProtocolError)


async def test_items_that_overtook_their_call_are_kept() -> None:
    received: list[int] = []

    async def take(numbers: Rx[int]) -> int:
        received.extend([number async for number in numbers])
        return len(received)

    async with WithPeer(streams(take=take)) as (_, peer):
        await peer.say(item(2, 1), item(2, 2), ChannelClose(0, 2))
        await peer.say(call_of("take", 2, channels=(2,)))
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x04")
        assert received == [1, 2]


@pytest.mark.rule("rpc.channel.binding.callee-args")
async def test_what_nobody_took_up_is_given_back_with_the_response() -> None:
    gate = trio.Event()

    async def handle(call: RequestCall, reply: ReplySink) -> None:
        await gate.wait()
        await reply.send(OK)

    limits = Limits(early_items=4, early_bytes=20)
    async with WithPeer(Custom(handle), limits=limits) as (session, peer):
        table = run_of(session).channels
        for number in range(2, 40, 2):
            await peer.say(call_of("take", number, channels=(number,)))
            await peer.say(*(item(number, one) for one in range(4)))
            await wait_all_tasks_blocked()
            held = table.held
            assert held is not None
            assert (held.count, held.bytes) == (4, 20)
            gate.set()
            await peer.hear(RequestResponse)
            assert (held.count, held.bytes) == (0, 0)
            gate = trio.Event()
            await peer.say(item(number, 5))  # late by now
            await wait_all_tasks_blocked()
            assert held.count == 0


@pytest.mark.rule("rpc.flow-control")
@pytest.mark.parametrize(
    ("limits", "sent", "named"),
    [
        (Limits(early_items=3), [1, 1, 1, 1], "early_items"),
        (Limits(early_bytes=42), [10, 10, 11], "early_bytes"),
    ],
)
async def test_too_much_that_is_early_ends_the_session(
    limits: Limits, sent: list[int], named: str
) -> None:
    async with WithPeer(streams(), limits=limits) as (session, peer):
        for at, size in enumerate(sent[:-1]):
            await peer.say(ChannelItem(0, 100 + 2 * at, bytes(size)))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        await peer.say(ChannelItem(0, 200, bytes(sent[-1])))
        assert named in (await peer.hear(ProtocolError)).description
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, LimitExceeded)
        assert session.ended_because.limit == named
        assert run_of(session).channels.held is None


# ------------------------------------------------------------ late


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.lifecycle")
@pytest.mark.parametrize("strict", [False, True])
async def test_items_in_flight_when_we_reset_are_ignored(
    strict: bool, nursery: trio.Nursery
) -> None:
    tx, rx = channel[int]()
    limits = Limits(early_items=1)
    async with WithPeer(strict=strict, limits=limits) as (session, peer):
        Task(nursery, caller_of(session).give, 1, tx)
        await peer.hear(RequestCall)
        rx.reset()
        assert await peer.hear(ChannelReset) == ChannelReset(0, 1)
        await peer.say(*(item(1, number) for number in range(10)), ChannelClose(0, 1))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        assert run_of(session).channels.dropped == 11
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.close")
async def test_reset_that_crosses_our_close_is_ignored(nursery: trio.Nursery) -> None:
    tx, rx = channel[int]()
    async with WithPeer() as (session, peer):
        Task(nursery, caller_of(session).take, rx)
        await peer.hear(RequestCall)
        tx.close()
        await peer.hear(ChannelClose)
        await peer.say(ChannelReset(0, 1))
        assert await peer.heard_nothing_more()
        assert session.ended_because is None
        assert run_of(session).channels.dropped == 1
