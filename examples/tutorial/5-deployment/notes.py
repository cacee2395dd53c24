from pathlib import Path
from typing import Any, Protocol

import attrs
import trio
from roam_trio import (
    Fallible,
    Refused,
    Rx,
    Tx,
    current_call,
    idempotent,
    service,
    u32,
)

from store import query


@attrs.frozen
class Note:
    number: u32
    author: str
    text: str


@attrs.define
class NoSuchNote(Exception):
    number: u32


@service
class Notes(Protocol):
    """Short texts, kept under numbers."""

    async def add(self, text: str) -> u32:
        """Keep a note, and return its number."""
        ...

    @idempotent
    async def get(self, number: u32) -> Fallible[Note, NoSuchNote]:
        """Return a note."""
        ...

    @idempotent
    async def change(self, number: u32, text: str) -> Fallible[None, NoSuchNote]:
        """Give a note another text, which its author alone may do."""
        ...

    async def load(self, texts: Rx[str]) -> u32:
        """Keep a note for each text, and return how many came."""
        ...

    async def watch(self, since: u32, out: Tx[Note]) -> None:
        """Send the notes after number `since`, and then each new one."""
        ...


class NotesImpl:
    def __init__(self, file: Path) -> None:
        self._file = file

    async def _query(self, statement: str, *values: object) -> list[Any]:
        return await trio.to_thread.run_sync(query, self._file, statement, *values)

    async def add(self, text: str) -> int:
        author = str(current_call().identity)
        [(number,)] = await self._query(
            "INSERT INTO notes (author, text) VALUES (?, ?) RETURNING number",
            author,
            text,
        )
        return int(number)

    async def get(self, number: int) -> Note:
        found = await self._query("SELECT * FROM notes WHERE number = ?", number)
        if not found:
            raise NoSuchNote(number)
        return Note(*found[0])

    async def change(self, number: int, text: str) -> None:
        note = await self.get(number)
        if note.author != current_call().identity:
            raise Refused("denied", f"{note.author} has written note {number}")
        await self._query("UPDATE notes SET text = ? WHERE number = ?", text, number)

    async def load(self, texts: Rx[str]) -> int:
        count = 0
        async for text in texts:
            await self.add(text)
            count += 1
        return count

    async def watch(self, since: int, out: Tx[Note]) -> None:
        draining = current_call().draining
        newer = "SELECT * FROM notes WHERE number > ? ORDER BY number"
        async with out:
            while not draining.is_set():
                for row in await self._query(newer, since):
                    note = Note(*row)
                    await out.send(note)
                    since = note.number
                with trio.move_on_after(0.2):
                    await draining.wait()
