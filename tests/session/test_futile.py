"""Messages that bring no work: how many of each kind may come, and what ends then."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    InvalidPayload,
    LimitExceeded,
    Limits,
    RoamError,
    Rx,
    Tx,
    UnknownMethod,
    channel,
)
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import AcceptedConnection, Session
from roam_trio.session.futile import EXCUSED_SECONDS, Futile, FutileMessages
from roam_trio.session.reply import SOON_SECONDS
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)
from tests.peer import Peer
from tests.session.running import (
    OK,
    Custom,
    Task,
    WithPeer,
    call_of,
    caller_of,
    item,
    response,
    streams,
)

EVEN = ConnectionSettings(Parity.EVEN, 64)


class Clock:
    """A time that moves when told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def counted(most: int, per_second: float = 1.0) -> tuple[FutileMessages, Clock]:
    clock = Clock()
    limits = Limits(futile_messages=most, futile_messages_per_second=per_second)
    return FutileMessages(limits, clock), clock


# ------------------------------------------------------------ the budget


def test_as_many_as_the_limit_may_come_at_once() -> None:
    messages, _ = counted(3)
    for _ in range(3):
        messages.count(Futile.PING)
    with pytest.raises(LimitExceeded, match=r"pings \(limit: futile_messages\)"):
        messages.count(Futile.PING)


def test_each_kind_has_a_budget_of_its_own() -> None:
    messages, _ = counted(1)
    for kind in Futile:
        messages.count(kind)
    for kind in Futile:
        with pytest.raises(LimitExceeded, match=kind.value):
            messages.count(kind)


def test_budget_is_refilled_as_time_passes() -> None:
    messages, clock = counted(2, per_second=4.0)
    messages.count(Futile.RESET)
    messages.count(Futile.RESET)
    clock.time += 0.25
    messages.count(Futile.RESET)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.RESET)


def test_budget_is_refilled_up_to_the_limit_only() -> None:
    messages, clock = counted(2)
    messages.count(Futile.RESET)
    clock.time += 1000
    messages.count(Futile.RESET)
    messages.count(Futile.RESET)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.RESET)


def test_steady_flow_at_the_rate_goes_on_for_ever() -> None:
    messages, clock = counted(2, per_second=8.0)
    for _ in range(1000):
        messages.count(Futile.CANCEL)
        clock.time += 0.125


def test_strays_that_may_be_under_way_do_not_count() -> None:
    messages, _ = counted(1)
    messages.excuse(2)
    for _ in range(3):
        messages.count(Futile.STRAY)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.STRAY)


def test_only_strays_are_excused() -> None:
    messages, _ = counted(1)
    messages.excuse(2)
    messages.count(Futile.PING)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.PING)


@pytest.mark.parametrize(
    ("waits", "is_excused"),
    [
        ((EXCUSED_SECONDS - 1,), True),
        ((EXCUSED_SECONDS + 1,), True),
        ((EXCUSED_SECONDS + 1, EXCUSED_SECONDS - 1), True),
        ((EXCUSED_SECONDS + 1, EXCUSED_SECONDS + 1), False),
        ((2 * EXCUSED_SECONDS + 1,), False),
    ],
)
def test_excuses_expire(waits: tuple[float, ...], is_excused: bool) -> None:
    messages, clock = counted(1)
    messages.excuse(1)
    for seconds in waits:
        clock.time += seconds
        messages.excuse(0)
    messages.count(Futile.STRAY)
    if is_excused:
        messages.count(Futile.STRAY)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.STRAY)


@pytest.mark.parametrize(("kind", "answers"), [(Futile.PONG, 0), (Futile.CANCEL, 1)])
def test_messages_of_this_side_refill_the_budget_too(
    kind: Futile, answers: int
) -> None:
    """Those that answer what is counted do not."""
    messages, _ = counted(3)
    sent = 5
    for _ in range(20):  # one of use for each
        messages.count(kind, sent)
        sent += 1 + answers
    for _ in range(3):
        messages.count(kind, sent)
        sent += answers
    with pytest.raises(LimitExceeded, match=kind.value):
        messages.count(kind, sent)


