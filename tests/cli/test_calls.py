"""Calls that succeed, fail and are cancelled, and servers that get them wrong."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from roam_trio import Tx
from roam_trio.demo.calls import (
    Called,
    CalledAtOnce,
    call_at_once,
    call_one_by_one,
    cancel_calls,
    fail_calls,
)
from roam_trio.demo.errors import WrongAnswer
from roam_trio.demo.handler import Counter
from roam_trio.demo.service import Lingered, NoWords, Tallies

from .served import Deviating, client_of, ignore


class Miscounting(Deviating):
    async def count(self, text: str) -> int:
        return 1 + await super().count(text)


async def test_every_call_is_timed(nursery: trio.Nursery) -> None:
    client = await client_of(Counter(), nursery)
    advanced: list[int] = []
    called = await call_one_by_one(client, 120, advanced.append)
    assert len(called.latencies) == 120
    assert called.latencies == sorted(called.latencies)
    assert sum(called.latencies) <= called.seconds
    assert advanced == [50, 50, 20]
    assert await client.tallies() == Tallies(calls=120, at_once=1)


def test_latencies_are_summed_up() -> None:
    called = Called([n / 1000 for n in range(1, 201)], seconds=4.0)
    assert called.calls_per_second == 50
    assert called.median == pytest.approx(0.1005)
    assert called.p99 == 0.198
    assert Called([0.5], seconds=1.0).p99 == 0.5


async def test_calls_run_side_by_side(nursery: trio.Nursery) -> None:
    client = await client_of(Counter(), nursery)
    advanced: list[int] = []
    called = await call_at_once(client, 300, 16, advanced.append)
    assert called == CalledAtOnce(300, 16, called.seconds)
    assert called.calls_per_second == 300 / called.seconds
    assert sum(advanced) == 300
    assert await client.tallies() == Tallies(calls=300, at_once=16)


async def test_wrong_count_is_an_error(nursery: trio.Nursery) -> None:
    client = await client_of(Miscounting(), nursery)
    expected = "count of 'Ask before you enter.': expected 4, got 5"
    with pytest.raises(WrongAnswer, match=expected):
        await call_one_by_one(client, 1, ignore)
    with pytest.RaisesGroup(WrongAnswer):
        await call_at_once(client, 1, 2, ignore)


async def test_declared_error_is_raised_here(nursery: trio.Nursery) -> None:
    client = await client_of(Counter(), nursery)
    failed = await fail_calls(client, 4)
    assert isinstance(failed.error, NoWords)
    assert failed.error.characters == 3
    assert len(failed.latencies) == 4
    assert failed.latencies == sorted(failed.latencies)
    assert await client.tallies() == Tallies(calls=5, at_once=1)


class NeverFailing(Deviating):
    async def mean_word_length(self, text: str) -> float:
        return 0.0


class FailingOtherwise(Deviating):
    async def mean_word_length(self, text: str) -> float:
        raise NoWords(1000)


class FailingAfterwards(Deviating):
    async def mean_word_length(self, text: str) -> float:
        return 4.5 if text.strip() else await super().mean_word_length(text)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (NeverFailing, "mean_word_length of a blank text: expected NoWords, got 0.0"),
        (FailingOtherwise, "NoWords.characters: expected 3, got 1000"),
        (FailingAfterwards, "mean_word_length: expected 4.0, got 4.5"),
    ],
)
async def test_call_that_does_not_fail_as_declared_is_an_error(
    nursery: trio.Nursery, handler: type[Deviating], message: str
) -> None:
    client = await client_of(handler(), nursery)
    with pytest.raises(WrongAnswer, match=message):
        await fail_calls(client, 1)


async def test_handler_notices_that_its_call_was_cancelled(
    nursery: trio.Nursery,
) -> None:
    client = await client_of(Counter(), nursery)
    cancelled = await cancel_calls(client, 4)
    assert len(cancelled.latencies) == 4
    assert cancelled.latencies == sorted(cancelled.latencies)
    assert (await client.tallies()).calls == 8


class Stubborn(Deviating):
    """Does not let itself be cancelled."""

    async def linger(self, begun: Tx[bool]) -> None:
        with trio.CancelScope(shield=True):
            await begun.send(True)
            await trio.sleep(1000)

    async def how_lingering_ended(self) -> Lingered:
        await trio.sleep(1000)
        return Lingered(False, 1000.0)


class Unwitting(Deviating):
    async def how_lingering_ended(self) -> Lingered:
        return Lingered(cancelled=False, seconds=0.0)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (Stubborn, "the cancelled handler: expected notice within 10 s, got no sign"),
        (Unwitting, "the cancelled handler: expected cancelled, got Lingered"),
    ],
)
async def test_handler_that_does_not_notice_is_an_error(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    handler: type[Deviating],
    message: str,
) -> None:
    client = await client_of(handler(), nursery)
    with pytest.raises(WrongAnswer, match=message):
        await cancel_calls(client, 1)
