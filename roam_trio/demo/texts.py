"""The texts to stream, which are read in pieces, so that they can have any size."""

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
"""Number of characters in one piece; a longer line becomes several."""


def shipped_texts() -> Sequence[Path]:
    """Return the texts that come with the package."""
    return sorted(Path(__file__).with_name("shipped").glob("*.txt"))


@attrs.frozen
class Text:
    """A file that was found to be readable.

    Attributes:
        path: its path.
        size: its size in bytes; None if only reading tells, as with a pipe.
    """

    path: Path
    size: int | None


def check_text(path: Path) -> Text:
    """Check that a file can be read and begins with text, before anything is started.

    A file that can be read only once (a pipe) is not checked.

    Raises:
        InputError: it cannot be read, or is not a text.
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
        pieces: the complete lines; long ones in several pieces.
        lines: number of lines that ended.
        size: number of bytes read.
    """

    pieces: Sequence[str]
    lines: int
    size: int


class TextReader:
    """Reads a file, a batch of lines at a time; use it with ``async with``."""

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

    # No task waits for an abandoned thread, so the last of the two closes the file.

    def _open(self) -> None:
        self._file = open_unbuffered(self._path)
        if self._closed:
            self._file.close()

    def _close(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.close()

    async def read(self) -> Batch | None:
        """Return the next lines, or None at the end.

        Raises:
            InputError: the file cannot be read further, or is not a text.
        """
        assert self._file is not None
        with _Explaining(self._path):
            data = await _in_thread(partial(self._file.read, BLOCK))
            if data:
                return self._splitter.feed(data)
            rest = self._splitter.finish()
        return rest if rest.pieces else None


class LineSplitter:
    """Divides blocks of bytes into lines, without I/O.

    A line ends with a line feed. A line of more than `LONGEST_PIECE` characters is cut,
    after a space if possible.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest = ""

    def feed(self, data: bytes) -> Batch:
        """Process the next block, of any length.

        Raises:
            ValueError: it is not a text: not UTF-8, or with a zero byte in it.
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
    """Open a file without a buffer, whose lock an abandoned thread would keep."""
    return FileIO(os.fspath(path), "r")


async def _in_thread(function: Callable[[], T]) -> T:
    # Opening a pipe can block forever, so the thread is abandoned when cancelled.
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


class _Explaining:
    """Converts errors of a file to an `InputError` that names the file."""

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
    """Return the name of a file, safe to print on one line of any terminal."""
    return "".join(c if c.isprintable() else "?" for c in os.fspath(path))
