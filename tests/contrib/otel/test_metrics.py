"""Durations of calls, and figures of sessions."""

from __future__ import annotations

import logging
import math
import threading
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AnySession,
    Refused,
    Session,
    SessionError,
    Tx,
    channel,
    connect,
    current_call,
    dispatcher,
    serving,
    u32,
)
from roam_trio.contrib.otel import sessions as module
from roam_trio.contrib.otel.sessions import Figures, Sessions

from .recorded import Recorded
from .test_spans import Bank, BankImpl, Ticker, bank_of

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


async def test_durations_are_measured_by_method_and_outcome(
    recorded: Recorded,
) -> None:
    impl = BankImpl()

    async def refuse(what: str) -> int:
        raise Refused(what)

    impl.doing = refuse
    async with bank_of(recorded, impl) as bank:
        await bank.add(1)
        await bank.add(2)
        with pytest.raises(Refused):
            await bank.do("holiday")
    for name in ("rpc.client.call.duration", "rpc.server.call.duration"):
        assert recorded.metrics()[name].unit == "s"
        add, do = recorded.points(name)
        assert add.count == 2
        assert 0 < add.sum < 60
        assert tuple(add.explicit_bounds) == BUCKETS
        assert dict(add.attributes) == {
            "rpc.system.name": "roam",
            "rpc.method": "Bank/add",
            "rpc.status_code": "ok",
        }
        failed = {} if "server" in name else {"error.type": "refused"}
        assert dict(do.attributes) == {
            "rpc.system.name": "roam",
            "rpc.method": "Bank/do",
            "rpc.status_code": "refused",
            **failed,
        }


async def test_durations_of_clients_tell_the_server(recorded: Recorded) -> None:
    async with (
        serving("tcp://127.0.0.1:0", dispatcher(Bank, BankImpl())) as here,
        connect(here.url, Bank, middleware=[recorded.telemetry.client]) as bank,
    ):
        await bank.add(1)
    [point] = recorded.points("rpc.client.call.duration")
    assert point.attributes["server.address"] == "127.0.0.1"
    assert point.attributes["server.port"] == int(here.url.rpartition(":")[2])


async def test_durations_tell_as_many_servers_apart_as_are_allowed() -> None:
    recorded = Recorded(measured_servers=2)
    handler = dispatcher(Bank, BankImpl())
    around = [recorded.telemetry.client]
    async with AsyncExitStack() as stack:
        for _ in range(3):
            here = await stack.enter_async_context(
                serving("tcp://127.0.0.1:0", handler)
            )
            bank = connect(here.url, Bank, middleware=around)
            await (await stack.enter_async_context(bank)).add(1)
    points = recorded.points("rpc.client.call.duration")
    assert sorted("server.port" in each.attributes for each in points) == [
        False,
        True,
        True,
    ]
    recorded.close()


class Holding:
    """Sends one item, and waits."""

    async def watch(self, ticks: Tx[int]) -> str:
        current_call()
        await ticks.send(1)
        await trio.sleep_forever()
        raise AssertionError("it never ends by itself")


def value(recorded: Recorded, name: str) -> int:
    [point] = recorded.points(name)
    assert not point.attributes
    found: int = point.value
    return found


async def test_sessions_calls_credit_and_bytes_are_measured(
    recorded: Recorded,
) -> None:
    observer = recorded.telemetry.observer
    handler = dispatcher(Ticker, Holding())
    async with (
        trio.open_nursery() as nursery,
        serving("memory://ticker", handler, observer=observer),
        connect("memory://ticker", Ticker, observer=observer) as ticker,
    ):
        tx, rx = channel[u32]()
        nursery.start_soon(ticker.watch, tx)
        await wait_all_tasks_blocked()
        assert value(recorded, "roam.sessions") == 2
        assert value(recorded, "roam.client.calls") == 1
        assert value(recorded, "roam.server.calls") == 1
        assert value(recorded, "roam.channel.credit") == rx_credit() - 1
        assert value(recorded, "roam.channel.queued") == 1
        assert value(recorded, "roam.unsent") == 0
        before = value(recorded, "roam.sent")
        assert before > 0
        assert await rx.recv() == 1
        nursery.cancel_scope.cancel()
    assert value(recorded, "roam.sessions") == value(recorded, "roam.client.calls") == 0
    # The bytes of sessions that have ended stay in the totals.
    sent, received = value(recorded, "roam.sent"), value(recorded, "roam.received")
    assert sent >= before
    assert received > 0


