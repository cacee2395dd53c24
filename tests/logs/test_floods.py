"""Of the many records that a peer brings about, a few are logged, and a count."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from roam_trio import Server, connect, dispatcher, serve, service, u8
from roam_trio.limits import Limits
from roam_trio.service import describe
from roam_trio.wire.messages import ConnectionClose

LIMITS = Limits(log_records=5, server_log_records=8)
CALLS = 300


@service
class Failing(Protocol):
    async def fail(self) -> None: ...
    async def fail_later(self) -> None: ...
    async def wrong(self) -> u8: ...
    async def take(self, number: u8) -> None: ...


class Impl:
    async def fail(self) -> None:
        raise LookupError("no such thing")

    async def fail_later(self) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("no such thing")

    async def wrong(self) -> Any:
        return "one"

    async def take(self, number: int) -> None: ...


METHODS = {method.name: method for method in describe(Failing).methods}


def counted(messages: list[str]) -> int:
    """Return the number of records the messages stand for."""
    found = (re.match(r"(\d+) more like this were not logged", m) for m in messages)
    return sum(int(each[1]) if each else 1 for each in found)


async def call_often(url: str, name: str, args: bytes) -> None:
    async with connect(url) as session:
        for _ in range(CALLS):
            await session.caller.call(METHODS[name].id, args)


@pytest.mark.parametrize(
    ("name", "args"),
    [("fail", b""), ("fail_later", b""), ("wrong", b""), ("take", b"")],
)
async def test_failing_calls_of_one_session_are_few_records(
    name: str,
    args: bytes,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = await nursery.start(started(dispatcher(Failing, Impl())))
    await call_often(server.url, name, args)
    await trio.testing.wait_all_tasks_blocked()
    # At once those of the limit, and the rest as one when the session has ended.
    assert len(caplog.records) == LIMITS.log_records + 1
    assert counted(caplog.messages) == CALLS
    assert "(limit: log_records)" in caplog.messages[-1]
    assert caplog.text.count("\n") < 40 * LIMITS.log_records
    nursery.cancel_scope.cancel()


async def test_failing_calls_of_many_sessions_are_few_records(
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    with trio.CancelScope() as serving:
        async with trio.open_nursery() as of_server:
            server = await of_server.start(started(dispatcher(Failing, Impl())))
            for _ in range(20):
                await call_often(server.url, "fail", b"")
            await trio.testing.wait_all_tasks_blocked()
            assert len(caplog.records) <= LIMITS.server_log_records
            serving.cancel()
    assert len(caplog.records) <= LIMITS.server_log_records + 1
    assert counted(caplog.messages) == 20 * CALLS
    assert "(limit: server_log_records)" in caplog.messages[-1]


async def test_clients_that_break_the_protocol_are_few_records(
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = await nursery.start(started(dispatcher(Failing, Impl())))
    for _ in range(50):
        async with connect(server.url) as session:
            session._run.outbox.push(ConnectionClose(0))
            await session.closed()
    broken = [each for each in caplog.records if "was closed" in each.getMessage()]
    # As many of servers' sessions, and each client has told of its own end.
    assert len(broken) <= LIMITS.server_log_records + 50
    nursery.cancel_scope.cancel()


def started(handler: Any) -> Callable[..., Any]:
    async def run(task_status: trio.TaskStatus[Server]) -> None:
        await serve("memory://floods", handler, limits=LIMITS, task_status=task_status)

    return run
