"""The client's first step: stream the texts, and check every answer as it comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from ..rpc.channel import Rx, Tx, channel
from .counting import Tally, count_line
from .errors import WrongAnswer
from .service import Counted, Line, Totals, WordCounter
from .texts import Text, TextReader

__all__ = ["Checker", "Streamed", "stream_texts"]


@attrs.frozen
class Streamed:
    """Results of streaming.

    Attributes:
        lines: number of lines; a long line is several items.
        sent: number of items sent to the server.
        received: number of items received from the server.
        words: number of words that the server counted.
        seconds: duration of the call.
    """

    lines: int
    sent: int
    received: int
    words: int
    seconds: float

    @property
    def items_per_second(self) -> float:
        """Items per second, in both directions."""
        return (self.sent + self.received) / self.seconds


async def stream_texts(
    client: WordCounter,
    texts: Sequence[Text],
    advance: Callable[[int], None],
) -> Streamed:
    """Send the lines of `texts` to the server, and receive its count of each.

    Args:
        client: the client of the server.
        texts: the texts to stream, in this order.
        advance: called with the number of bytes that were processed.

    Raises:
        InputError: a text cannot be read further.
        WrongAnswer: the count of the server differs from that of this side.
    """
    lines_out, lines = channel(Line)
    counts, counts_in = channel(Counted)
    checker = Checker()
    sender = _Sender(lines_out, checker, advance)
    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, texts)
        nursery.start_soon(_receive, counts_in, checker)
        totals = await client.count_lines(lines, counts)
    seconds = time.perf_counter() - start
    checker.finish(totals)
    return Streamed(sender.lines, totals.lines, checker.checked, totals.words, seconds)


class _Sender:
    """Sends texts as fast as the server accepts them."""

    def __init__(
        self, tx: Tx[Line], checker: Checker, advance: Callable[[int], None]
    ) -> None:
        self.lines = 0
        self._tx = tx
        self._checker = checker
        self._advance = advance

    async def send(self, texts: Sequence[Text]) -> None:
        async with self._tx:
            for text in texts:
                async with TextReader(text.path) as reader:
                    await self._send_one(reader)

    async def _send_one(self, reader: TextReader) -> None:
        while (batch := await reader.read()) is not None:
            for piece in batch.pieces:
                await self._tx.send(self._checker.expect(piece))
            self.lines += batch.lines
            self._advance(batch.size)


async def _receive(rx: Rx[Counted], checker: Checker) -> None:
    async for counted in rx:
        checker.check(counted)


class Checker:
    """Keeps the expected answers, whose number the credit of the channels bounds."""

    def __init__(self) -> None:
        self.checked = 0
        self._sent = 0
        self._expected: deque[Counted] = deque()
        self._tally = Tally()

    def expect(self, text: str) -> Line:
        """Return the next line to send, and expect its answer."""
        self._sent += 1
        line = Line(self._sent, text)
        self._expected.append(count_line(line))
        return line

    def check(self, counted: Counted) -> None:
        """Check the next answer."""
        expected = self._expected.popleft() if self._expected else "no more answers"
        if counted != expected:
            raise WrongAnswer("count_lines, an item", expected, counted)
        self.checked += 1
        self._tally.add(counted)

    def finish(self, totals: Totals) -> None:
        """Check the final answer."""
        if self._expected:
            raise WrongAnswer("count_lines", self._expected[0], "the end of the counts")
        if totals != self._tally.totals:
            raise WrongAnswer("count_lines, in the end", self._tally.totals, totals)
