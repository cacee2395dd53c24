"""The server's side of `WordCounter`."""

from __future__ import annotations

from types import TracebackType

import trio

from ..rpc.channel import Rx, Tx
from .counting import Tally, count_line, count_words
from .service import Counted, Line, Lingered, NoWords, Tallies, Totals

__all__ = ["Counter"]


class Counter:
    """Answers the calls of `WordCounter`."""

    def __init__(self) -> None:
        self._running = Running()
        self._lingering: Lingering | None = None

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        tally = Tally()
        with self._running:
            async with counts:
                async for line in lines:
                    counted = count_line(line)
                    tally.add(counted)
                    await counts.send(counted)
        return tally.totals

    async def count(self, text: str) -> int:
        with self._running:
            await trio.lowlevel.checkpoint()  # so that concurrent calls are visible
            return count_words(text)

    async def mean_word_length(self, text: str) -> float:
        with self._running:
            words = text.split()
            if not words:
                raise NoWords(len(text))
            return sum(map(len, words)) / len(words)

    async def linger(self, begun: Tx[bool]) -> None:
        lingering = self._lingering = Lingering()
        with self._running, lingering:
            async with begun:
                await begun.send(True)
            await trio.sleep_forever()

    async def how_lingering_ended(self) -> Lingered:
        with self._running:
            if self._lingering is None:
                return Lingered(cancelled=False, seconds=0.0)
            return await self._lingering.ended()

    async def tallies(self) -> Tallies:
        return Tallies(self._running.begun, self._running.most)


class Running:
    """Counts running handlers, each of which is a ``with`` block."""

    def __init__(self) -> None:
        self.begun = 0
        self.most = 0
        self._now = 0

    def __enter__(self) -> None:
        self.begun += 1
        self._now += 1
        self.most = max(self.most, self._now)

    def __exit__(self, *args: object) -> None:
        self._now -= 1


class Lingering:
    """Records how a call ends, with a ``with`` block around the call."""

    def __init__(self) -> None:
        self._begun_at = trio.current_time()
        self._over = trio.Event()
        self._outcome: Lingered | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._outcome = Lingered(
            cancelled=isinstance(exc, trio.Cancelled),
            seconds=trio.current_time() - self._begun_at,
        )
        self._over.set()

    async def ended(self) -> Lingered:
        """Wait for the end."""
        await self._over.wait()
        assert self._outcome is not None
        return self._outcome
