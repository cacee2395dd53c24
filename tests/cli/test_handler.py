"""The server's side of the demo, called by a client."""

from __future__ import annotations

import pytest
import trio

from roam_trio import channel
from roam_trio.demo.handler import Counter
from roam_trio.demo.service import (
    Counted,
    Line,
    Lingered,
    NoWords,
    Tallies,
    Totals,
    WordCounter,
)

from .served import client_of


@pytest.fixture
async def client(nursery: trio.Nursery) -> WordCounter:
    return await client_of(Counter(), nursery)


async def test_count_returns_the_number_of_words(client: WordCounter) -> None:
    assert await client.count(" one\ttwo  three\n") == 3
    assert await client.count("") == 0


async def test_each_line_is_answered_before_the_next_is_sent(
    client: WordCounter,
) -> None:
    lines, lines_rx = channel(Line)
    counts_tx, counts = channel(Counted)
    totals: list[Totals] = []

    async def call() -> None:
        totals.append(await client.count_lines(lines_rx, counts_tx))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        async with lines:
            await lines.send(Line(1, "a line of five words"))
            assert await counts.recv() == Counted(1, 5, 20)
            await lines.send(Line(2, ""))
            assert await counts.recv() == Counted(2, 0, 0)
        with pytest.raises(trio.EndOfChannel):
            await counts.recv()
    assert totals == [Totals(lines=2, words=5, characters=20)]


async def test_mean_word_length(client: WordCounter) -> None:
    assert await client.mean_word_length("a bb ccc") == 2.0


async def test_mean_of_no_words_is_the_declared_error(client: WordCounter) -> None:
    with pytest.raises(NoWords) as caught:
        await client.mean_word_length("  \n")
    assert caught.value.characters == 3


async def test_lingering_ends_when_its_call_is_cancelled(
    client: WordCounter, autojump_clock: trio.testing.MockClock
) -> None:
    begun, begun_rx = channel(bool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.linger, begun)
        assert await begun_rx.recv() is True
        await trio.sleep(7)
        nursery.cancel_scope.cancel()
    assert await client.how_lingering_ended() == Lingered(True, 7.0)


async def test_asking_waits_while_lingering_goes_on(
    client: WordCounter, autojump_clock: trio.testing.MockClock
) -> None:
    begun, begun_rx = channel(bool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.linger, begun)
        await begun_rx.recv()
        with trio.move_on_after(60) as asking:
            await client.how_lingering_ended()
        assert asking.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_nothing_has_lingered_at_first(client: WordCounter) -> None:
    assert await client.how_lingering_ended() == Lingered(False, 0.0)


async def test_tallies_count_calls_and_how_many_ran_at_once(
    client: WordCounter,
) -> None:
    assert await client.tallies() == Tallies(calls=0, at_once=0)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(client.count, "words")
    await client.count("one more")
    assert await client.tallies() == Tallies(calls=6, at_once=5)
