"""Levels that were made already, for the places where they would come out the same.

What a level comes out as depends on which of the levels that it leads to are around it:
those are references, and all others are made within it. Without anything kept, each
would be made anew for each way to it, and there are more ways than any machine can go.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ..errors import SchemaError
from .shape import Level

__all__ = ["MAX_AGAIN", "FinishedLevels"]

MAX_AGAIN: Final = 10_000
"""Number of levels that may be made beside others that were made of the same."""


class FinishedLevels:
    """Keeps levels as they are made, one within another.

    Sets of names are numbers here, with a bit for each name.
    """

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}
        self._open = 0
        # The names met in each open level, from the outermost one to the innermost.
        self._met = [0]
        # By the names met, and by which of those were open.
        self._found: dict[Hashable, dict[int, dict[int, Level]]] = {}
        self._again = 0

    def enter(self, name: str) -> None:
        """Begin to make a level."""
        bit = self._bits.setdefault(name, 1 << len(self._bits))
        self._open |= bit
        self._met.append(bit)

    def leave(self, key: Hashable, level: Level) -> None:
        """Keep a level, which is made.

        Args:
            key: what it was made of.
            level: the one that was entered last.

        Raises:
            SchemaError: too many have been made again.
        """
        self._open &= ~self._bits[level.name]
        met = self._met.pop()
        self._met[-1] |= met
        found = self._found.setdefault(key, {})
        self._again += bool(found)
        if self._again > MAX_AGAIN:
            raise SchemaError(
                f"{len(self._bits)} types refer to one another in more ways than can "
                "be told apart in time; let fewer of them do so, for example by ids "
                "instead of values"
            )
        found.setdefault(met, {})[self._open & met] = level

    def refer(self, name: str) -> None:
        """Note that an open level is referred to."""
        self._met[-1] |= self._bits[name]

    def get(self, key: Hashable) -> Level | None:
        """Return what would be made of `key` here, if it has been made already."""
        for met, by_open in self._found.get(key, {}).items():
            level = by_open.get(self._open & met)
            if level is not None:
                self._met[-1] |= met
                return level
        return None
