"""What a peer makes this side hold counts against the budget of its session."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import Limits, Rx, Tx, u8
from roam_trio.codec import CANCELLED, ChannelPlan
from roam_trio.codec.plans import rpc_plan
from roam_trio.errors import LimitExceeded
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry
from roam_trio.rpc.handler import ReplySink, send_reply
from roam_trio.schema.shape import ChannelShape
from roam_trio.session import AcceptedConnection, Session, acceptor
from roam_trio.session.budgets import (
    CHANNEL_BYTES,
    CONNECTION_BYTES,
    TASK_BYTES,
    Budget,
)
from roam_trio.session.channel_in import ITEM_BYTES
from roam_trio.session.held_messages import weight_of
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Hello,
    ProtocolError,
    RequestCall,
    RequestResponse,
    joined,
)
from tests.peer import link_to_peer

from .joined import Joined
from .running import Custom, WithPeer, call_of, run_of, streams

SMALL = Limits(session_bytes=100_000)
EVEN = ConnectionSettings(Parity.EVEN)
NOTE = Metadata.of({"x": "y" * 10_000})


def budget_of(session: Session) -> Budget:
    return run_of(session).port.terms.budget


def ended_by(session: Session) -> str:
    assert isinstance(session.ended_because, LimitExceeded)
    return session.ended_because.limit


def receiving(session: Session, item_type: Any, credit: int = 16) -> Any:
    """Bind channel 2 of the root connection, on which this side receives."""
    items = rpc_plan(item_type)
    plan = ChannelPlan(ChannelShape("tx", items.shape, credit, Tx), items)
    return run_of(session).binder.source(2, plan)


async def pausing(call: RequestCall, reply: ReplySink) -> None:
    await trio.sleep_forever()


class Accepting:
    """Accepts connections when it may."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def accept(self, *args: Any) -> AcceptedConnection:
        await self.go_on.wait()
        return AcceptedConnection()


# ------------------------------------------------------------ channels


async def test_channels_of_a_call_count_until_they_have_ended() -> None:
    taken = trio.Event()

    async def take(numbers: Rx[int]) -> int:
        await taken.wait()
        return 0

    async with WithPeer(streams(take=take)) as (session, peer):
        await peer.say(call_of("take", 2, channels=(2,)))
        await wait_all_tasks_blocked()
        assert budget_of(session).bytes == TASK_BYTES + CHANNEL_BYTES
        taken.set()
        await wait_all_tasks_blocked()
        assert budget_of(session).bytes == TASK_BYTES


async def test_channels_beyond_the_budget_end_the_session() -> None:
    async with WithPeer(Custom(pausing), limits=SMALL) as (session, peer):
        channels = tuple(range(2, 100, 2))
        await peer.say(RequestCall(0, 2, 7, channels, NO_METADATA, b""))
        await peer.hear(ProtocolError)
    assert ended_by(session) == "session_bytes"
    assert budget_of(session).bytes == 0


# ------------------------------------------------------------ items


async def test_early_messages_count_until_the_channel_is_bound() -> None:
    async with WithPeer(Custom(pausing), limits=SMALL) as (session, peer):
        await peer.say(RequestCall(0, 2, 7, (2,), NO_METADATA, b""))
        before = TASK_BYTES + CHANNEL_BYTES
        await peer.say(ChannelItem(0, 2, b"\x07"), ChannelClose(0, 2, NOTE))
        await wait_all_tasks_blocked()
        assert 10_000 < budget_of(session).bytes - before < 11_000
        source = receiving(session, u8)
        await wait_all_tasks_blocked()
        assert budget_of(session).bytes <= TASK_BYTES + 1 + ITEM_BYTES
        assert await source.receive() == 7


async def test_early_messages_beyond_the_budget_end_the_session() -> None:
    async with WithPeer(Custom(pausing), limits=SMALL) as (session, peer):
        await peer.say(RequestCall(0, 2, 7, (2,), NO_METADATA, b""))
        for _ in range(10):
            await peer.say(ChannelItem(0, 2, bytes(10_000)))
        await peer.hear(ProtocolError)
    assert ended_by(session) == "session_bytes"
    assert budget_of(session).bytes == 0


