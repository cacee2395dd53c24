"""Standard output: whole writes, and an end without a reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest
import trio
import typer

from roam_trio.cli.exits import Exit, Failure, OutputClosed, failure_of
from roam_trio.cli.output import Output
from roam_trio.cli.performing import perform


@contextmanager
def output_to_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, TextIO]]:
    """Standard output as a pipe: the end to read, and the end to write."""
    reading, writing = os.pipe()
    with (
        open(reading, encoding="utf-8") as reader,
        open(writing, "w", encoding="utf-8") as writer,
        monkeypatch.context() as patch,
    ):
        patch.setattr("sys.stdout", writer)
        yield reader, writer


async def test_long_output_waits_for_its_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, read = "é" * 1_000_000, list[str]()
    with output_to_pipe(monkeypatch) as (reader, writer):

        async def take() -> None:
            read.append(await trio.to_thread.run_sync(reader.read))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await Output().text(text)
            writer.close()
    assert read == [f"{text}\n"]


def test_output_without_a_reader_is_the_quiet_end_of_a_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def write() -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Output().text, "anything")
        return Exit.FAILED

    with output_to_pipe(monkeypatch) as (reader, _):
        reader.close()
        with pytest.raises(typer.Exit) as caught:
            perform("call", write)
    assert caught.value.exit_code == Exit.DONE
    assert capsys.readouterr().err == ""


def test_first_of_several_failures_is_told() -> None:
    first, second = (Failure(Exit.USAGE, text) for text in "ab")
    assert failure_of(ExceptionGroup("", [first, second])) is first
    assert failure_of(ExceptionGroup("", [first, ValueError()])) is None
    assert failure_of(OutputClosed()) is None
