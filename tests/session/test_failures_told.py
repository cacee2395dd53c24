"""Failures that the session itself decides, and what callers are told of them."""

from __future__ import annotations

import enum
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Fallible,
    connect,
    current_call,
    dispatcher,
    metadata_of,
    service,
    serving,
)
from roam_trio.codec import CANCELLED
from roam_trio.errors import (
    CallCancelled,
    ConnectionLost,
    DeadlineExceeded,
    HandlerFailed,
    Refused,
    Unavailable,
    UserError,
)
from roam_trio.limits import Limits
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry
from roam_trio.rpc.handler import Handler, ReplySink
from roam_trio.session import Session, acceptor
from roam_trio.session.session_end import ALL_IS_ANSWERED
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionSettings,
    Hello,
    HelloYourself,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)
from tests.peer import Peer, link_to_peer

from .running import Custom, Task, call_of, caller_of, join, streams

KNOWS = Metadata([MetadataEntry("roam-trio", 1, 2)])


async def sleeping(text: str) -> str:
    await trio.sleep_forever()
    return text


async def raising(call: RequestCall, reply: ReplySink) -> None:
    await trio.lowlevel.checkpoint()
    raise LookupError("the secret is 17")


async def dropping(call: RequestCall, reply: ReplySink) -> None:
    await trio.lowlevel.checkpoint()


def raising_at_once(
    call: RequestCall, reply: ReplySink
) -> Coroutine[Any, Any, None] | None:
    raise LookupError("the secret is 17")


async def accepted(
    nursery: trio.Nursery, handler: Handler, told: Metadata = KNOWS, **options: Any
) -> tuple[Session, Peer]:
    """A session with a scripted peer, which has said this in its Hello."""
    link, peer = link_to_peer()
    await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64), told))
    session = await nursery.start(acceptor(link, **options).run, handler)
    await peer.hear(HelloYourself)
    return session, peer


async def answer_to(peer: Peer) -> RequestResponse:
    await peer.say(call_of("echo", 1, "x"))
    return await peer.hear(RequestResponse)


# ------------------------------------------------------------ handlers that fail