async def test_early_messages_of_all_connections_have_one_share() -> None:
    limits = Limits(early_items=1, early_bytes=25_000)
    accepting = Accepting()
    accepting.go_on.set()
    async with WithPeer(on_connection=accepting, limits=limits) as (session, peer):
        for number in (2, 4, 6):
            await peer.say(ConnectionOpen(number, EVEN))
            await peer.hear(ConnectionAccept)
        for number in (2, 4):
            await peer.say(ChannelClose(number, 2, NOTE))
            await wait_all_tasks_blocked()
        assert 20_000 < budget_of(session).early < 22_000
        await peer.say(ConnectionClose(2))
        await peer.say(ChannelClose(6, 2, NOTE))
        await wait_all_tasks_blocked()
        assert 20_000 < budget_of(session).early < 22_000
        await peer.say(ChannelClose(0, 2, NOTE))
        await peer.hear(ProtocolError)
    assert ended_by(session) == "early_bytes"
    assert "bytes of early messages" in str(session.ended_because)
    assert budget_of(session).early == 0


async def test_items_count_until_they_are_received() -> None:
    async with WithPeer(limits=SMALL) as (session, peer):
        budget, source = budget_of(session), receiving(session, str)
        text = b"\xe8\x07" + b"x" * 1000
        await peer.say(*(ChannelItem(0, 2, text) for _ in range(16)))
        await wait_all_tasks_blocked()
        held = 16 * (len(text) + ITEM_BYTES)
        assert held <= budget.bytes <= held + 2048
        for _ in range(16):
            assert await source.receive() == "x" * 1000
        await peer.hear(ChannelGrantCredit)
        assert budget.bytes < 4 * 2048
        await peer.say(ChannelItem(0, 2, text), ChannelClose(0, 2))
        await wait_all_tasks_blocked()
        await source.receive()
        with pytest.raises(trio.EndOfChannel):
            await source.receive()
        assert budget.bytes == 0


async def test_items_of_a_dropped_channel_count_no_longer() -> None:
    async with WithPeer(limits=SMALL) as (session, peer):
        source = receiving(session, str)
        await peer.say(ChannelItem(0, 2, b"\x01x"), ChannelClose(0, 2))
        await wait_all_tasks_blocked()
        assert budget_of(session).bytes == 2 + ITEM_BYTES
        assert await source.receive() == "x"
        source.drop()
        await wait_all_tasks_blocked()
        assert budget_of(session).bytes == 0


async def test_items_that_nobody_receives_end_the_session_beyond_the_budget() -> None:
    async with WithPeer(limits=SMALL) as (session, peer):
        receiving(session, bytes)
        for _ in range(10):
            await peer.say(ChannelItem(0, 2, bytes(10_000)))
        await peer.hear(ProtocolError)
    assert ended_by(session) == "session_bytes"


async def test_item_that_could_take_too_much_when_decoded_ends_the_session() -> None:
    async with WithPeer(limits=SMALL) as (session, peer):
        receiving(session, list[set[u8]])
        await peer.say(ChannelItem(0, 2, b"\x00" * 5000))
        assert "2 times the limit" in (await peer.hear(ProtocolError)).description
    assert ended_by(session) == "session_bytes"


async def test_items_that_could_take_much_are_received_a_few_at_a_time() -> None:
    async with WithPeer() as (session, peer):
        source = receiving(session, list[set[u8]])
        large = b"\xa8\x46" + bytes(9000)  # 2 MiB when decoded
        await peer.say(*(ChannelItem(0, 2, large) for _ in range(10)))
        await peer.say(ChannelItem(0, 2, b"\x00" + bytes(0)))
        await wait_all_tasks_blocked()
        assert len(await source.receive_many(2)) == 2
        assert [len(each) for each in await source.receive_many()] == [9000] * 7
        assert [len(each) for each in await source.receive_many()] == [9000, 0]
        await peer.say(ChannelItem(0, 2, b"\xa0\x8d\x06" + bytes(100_000)))
        await wait_all_tasks_blocked()
        assert len((await source.receive_many())[0]) == 100_000


# ------------------------------------------------------------ connections


async def test_virtual_connections_count_from_the_open_to_the_close() -> None:
    accepting = Accepting()
    async with WithPeer(on_connection=accepting) as (session, peer):
        budget, size = budget_of(session), CONNECTION_BYTES + weight_of(NOTE)
        await peer.say(ConnectionOpen(2, EVEN, NOTE))
        await wait_all_tasks_blocked()
        assert (budget.bytes, budget.tasks) == (TASK_BYTES + size, 1)
        accepting.go_on.set()
        await peer.hear(ConnectionAccept)
        await wait_all_tasks_blocked()
        assert (budget.bytes, budget.tasks) == (size, 0)
        await peer.say(ConnectionClose(2))
        await wait_all_tasks_blocked()
        assert budget.bytes == 0


async def test_connection_beyond_the_budget_is_rejected() -> None:
    limits = Limits(session_tasks=1)
    accepting = Accepting()
    async with WithPeer(on_connection=accepting, limits=limits) as (session, peer):
        await peer.say(ConnectionOpen(2, EVEN), ConnectionOpen(4, EVEN))
        reject = await peer.hear(ConnectionReject)
        assert reject.connection_id == 4
        assert "limit: session_tasks" in str(reject.metadata.get("error"))
        accepting.go_on.set()
        await peer.hear(ConnectionAccept)
        assert session.ended_because is None