def rx_credit() -> int:
    """The credit with which a channel begins."""
    from roam_trio import describe

    [method] = describe(Ticker).methods
    [part] = method.args_plan.channels
    return part.channel.credit


def collect_in_a_thread(recorded: Recorded) -> Any:
    return trio.to_thread.run_sync(lambda: value(recorded, "roam.sessions"))


async def test_a_reader_in_another_thread_gets_the_figures_of_the_run(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    async with bank_of(recorded):
        assert await collect_in_a_thread(recorded) == 1


async def test_a_reader_does_not_wait_long_for_a_run_that_is_busy(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.001)
    async with bank_of(recorded):
        found: list[int] = []
        # As when a program ends its reader in a task, which then waits for the thread.
        thread = threading.Thread(
            target=lambda: found.append(value(recorded, "roam.sessions"))
        )
        thread.start()
        thread.join()
        assert found == [0]
        await wait_all_tasks_blocked()
        monkeypatch.undo()
        assert await collect_in_a_thread(recorded) == 1


async def test_a_reader_waits_once_for_all_metrics_of_a_run_that_is_busy(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Waited(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            return super().wait(0)

    async with bank_of(recorded):
        await wait_all_tasks_blocked()
        [run] = recorded.telemetry.observer._sessions._runs.values()
        run.at = -math.inf
        with monkeypatch.context() as patch:
            patch.setattr(module, "threading", SimpleNamespace(Event=Waited))
            patch.setattr(module, "_FRESH", 3600.0)
            thread = threading.Thread(target=recorded.metrics)
            thread.start()
            thread.join()
        assert waits == [module._PATIENCE]
        await wait_all_tasks_blocked()  # the run has made what that reader asked for
        run.at = -math.inf
        assert await collect_in_a_thread(recorded) == 1


async def test_bytes_of_a_session_that_ends_are_counted_once(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent() -> Any:
        return trio.to_thread.run_sync(lambda: value(recorded, "roam.sent"))

    async with bank_of(recorded):
        async with connect("memory://bank", Bank) as bank:
            await bank.add(1)
            first = await sent()
            monkeypatch.setattr(module, "_FRESH", math.inf)
        await wait_all_tasks_blocked()
        # The figures of the run are from before, and the session has ended since.
        assert await sent() == first
        monkeypatch.setattr(module, "_FRESH", 0)
        assert await sent() >= first
    assert await sent() >= first


def test_a_reader_does_not_wait_for_a_run_that_takes_no_tasks(
    recorded: Recorded,
) -> None:
    async def token() -> trio.lowlevel.TrioToken:
        return trio.lowlevel.current_trio_token()

    sessions = Sessions(recorded.meters.get_meter("test"))
    made = threading.Event()
    run = module._Run(trio.run(token), made=made)
    sessions._begin_to_make(run, made)
    assert made.is_set()
    assert run.made is None


def test_sessions_of_a_run_that_is_over_are_not_measured(recorded: Recorded) -> None:
    sessions = Sessions(recorded.meters.get_meter("test"))

    async def leave_one() -> None:
        async with connected() as session:
            sessions.add(session)
            assert sessions.figures().sessions == 1
            kept.append(session)

    kept: list[AnySession] = []
    trio.run(leave_one)
    assert sessions.figures() == Figures()
    assert sessions.figures() == Figures()


def connected() -> Any:
    """A session without peers of this module."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened() -> Any:
        async with (
            serving("memory://bank", dispatcher(Bank, BankImpl())),
            connect("memory://bank") as session,
        ):
            yield session

    return opened()


async def test_a_session_that_was_never_added_or_is_of_another_kind_is_left_out(
    recorded: Recorded,
) -> None:
    sessions = Sessions(recorded.meters.get_meter("test"))
    stranger: Any = object()
    sessions.add(stranger)
    async with connected() as session:
        sessions.remove(session)
        assert sessions.figures() == Figures()


async def test_a_session_that_cannot_be_measured_harms_no_run(
    recorded: Recorded,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(session: Session) -> None:
        raise SessionError("broken")

    async with bank_of(recorded):
        with monkeypatch.context() as patched:
            patched.setattr(Session, "statistics", fail)
            assert await collect_in_a_thread(recorded) == 0
    assert caplog.messages == ["sessions were not measured"]
    assert caplog.records[0].levelno == logging.ERROR
