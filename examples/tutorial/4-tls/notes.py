from typing import Protocol

import attrs
import trio
from roam_trio import Fallible, Refused, Rx, Tx, current_call, service, u32


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

    async def get(self, number: u32) -> Fallible[Note, NoSuchNote]:
        """Return a note."""
        ...

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
    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._added = trio.Event()

    async def add(self, text: str) -> int:
        author = str(current_call().identity)
        note = Note(len(self._notes) + 1, author, text)
        self._notes.append(note)
        self._added.set()
        self._added = trio.Event()
        return note.number

    async def get(self, number: int) -> Note:
        if not 1 <= number <= len(self._notes):
            raise NoSuchNote(number)
        return self._notes[number - 1]

    async def change(self, number: int, text: str) -> None:
        note = await self.get(number)
        if note.author != current_call().identity:
            raise Refused("denied", f"{note.author} has written note {number}")
        self._notes[number - 1] = attrs.evolve(note, text=text)

    async def load(self, texts: Rx[str]) -> int:
        count = 0
        async for text in texts:
            await self.add(text)
            count += 1
        return count

    async def watch(self, since: int, out: Tx[Note]) -> None:
        async with out:
            while True:
                for note in self._notes[since:]:
                    await out.send(note)
                    since = note.number
                if since >= len(self._notes):
                    await self._added.wait()
