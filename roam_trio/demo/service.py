"""The service that the two processes of the demo share."""

from __future__ import annotations

from typing import Annotated, Protocol

import attrs

from ..rpc.channel import Rx, Tx
from ..schema import Credit, Fallible, f64, u32, u64
from ..service import service

__all__ = ["Counted", "Line", "Lingered", "NoWords", "Tallies", "Totals", "WordCounter"]

WINDOW = 64
"""Number of items a sender may be ahead of its receiver, in either direction."""


@attrs.frozen
class Line:
    """A line of a text, or a piece of a long one; the first is number 1."""

    number: u64
    text: str


@attrs.frozen
class Counted:
    """Counts for the line of this number."""

    number: u64
    words: u32
    characters: u32


@attrs.frozen
class Totals:
    """Counts for a whole stream."""

    lines: u64
    words: u64
    characters: u64


@attrs.frozen
class Lingered:
    """The end of a call of `WordCounter.linger`, and the seconds until then."""

    cancelled: bool
    seconds: f64


@attrs.frozen
class Tallies:
    """Counts of what a server has answered so far.

    Attributes:
        calls: the calls whose handlers were started.
        at_once: the most handlers that were running at one time.
    """

    calls: u64
    at_once: u32


@attrs.define
class NoWords(Exception):
    """There is no mean length of the words of a text that has none."""

    characters: u32


@service
class WordCounter(Protocol):
    """Counts words; words are what white space separates."""

    async def count_lines(
        self,
        lines: Annotated[Rx[Line], Credit(WINDOW)],
        counts: Annotated[Tx[Counted], Credit(WINDOW)],
    ) -> Totals:
        """Count the words of each line as it comes, and of all in the end."""
        ...

    async def count(self, text: str) -> u32:
        """Count the words of a text."""
        ...

    async def mean_word_length(self, text: str) -> Fallible[f64, NoWords]:
        """Return the mean length of the words of a text, in characters."""
        ...

    async def linger(self, begun: Tx[bool]) -> None:
        """Say that it has begun, and never return: a call to be cancelled."""
        ...

    async def how_lingering_ended(self) -> Lingered:
        """Wait until `linger`, called last, is over."""
        ...

    async def tallies(self) -> Tallies:
        """Return what this server has answered so far, this call not included."""
        ...