# ------------------------------------------------------------ metadata


async def test_metadata_beyond_its_limit_ends_the_session() -> None:
    limits = Limits(metadata_bytes=1000)
    async with WithPeer(Custom(pausing), limits=limits) as (session, peer):
        enough = Metadata.of({"x": bytes(900)})
        await peer.say(RequestCall(0, 2, 7, (), enough, bytes(10_000)))
        await peer.say(RequestCall(0, 4, 7, (), NO_METADATA, bytes(10_000)))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        await peer.say(RequestCall(0, 6, 7, (), Metadata.of({"x": bytes(1000)}), b""))
        description = (await peer.hear(ProtocolError)).description
    assert description == (
        "a RequestCall came with 1007 bytes of metadata (limit: metadata_bytes)"
    )
    assert ended_by(session) == "metadata_bytes"


async def test_metadata_of_a_handshake_has_the_same_limit(
    autojump_clock: MockClock,
) -> None:
    limits = Limits(metadata_bytes=1000)
    link, peer = link_to_peer()
    await peer.say(Hello(0, 7, EVEN, Metadata.of({"x": bytes(1000)})))
    with pytest.raises(LimitExceeded, match="limit: metadata_bytes"):
        await acceptor(link, limits=limits).run()


# ------------------------------------------------------------ what waits to be sent


async def test_replies_that_the_peer_does_not_read_count() -> None:
    async with WithPeer(limits=SMALL, buffer=1) as (session, _):
        budget = budget_of(session)
        for number in range(2, 20, 2):
            run_of(session).port.outbox.push(ConnectionReject(number, NOTE))
        assert 70_000 < budget.bytes < 100_000
        outbox = run_of(session).port.outbox
        outbox.push(ConnectionReject(20, NOTE))
        outbox.push(ConnectionReject(22, NOTE))
        assert session.ended_because is not None
    assert ended_by(session) == "session_bytes"
    assert budget.bytes == 0


async def test_replies_count_until_they_are_sent() -> None:
    async with WithPeer(buffer=1) as (session, peer):
        budget = budget_of(session)
        for number in range(3):
            run_of(session).port.outbox.push(ChannelGrantCredit(0, 2, number))
        assert budget.bytes > 256
        for _ in range(3):
            await peer.hear(ChannelGrantCredit)
        await wait_all_tasks_blocked()
        assert budget.bytes == 0


async def test_responses_that_the_peer_does_not_read_count() -> None:
    async def answering(call: RequestCall, reply: ReplySink) -> None:
        await reply.send([b"\x00", bytes(20_000)])

    limits = Limits(session_bytes=200_000)
    async with WithPeer(Custom(answering), limits=limits, buffer=1) as (session, peer):
        budget = budget_of(session)
        for number in range(2, 10, 2):
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
            await wait_all_tasks_blocked()
        assert budget.bytes - budget.tasks * TASK_BYTES == 3 * 20_001
        for _ in range(4):
            await peer.hear(RequestResponse)
        await wait_all_tasks_blocked()
        assert budget.bytes == budget.tasks * TASK_BYTES


async def test_responses_that_wait_keep_new_calls_out_and_all_arrive() -> None:
    go_on = trio.Event()

    async def answering(call: RequestCall, reply: ReplySink) -> None:
        await go_on.wait()
        await reply.send(bytes(40_000))

    async with WithPeer(Custom(answering), limits=SMALL, buffer=1) as (session, peer):
        budget, numbers = budget_of(session), range(2, 12, 2)
        for number in numbers:
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
        await wait_all_tasks_blocked()
        go_on.set()
        await wait_all_tasks_blocked()
        waiting = budget.bytes - budget.tasks * TASK_BYTES
        assert waiting == 4 * 40_000 > SMALL.session_bytes
        for number in (12, 14):  # one of the tasks is free
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
            await wait_all_tasks_blocked()
        heard = [await peer.hear(RequestResponse) for _ in range(7)]
        responses = {each.request_id: joined(each.ret) for each in heard}
        assert responses.pop(12) == bytes(40_000)
        assert responses.pop(14) == CANCELLED
        assert responses == dict.fromkeys(numbers, bytes(40_000))
        assert session.ended_because is None
        await wait_all_tasks_blocked()
        assert budget.bytes == budget.tasks * TASK_BYTES
        await peer.say(RequestCall(0, 16, 7, (), NO_METADATA, b""))
        assert len((await peer.hear(RequestResponse)).ret) == 40_000


