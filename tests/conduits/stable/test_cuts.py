"""Exactly once and in order, wherever the connection is cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
import trio
from trio.testing import MockClock

from roam_trio.testing import Faults

from .exchange import run_exchange

Cut = tuple[Faults, Faults]
"""What happens to one connection: to what the client sends, and what it receives."""

NO_FAULTS = Faults()

AT_ONCE = 32
"""Number of runs go on at a time: it takes half as long as one after the other."""


def cut_sending(after: int) -> Cut:
    return Faults(cut_after=after), NO_FAULTS


def cut_receiving(after: int) -> Cut:
    return NO_FAULTS, Faults(cut_after=after)


async def run_all(runs: Iterable[list[Cut]], *, cleanly: bool = False) -> None:
    """Run the exchange with each of these series of cuts."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def run(cuts: list[Cut]) -> None:
        async with limiter:
            try:
                await run_exchange(cuts, cleanly=cleanly)
            except BaseException as error:
                error.add_note(f"with the cuts {cuts}")
                raise

    async with trio.open_nursery() as nursery:
        for cuts in runs:
            nursery.start_soon(run, cuts)


async def length_of_exchange() -> tuple[int, int]:
    """Return the bytes that the client sends and receives without cuts."""
    outcome = await run_exchange()
    (connection,) = outcome.world.connections
    return connection.sent, connection.received


EXACTLY_ONCE = pytest.mark.rule(
    "stable",
    "conduit.stable",
    "zerocopy.framing.combinations",
    "stable.link-source",
    "stable.reconnect",
    "stable.reconnect.server-replay",
    "stable.reconnect.client-replay",
    "stable.replay-buffer",
    "stable.replay-buffer.order",
    "stable.seq",
)


@EXACTLY_ONCE
@pytest.mark.parametrize(
    ("cleanly", "every"),
    [
        pytest.param(False, 7, id="reset, each seventh"),
        pytest.param(False, 1, id="reset", marks=pytest.mark.slow),
        pytest.param(True, 1, id="ended", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("cut", [cut_sending, cut_receiving])
async def test_nothing_is_lost_or_repeated_by_a_cut_after_any_byte(
    cut: Callable[[int], Cut], cleanly: bool, every: int, autojump_clock: MockClock
) -> None:
    sent, received = await length_of_exchange()
    length = sent if cut is cut_sending else received
    # A few more, as the exchange may take a few bytes more in another order.
    await run_all(([cut(n)] for n in range(0, length + 20, every)), cleanly=cleanly)


def random_cuts(seed: int, most: int, length: int) -> list[Cut]:
    """Cuts of several connections in a row, most of them early, some in handshakes."""
    chance = random.Random(seed)
    cuts: list[Cut] = []
    for _ in range(chance.randint(1, most)):
        after = chance.choice([29, 60, length])
        cut = chance.choice([cut_sending, cut_receiving])
        cuts.append(cut(chance.randint(0, after)))
    return cuts


@EXACTLY_ONCE
async def test_nothing_is_lost_or_repeated_by_several_cuts(
    autojump_clock: MockClock,
) -> None:
    length = max(await length_of_exchange())
    await run_all(random_cuts(seed, 6, length) for seed in range(40))


@EXACTLY_ONCE
@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(10))
async def test_nothing_is_lost_or_repeated_by_ten_thousand_patterns_of_cuts(
    thousand: int, autojump_clock: MockClock
) -> None:
    length = max(await length_of_exchange())
    seeds = range(1000 * thousand, 1000 * (thousand + 1))
    await run_all(
        (random_cuts(seed, 6, length) for seed in seeds), cleanly=seeds[0] % 2
    )
