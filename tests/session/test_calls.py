"""Calls: their numbers, their order, the peer's limit, and their one response."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio import channel
from roam_trio.codec import CANCELLED, INVALID_PAYLOAD, UNKNOWN_METHOD
from roam_trio.errors import (
    CallCancelled,
    ChannelError,
    ConnectionLost,
    EncodeError,
    InvalidPayload,
    LimitExceeded,
    PayloadTooLarge,
    SessionError,
    SessionIoError,
    SessionProtocolError,
    TxConnectionLost,
    UnknownMethod,
)
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.rpc.binding import Payload
from roam_trio.rpc.caller import ErasedCaller, NoopCaller
from roam_trio.rpc.handler import ReplySink
from roam_trio.service import current_call
from roam_trio.session import acceptor, initiator
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ConnectionSettings,
    Hello,
    HelloYourself,
    ProtocolError,
    RequestCall,
    RequestResponse,
    joined,
)
from tests.peer import link_to_peer

from .running import (
    METHODS,
    Custom,
    Task,
    WithPeer,
    call_of,
    caller_of,
    idle,
    join,
    response,
    streams,
)

# ------------------------------------------------------------ what is sent


@pytest.mark.rule(
    "rpc.request",
    "rpc.request.id-allocation",
    "session.parity",
    "session.connection-settings",
)
@pytest.mark.parametrize(
    ("parity", "expected"), [(Parity.ODD, [1, 3, 5]), (Parity.EVEN, [2, 4, 6])]
)
async def test_initiator_counts_its_requests_by_its_parity(
    parity: Parity, expected: list[int], nursery: trio.Nursery
) -> None:
    async with WithPeer(parity=parity) as (session, peer):
        for request_id in expected:
            Task(nursery, caller_of(session).add, 1, 2)
            assert (await peer.hear(RequestCall)).request_id == request_id


@pytest.mark.rule("rpc.request.id-allocation", "session.parity", "session.symmetry")
@pytest.mark.parametrize(
    ("parity", "expected"), [(Parity.ODD, [2, 4, 6]), (Parity.EVEN, [1, 3, 5])]
)
async def test_acceptor_counts_its_requests_by_the_other_parity(
    parity: Parity, expected: list[int], nursery: trio.Nursery
) -> None:
    link, peer = link_to_peer()
    await peer.say(Hello(0, 7, ConnectionSettings(parity)))
    async with acceptor(link).open() as session:
        await peer.hear(HelloYourself)
        for request_id in expected:
            Task(nursery, caller_of(session).add, 1, 2)
            assert (await peer.hear(RequestCall)).request_id == request_id
        await peer.leave()


@pytest.mark.rule("rpc.request", "rpc.metadata", "rpc.channel.payload-encoding")
async def test_request_carries_id_method_channels_metadata_and_arguments(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    args = Payload(METHODS["take"].args_plan, (rx,))
    metadata = Metadata.of({"trace-id": "abc"})
    async with WithPeer() as (session, peer):

        async def call() -> None:
            await session.caller.call(METHODS["take"].id, args, metadata=metadata)

        Task(nursery, call)
        request = await peer.hear(RequestCall)
        assert request == RequestCall(
            0, 1, METHODS["take"].id, (1,), metadata, request.args
        )
        assert bytes(joined(request.args)) == b""
        tx.close()


@pytest.mark.rule("rpc.response", "rpc.handler")
async def test_response_names_its_request_and_carries_the_value() -> None:
    async def add(left: int, right: int) -> int:
        return left + right

    async with WithPeer(streams(add=add)) as (_, peer):
        await peer.say(call_of("add", 6, 300, 1))
        answer = await peer.hear(RequestResponse)
        assert bytes(joined(answer.ret)) == bytes.fromhex("00 ad 02")
        assert encode_message(answer)[0][:2] == bytes.fromhex("00 07")
        assert (answer.connection_id, answer.request_id) == (0, 6)
        assert (answer.channels, answer.metadata) == ((), NO_METADATA)


# ------------------------------------------------------------ pipelining


@pytest.mark.rule("rpc.pipelining", "rpc.response")
async def test_responses_find_their_callers_in_any_order(nursery: trio.Nursery) -> None:
    async with WithPeer() as (session, peer):
        caller = caller_of(session)
        calls = [Task(nursery, caller.add, number, 0) for number in range(3)]
        heard = [await peer.hear(RequestCall) for _ in calls]
        for request in reversed(heard):
            await peer.say(
                response(request.request_id, b"\x00" + bytes(request.args)[:1])
            )
        assert [await call.result() for call in calls] == [0, 1, 2]
        assert idle(session)


@pytest.mark.rule("rpc.pipelining", "rpc.flow-control")
async def test_slow_call_holds_up_no_other(nursery: trio.Nursery) -> None:
    gate = trio.Event()

    async def echo(text: str) -> str:
        await gate.wait()
        return text

    async def add(left: int, right: int) -> int:
        return left + right

    left, right = await join(nursery, streams(echo=echo, add=add))
    slow = Task(nursery, caller_of(left).echo, "slow")
    await wait_all_tasks_blocked()
    for number in range(20):
        assert await caller_of(left).add(number, 1) == number + 1
    assert not slow.is_done
    gate.set()
    assert await slow.result() == "slow"
    assert idle(left)
    assert idle(right)


@pytest.mark.rule("rpc.error.scope", "rpc.pipelining")
async def test_failed_call_touches_no_other(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    gate = trio.Event()

    async def add(left: int, right: int) -> int:
        raise ZeroDivisionError

    async def echo(text: str) -> str:
        await gate.wait()
        return text

    left, _ = await join(nursery, streams(add=add, echo=echo))
    other = Task(nursery, caller_of(left).echo, "other")
    with pytest.raises(CallCancelled):
        await caller_of(left).add(1, 2)
    gate.set()
    assert await other.result() == "other"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.rule("session.symmetry", "rpc.pipelining")
async def test_both_sides_call_at_once(nursery: trio.Nursery) -> None:
    async def add(left: int, right: int) -> int:
        return left + right

    async def echo(text: str) -> str:
        # The acceptor's handler calls the initiator back, within the call.
        return f"{text} {await caller_of(right).add(len(text), 1)}"

    left, right = await join(nursery, streams(echo=echo), of_initiator=streams(add=add))
    assert await caller_of(left).echo("four") == "four 5"


# ------------------------------------------------------------ the peer's limit


@pytest.mark.rule(
    "rpc.flow-control.max-concurrent-requests",
    "rpc.flow-control.max-concurrent-requests.default",
    "session.connection-settings.hello",
)
@pytest.mark.parametrize("most", [1, 2, 3])
async def test_callers_wait_in_turn_at_the_limit_of_the_peer(
    most: int, nursery: trio.Nursery
) -> None:
    async with WithPeer(most=most) as (session, peer):
        caller = caller_of(session)
        calls = []
        for number in range(6):
            calls.append(Task(nursery, caller.add, number, 0))
            await wait_all_tasks_blocked()
        heard = [await peer.hear(RequestCall) for _ in range(most)]
        assert await peer.heard_nothing_more()
        while heard:
            await peer.say(response(heard.pop(0).request_id, b"\x00\x07"))
            await wait_all_tasks_blocked()
            if sum(call.is_done for call in calls) + most <= len(calls):
                heard.append(await peer.hear(RequestCall))
                number = sum(call.is_done for call in calls) + most - 1
                assert bytes(joined(heard[-1].args))[0] == number
            assert await peer.heard_nothing_more()
        for call in calls:
            assert await call.result() == 7


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
async def test_newcomers_do_not_overtake_callers_that_wait(
    nursery: trio.Nursery,
) -> None:
    order: list[str] = []

    async def echo(text: str) -> str:
        order.append(text)
        return text

    left, _ = await join(
        nursery, streams(echo=echo), accepting={"max_concurrent_requests": 1}
    )
    caller = caller_of(left)

    async def keep_calling(name: str) -> None:
        for _ in range(8):
            await caller.echo(name)

    async with trio.open_nursery() as tasks:
        for name in "abc":
            tasks.start_soon(keep_calling, name)
    rounds = ["".join(sorted(order[at : at + 3])) for at in range(0, 24, 3)]
    assert rounds == ["abc"] * 8


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
async def test_peer_over_our_limit_ends_the_session() -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with WithPeer(streams(echo=echo), max_concurrent_requests=2) as (
        session,
        peer,
    ):
        await peer.say(*(call_of("echo", number, "") for number in (2, 4, 6)))
        assert "max_concurrent_requests" in (await peer.hear(ProtocolError)).description
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, LimitExceeded)


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
async def test_our_limit_counts_requests_without_a_response_only() -> None:
    async def echo(text: str) -> str:
        return text

    async with WithPeer(streams(echo=echo), max_concurrent_requests=1) as (_, peer):
        for number in range(2, 12, 2):
            await peer.say(call_of("echo", number, ""))
            assert (await peer.hear(RequestResponse)).request_id == number


@pytest.mark.rule("rpc.request.id-allocation")
async def test_id_in_flight_used_again_ends_the_session() -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with WithPeer(streams(echo=echo)) as (session, peer):
        await peer.say(call_of("echo", 2, ""), call_of("echo", 2, ""))
        assert "request 2 is in flight" in (await peer.hear(ProtocolError)).description
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, SessionProtocolError)


@pytest.mark.rule("rpc.request.id-allocation")
async def test_id_may_be_used_again_after_its_response() -> None:
    async def echo(text: str) -> str:
        return text

    async with WithPeer(streams(echo=echo)) as (_, peer):
        for _ in range(2):
            await peer.say(call_of("echo", 2, ""))
            assert (await peer.hear(RequestResponse)).request_id == 2


@pytest.mark.rule("rpc.request.id-allocation")
@pytest.mark.parametrize("strict", [False, True])
async def test_wrong_parity_is_refused_when_strict(strict: bool) -> None:
    async def echo(text: str) -> str:
        return text

    async with WithPeer(streams(echo=echo), strict=strict) as (session, peer):
        await peer.say(call_of("echo", 1, "odd is ours"))
        if strict:
            assert "parity" in (await peer.hear(ProtocolError)).description
            await wait_all_tasks_blocked()
            assert isinstance(session.ended_because, SessionProtocolError)
        else:
            assert (await peer.hear(RequestResponse)).request_id == 1


# ------------------------------------------------------------ exactly one response


async def _no_reply(call: RequestCall, reply: ReplySink) -> None:
    assert not reply.is_sent


def _done_without_reply(call: RequestCall, reply: ReplySink) -> None:
    assert not reply.is_sent


async def _raises(call: RequestCall, reply: ReplySink) -> None:
    raise ZeroDivisionError("in its task")


def _raises_at_once(call: RequestCall, reply: ReplySink) -> None:
    raise ZeroDivisionError("at once")


async def _raises_group(call: RequestCall, reply: ReplySink) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_raises, call, reply)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.rule("rpc.response.one-per-request", "rpc.handler", "rpc.error.scope")
@pytest.mark.parametrize(
    ("function", "logged"),
    [
        (_no_reply, False),
        (_done_without_reply, False),
        (_raises, True),
        (_raises_at_once, True),
        (_raises_group, True),
    ],
)
async def test_handler_without_reply_is_answered_for(
    function: Any, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with WithPeer(Custom(function)) as (session, peer):
        for number in (2, 4):  # the session lives on
            await peer.say(call_of("echo", number, ""))
            assert await peer.hear(RequestResponse) == response(number, CANCELLED)
        assert await peer.heard_nothing_more()
        assert idle(session)
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == (2 if logged else 0)
    assert all(record.exc_info is not None for record in failures)
    assert ("ZeroDivisionError" in caplog.text) is logged
    caplog.clear()


@pytest.mark.rule("rpc.response.one-per-request", "rpc.fallible.roam-error")
async def test_failure_of_a_method_is_logged_with_its_traceback(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(text: str) -> str:
        raise ZeroDivisionError(text)

    left, right = await join(nursery, streams(echo=echo))
    with pytest.raises(CallCancelled, match=r"Streams\.echo"):
        await caller_of(left).echo("the reason")
    assert "ZeroDivisionError: the reason" in caplog.text
    assert "in echo" in caplog.text
    assert left.ended_because is None
    assert right.ended_because is None


@pytest.mark.rule("rpc.response.one-per-request")
@pytest.mark.parametrize("first", ["send", "send_nowait"])
@pytest.mark.parametrize("second", ["send", "send_nowait"])
async def test_second_reply_is_refused(first: str, second: str) -> None:
    refused: list[str] = []

    async def handle(call: RequestCall, reply: ReplySink) -> None:
        async def send(how: str, ret: bytes) -> None:
            if how == "send":
                await reply.send(ret)
            else:
                reply.send_nowait(ret)

        await send(first, b"\x00one")
        assert reply.is_sent
        with pytest.raises(RuntimeError, match="request 2 has its response") as caught:
            await send(second, b"\x00two")
        refused.append(str(caught.value))

    async with WithPeer(Custom(handle)) as (_, peer):
        await peer.say(call_of("echo", 2, ""))
        assert await peer.hear(RequestResponse) == response(2, b"\x00one")
        assert await peer.heard_nothing_more()
        assert len(refused) == 1
        # The permit of the refused reply was given back.
        await peer.say(call_of("echo", 2, ""))
        await peer.hear(RequestResponse)


@pytest.mark.rule("rpc.response.one-per-request")
async def test_method_that_replied_early_may_go_on_working() -> None:
    gate = trio.Event()
    went_on = trio.Event()

    async def echo(text: str) -> str:
        await current_call().ok(text)
        await gate.wait()
        went_on.set()
        return "disregarded"

    async with WithPeer(streams(echo=echo), max_concurrent_requests=1) as (_, peer):
        await peer.say(call_of("echo", 2, "x"))
        assert await peer.hear(RequestResponse) == response(2, b"\x00\x01x")
        # It is no longer in flight: another request is within the limit.
        await peer.say(call_of("echo", 4, "y"))
        assert await peer.hear(RequestResponse) == response(4, b"\x00\x01y")
        gate.set()
        await went_on.wait()
        assert await peer.heard_nothing_more()


@pytest.mark.rule("rpc.response.one-per-request", "rpc.response")
async def test_second_response_of_the_peer_ends_the_session(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        call = Task(nursery, caller_of(session).add, 1, 2)
        await peer.hear(RequestCall)
        await peer.say(response(1, b"\x00\x03"), response(1, b"\x00\x04"))
        assert await call.result() == 3
        description = (await peer.hear(ProtocolError)).description
        assert "request 1, which is not in flight" in description
        assert isinstance(session.ended_because, SessionProtocolError)


# ------------------------------------------------------------ answers of other kinds


@pytest.mark.rule("rpc.unknown-method", "rpc.error.scope")
@pytest.mark.parametrize("handler", [None, streams()])
async def test_unknown_method_is_answered_and_the_session_lives_on(
    handler: Any,
) -> None:
    async with WithPeer(handler) as (session, peer):
        for number in (2, 4):
            await peer.say(RequestCall(0, number, 0xBAD, (), NO_METADATA, b"\xff"))
            assert await peer.hear(RequestResponse) == response(number, UNKNOWN_METHOD)
        assert session.ended_because is None
        assert idle(session)


@pytest.mark.rule("rpc.error.scope", "rpc.fallible.roam-error")
async def test_undecodable_arguments_are_answered_and_the_session_lives_on() -> None:
    async with WithPeer(streams()) as (session, peer):
        for number in (2, 4):
            request = call_of("echo", number, "text")
            request.args = b"\x04tex"
            await peer.say(request)
            assert await peer.hear(RequestResponse) == response(number, INVALID_PAYLOAD)
        assert session.ended_because is None
        assert idle(session)


@pytest.mark.rule("rpc.fallible.roam-error", "rpc.error.scope", "rpc.unknown-method")
@pytest.mark.parametrize(
    ("ret", "error"),
    [
        (UNKNOWN_METHOD, UnknownMethod),
        (INVALID_PAYLOAD, InvalidPayload),
        (CANCELLED, CallCancelled),
        (b"\x00\x05text", InvalidPayload),
        (b"", InvalidPayload),
    ],
)
async def test_each_answer_is_an_error_of_its_own_at_the_caller(
    ret: bytes, error: type[Exception], nursery: trio.Nursery
) -> None:
    async with WithPeer(most=1) as (session, peer):
        for request_id in (1, 3):
            call = Task(nursery, caller_of(session).echo, "")
            await peer.hear(RequestCall)
            await peer.say(response(request_id, ret))
            with pytest.raises(error) as caught:
                await call.result()
            assert type(caught.value) is error
        assert idle(session)


# ------------------------------------------------------------ arguments


@pytest.mark.rule(
    "zerocopy.send.borrowed", "zerocopy.payload", "zerocopy.send.lifetime"
)
async def test_arguments_are_encoded_after_the_wait_for_room(
    nursery: trio.Nursery,
) -> None:
    numbers = [1]
    async with WithPeer(buffer=1) as (session, peer):
        first = Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()  # it fills the link
        second = Task(nursery, caller_of(session).count, numbers)
        await wait_all_tasks_blocked()
        numbers.append(2)
        await peer.hear(RequestCall)
        assert bytes(joined((await peer.hear(RequestCall)).args)) == b"\x02\x01\x02"
        await peer.say(response(1, b"\x00\x03"))
        assert await first.result() == 3
        await peer.say(response(3, b"\x00\x02"))
        assert await second.result() == 2


@pytest.mark.rule("zerocopy.payload", "rpc.channel.binding.caller-args")
async def test_arguments_are_encoded_after_the_wait_for_a_slot(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    async with WithPeer(most=1) as (session, peer):
        first = Task(nursery, caller_of(session).add, 1, 2)
        await wait_all_tasks_blocked()
        Task(nursery, caller_of(session).take, rx)
        await wait_all_tasks_blocked()
        assert repr(tx) == "<Tx unbound>"
        await peer.hear(RequestCall)
        await peer.say(response(1, b"\x00\x03"))
        await first.result()
        await peer.hear(RequestCall)
        assert repr(tx) == "<Tx <channel 1 out, open, credit 16>>"


@pytest.mark.rule("rpc.channel.binding.caller-args")
async def test_call_that_cannot_be_encoded_leaves_nothing_behind(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[int]()
    used_tx, used_rx = channel[int]()
    async with WithPeer(most=1, buffer=1) as (session, peer):
        caller = caller_of(session)
        call = Task(nursery, caller.take, used_rx)
        await peer.hear(RequestCall)
        await peer.say(response(1, b"\x00\x00"))
        await call.result()
        for _ in range(3):
            with pytest.raises(EncodeError, match="'left'"):
                await caller.add(-1, 2)
            with pytest.raises(ChannelError, match="belongs to one call"):
                await caller.take(used_rx)
            with pytest.raises(EncodeError, match="'output'"):
                await caller.both(rx, 5)  # type: ignore[arg-type]
        assert await peer.heard_nothing_more()
        # Slot, permit and pair are there for the next, which has the next number.
        call = Task(nursery, caller.take, rx)
        request = await peer.hear(RequestCall)
        assert (request.request_id, request.channels) == (3, (3,))
        await peer.say(response(3, b"\x00\x00"))
        assert await call.result() == 0
        for end in (used_tx, tx):
            end.close()
            await peer.hear(ChannelClose)
        assert idle(session)


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
async def test_failed_encoding_lets_the_next_caller_on(nursery: trio.Nursery) -> None:
    async with WithPeer(most=1) as (session, peer):
        caller = caller_of(session)
        first = Task(nursery, caller.add, 1, 2)
        await wait_all_tasks_blocked()
        bad = Task(nursery, caller.add, -1, 2)
        await wait_all_tasks_blocked()
        last = Task(nursery, caller.add, 3, 4)
        await wait_all_tasks_blocked()
        await peer.hear(RequestCall)
        await peer.say(response(1, b"\x00\x03"))
        await first.result()
        with pytest.raises(EncodeError):
            await bad.result()
        assert (await peer.hear(RequestCall)).request_id == 3
        await peer.say(response(3, b"\x00\x07"))
        assert await last.result() == 7


@pytest.mark.rule("rpc.error.scope", "link.tx.alloc.limits")
async def test_call_too_large_for_the_link_fails_alone(nursery: trio.Nursery) -> None:
    async def echo(text: str) -> str:
        return text

    ours, theirs = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=256)
    left, right = await join(
        nursery,
        streams(echo=echo),
        links=(StreamLink(ours, limits=limits), StreamLink(theirs)),
        accepting={"max_concurrent_requests": 1},
    )
    for _ in range(3):
        with pytest.raises(PayloadTooLarge, match="max_payload"):
            await caller_of(left).echo("x" * 300)
        assert await caller_of(left).echo("fits") == "fits"
    tx, rx = channel[int]()
    args = Payload(METHODS["take"].args_plan, (rx,))
    with pytest.raises(PayloadTooLarge):
        await left.caller.call(
            METHODS["take"].id, args, metadata=Metadata.of({"large": "x" * 300})
        )
    with pytest.raises(TxConnectionLost) as caught:
        await tx.send(1)
    assert isinstance(caught.value.__cause__, PayloadTooLarge)
    assert idle(left)
    assert idle(right)


@pytest.mark.rule("rpc.response.one-per-request", "link.tx.alloc.limits")
async def test_response_too_large_for_the_link_is_answered_for(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(text: str) -> str:
        return text * 100

    ours, theirs = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=256)
    left, right = await join(
        nursery,
        streams(echo=echo),
        links=(StreamLink(ours), StreamLink(theirs, limits=limits)),
    )
    with pytest.raises(CallCancelled):
        await caller_of(left).echo("large")
    assert await caller_of(left).echo("") == ""
    assert "PayloadTooLarge" in caplog.text
    assert idle(right)


@pytest.mark.rule("zerocopy.payload.bytes")
async def test_encoded_arguments_go_as_they_are_with_their_channels(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):

        async def call() -> RequestResponse:
            return await session.caller.call(17, b"encoded", channels=(5, 7))

        task = Task(nursery, call)
        request = await peer.hear(RequestCall)
        assert (request.method_id, request.channels) == (17, (5, 7))
        assert bytes(joined(request.args)) == b"encoded"
        await peer.say(response(1, b"\x00whatever"))
        assert (await task.result()).ret == b"\x00whatever"


# ------------------------------------------------------------ the end of the connection


@pytest.mark.rule("rpc.error.scope", "connection.root")
@pytest.mark.parametrize("waits_for", ["response", "slot", "room"])
async def test_calls_fail_with_the_connection(
    waits_for: str, nursery: trio.Nursery
) -> None:
    buffer = 1 if waits_for == "room" else 64
    async with WithPeer(most=1, buffer=buffer) as (session, peer):
        calls = [Task(nursery, caller_of(session).add, 1, 2)]
        if waits_for != "response":
            await wait_all_tasks_blocked()
            calls.append(Task(nursery, caller_of(session).add, 3, 4))
        await wait_all_tasks_blocked()
        await peer.leave()
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call.result()
            assert caught.value.__cause__ is session.ended_because
        assert isinstance(session.ended_because, SessionIoError)
        with pytest.raises(ConnectionLost) as caught:
            await caller_of(session).add(1, 2)
        assert caught.value.__cause__ is session.ended_because


@pytest.mark.rule("rpc.error.scope")
async def test_callers_that_wait_for_room_fail_with_the_reason_of_the_end(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(buffer=1) as (session, peer):
        calls = []
        for number in range(4):
            calls.append(Task(nursery, caller_of(session).add, number, 2))
            await wait_all_tasks_blocked()
        nursery.start_soon(session.shutdown)
        await wait_all_tasks_blocked()
        await peer.leave()
        for call in calls:
            with pytest.raises(ConnectionLost, match="shut the session down") as caught:
                await call.result()
            assert caught.value.__cause__ is session.ended_because
        assert type(session.ended_because) is SessionError


async def test_callers_tell_when_the_connection_has_ended(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        erased = ErasedCaller(session.caller)
        noop = NoopCaller(erased)
        waiting = [Task(nursery, one.closed) for one in (session.caller, erased, noop)]
        await wait_all_tasks_blocked()
        assert not any(task.is_done for task in waiting)
        assert session.caller.is_connected
        assert erased.is_connected
        assert noop.is_connected
        assert erased.channel_binder is session.caller.channel_binder
        call = Task(nursery, erased.call, 5, b"args")
        assert (await peer.hear(RequestCall)).method_id == 5
        await peer.say(response(1))
        await call.result()
        await peer.leave()
        for task in waiting:
            await task.result()
        assert not session.caller.is_connected
        assert not erased.is_connected
        assert not noop.is_connected


@pytest.mark.rule("rpc.error.scope")
async def test_request_that_comes_as_the_session_is_cancelled_is_let_go() -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        raise AssertionError

    for _ in range(20):  # the reader or the connection may be the first to run
        link, peer = link_to_peer()
        await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN)))
        async with trio.open_nursery() as nursery:
            await nursery.start(initiator(link).run, streams(echo=echo))
            await peer.hear(Hello)
            await wait_all_tasks_blocked()
            request = encode_message(call_of("echo", 2, "x"))
            peer.tx.reserve_nowait().send(list(request))
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await peer.leave()
    gc.collect()  # a coroutine that was never awaited would complain
