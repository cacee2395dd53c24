"""A client of the demo's service without a second process."""

from __future__ import annotations

import trio

from roam_trio import Rx, Tx, acceptor, client, dispatcher, initiator, memory_link_pair
from roam_trio.demo.handler import Counter
from roam_trio.demo.service import (
    Counted,
    Line,
    Lingered,
    Tallies,
    Totals,
    WordCounter,
)


async def client_of(
    handler: WordCounter, nursery: trio.Nursery, *, at_once: int = 64
) -> WordCounter:
    """A client whose calls `handler` answers, until the nursery is cancelled."""
    near, far = memory_link_pair(64)
    serving = acceptor(far, max_concurrent_requests=at_once)
    nursery.start_soon(serving.run, dispatcher(WordCounter, handler))
    session = await nursery.start(initiator(near).run)
    return client(WordCounter, session.caller)


def ignore(amount: int) -> None:
    """For tests to which progress is all the same."""


class Deviating:
    """Answers as `Counter` does; tests override what it is to get wrong."""

    def __init__(self) -> None:
        self._right = Counter()

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        return await self._right.count_lines(lines, counts)

    async def count(self, text: str) -> int:
        return await self._right.count(text)

    async def mean_word_length(self, text: str) -> float:
        return await self._right.mean_word_length(text)

    async def linger(self, begun: Tx[bool]) -> None:
        await self._right.linger(begun)

    async def how_lingering_ended(self) -> Lingered:
        return await self._right.how_lingering_ended()

    async def tallies(self) -> Tallies:
        return await self._right.tallies()
