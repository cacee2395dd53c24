"""Reading texts: lines out of blocks of any size, in bounded memory, and bad files."""

from __future__ import annotations

import os
import select
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from roam_trio.demo.errors import InputError
from roam_trio.demo.texts import (
    BLOCK,
    LONGEST_PIECE,
    LineSplitter,
    Text,
    TextReader,
    check_text,
    shipped_texts,
)


def split(*blocks: bytes) -> tuple[list[str], int, int]:
    """The pieces of a text that comes in `blocks`, its lines and its size."""
    splitter = LineSplitter()
    batches = [*map(splitter.feed, blocks), splitter.finish()]
    return (
        [piece for batch in batches for piece in batch.pieces],
        sum(batch.lines for batch in batches),
        sum(batch.size for batch in batches),
    )


def test_three_texts_are_shipped() -> None:
    texts = shipped_texts()
    assert [path.name for path in texts] == ["garden.txt", "harbour.txt", "letters.txt"]
    for path in texts:
        pieces, lines, size = split(path.read_bytes())
        assert 60 <= lines <= 120
        assert len(pieces) == lines
        assert check_text(path) == Text(path, size)


def test_line_ends_with_line_feed() -> None:
    assert split(b"one two\n\nthree\n") == (["one two", "", "three"], 3, 15)


def test_last_line_needs_no_line_feed() -> None:
    assert split(b"one\ntwo") == (["one", "two"], 2, 7)


def test_empty_text_has_no_lines() -> None:
    assert split() == ([], 0, 0)


def test_byte_order_mark_is_no_part_of_the_text() -> None:
    assert split(b"\xef\xbb\xbfone\n") == (["one"], 1, 7)


def test_long_line_is_cut_after_a_space() -> None:
    words = "word " * LONGEST_PIECE
    pieces, lines, _ = split(words.encode() + b"\nshort\n")
    assert lines == 2
    assert "".join(pieces[:-1]) == words
    assert all(piece.endswith(" ") for piece in pieces[:-2])
    assert max(map(len, pieces)) <= LONGEST_PIECE


def test_line_without_spaces_is_cut_at_the_limit() -> None:
    pieces, lines, _ = split(b"x" * (2 * LONGEST_PIECE + 1))
    assert list(map(len, pieces)) == [LONGEST_PIECE, LONGEST_PIECE, 1]
    assert lines == 1


def test_splitter_holds_no_more_than_a_piece() -> None:
    splitter = LineSplitter()
    for _ in range(10):
        splitter.feed(b"x" * BLOCK)
    assert len(splitter.finish().pieces[-1]) <= LONGEST_PIECE


@given(
    text=st.text(st.sampled_from("ab \n\ré☂🌊"), max_size=60),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_blocks_do_not_change_the_pieces(text: str, cuts: list[int]) -> None:
    # Repeated to exceed the longest piece.
    data = (text * 700).encode()
    places = [0, *sorted(cut * len(data) // 200 for cut in cuts), len(data)]
    blocks = [data[a:b] for a, b in pairwise(places)]
    whole = split(data)
    assert split(*blocks) == whole
    assert "".join(whole[0]) == (text * 700).replace("\n", "")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"caf\xe9\n", b"\xc3"])
def test_other_bytes_than_utf_8_are_refused(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        split(data)


def test_zero_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="there is a zero byte in it"):
        split(b"one\0two")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing: No such file or directory$"):
        check_text(tmp_path / "nothing")


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r": Is a directory$"):
        check_text(tmp_path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF\x02\x01\0\0")
    with pytest.raises(InputError, match=r"program: not a text: there is a zero byte"):
        check_text(path)


def test_file_name_is_shown_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_text(tmp_path / "a\nb\x1b[31m")
    assert "a?b?[31m: No such" in str(caught.value)


def test_pipe_is_not_read_beforehand(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert check_text(pipe) == Text(pipe, None)


async def read_all(path: Path) -> tuple[list[str], int, int]:
    pieces: list[str] = []
    lines = size = 0
    async with TextReader(path) as reader:
        while (batch := await reader.read()) is not None:
            pieces.extend(batch.pieces)
            lines, size = lines + batch.lines, size + batch.size
    return pieces, lines, size


async def test_reader_gives_every_line_in_order(tmp_path: Path) -> None:
    data = "".join(f"line {number}\n" for number in range(20_000)).encode()
    path = tmp_path / "text"
    path.write_bytes(data + b"the last")
    assert await read_all(path) == split(data + b"the last")


async def test_reader_refuses_what_turns_out_to_be_no_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a line\n" * BLOCK + b"\0")
    check_text(path)
    with pytest.raises(InputError, match=r"text: not a text: there is a zero byte"):
        await read_all(path)


async def test_reader_refuses_a_text_that_ends_within_a_character(
    tmp_path: Path,
) -> None:
    path = tmp_path / "text"
    path.write_bytes("café".encode()[:-1])
    with pytest.raises(InputError, match=r"text: not a text in UTF-8$"):
        await read_all(path)


async def test_reader_refuses_a_file_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        await read_all(tmp_path / "gone")


async def test_reader_can_be_cancelled_while_a_pipe_has_no_writer(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all, pipe)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    # Let the thread go, and see that it leaves nothing open behind.
    writer = await trio.to_thread.run_sync(os.open, pipe, os.O_WRONLY)
    poll = select.poll()
    poll.register(writer, 0)
    (found,) = await trio.to_thread.run_sync(poll.poll, 10_000)
    assert found == (writer, select.POLLERR)
    os.close(writer)


async def test_reader_can_be_cancelled_while_a_pipe_is_silent(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Open for both, so that neither side waits for the other.
    writer = os.open(pipe, os.O_RDWR)
    opened = trio.Event()

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            async with TextReader(pipe) as reader:
                opened.set()
                await reader.read()

    scope = trio.CancelScope()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, scope)
            await opened.wait()
            scope.cancel()
        assert scope.cancelled_caught
    finally:
        os.write(writer, b"let the thread go\n")
        os.close(writer)
