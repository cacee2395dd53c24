"""Counting of words, by the server, and by the client to check the server."""

from __future__ import annotations

from .service import Counted, Line, Totals

__all__ = ["Tally", "count_line", "count_words"]


def count_words(text: str) -> int:
    """Return the number of words in `text`."""
    return len(text.split())


def count_line(line: Line) -> Counted:
    """Count the words and characters of one line."""
    return Counted(line.number, count_words(line.text), len(line.text))


class Tally:
    """Adds up the counts of the lines of a stream."""

    def __init__(self) -> None:
        self._lines = self._words = self._characters = 0

    def add(self, counted: Counted) -> None:
        self._lines += 1
        self._words += counted.words
        self._characters += counted.characters

    @property
    def totals(self) -> Totals:
        return Totals(self._lines, self._words, self._characters)
