from typing import Protocol

from roam_trio import service, u32


@service
class Notes(Protocol):
    """Short texts, kept under numbers."""

    async def add(self, text: str) -> u32:
        """Keep a note, and return its number."""
        ...

    async def get(self, number: u32) -> str:
        """Return the text of a note."""
        ...


class NotesImpl:
    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    async def add(self, text: str) -> int:
        number = len(self._texts) + 1
        self._texts[number] = text
        return number

    async def get(self, number: int) -> str:
        return self._texts[number]
