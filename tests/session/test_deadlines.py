"""Deadlines that go along with calls, and through the calls that handlers make."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import ProxyAcceptor, with_metadata
from roam_trio.codec import CANCELLED
from roam_trio.errors import DeadlineExceeded
from roam_trio.limits import Limits
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry
from roam_trio.service import current_call
from roam_trio.session import AcceptedConnection, acceptor, initiator
from roam_trio.session.deadlines import deadline_of, with_deadline
from roam_trio.wire.messages import (
    ConnectionSettings,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

from .running import (
    Streams,
    Task,
    WithPeer,
    call_of,
    caller_of,
    join,
    response,
    streams,
)

NO_PROPAGATE = 2
MICRO = 1e-6


def entry(value: Any, flags: int = NO_PROPAGATE) -> MetadataEntry:
    return MetadataEntry("request-deadline", value, flags)


# ------------------------------------------------------------ on the wire


@pytest.mark.parametrize(
    ("deadline", "microseconds"),
    [
        (12.0, 2_000_000),
        (12.0000009, 2_000_000),  # as `deadline_of` adds a microsecond
        (12.0000011, 2_001_000),
        (12.3456789, 2_346_000),
        (10.0999991, 100_000),
        (10.0123456, 12_346),
        (10.0000011, 2),
        (10.0, 0),
        (3.0, 0),
        (-inf, 0),
        (1e30, 2**64 - 1),
    ],
)
def test_time_that_is_left_is_told_and_a_long_time_in_milliseconds(
    deadline: float, microseconds: int
) -> None:
    assert with_deadline(NO_METADATA, deadline, 10.0) == (entry(microseconds),)


def test_deadline_replaces_one_that_is_there_and_nothing_else() -> None:
    other = MetadataEntry("user", "Ada")
    told = with_deadline(Metadata([entry(7, 0), other]), 11.0, 10.0)
    assert told == (other, entry(1_000_000))


@pytest.mark.parametrize(
    ("told", "longest", "deadline"),
    [
        ([], inf, inf),
        ([], 5.0, 15.0),
        ([entry(2_000_000)], inf, 12.0),
        ([entry(2_000_000, 0)], 5.0, 12.0),
        ([entry(9_000_000)], 5.0, 15.0),
        ([entry(0)], inf, 10.0),
        ([entry("soon")], inf, inf),
        ([entry(b"\1")], 5.0, 15.0),
        ([entry(2**64 - 1)], 5.0, 15.0),
        ([entry(2**64 - 1)], inf, 10.0 + 2**64 * MICRO),
    ],
)
def test_deadline_of_a_call_is_bounded_and_nonsense_is_none(
    told: list[MetadataEntry], longest: float, deadline: float
) -> None:
    found = deadline_of(Metadata(told), 10.0, longest)
    assert found == pytest.approx(deadline, abs=2 * MICRO)


# ------------------------------------------------------------ the caller's side


async def test_call_under_a_deadline_tells_how_much_is_left_when_it_is_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def call(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await caller_of(session).echo("x")

    async with WithPeer(most=1) as (session, peer):
        nursery.start_soon(call, 4)
        sent = await peer.hear(RequestCall)
        assert sent.metadata == (entry(4_000_000),)
        nursery.start_soon(call, 3)
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        await peer.say(response(1, b"\x00\x01x"))
        # It has waited for its slot for a second.
        (left,) = (await peer.hear(RequestCall)).metadata
        assert left.value == pytest.approx(2_000_000, abs=2)
        await peer.say(response(3, b"\x00\x01x"))
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("deadlines", [True, False])
async def test_call_without_a_deadline_or_for_who_wants_none_tells_nothing(
    deadlines: bool, nursery: trio.Nursery
) -> None:
    async with WithPeer(deadlines=deadlines) as (session, peer):
        with trio.fail_after(inf if deadlines else 60):
            Task(nursery, caller_of(session).echo, "x")
            await wait_all_tasks_blocked()
            task = Task(nursery, caller_of(session).echo, "y")
            heard = [await peer.hear(RequestCall) for _ in range(2)]
        assert [call.metadata for call in heard] == [NO_METADATA] * 2
        await peer.say(response(1, b"\x00\x01x"), response(3, b"\x00\x01y"))
        await task.result()


async def test_own_metadata_goes_along_with_the_deadline(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with WithPeer() as (session, peer):
        call = with_metadata(caller_of(session).echo, {"user": "Ada"})

        async def hurry() -> None:
            with trio.fail_after(2):
                await call("x")

        nursery.start_soon(hurry)
        sent = await peer.hear(RequestCall)
        assert sent.metadata == (MetadataEntry("user", "Ada"), entry(2_000_000))
        await peer.say(response(1, b"\x00\x01x"))
        await wait_all_tasks_blocked()


# ------------------------------------------------------------ the handler's side


async def left_in(text: str) -> str:
    """Answers what a handler knows of its deadline."""
    await trio.lowlevel.checkpoint()
    now = trio.current_time()
    found = trio.current_effective_deadline() - now, current_call().deadline - now
    return " ".join(f"{each:.3f}" for each in found)


async def test_deadline_of_the_handler_is_that_much_later(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    left, _ = await join(nursery, streams(echo=left_in))
    caller = caller_of(left)
    with trio.fail_after(2):
        assert await caller.echo("x") == "2.000 2.000"
    # The task is used again, and its deadline is not.
    assert await caller.echo("x") == "inf inf"
    await trio.sleep(10)
    assert await caller.echo("x") == "inf inf"
    with trio.fail_after(3):
        assert await caller.echo("x") == "3.000 3.000"


async def test_longest_call_bounds_the_deadline_of_the_handler(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    limits = Limits(longest_call=1.5)
    left, _ = await join(nursery, streams(echo=left_in), accepting={"limits": limits})
    with trio.fail_after(2):
        assert await caller_of(left).echo("x") == "1.500 1.500"
    assert await caller_of(left).echo("x") == "1.500 1.500"


async def test_handler_that_cannot_wait_knows_its_deadline_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def echo(text: str) -> str:
        now = trio.current_time()
        found = trio.current_effective_deadline(), current_call().deadline
        return " ".join(f"{each - now:.3f}" for each in found)

    left, _ = await join(nursery, streams(echo=echo))
    with trio.fail_after(2):
        assert await caller_of(left).echo("x") == "2.000 2.000"
    assert await caller_of(left).echo("x") == "inf inf"


@pytest.mark.parametrize("value", ["soon", b"", 2**64 - 1])
async def test_nonsense_for_a_deadline_is_harmless(
    value: Any, autojump_clock: MockClock
) -> None:
    async with WithPeer(streams(echo=left_in)) as (session, peer):
        call = call_of("echo", 2, "x")
        metadata = Metadata([entry(value)])
        await peer.say(RequestCall(0, 2, call.method_id, (), metadata, call.args))
        assert (await peer.hear(RequestResponse)).ret[:1] == b"\x00"
        assert session.ended_because is None


async def test_call_without_any_time_left_is_answered_at_once(
    autojump_clock: MockClock,
) -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        return text

    async with WithPeer(streams(echo=echo)) as (_, peer):
        call = call_of("echo", 2, "x")
        metadata = Metadata([entry(0)])
        await peer.say(RequestCall(0, 2, call.method_id, (), metadata, call.args))
        assert (await peer.hear(RequestResponse)).ret == CANCELLED
        assert trio.current_time() == pytest.approx(0, abs=0.001)
        await peer.say(call_of("echo", 4, "x"), RequestCancel(0, 4))
        assert (await peer.hear(RequestResponse)).request_id == 4


async def test_caller_that_still_waits_gets_deadline_exceeded(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def echo(text: str) -> str:
        await trio.sleep_forever()
        return text

    left, _ = await join(nursery, streams(echo=echo))
    call = with_metadata(caller_of(left).echo, Metadata([entry(1_000_000)]))
    with pytest.raises(DeadlineExceeded) as caught:
        await call("x")
    assert trio.current_time() == pytest.approx(1)
    assert caught.value.was_begun is True


# ------------------------------------------------------------ through others


async def test_calls_of_a_handler_have_its_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    second, _ = await join(nursery, streams(echo=left_in))

    async def echo(text: str) -> str:
        await trio.sleep(0.5)
        return await caller_of(second).echo(text)

    first, _ = await join(nursery, streams(echo=echo))
    with trio.fail_after(2):
        assert await caller_of(first).echo("x") == "1.500 1.500"


class Accepting:
    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection:
        return AcceptedConnection(handler=streams(echo=left_in))


async def test_deadline_passes_a_proxy_which_writes_its_own(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    upstream, _ = await join(nursery, accepting={"on_connection": Accepting()})
    near, far = memory_link_pair(16)
    proxying = acceptor(far, on_connection=ProxyAcceptor(upstream))
    nursery.start_soon(proxying.run)
    session = await nursery.start(initiator(near).run)
    async with session.open(Streams) as caller:
        with trio.fail_after(2):
            assert await caller.echo("x") == "2.000 2.000"
        assert await caller.echo("x") == "inf inf"
