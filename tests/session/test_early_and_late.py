"""Messages for channels that are not bound: early ones are kept, late ones are not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Limits, Rx, channel
from roam_trio.errors import LimitExceeded, SessionProtocolError
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
