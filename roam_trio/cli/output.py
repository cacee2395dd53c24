"""Standard output: data as JSON, or as a table on a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..legible import legible
from .exits import OutputClosed
from .json_text import json_line, json_text

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Output"]


class Output:
    """Standard output.

    Writing takes place in a thread, so that a reader who does not read holds up the
    verb, and with it the peer, but neither Control-C nor the session.

    Args:
        as_json: whether to write JSON even to a terminal.

    Attributes:
        is_pretty: whether people read it: it is a terminal, and JSON is not asked for.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.is_pretty = not as_json and sys.stdout.isatty()
        self._file = _raw(sys.stdout)

    async def value(self, value: Any) -> None:
        """Write a value as JSON: indented on a terminal, otherwise as one line."""
        indent = 2 if self.is_pretty else None
        await self.write(f"{json_text(value, indent)}\n".encode())

    async def values(self, values: Iterable[Any]) -> None:
        """Write values as lines of JSON."""
        await self.write(b"".join(map(json_line, values)))

    async def text(self, text: str) -> None:
        """Write a text whose lines are legible already."""
        await self.write(f"{text}\n".encode())

    async def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table; the cells may be texts of a peer."""
        await self.write(rendered(table_of(heads, rows)).encode())

    async def write(self, data: bytes) -> None:
        """Write bytes, and wait until they are taken.

        Raises:
            OutputClosed: its reader has gone.
        """
        try:
            # Left to itself if cancelled: only the reader could end it.
            await trio.to_thread.run_sync(
                partial(_write_all, self._file, data), abandon_on_cancel=True
            )
        except BrokenPipeError as error:
            raise OutputClosed from error


def _raw(stream: Any) -> int | io.BufferedIOBase:
    """Return the descriptor of a stream, or its buffer if it has none.

    A thread that is left in the middle of a write would hold the lock of the buffer,
    and the interpreter could not end.
    """
    stream.flush()
    try:
        number: int = stream.fileno()
    except (OSError, ValueError):
        buffer: io.BufferedIOBase = stream.buffer
        return buffer
    return number


def _write_all(file: int | io.BufferedIOBase, data: bytes) -> None:
    if not isinstance(file, int):
        file.write(data)
        file.flush()
        return
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


# ---------------------------------------------------------------- tables


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """Return a table; cells are shown on one line each, as they are."""
    # Only now, because it is for terminals alone.
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(Text(head), overflow="fold")
    for row in rows:
        table.add_row(*(Text(legible(cell)) for cell in row))
    return table


def rendered(what: RenderableType) -> str:
    """Return the text of something for this terminal; plain, if `NO_COLOR` is set."""
    from rich.console import Console

    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        width=shutil.get_terminal_size().columns,
    )
    console.print(what)
    return file.getvalue()
