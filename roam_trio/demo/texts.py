"""The texts that are streamed: read in pieces, so that their size does not matter."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import attrs
import trio

from .errors import InputError

__all__ = ["Batch", "LineSplitter", "Text", "TextReader", "check_text", "shipped_texts"]

T = TypeVar("T")

BLOCK = 64 * 1024
"""Number of bytes read at a time."""

LONGEST_PIECE = 16 * 1024
"""Number of characters in one piece; a longer line makes several."""


def shipped_texts() -> Sequence[Path]:
    """Return the texts that come with the package."""
    return sorted(Path(__file__).with_name("shipped").glob("*.txt"))


@attrs.frozen
class Text:
    """A file that was found to be readable.

    Attributes:
        path: where it is.
        size: in bytes; None where only reading tells, as with a pipe.
    """

    path: Path
    size: int | None


def check_text(path: Path) -> Text:
    """See that a file can be read, and begins as a text, before anything is started.

    What can be read only once (a pipe) is left for later.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    with _Explaining(path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            return Text(path, None)
        with open_unbuffered(path) as file:
            LineSplitter().feed(file.read(BLOCK))
        return Text(path, status.st_size)


@attrs.frozen
class Batch:
    """Result of one read.

    Attributes:
        pieces: the lines that are complete; long ones in several pieces.
        lines: how many lines ended.
        size: how many bytes were read.
    """

    pieces: Sequence[str]
    lines: int
    size: int


class TextReader:
    """Reads a file, a batch of lines at a time; to be used with ``async with``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._splitter = LineSplitter()
        self._file: FileIO | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        with _Explaining(self._path):
            try:
                await _in_thread(self._open)
            except trio.Cancelled:
                self._close()
                raise
        return self

    async def __aexit__(self, *args: object) -> None:
        self._close()

    # Nobody waits for a thread that was left behind, so whichever comes last closes.

    def _open(self) -> None:
        self._file = open_unbuffered(self._path)
        if self._closed:
            self._file.close()

    def _close(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.close()

    async def read(self) -> Batch | None:
        """Return the next lines, or None at the end; memory does not grow with the
        file.

        Raises:
            InputError: the file cannot be read on, or is no text.
        """
        assert self._file is not None
        with _Explaining(self._path):
            data = await _in_thread(partial(self._file.read, BLOCK))
            if data:
                return self._splitter.feed(data)
            rest = self._splitter.finish()
        return rest if rest.pieces else None


class LineSplitter:
    """Turns blocks of bytes into lines, with no I/O of its own.

    A line ends with a line feed. One of more than `LONGEST_PIECE` characters is cut,
    after a space where there is one.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest = ""

    def feed(self, data: bytes) -> Batch:
        """Take the next block, of any length.

        Raises:
            ValueError: this is no text: not UTF-8, or with a zero byte in it.
        """
        return self._split(self._decode(data, final=False), len(data))

    def finish(self) -> Batch:
        """Return the last line, if the text does not end with a line feed."""
        batch = self._split(self._decode(b"", final=True), 0)
        last, self._rest = self._rest, ""
        return attrs.evolve(
            batch,
            pieces=[*batch.pieces, last] if last else batch.pieces,
            lines=batch.lines + bool(last),
        )

    def _decode(self, data: bytes, *, final: bool) -> str:
        text = self._decoder.decode(data, final)
        if "\0" in text:
            raise ValueError("there is a zero byte in it")
        return text

    def _split(self, text: str, size: int) -> Batch:
        *ended, self._rest = (self._rest + text).split("\n")
        pieces: list[str] = []
        for line in ended:
            pieces.append(_cut(line, pieces))
        self._rest = _cut(self._rest, pieces)
        return Batch(pieces, len(ended), size)


def _cut(line: str, pieces: list[str]) -> str:
    """Add all but the last piece of a line to `pieces`, and return the last."""
    while len(line) > LONGEST_PIECE:
        end = line.rfind(" ", 0, LONGEST_PIECE) + 1 or LONGEST_PIECE
        pieces.append(line[:end])
        line = line[end:]
    return line


def open_unbuffered(path: Path) -> FileIO:
    """Open a file; without a buffer, whose lock a thread left behind would keep."""
    return FileIO(os.fspath(path), "r")


async def _in_thread(function: Callable[[], T]) -> T:
    # A pipe may keep it waiting for as long as it likes: cancelled, it is left behind.
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


class _Explaining:
    """Turns what can be wrong with a file into an `InputError` that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        name = printable(self._path)
        if isinstance(exc, OSError):
            raise InputError(f"{name}: {exc.strerror or exc}") from exc
        if isinstance(exc, UnicodeError):
            raise InputError(f"{name}: not a text in UTF-8") from exc
        if isinstance(exc, ValueError):
            raise InputError(f"{name}: not a text: {exc}") from exc


def printable(path: Path) -> str:
    """Return the name of a file for one line of any terminal."""
    return "".join(c if c.isprintable() else "?" for c in os.fspath(path))
