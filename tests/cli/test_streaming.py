"""Streaming texts: every answer is checked, and nothing runs ahead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx
from roam_trio.demo.counting import count_line
from roam_trio.demo.errors import InputError, WrongAnswer
from roam_trio.demo.handler import Counter
from roam_trio.demo.service import WINDOW, Counted, Line, Totals, WordCounter
from roam_trio.demo.streaming import Checker, Streamed, stream_texts
from roam_trio.demo.texts import LONGEST_PIECE, Text, check_text, shipped_texts

from .served import Deviating, client_of, ignore


def write(folder: Path, *texts: str) -> Sequence[Text]:
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return [check_text(path) for path in paths]


async def test_every_line_is_counted(nursery: trio.Nursery) -> None:
    client = await client_of(Counter(), nursery)
    texts = [check_text(path) for path in shipped_texts()]
    advanced: list[int] = []
    streamed = await stream_texts(client, texts, advanced.append)
    content = [path.read_text(encoding="utf-8") for path in shipped_texts()]
    lines = sum(len(text.splitlines()) for text in content)
    words = sum(len(text.split()) for text in content)
    assert streamed == Streamed(lines, lines, lines, words, streamed.seconds)
    assert streamed.items_per_second == 2 * lines / streamed.seconds
    assert sum(advanced) == sum(path.stat().st_size for path in shipped_texts())


async def test_long_line_goes_in_several_items(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    client = await client_of(Counter(), nursery)
    text = "word " * LONGEST_PIECE
    streamed = await stream_texts(client, write(tmp_path, text, "end"), ignore)
    assert streamed.lines == 2
    assert streamed.words == LONGEST_PIECE + 1
    assert streamed.sent == streamed.received > 5


async def test_no_text_at_all_is_streamed(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    client = await client_of(Counter(), nursery)
    streamed = await stream_texts(client, write(tmp_path, ""), ignore)
    assert (streamed.lines, streamed.sent, streamed.received) == (0, 0, 0)


class Miscounting(Deviating):
    """Counts a word too many in the third line."""

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        async with counts:
            async for line in lines:
                right = count_line(line)
                words = right.words + (line.number == 3)
                await counts.send(Counted(right.number, words, right.characters))
        return Totals(0, 0, 0)


class Losing(Deviating):
    """Answers nothing from the third line on."""

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        async with counts:
            async for line in lines:
                if line.number < 3:
                    await counts.send(count_line(line))
        return Totals(2, 2, 2)


class Inventing(Deviating):
    """Counts words that nobody sent."""

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        async with counts:
            await counts.send(Counted(1, 1, 1))
        return Totals(1, 1, 1)


class Misadding(Deviating):
    """Counts each line rightly, and adds up wrongly."""

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        right = await super().count_lines(lines, counts)
        return Totals(right.lines, right.words + 1, right.characters)


async def test_wrong_count_is_an_error(nursery: trio.Nursery, tmp_path: Path) -> None:
    client = await client_of(Miscounting(), nursery)
    texts = write(tmp_path, "a b\nc d\ne f\ng h\n")
    with pytest.RaisesGroup(WrongAnswer) as caught:
        await stream_texts(client, texts, ignore)
    assert str(caught.value.exceptions[0]) == (
        "count_lines, an item: "
        "expected Counted(number=3, words=2, characters=3), "
        "got Counted(number=3, words=3, characters=3)"
    )


async def test_count_of_nothing_is_an_error(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    client = await client_of(Inventing(), nursery)
    with pytest.RaisesGroup(WrongAnswer) as caught:
        await stream_texts(client, write(tmp_path, ""), ignore)
    assert "expected no more answers, got Counted" in str(caught.value.exceptions[0])


async def test_missing_count_is_an_error(nursery: trio.Nursery, tmp_path: Path) -> None:
    client = await client_of(Losing(), nursery)
    with pytest.raises(
        WrongAnswer, match=r"expected Counted\(number=3, .* got the end"
    ):
        await stream_texts(client, write(tmp_path, "a\nb\nc\nd\n"), ignore)


async def test_wrong_total_is_an_error(nursery: trio.Nursery, tmp_path: Path) -> None:
    client = await client_of(Misadding(), nursery)
    with pytest.raises(WrongAnswer, match=r"in the end: .*words=4.* got .*words=5"):
        await stream_texts(client, write(tmp_path, "a b\nc d\n"), ignore)


async def test_bad_text_ends_the_call(nursery: trio.Nursery, tmp_path: Path) -> None:
    client = await client_of(Counter(), nursery)
    texts = write(tmp_path, "a\nb\n", "c\n")
    texts[1].path.write_bytes(b"\xff")
    with pytest.RaisesGroup(InputError):
        await stream_texts(client, texts, ignore)
    assert await client.count("and the connection is as good as new") == 8


class Unreading(Deviating):
    """Takes no line until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = trio.Event()

    async def count_lines(self, lines: Rx[Line], counts: Tx[Counted]) -> Totals:
        await self.may_read.wait()
        return await super().count_lines(lines, counts)


async def test_sender_waits_at_the_window(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    handler = Unreading()
    client: WordCounter = await client_of(handler, nursery)
    # Files of one line each: progress tells how many were sent.
    texts = write(tmp_path, *["one line\n"] * (WINDOW + 20))
    advanced: list[int] = []
    all_sent = trio.Event()

    def advance(amount: int) -> None:
        advanced.append(amount)
        if len(advanced) == WINDOW:
            all_sent.set()

    async with trio.open_nursery() as streaming:
        streaming.start_soon(stream_texts, client, texts, advance)
        await all_sent.wait()
        await wait_all_tasks_blocked(cushion=0.01)
        assert len(advanced) == WINDOW
        handler.may_read.set()
    assert len(advanced) == len(texts)


def test_checker_forgets_what_was_answered() -> None:
    checker = Checker()
    first, second = checker.expect("a b"), checker.expect("c")
    assert (first, second) == (Line(1, "a b"), Line(2, "c"))
    checker.check(Counted(1, 2, 3))
    checker.check(Counted(2, 1, 1))
    assert checker.checked == 2
    checker.finish(Totals(2, 3, 4))
