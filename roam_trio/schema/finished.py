"""A cache of derived levels.

The shape of a level depends on which of the levels that it leads to enclose it: those
become references, and all others are derived within it. Without a cache, each level
would be derived once for each path to it, and the number of paths is exponential.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ..errors import SchemaError
from .shape import Level

__all__ = ["MAX_AGAIN", "FinishedLevels"]

MAX_AGAIN: Final = 10_000
"""Maximum number of levels that are derived again from the same type."""


class FinishedLevels:
    """Keeps levels as they are derived, one within another.

    Sets of names are numbers with a bit for each name.
    """

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}
        self._open = 0
        # the names found in each open level, from the outermost to the innermost
        self._met = [0]
        # by the names found, and by which of those were open
        self._found: dict[Hashable, dict[int, dict[int, Level]]] = {}
        self._again = 0

    def enter(self, name: str) -> None:
        """Start to derive a level."""
        bit = self._bits.setdefault(name, 1 << len(self._bits))
        self._open |= bit
        self._met.append(bit)

    def leave(self, key: Hashable, level: Level) -> None:
        """Store a derived level.

        Args:
            key: the key of its type.
            level: the level that was entered last.

        Raises:
            SchemaError: too many levels were derived again.
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
        """Record a reference to an open level."""
        self._met[-1] |= self._bits[name]

    def get(self, key: Hashable) -> Level | None:
        """Return the level that `key` would give here, if it is stored."""
        for met, by_open in self._found.get(key, {}).items():
            level = by_open.get(self._open & met)
            if level is not None:
                self._met[-1] |= met
                return level
        return None
