"""The client's other steps: calls that succeed, fail, and are cancelled."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import attrs
import trio

from ..rpc.channel import channel
from .counting import count_words
from .errors import WrongAnswer
from .service import NoWords, WordCounter

__all__ = [
    "Called",
    "CalledAtOnce",
    "CancelledCalls",
    "FailedCalls",
    "call_at_once",
    "call_one_by_one",
    "cancel_calls",
    "fail_calls",
]

SENTENCES = (
    "Ask before you enter.",
    "Keep to your number, wait when there is no room, and say so when you are done.",
    "Silence is only silence.",
    "",
)
BLANK = " \t "
"""A text without words."""

REPORTED_EVERY = 50
"""Number of calls between updates of the progress, so that updates take little time."""

NOTICE_SECONDS = 10.0
"""Time, in seconds, that the server may take to notice that a call was cancelled."""


@attrs.frozen
class Called:
    """Results of calls made one at a time.

    Attributes:
        latencies: duration of each call in seconds, the shortest first.
        seconds: total duration.
    """

    latencies: Sequence[float]
    seconds: float

    @property
    def calls_per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def median(self) -> float:
        return statistics.median(self.latencies)

    @property
    def p99(self) -> float:
        """The time within which 99 calls of 100 were answered."""
        return self.latencies[math.ceil(0.99 * len(self.latencies)) - 1]


async def call_one_by_one(
    client: WordCounter, calls: int, advance: Callable[[int], None]
) -> Called:
    """Make calls, each after the previous one has returned.

    Raises:
        WrongAnswer: the count of the server differs from that of this side.
    """
    latencies: list[float] = []
    start = time.perf_counter()
    for sentence in _sentences(calls, advance):
        begun = time.perf_counter()
        words = await client.count(sentence)
        latencies.append(time.perf_counter() - begun)
        _check_words(sentence, words)
    seconds = time.perf_counter() - start
    return Called(sorted(latencies), seconds)


@attrs.frozen
class CalledAtOnce:
    """Results of concurrent calls.

    Attributes:
        calls: number of calls.
        at_once: number of calls in flight at a time.
        seconds: total duration.
    """

    calls: int
    at_once: int
    seconds: float

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.seconds


async def call_at_once(
    client: WordCounter, calls: int, at_once: int, advance: Callable[[int], None]
) -> CalledAtOnce:
    """Make calls from `at_once` tasks, each with one call in flight.

    Raises:
        WrongAnswer: the count of the server differs from that of this side.
    """
    sentences = _sentences(calls, advance)

    async def keep_calling() -> None:
        for sentence in sentences:
            _check_words(sentence, await client.count(sentence))

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(keep_calling)
    return CalledAtOnce(calls, at_once, time.perf_counter() - start)


@attrs.frozen
class FailedCalls:
    """Results of calls that failed, as they should.

    Attributes:
        error: the exception that the last call raised.
        latencies: seconds until each call raised it, the shortest first.
    """

    error: NoWords
    latencies: Sequence[float]


async def fail_calls(client: WordCounter, calls: int) -> FailedCalls:
    """Make calls that must fail, and check that the next one succeeds.

    Raises:
        WrongAnswer: a call did not fail with its declared error.
    """
    latencies: list[float] = []
    error = NoWords(0)
    for _ in range(calls):
        start = time.perf_counter()
        error = await _fail_one(client)
        latencies.append(time.perf_counter() - start)
    mean = await client.mean_word_length("four more here")
    if not math.isclose(mean, 4.0):
        raise WrongAnswer("mean_word_length", 4.0, mean)
    return FailedCalls(error, sorted(latencies))


async def _fail_one(client: WordCounter) -> NoWords:
    try:
        length = await client.mean_word_length(BLANK)
    except NoWords as error:
        if error.characters != len(BLANK):
            raise WrongAnswer(
                "NoWords.characters", len(BLANK), error.characters
            ) from None
        return error
    raise WrongAnswer("mean_word_length of a blank text", NoWords.__name__, length)


@attrs.frozen
class CancelledCalls:
    """Results of calls that were cancelled.

    Attributes:
        latencies: seconds from each cancellation to the server's report that the
            handler has noticed, including the round trip, the shortest first.
    """

    latencies: Sequence[float]


async def cancel_calls(client: WordCounter, calls: int) -> CancelledCalls:
    """Cancel calls whose handlers would never return, and ask the server how they
    ended.

    Raises:
        WrongAnswer: a handler was not cancelled, or not in time.
    """
    return CancelledCalls(sorted([await _cancel_one(client) for _ in range(calls)]))


async def _cancel_one(client: WordCounter) -> float:
    begun, begun_in = channel(bool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.linger, begun)
        await begun_in.recv()
        cancelled_at = time.perf_counter()
        nursery.cancel_scope.cancel()
    with trio.move_on_after(NOTICE_SECONDS):
        noticed = await client.how_lingering_ended()
        if not noticed.cancelled:
            raise WrongAnswer("the cancelled handler", "cancelled", noticed)
        return time.perf_counter() - cancelled_at
    within = f"notice within {NOTICE_SECONDS:.0f} s"
    raise WrongAnswer("the cancelled handler", within, "no sign of it")


def _sentences(calls: int, advance: Callable[[int], None]) -> Iterator[str]:
    """Yield a sentence for each call, and report progress."""
    endless = itertools.cycle(SENTENCES)
    for number in range(calls):
        yield next(endless)
        if (number + 1) % REPORTED_EVERY == 0:
            advance(REPORTED_EVERY)
    advance(calls % REPORTED_EVERY)


def _check_words(sentence: str, words: int) -> None:
    expected = count_words(sentence)
    if words != expected:
        raise WrongAnswer(f"count of {sentence!r}", expected, words)
