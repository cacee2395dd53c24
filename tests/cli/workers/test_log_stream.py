"""The log of a parent whose standard error may not be read."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from roam_trio.cli.log_format import LogFormat, begin_log
from roam_trio.cli.workers import log_stream
from roam_trio.cli.workers.log_stream import LogStream


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


class Pipe:
    """A pipe that is standard error."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.filled = 0

    def fill(self, room: int = 0) -> None:
        """Write until there is only so much room, in bytes."""
        os.set_blocking(self.writer, False)
        try:
            while True:
                self.filled += os.write(self.writer, bytes(log_stream.PIECE_BYTES))
        except BlockingIOError:
            pass
        os.set_blocking(self.writer, True)
        self.filled -= len(os.read(self.reader, room)) if room else 0

    def read(self) -> bytes:
        """Return what has come since the pipe was filled."""
        found = b""
        try:
            while part := os.read(self.reader, 2**20):
                found += part
        except BlockingIOError:
            pass
        filled, self.filled = self.filled, 0
        return found[filled:]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made = Pipe()
    with open(made.writer, "w", closefd=False) as stderr:
        # Not in `sys` itself, in which pytest puts its own stream for each test.
        monkeypatch.setattr(log_stream, "sys", SimpleNamespace(stderr=stderr))
        yield made
    os.close(made.reader)
    os.close(made.writer)


def test_lines_are_written_while_somebody_reads(pipe: Pipe) -> None:
    stream = LogStream()
    assert stream.write("a\n") == 2
    stream.write("ä" * log_stream.PIECE_BYTES + "\udc80\n")
    stream.flush()
    assert pipe.read() == b"a\n" + "ä".encode() * log_stream.PIECE_BYTES + b"\\udc80\n"


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_lines_that_nobody_reads_are_lost_and_counted(
    pipe: Pipe, form: LogFormat
) -> None:
    stream = LogStream(patience=0.001)
    begin_log(form, "info", stream)
    pipe.fill()
    for line in ("one\n", "two\n"):
        stream.write(line)
    logging.getLogger("shop").info("three")
    assert pipe.read() == b""
    stream.write("four\n")
    stream.write("five\n")
    told, *rest = pipe.read().decode().splitlines()
    assert "3 lines of the log are lost: nobody has read them" in told
    assert told.startswith("{") is (form is LogFormat.JSON)
    assert rest == ["four", "five"]


def test_rest_of_a_line_of_which_a_part_is_taken_is_written_too(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_a_part(number: int, data: bytes) -> int:
        return os.write(number, data[:3])

    monkeypatch.setattr(log_stream, "os", SimpleNamespace(write=write_a_part))
    LogStream().write("as some terminals do\n")
    assert pipe.read() == b"as some terminals do\n"


def test_no_line_is_waited_for_after_one_is_lost(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def waits_in_vain(number: int, seconds: float) -> bool:
        waits.append(seconds)
        return False

    monkeypatch.setattr(log_stream, "_has_room", waits_in_vain)
    stream = LogStream(patience=1.5)
    for line in ("one\n", "two\n", "three\n"):
        stream.write(line)
    assert waits == [1.5, 0.0, 0.0]


def test_line_that_is_cut_does_not_join_the_next_one(pipe: Pipe) -> None:
    stream = LogStream(patience=0.001)
    begin_log(LogFormat.TEXT, "info", stream)
    pipe.fill(room=log_stream.PIECE_BYTES)
    stream.write("x" * 2 * log_stream.PIECE_BYTES + "\n")
    assert pipe.read() == b"x" * log_stream.PIECE_BYTES
    stream.write("next\n")
    empty, told, line = pipe.read().decode().splitlines()
    assert empty == ""
    assert "1 lines of the log are lost" in told
    assert line == "next"


def test_line_that_a_full_terminal_refuses_is_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(number: int, data: bytes) -> int:
        raise BlockingIOError

    stream = LogStream()
    begin_log(LogFormat.TEXT, "info", stream)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuses)
        stream.write("one\n")
    stream.write("two\n")
    told, rest = pipe.read().splitlines()
    assert told.endswith(b"1 lines of the log are lost: nobody has read them")
    assert rest == b"two"


def test_what_tells_of_lost_lines_may_be_lost_too(pipe: Pipe) -> None:
    stream = LogStream(patience=0.001)
    begin_log(LogFormat.TEXT, "info", stream)
    pipe.fill()
    stream.write("one\n")
    logging.getLogger().handlers[0].setFormatter(
        logging.Formatter("%(message)s" + "x" * 2 * log_stream.PIECE_BYTES)
    )
    pipe.read()
    pipe.fill(room=log_stream.PIECE_BYTES)
    stream.write("two\n")
    pipe.read()
    logging.getLogger().handlers[0].setFormatter(logging.Formatter("%(message)s"))
    stream.write("three\n")
    assert pipe.read().splitlines() == [
        b"",
        b"3 lines of the log are lost: nobody has read them",
        b"three",
    ]


def test_stream_without_a_file_is_written_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(log_stream, "sys", SimpleNamespace(stderr=written))
    LogStream().write("a\n")
    assert written.getvalue() == "a\n"


def test_server_goes_on_without_its_log(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = LogStream()
    os.close(pipe.reader)
    assert stream.write("nobody is there\n") == 16
    pipe.reader = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(log_stream, "sys", SimpleNamespace(stderr=None))
    assert stream.write("it is closed\n") == 13
