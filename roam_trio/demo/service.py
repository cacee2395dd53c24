"""The service that the two processes of the demo share."""

from __future__ import annotations

from typing import Annotated, Protocol

import attrs

from ..rpc.channel import Rx, Tx
from ..schema import Credit, Fallible, f64, u32, u64
from ..service import service

__all__ = ["Counted", "Line", "Lingered", "NoWords", "Tallies", "Totals", "WordCounter"]

WINDOW = 64
"""Number of items that a sender may be ahead of its receiver, in either direction."""


@attrs.frozen
class Line:
    """A line of a text, or a piece of a long one; the first is number 1."""

    number: u64
    text: str


@attrs.frozen
class Counted:
    """Counts for the line with this number."""

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
    """Counts of the calls that a server has answered.

    Attributes:
        calls: number of handlers started.
        at_once: maximum number of handlers running at a time.
    """

    calls: u64
    at_once: u32


@attrs.define
class NoWords(Exception):
    """A text without words has no mean word length."""

    characters: u32


@service
class WordCounter(Protocol):
    """Counts words, which are separated by white space."""

    async def count_lines(
        self,
        lines: Annotated[Rx[Line], Credit(WINDOW)],
        counts: Annotated[Tx[Counted], Credit(WINDOW)],
    ) -> Totals:
        """Count the words of each line as it arrives, and of all at the end."""
        ...

    async def count(self, text: str) -> u32:
        """Count the words of a text."""
        ...

    async def mean_word_length(self, text: str) -> Fallible[f64, NoWords]:
        """Return the mean length of the words of a text, in characters."""
        ...

    async def linger(self, begun: Tx[bool]) -> None:
        """Report that it has begun, and never return: a call to cancel."""
        ...

    async def how_lingering_ended(self) -> Lingered:
        """Wait until `linger`, called last, is over."""
        ...

    async def tallies(self) -> Tallies:
        """Return the counts of this server, without this call."""
        ...