def test_answers_that_come_together_refill_nothing() -> None:
    messages, _ = counted(3)
    for _ in range(3):
        messages.count(Futile.CANCEL, 0)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.CANCEL, 3)


def test_budget_is_refilled_by_messages_up_to_the_limit_only() -> None:
    messages, _ = counted(2)
    messages.count(Futile.PONG, 0)
    messages.count(Futile.PONG, 1000)
    messages.count(Futile.PONG, 1000)
    with pytest.raises(LimitExceeded):
        messages.count(Futile.PONG, 1000)


def test_repr_says_what_is_left() -> None:
    messages, _ = counted(5)
    assert repr(messages) == "<FutileMessages that may still come: all>"
    messages.count(Futile.PING)
    assert repr(messages) == "<FutileMessages that may still come: PING: 4>"


# ------------------------------------------------------------ what counts


FEW = Limits(futile_messages=3, futile_messages_per_second=1e-6)


async def ended_by(session: Session, kind: Futile) -> None:
    """Check that the session has ended because too many of a kind have come."""
    await wait_all_tasks_blocked()
    reason = session.ended_because
    assert isinstance(reason, LimitExceeded)
    assert reason.limit == "futile_messages"
    assert kind.value in str(reason)


async def goes_on(session: Session) -> None:
    await wait_all_tasks_blocked()
    assert session.ended_because is None


async def test_pings_end_the_session_and_the_peer_is_told_why() -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        await peer.say(*(Ping(0, number) for number in range(3)))
        await goes_on(session)
        await peer.say(Ping(0, 3))
        await ended_by(session, Futile.PING)


async def wait_for_ever(text: str) -> str:
    await trio.sleep_forever()
    return text


