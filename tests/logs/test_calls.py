"""Calls are logged at level DEBUG, and cost nothing otherwise."""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Protocol

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Fallible,
    HandlerFailed,
    RoamError,
    UnknownMethod,
    client,
    connect,
    dispatcher,
    service,
    serving,
    u32,
)
from roam_trio.codec import CANCELLED, OK, ResultKind, kind_of
from roam_trio.metadata import NO_METADATA
from roam_trio.service import describe
from roam_trio.session import call_log
from roam_trio.wire.messages import RequestCall

from ..session.running import WithPeer


@attrs.define
class Overdrawn(Exception):
    by: u32


@service
class Bank(Protocol):
    async def take(self, amount: u32) -> Fallible[u32, Overdrawn]: ...


@service
class Shop(Protocol):
    async def buy(self) -> None: ...


class BankImpl:
    async def take(self, amount: int) -> int:
        if amount == 100:
            await trio.sleep_forever()
        if amount == 10:
            raise Overdrawn(5)
        if amount == 11:
            raise ValueError("x")
        return amount


@pytest.fixture
def calls(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, with the calls that are made from now on."""
    caplog.set_level(logging.DEBUG, "roam_trio.calls")
    return caplog


def told(log: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    """What is logged about calls, without times."""
    found: list[tuple[object, ...]] = []
    for record in log.records:
        if record.name == "roam_trio.calls":
            verb, *_ = record.getMessage().split()
            outcome = record.getMessage().partition(" s: ")[2]
            fields = vars(record)
            found.append((verb, fields["roam_method"], outcome.partition(" (")[0]))
            assert fields["roam_peer"] == "this process"
            assert fields["roam_connection"] == 0
            assert record.levelno == logging.DEBUG
    log.clear()
    return found


async def test_both_sides_log_each_call_with_its_outcome(
    calls: pytest.LogCaptureFixture,
) -> None:
    handler = dispatcher(Bank, BankImpl())
    async with (
        serving("memory://bank", handler, schemas=False),
        connect("memory://bank") as session,
    ):
        bank = client(Bank, session.caller)
        await bank.take(1)
        assert told(calls) == [
            ("answered", "Bank.take", "ok"),
            ("called", "Bank.take", "ok"),
        ]
        with pytest.raises(Overdrawn):
            await bank.take(10)
        assert [outcome for *_, outcome in told(calls)] == ["user error"] * 2
        with pytest.raises(UnknownMethod):
            await client(Shop, session.caller.clone()).buy()
        assert [outcome for *_, outcome in told(calls)] == ["unknown method"] * 2
        with pytest.raises(HandlerFailed) as caught:
            await bank.take(11)
        ids = {vars(record)["roam_error_id"] for record in calls.records}
        assert ids == {caught.value.id}
        assert [outcome for *_, outcome in told(calls)] == ["failed"] * 2


async def test_a_call_without_a_response_is_logged_as_such(
    calls: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    handler = dispatcher(Bank, BankImpl())
    async with (
        serving("memory://bank", handler),
        connect("memory://bank", Bank) as bank,
    ):
        with trio.move_on_after(2):
            await bank.take(100)
        await wait_all_tasks_blocked()
        assert sorted(told(calls), key=str) == [
            ("answered", "Bank.take", "cancelled"),
            ("called", "Bank.take", "no response"),
        ]


async def lost(bank: Bank) -> None:
    with pytest.raises(RoamError):
        await bank.take(100)


async def test_a_call_whose_session_ends_has_no_response(
    calls: pytest.LogCaptureFixture,
) -> None:
    handler = dispatcher(Bank, BankImpl())
    async with (
        trio.open_nursery() as nursery,
        serving("memory://bank", handler),
        connect("memory://bank") as session,
    ):
        nursery.start_soon(lost, client(Bank, session.caller))
        await wait_all_tasks_blocked()
    assert sorted(told(calls)) == [
        ("answered", "Bank.take", "no response"),
        ("called", "Bank.take", "no response"),
    ]


def call_of(amount: int) -> RequestCall:
    (take,) = describe(Bank).methods
    args = b"".join(take.args_plan.encode((amount,)))
    return RequestCall(0, 2, take.id, (), NO_METADATA, args)


async def test_a_call_is_logged_with_its_peer_whoever_ends_the_session(
    calls: pytest.LogCaptureFixture, nursery: trio.Nursery
) -> None:
    async with WithPeer(dispatcher(Bank, BankImpl())) as (session, peer):
        await peer.say(call_of(100))
        await wait_all_tasks_blocked()
        nursery.start_soon(session.shutdown)
        await wait_all_tasks_blocked()
        assert told(calls) == [("answered", "Bank.take", "no response")]


async def test_a_response_that_cannot_be_sent_is_logged_once_as_none(
    calls: pytest.LogCaptureFixture,
) -> None:
    async with WithPeer(dispatcher(Bank, BankImpl())) as (_, peer):
        await peer.rx.close()  # which nobody has noticed
        await peer.say(call_of(1))
        await wait_all_tasks_blocked()
        assert told(calls) == [("answered", "Bank.take", "no response")]


async def test_no_limit_of_log_records_applies_to_calls(
    calls: pytest.LogCaptureFixture,
) -> None:
    handler = dispatcher(Bank, BankImpl())
    async with (
        serving("memory://bank", handler),
        connect("memory://bank", Bank) as bank,
    ):
        for _ in range(50):
            await bank.take(1)
    assert len(told(calls)) == 100


async def test_calls_that_are_not_logged_run_no_code_of_it() -> None:
    """Nor do they ask whether they are: no function of the modules is called."""
    assert not call_log.calls_are_logged()
    steps: list[str] = []

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename in FILES:
            steps.append(frame.f_code.co_qualname)

    handler = dispatcher(Bank, BankImpl())
    async with (
        serving("memory://bank", handler),
        connect("memory://bank") as session,
    ):
        bank = client(Bank, session.caller)
        sys.setprofile(note)
        try:
            for _ in range(10):
                await bank.take(1)
        finally:
            sys.setprofile(None)
        assert steps == []
        assert type(session.caller).__module__ == "roam_trio.session.caller"


FILES = {call_log.__file__, sys.modules["roam_trio.logs"].__file__}


def test_the_kind_of_a_response_is_read_without_decoding_it() -> None:
    assert kind_of(OK + b"\x07") is ResultKind.OK
    assert kind_of(b"\x01\x00\x07") is ResultKind.USER
    assert kind_of(memoryview(CANCELLED)) is ResultKind.CANCELLED
    assert kind_of(b"\x01") is ResultKind.USER