@pytest.mark.rule("rpc.error.scope")
@pytest.mark.parametrize("answer", [raising, raising_at_once])
async def test_exception_of_a_handler_by_hand_has_an_id_that_the_log_has_too(
    answer: Any, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    left, _ = await join(nursery, Custom(answer))
    with pytest.raises(HandlerFailed) as caught:
        await caller_of(left).echo("x")
    error = caught.value
    assert error.code == "failed"
    assert error.id is not None
    assert (error.was_begun, error.text, error.trace) == (True, "", "")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert f"gets HandlerFailed, with the id {error.id}" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@pytest.mark.parametrize("tell", ["code", "text", "traceback"])
@pytest.mark.parametrize("answer", [raising, raising_at_once])
async def test_session_tells_as_much_of_an_exception_as_it_is_to(
    answer: Any, tell: str, nursery: trio.Nursery
) -> None:
    left, _ = await join(nursery, Custom(answer), accepting={"tell_failures": tell})
    with pytest.raises(HandlerFailed) as caught:
        await caller_of(left).echo("x")
    error = caught.value
    told = "" if tell == "code" else "LookupError: the secret is 17"
    assert error.text == told
    assert ("test_failures_told.py" in error.trace) == (tell == "traceback")


async def test_reply_that_is_dropped_is_answered_without_a_reason(
    nursery: trio.Nursery,
) -> None:
    _, peer = await accepted(nursery, Custom(dropping))
    response = await answer_to(peer)
    assert (response.ret, response.metadata) == (CANCELLED, NO_METADATA)
    await peer.leave()


@pytest.mark.rule("rpc.cancel")
async def test_call_that_its_caller_cancels_is_answered_without_a_reason(
    nursery: trio.Nursery,
) -> None:
    _, peer = await accepted(nursery, streams(echo=sleeping))
    await peer.say(call_of("echo", 1, "x"))
    await wait_all_tasks_blocked()
    await peer.say(RequestCancel(0, 1))
    response = await peer.hear(RequestResponse)
    assert (response.ret, response.metadata) == (CANCELLED, NO_METADATA)
    await peer.leave()


@pytest.mark.rule("rpc.metadata.unknown")
@pytest.mark.parametrize("answer", [raising, raising_at_once])
async def test_peer_that_has_not_said_that_it_knows_is_told_nothing(
    answer: Any, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    _, peer = await accepted(nursery, Custom(answer), NO_METADATA)
    response = await answer_to(peer)
    assert (response.ret, response.metadata) == (CANCELLED, NO_METADATA)
    assert "its caller gets Cancelled" in caplog.text
    await peer.leave()


async def test_what_a_peer_is_told_is_as_the_table_of_extensions_has_it(
    nursery: trio.Nursery,
) -> None:
    _, peer = await accepted(nursery, Custom(raising), tell_failures="traceback")
    response = await answer_to(peer)
    assert response.ret == CANCELLED
    assert [(entry.key, entry.flags) for entry in response.metadata] == [
        ("error-code", 0),
        ("error-text", 0),
        ("error-trace", 1),
        ("error-id", 0),
        ("error-begun", 0),
    ]
    assert response.metadata.get("error-code") == "failed"
    assert response.metadata.get("error-begun") == 1
    await peer.leave()


# ------------------------------------------------------------ shutting down


async def test_call_while_the_peer_drains_is_refused_and_was_not_begun(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    left, right = await join(nursery, streams(echo=sleeping))
    Task(nursery, caller_of(left).echo, "begun")
    await wait_all_tasks_blocked()
    nursery.start_soon(right.shutdown, 5)
    await wait_all_tasks_blocked()
    with pytest.raises(Unavailable) as caught:
        await caller_of(left).echo("new")
    assert (caught.value.code, caught.value.was_begun) == ("unavailable", False)
    await left.closed()


@pytest.mark.parametrize("grace", [0, 5])
async def test_call_that_outlives_the_grace_is_unavailable_and_was_begun(
    grace: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Without any grace, the session ends at once, and calls with it."""
    left, right = await join(nursery, streams(echo=sleeping))
    call = Task(nursery, caller_of(left).echo, "x")
    await wait_all_tasks_blocked()
    await right.shutdown(grace)
    with pytest.raises(Unavailable if grace else ConnectionLost) as caught:
        await call.result()
    assert caught.value.was_begun is (True if grace else None)


async def test_call_that_a_shutdown_has_overtaken_was_not_begun(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Only with a grace: without one, nobody knows."""
    for grace, was_begun in ((0, None), (5, False)):
        left, right = await join(nursery, streams(echo=sleeping))
        nursery.start_soon(right.shutdown, grace)
        await trio.lowlevel.checkpoint()  # the session of this side is open still
        with pytest.raises(ConnectionLost) as caught:
            await caller_of(left).echo("too late")
        assert caught.value.was_begun is was_begun
        await left.closed()


async def test_peer_that_knows_is_told_when_all_calls_have_been_answered(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for grace in (1, 0):
        session, peer = await accepted(nursery, streams(echo=sleeping), KNOWS)
        await peer.say(call_of("echo", 1, "x"))
        await wait_all_tasks_blocked()
        nursery.start_soon(session.shutdown, grace)
        if grace:
            await peer.hear(RequestResponse)
            last = await peer.hear(ProtocolError)
            assert last.description == "refused: unavailable: the session was shut down"
        assert await peer.rx.recv() is None
        await peer.leave()
    assert caplog.records == []


async def test_calls_that_the_last_words_of_a_peer_do_not_answer_were_not_begun(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    session, peer = await accepted(nursery, streams(echo=sleeping), KNOWS)
    call = Task(nursery, caller_of(session).echo, "x")
    await peer.hear(RequestCall)
    await peer.say(ALL_IS_ANSWERED)
    with pytest.raises(ConnectionLost, match="the session was shut down") as caught:
        await call.result()
    assert caught.value.was_begun is False
    assert isinstance(session.ended_because, Unavailable)
    await peer.leave()
    await session.closed()
    assert caplog.records == []  # as it is no fault


async def test_peer_that_does_not_know_loses_its_connection_at_the_end_of_the_grace(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    session, peer = await accepted(nursery, streams(echo=sleeping), NO_METADATA)
    await peer.say(call_of("echo", 1, "x"))
    await wait_all_tasks_blocked()
    nursery.start_soon(session.shutdown, 1)
    await trio.sleep(2)
    assert await peer.rx.recv() is None
    await peer.leave()


# ------------------------------------------------------------ deadlines


async def test_longest_call_ends_a_call_without_a_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    accepting = {"limits": Limits(longest_call=7), "tell_failures": "text"}
    left, _ = await join(nursery, streams(echo=sleeping), accepting=accepting)
    with pytest.raises(DeadlineExceeded, match="limit: longest_call") as caught:
        await caller_of(left).echo("x")
    assert trio.current_time() == pytest.approx(7)
    assert (caught.value.code, caught.value.was_begun) == ("deadline", True)


async def test_call_over_its_deadline_is_told_so_in_words_that_the_peer_knows(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    left = Metadata([MetadataEntry("request-deadline", 3_000_000, 2)])
    for told, code in ((KNOWS, "deadline"), (NO_METADATA, None)):
        began = trio.current_time()
        _, peer = await accepted(nursery, streams(echo=sleeping), told)
        call = call_of("echo", 1, "x")
        await peer.say(RequestCall(0, 1, call.method_id, (), left, call.args))
        response = await peer.hear(RequestResponse)
        assert trio.current_time() == pytest.approx(began + 3)
        assert response.ret == CANCELLED
        assert response.metadata.get("error-code") == code
        await peer.leave()


async def test_caller_without_the_words_gets_the_plain_error(
    nursery: trio.Nursery,
) -> None:
    left, _ = await join(nursery, Custom(raising), deadlines=False)
    with pytest.raises(CallCancelled) as caught:
        await caller_of(left).echo("x")
    assert type(caught.value) is CallCancelled
    assert (caught.value.code, caught.value.was_begun) == ("cancelled", None)


# ------------------------------------------------------------ metadata of errors


class Empty(enum.Enum):
    EMPTY = "empty"


@service
class Oven(Protocol):
    async def bake(self, how: str) -> Fallible[str, Empty]: ...


class OvenImpl:
    async def bake(self, how: str) -> Any:
        current_call().response_metadata = {"cost": 3}
        await trio.lowlevel.checkpoint()
        match how:
            case "declared":
                raise UserError(Empty.EMPTY)
            case "failed":
                raise ValueError("burnt")
            case _:
                raise Refused("denied", metadata=Metadata.of({"realm": "kitchen"}))


@pytest.mark.parametrize(
    ("how", "kind", "expected"),
    [
        ("declared", UserError, {"cost": 3}),
        ("failed", HandlerFailed, {"cost": 3}),
        ("refused", Refused, {"cost": 3, "realm": "kitchen"}),
    ],
)
async def test_metadata_of_an_error_comes_through_a_session(
    how: str, kind: type[Exception], expected: dict[str, Any]
) -> None:
    async with (
        serving("memory://oven", dispatcher(Oven, OvenImpl())),
        connect("memory://oven", Oven) as oven,
    ):
        with pytest.raises(kind) as caught:
            await oven.bake(how)
    metadata = metadata_of(caught.value)
    assert {key: metadata.get(key) for key in expected} == expected


async def test_call_that_was_never_sent_has_no_metadata() -> None:
    async with (
        serving("memory://cold", dispatcher(Oven, OvenImpl())),
        connect("memory://cold", Oven) as oven,
    ):
        pass
    with pytest.raises(ConnectionLost) as caught:
        await oven.bake("declared")
    assert metadata_of(caught.value) == NO_METADATA
