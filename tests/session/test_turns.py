"""A read with many messages is dispatched in turns, and others run in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import LimitExceeded, Limits
from roam_trio.session import session_run
from roam_trio.session.turns import MOST_AT_ONCE, in_looks, is_long, next_turn
from roam_trio.wire.ids import ChannelId, ConnectionId
from roam_trio.wire.messages import Ping, Pong, ProtocolError, RequestResponse
from roam_trio.wire.runs import ItemRun
from tests.session.running import WithPeer, call_of, streams


class Clock:
    """A time that moves by a second each time that somebody looks."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


def turns_of(count: int, seconds: float) -> list[int]:
    """How many messages are in each turn."""
    rest, clock = iter(in_looks([Ping(0, 1)] * count)), Clock()
    found: list[int] = []
    while sum(found) < count:
        found.append(len(list(next_turn(rest, seconds, clock))))
    return found


def test_turn_ends_when_its_time_is_over() -> None:
    assert turns_of(4 * MOST_AT_ONCE + 1, seconds=2.0) == [
        2 * MOST_AT_ONCE,
        2 * MOST_AT_ONCE,
        1,
    ]


def test_turn_takes_some_messages_however_late_it_is() -> None:
    assert turns_of(2 * MOST_AT_ONCE, seconds=0.0) == [MOST_AT_ONCE, MOST_AT_ONCE]


def test_turn_takes_all_messages_if_there_is_time() -> None:
    assert turns_of(100, seconds=1e9) == [100]


def test_turn_looks_at_the_clock_after_each_large_payload() -> None:
    large = bytes(10_000)
    rest, clock = iter(in_looks([large, large, b"", b"", large])), Clock()
    turns = [len(list(next_turn(rest, 0.0, clock))) for _ in range(3)]
    assert turns == [1, 1, 3]


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([b"1", b"2", b"3", b"4", b"5"], [4, 1]),
        ([b""] * (2 * MOST_AT_ONCE), [4, 4]),
        ([b"", bytes(10_000), b"", b"", b"", b"", b""], [2, 4, 1]),
        ([memoryview(bytes(10_000)), b"", memoryview(bytes(2_500)), b""], [1, 3]),
        ([ItemRun(ConnectionId(0), ChannelId(1), [b""]), b"", b""], [1, 2]),
        ([Ping(0, 1)] * 5, [4, 1]),
    ],
)
def test_there_is_a_look_after_some_messages_and_after_each_that_is_large(
    received: list[Any], expected: list[int]
) -> None:
    parts = in_looks(received)
    assert [len(part) for part in parts] == expected
    assert [each for part in parts for each in part] == received


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([b""] * MOST_AT_ONCE, False),
        ([b""] * (MOST_AT_ONCE + 1), True),
        ([bytes(10_000)], False),
        ([bytes(10_000), b""], True),
        ([Ping(0, 1), Ping(0, 2)], False),
    ],
)
def test_long_reads_are_of_many_payloads_or_of_large_ones(
    received: list[Any], expected: bool
) -> None:
    assert is_long(received) is expected


# ------------------------------------------------------------ in a session


def no_time(rest: Iterator[Sequence[Any]]) -> Iterator[Any]:
    return next_turn(rest, seconds=0.0)


@pytest.fixture
def without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_run, "next_turn", no_time)


CALLS = 1000


class Bystander:
    """A task that runs whenever it gets a turn, and counts how often that is."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self) -> None:
        while True:
            self.turns += 1
            await trio.lowlevel.checkpoint()


class Flooded:
    """Counts calls, and when they have come by the turns of another task."""

    def __init__(self, other: Bystander) -> None:
        self.texts: list[str] = []
        self.at: list[int] = []
        self._other = other

    async def echo(self, text: str) -> str:
        self.texts.append(text)
        self.at.append(self._other.turns)
        return text


async def test_other_tasks_run_between_the_turns_of_a_flood(without_time: None) -> None:
    other = Bystander()
    flooded = Flooded(other)
    handler = streams(echo=flooded.echo)
    async with WithPeer(handler, most=CALLS, buffer=2 * CALLS) as (session, peer):
        calls = [call_of("echo", 2 * number, str(number)) for number in range(CALLS)]
        await peer.say(*calls)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.run)
            for number in range(CALLS):
                heard = await peer.hear(RequestResponse)
                assert heard.request_id == 2 * number
            nursery.cancel_scope.cancel()
        assert session.ended_because is None
    assert flooded.texts == [str(number) for number in range(CALLS)]
    # Two turns, if the two tasks change their order.
    assert max(Counter(flooded.at).values()) <= 2 * MOST_AT_ONCE


async def test_nothing_of_a_read_is_dispatched_after_the_end(
    without_time: None,
) -> None:
    most = 3 * MOST_AT_ONCE + 5
    limits = Limits(futile_messages=most, futile_messages_per_second=1e-6)
    async with WithPeer(buffer=2 * CALLS, limits=limits) as (session, peer):
        await peer.say(*(Ping(0, number) for number in range(CALLS)))
        for number in range(most):
            assert await peer.hear(Pong) == Pong(0, number)
        await peer.hear(ProtocolError)
        await wait_all_tasks_blocked()
        assert isinstance(session.ended_because, LimitExceeded)