async def test_calls_that_are_cancelled_before_they_begin_end_the_session() -> None:
    async with WithPeer(streams(echo=wait_for_ever), limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(call_of("echo", number, "text"), RequestCancel(0, number))
        await ended_by(session, Futile.CANCEL)


async def cancel_after(peer: Peer, number: int, seconds: float) -> None:
    """Call, and cancel that after some time."""
    await peer.say(call_of("echo", number, "text"))
    await wait_all_tasks_blocked()
    await trio.sleep(seconds)
    await peer.say(RequestCancel(0, number))
    await peer.hear(RequestResponse)


async def test_calls_that_are_cancelled_when_they_have_just_begun_end_the_session(
    autojump_clock: MockClock,
) -> None:
    async with WithPeer(streams(echo=wait_for_ever), limits=FEW) as (session, peer):
        for number in range(2, 8, 2):
            await cancel_after(peer, number, 0.9 * SOON_SECONDS)
            await goes_on(session)
        await peer.say(call_of("echo", 8, "text"))
        await wait_all_tasks_blocked()
        await peer.say(RequestCancel(0, 8))
        await ended_by(session, Futile.CANCEL)


async def test_calls_that_are_cancelled_after_a_time_do_not_count(
    autojump_clock: MockClock,
) -> None:
    async with WithPeer(streams(echo=wait_for_ever), limits=FEW) as (session, peer):
        for number in range(2, 22, 2):
            await cancel_after(peer, number, 1.1 * SOON_SECONDS)
        await goes_on(session)


async def echo_or_wait(text: str) -> str:
    if text == "text":
        await trio.sleep_forever()
    return text


@pytest.mark.parametrize("when", ["begun", "answered"])
async def test_client_with_short_deadlines_goes_on_as_long_as_half_its_calls_succeed(
    when: str,
) -> None:
    async with WithPeer(streams(echo=echo_or_wait), limits=FEW) as (session, peer):
        for number in range(2, 82, 4):
            await peer.say(call_of("echo", number, "answered"))
            await peer.hear(RequestResponse)
            if when == "begun":
                await cancel_after(peer, number + 2, 0)
            else:  # the Cancel was on its way
                await peer.say(call_of("echo", number + 2, "answered"))
                await peer.hear(RequestResponse)
                await peer.say(RequestCancel(0, number + 2))
        await goes_on(session)


async def wait_shielded(text: str) -> str:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
        await trio.sleep_forever()
    return text


async def test_cancelling_a_call_again_counts(autojump_clock: MockClock) -> None:
    async with WithPeer(streams(echo=wait_shielded), limits=FEW) as (session, peer):
        await peer.say(call_of("echo", 2, "text"))
        await wait_all_tasks_blocked()
        await trio.sleep(SOON_SECONDS)
        await peer.say(*[RequestCancel(0, 2)] * 4)
        await goes_on(session)
        await peer.say(RequestCancel(0, 2))
        await ended_by(session, Futile.CANCEL)


async def test_cancelling_what_was_never_called_counts() -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        await peer.say(*[RequestCancel(0, 2)] * 3)
        await goes_on(session)
        await peer.say(RequestCancel(0, 2))
        await ended_by(session, Futile.CANCEL)


async def test_pongs_that_nobody_has_asked_for_end_the_session() -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        await peer.say(*[Pong(0, 1)] * 3)
        await goes_on(session)
        await peer.say(Pong(0, 1))
        await ended_by(session, Futile.PONG)


async def test_a_pong_for_each_message_does_not_count(nursery: trio.Nursery) -> None:
    """As a peer of a stable conduit may acknowledge each."""
    async with WithPeer(streams(echo=echo_or_wait), limits=FEW) as (session, peer):
        for number in range(2, 42, 2):
            await peer.say(call_of("echo", number, "answered"))
            await peer.hear(RequestResponse)
            await peer.say(Pong(0, 1))
        await goes_on(session)


async def test_calls_of_unknown_methods_end_the_session() -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(RequestCall(0, number, 7, (), NO_METADATA, b""))
        await ended_by(session, Futile.REFUSED)


@pytest.mark.parametrize("method", [7, None])
async def test_calls_that_the_service_refuses_end_the_session(
    method: int | None,
) -> None:
    method_id = call_of("echo", 2, "text").method_id if method is None else method
    async with WithPeer(streams(), limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(RequestCall(0, number, method_id, (), NO_METADATA, b""))
        await ended_by(session, Futile.REFUSED)


async def test_calls_that_are_refused_as_the_session_shuts_down_do_not_count(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(streams(echo=wait_for_ever), limits=FEW) as (session, peer):
        await peer.say(call_of("echo", 2, "text"))
        await wait_all_tasks_blocked()
        ending = Task(nursery, session.shutdown, 100)
        await wait_all_tasks_blocked()
        for number in range(4, 16, 2):
            await peer.say(call_of("echo", number, "text"))
            await peer.hear(RequestResponse)
        await goes_on(session)
        ending.cancel()


STRAYS: list[Message] = [
    ChannelGrantCredit(0, 2, 1),
    ChannelItem(4, 2, b"\x00"),
    RequestCancel(4, 2),
    ConnectionAccept(4, EVEN, NO_METADATA),
    ConnectionReject(4, NO_METADATA),
    ConnectionClose(4, Metadata.of({"why": "a" * 1000})),
]


@pytest.mark.parametrize("message", STRAYS, ids=lambda message: type(message).__name__)
async def test_messages_for_what_is_not_open_end_the_session(message: Message) -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        for _ in range(4):
            await goes_on(session)
            await peer.say(message)
        await ended_by(session, Futile.STRAY)


async def test_each_item_of_a_run_that_has_no_channel_counts() -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        await peer.say(*[ChannelItem(4, 2, b"\x00")] * 4)
        await ended_by(session, Futile.STRAY)


async def test_items_against_the_direction_of_a_channel_count(
    nursery: trio.Nursery,
) -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        await trio.sleep_forever()

    async with WithPeer(streams(give=give), limits=FEW) as (session, peer):
        await peer.say(call_of("give", 2, 1, channels=(2,)))
        await wait_all_tasks_blocked()
        await peer.say(*[item(2, 1)] * 4)
        await ended_by(session, Futile.STRAY)


# ------------------------------------------------------------ resets


async def test_channels_that_are_reset_before_an_item_end_the_session() -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        await trio.sleep_forever()

    async with WithPeer(streams(give=give), limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(call_of("give", number, 1, channels=(number,)))
            await peer.say(ChannelReset(0, number))
        await ended_by(session, Futile.RESET)


async def test_channels_that_are_reset_after_an_item_do_not_count() -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        await output.send(1)
        await trio.sleep_forever()

    async with WithPeer(streams(give=give), limits=FEW) as (session, peer):
        for number in range(2, 12, 2):
            await peer.say(call_of("give", number, 1, channels=(number,)))
            await peer.hear(ChannelItem)
            await peer.say(ChannelReset(0, number))
        await goes_on(session)


async def test_channels_that_are_reset_by_their_sender_end_the_session() -> None:
    async def take(numbers: Rx[int]) -> int:
        await trio.sleep_forever()
        return 0

    async with WithPeer(streams(take=take), limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(call_of("take", number, channels=(number,)))
            await peer.say(ChannelReset(0, number))
        await ended_by(session, Futile.RESET)


# ------------------------------------------------------------ credit


@pytest.mark.parametrize("additional", [0, 1, 2**32 - 1])
async def test_credit_for_no_item_ends_the_session(additional: int) -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        await trio.sleep_forever()

    async with WithPeer(streams(give=give), limits=FEW) as (session, peer):
        await peer.say(call_of("give", 2, 1, channels=(2,)))
        await wait_all_tasks_blocked()
        await peer.say(*[ChannelGrantCredit(0, 2, additional)] * 3)
        await goes_on(session)
        await peer.say(ChannelGrantCredit(0, 2, additional))
        await ended_by(session, Futile.CREDIT)


async def test_credit_for_each_item_does_not_count() -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        for number in range(upto):
            await output.send(number)
        await trio.sleep_forever()

    async with WithPeer(streams(give=give), limits=FEW) as (session, peer):
        await peer.say(call_of("give", 2, 100, channels=(2,)))
        await peer.say(ChannelGrantCredit(0, 2, 8))  # a larger window, once
        for _ in range(5):
            for _ in range(20):
                await peer.hear(ChannelItem)
            await peer.say(*[ChannelGrantCredit(0, 2, 1)] * 20)
        await goes_on(session)
        await peer.say(*[ChannelGrantCredit(0, 2, 1)] * 2)
        await goes_on(session)
        await peer.say(ChannelGrantCredit(0, 2, 1))
        await ended_by(session, Futile.CREDIT)


# ------------------------------------------------------------ opens


class Accepting:
    """Accepts all connections, if it is told to, and rejects them if not."""

    def __init__(self, *, verdict: bool | None) -> None:
        self._verdict = verdict

    async def accept(self, *args: object) -> AcceptedConnection | Metadata:
        if self._verdict is None:
            await trio.sleep_forever()
        if self._verdict:
            return AcceptedConnection()
        return Metadata.of({"error": "no"})


async def open_and_hear(peer: Peer, number: int, kind: type[Message]) -> None:
    await peer.say(ConnectionOpen(number, EVEN))
    await peer.hear(kind)


@pytest.mark.parametrize("verdict", [False, True])
async def test_opens_that_are_rejected_end_the_session(verdict: bool) -> None:
    """By the acceptor, or as there is none."""
    acceptor = None if verdict else Accepting(verdict=False)
    async with WithPeer(on_connection=acceptor, limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await open_and_hear(peer, number, ConnectionReject)
        await ended_by(session, Futile.OPEN)


@pytest.mark.parametrize("verdict", [None, True])
async def test_opens_that_are_closed_end_the_session(verdict: bool | None) -> None:
    """While the acceptor decides, or later."""
    acceptor = Accepting(verdict=verdict)
    async with WithPeer(on_connection=acceptor, limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(ConnectionOpen(number, EVEN))
            await wait_all_tasks_blocked()
            await peer.say(ConnectionClose(number))
        await ended_by(session, Futile.OPEN)


async def test_connections_of_this_side_that_the_peer_closes_do_not_count(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        for number in range(1, 11, 2):
            opening = Task(nursery, session.open_connection)
            await peer.hear(ConnectionOpen)
            await peer.say(ConnectionAccept(number, EVEN, NO_METADATA))
            await opening.result()
            await peer.say(ConnectionClose(number))
            await wait_all_tasks_blocked()
        await goes_on(session)


# ------------------------------------------------------------ what is excused


async def take_one(numbers: Rx[int]) -> int:
    async with numbers:
        return await numbers.recv()


async def test_items_on_their_way_to_a_receiver_that_wants_no_more_do_not_count() -> (
    None
):
    async with WithPeer(streams(take=take_one), limits=FEW) as (session, peer):
        await peer.say(call_of("take", 2, channels=(2,)))
        await wait_all_tasks_blocked()
        await peer.say(item(2, 1))
        await peer.hear(ChannelReset)
        await peer.hear(RequestResponse)
        await peer.say(*[item(2, 1)] * 15, ChannelClose(0, 2))
        await goes_on(session)
        await peer.say(*[item(2, 1)] * 3)
        await goes_on(session)
        await peer.say(item(2, 1))
        await ended_by(session, Futile.STRAY)


async def test_credit_on_its_way_to_a_sender_that_is_done_does_not_count() -> None:
    async def give(upto: int, output: Tx[int]) -> None:
        async with output:
            for number in range(upto):
                await output.send(number)

    async with WithPeer(streams(give=give), limits=FEW) as (session, peer):
        await peer.say(call_of("give", 2, 10, channels=(2,)))
        for _ in range(10):
            await peer.hear(ChannelItem)
        await peer.hear(ChannelClose)
        await peer.hear(RequestResponse)
        await peer.say(*[ChannelGrantCredit(0, 2, 1)] * 10, ChannelReset(0, 2))
        await goes_on(session)
        await peer.say(*[ChannelGrantCredit(0, 2, 1)] * 4)
        await ended_by(session, Futile.STRAY)


MOST = "max_concurrent_requests"


async def test_messages_on_their_way_to_a_connection_that_was_closed_do_not_count(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        opening = Task(nursery, partial(session.open_connection, **{MOST: 2}))
        await peer.hear(ConnectionOpen)
        await peer.say(ConnectionAccept(1, EVEN, NO_METADATA))
        connection = await opening.result()
        tx, _rx = channel[int]()
        Task(nursery, caller_of(connection).give, 9, tx)
        await peer.hear(RequestCall)
        connection.close()
        await peer.hear(ConnectionClose)
        for number in (2, 4):  # calls, and a response and items of the call
            await peer.say(
                RequestCall(1, number, 7, (), NO_METADATA, b""),
                RequestCancel(1, number),
            )
        await peer.say(RequestResponse(1, 1, (), NO_METADATA, OK))
        await peer.say(*[ChannelItem(1, 1, b"\x00")] * 16, ChannelClose(1, 1))
        await goes_on(session)
        await peer.say(*[ChannelItem(1, 1, b"\x00")] * 3)
        await goes_on(session)
        await peer.say(ChannelItem(1, 1, b"\x00"))
        await ended_by(session, Futile.STRAY)


async def test_custom_handler_counts_a_request_that_it_refuses() -> None:
    def refuse(call: RequestCall, reply: ReplySink) -> None:
        reply.count_refused()
        reply.send_nowait(b"\x01\x01")

    async with WithPeer(Custom(refuse), limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(call_of("echo", number, "text"))
        await ended_by(session, Futile.REFUSED)


@pytest.mark.parametrize("error", [UnknownMethod(), InvalidPayload()])
async def test_handler_by_hand_that_says_such_an_error_counts_too(
    error: RoamError,
) -> None:
    async def refuse(call: RequestCall, reply: ReplySink) -> None:
        await reply.send_error(error)

    async with WithPeer(Custom(refuse), limits=FEW) as (session, peer):
        for number in range(2, 10, 2):
            await goes_on(session)
            await peer.say(call_of("echo", number, "text"))
        await ended_by(session, Futile.REFUSED)


async def test_what_the_flooder_is_told() -> None:
    async with WithPeer(limits=FEW) as (_, peer):
        await peer.say(*[RequestCancel(0, 2)] * 4)
        told = await peer.hear(ProtocolError)
        assert "(limit: futile_messages)" in told.description


async def test_response_that_nobody_waits_for_any_more_ends_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with WithPeer(limits=FEW) as (session, peer):
        for number in range(1, 11, 2):
            calling = Task(nursery, caller_of(session).echo, "text")
            await peer.hear(RequestCall)
            calling.cancel()
            await peer.hear(RequestCancel)
            await trio.sleep(2)
            await peer.say(response(number))
        await goes_on(session)