async def test_response_counts_before_there_is_a_task_that_waits_with_it() -> None:
    counted: list[int] = []

    def answering(call: RequestCall, reply: ReplySink) -> Any:
        answer = send_reply(reply, bytes(40_000))
        counted.append(budget.bytes - budget.tasks * TASK_BYTES)
        return answer

    async with WithPeer(Custom(answering), buffer=1) as (session, peer):
        budget = budget_of(session)
        for number in (2, 4, 6):
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
        await wait_all_tasks_blocked()
        assert counted == [0, 40_000, 80_000]
        for _ in range(3):
            assert len((await peer.hear(RequestResponse)).ret) == 40_000
        await wait_all_tasks_blocked()
        assert budget.bytes == budget.tasks * TASK_BYTES


async def test_response_that_gets_no_task_to_wait_in_counts_no_longer() -> None:
    def answering(call: RequestCall, reply: ReplySink) -> Any:
        if call.request_id == 2:
            return pausing(call, reply)
        return send_reply(reply, bytes(40_000))

    limits = Limits(session_tasks=1)
    knows = Metadata([MetadataEntry("roam-trio", 1, 2)])
    joined_by = WithPeer(Custom(answering), limits=limits, buffer=1, told=knows)
    async with joined_by as (session, peer):
        for number in (2, 4, 6):
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
        await wait_all_tasks_blocked()
        budget = budget_of(session)
        assert len((await peer.hear(RequestResponse)).ret) == 40_000
        given_up = await peer.hear(RequestResponse)
        assert joined(given_up.ret) == CANCELLED
        assert given_up.metadata.get("error-code") == "overloaded"
        assert given_up.metadata.get("error-begun") == 1, "its handler has run"
        await wait_all_tasks_blocked()
        assert (budget.bytes, budget.tasks) == (TASK_BYTES, 1)


async def test_responses_of_a_session_that_ends_are_freed_one_by_one() -> None:
    response, is_over = bytes(range(256)) * 100, trio.Event()

    async def answering(call: RequestCall, reply: ReplySink) -> None:
        if call.request_id == 2:
            with trio.CancelScope(shield=True):
                await is_over.wait()
        else:
            await reply.send(response)

    before = sys.getrefcount(response)
    async with WithPeer(Custom(answering), buffer=1) as (session, peer):
        for number in range(2, 22, 2):
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
        await wait_all_tasks_blocked()
        assert sys.getrefcount(response) >= before + 8
        await peer.leave()
        await wait_all_tasks_blocked()
        left = sys.getrefcount(response) - before
        is_over.set()
        assert session.ended_because is not None
        assert left <= 1  # what was committed


async def test_items_have_their_room_beside_responses_that_wait() -> None:
    async def answering(call: RequestCall, reply: ReplySink) -> None:
        await reply.send(bytes(90_000))

    async with WithPeer(Custom(answering), limits=SMALL, buffer=1) as (session, peer):
        budget, source = budget_of(session), receiving(session, bytes)
        for number in (2, 4):
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
        await wait_all_tasks_blocked()
        assert budget.bytes > 90_000
        for _ in range(5):
            await peer.say(ChannelItem(0, 2, b"\x90\x4e" + bytes(10_000)))
        await wait_all_tasks_blocked()
        assert session.ended_because is None
        assert budget.bytes > 140_000
        for _ in range(2):
            assert len((await peer.hear(RequestResponse)).ret) == 90_000
        assert len(await source.receive()) == 10_000


async def test_items_within_the_default_limits_of_a_connection_fit() -> None:
    limits = Limits()
    assert limits.session_bytes >= sum(
        (
            limits.unread_bytes,
            limits.early_bytes,
            limits.connection_bytes,
            limits.unsent_reply_bytes,
            limits.unacknowledged_bytes,
            limits.max_payload,
        )
    )


async def test_messages_that_a_proxy_holds_count_for_the_side_that_reads_none() -> None:
    async with Joined(far=1, far_options={"limits": SMALL}) as joined:
        near, far = joined.near, joined.far
        await near.say(near.call(2, channels=(2,)))
        await far.peer.hear(RequestCall)
        for _ in range(12):
            await near.say(near.item(2, bytes(10_000)))
        close = await near.peer.hear(ConnectionClose)
        assert str(close.metadata.get("error")).endswith("(limit: session_bytes)")


async def test_budget_holds_no_session_that_is_over() -> None:
    async with WithPeer() as (session, _):
        budget = budget_of(session)
    del session
    gc.collect()
    assert repr(budget) == "<Budget: 0 bytes, 0 tasks>"
    assert budget.to_end is None
