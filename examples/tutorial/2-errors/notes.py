from typing import Protocol

import attrs
import trio
from roam_trio import Fallible, service, u32


@attrs.define
class NoSuchNote(Exception):
    number: u32


@service
class Notes(Protocol):
    """Short texts, kept under numbers."""

    async def add(self, text: str) -> u32:
        """Keep a note, and return its number."""
        ...

    async def get(self, number: u32) -> Fallible[str, NoSuchNote]:
        """Return the text of a note."""
        ...

    async def longest(self) -> str:
        """Return the longest note."""
        ...

    async def next(self) -> str:
        """Wait for the next note, and return it."""
        ...


class NotesImpl:
    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._added = trio.Event()

    async def add(self, text: str) -> int:
        number = len(self._texts) + 1
        self._texts[number] = text
        self._added.set()
        self._added = trio.Event()
        return number

    async def get(self, number: int) -> str:
        if number not in self._texts:
            raise NoSuchNote(number)
        return self._texts[number]

    async def longest(self) -> str:
        return max(self._texts.values(), key=len)

    async def next(self) -> str:
        try:
            await self._added.wait()
        except trio.Cancelled:
            print("nobody waits for the next note any more")
            raise
        return self._texts[len(self._texts)]
