"""Work that the derivations of several types share, and its bound."""

from __future__ import annotations

from typing import Any, Final

from ..errors import SchemaError
from .kinds import Layout
from .records import layout_of
from .shape import Shape, walked

__all__ = ["SharedWork"]

_TEXT_OF_A_STEP: Final = 16


class SharedWork:
    """Keeps the layouts of classes, and counts the steps of derivations.

    Args:
        most_steps: maximum number of steps; None for no bound. A step is a place of a
            type that is looked at.
        limit: the name of that bound, for errors.
    """

    def __init__(self, most_steps: int | None = None, limit: str = "") -> None:
        self._most_steps = most_steps
        self._limit = limit
        self._layouts: dict[Any, Layout | None] = {}
        self.steps = 0

    def count(self, steps: int) -> None:
        """Count steps.

        Raises:
            SchemaError: they are more than the bound.
        """
        self.steps += steps
        if self._most_steps is not None and self.steps > self._most_steps:
            raise SchemaError(
                f"its types take more than {self._most_steps} steps ({self._limit}) "
                "for all methods together: too many methods have types with too many "
                "parts"
            )

    def count_parts(self, shape: Shape, steps: int = 1) -> None:
        """Count steps for each part of a shape.

        Raises:
            SchemaError: they are more than the bound.
        """
        self.count(steps * sum(1 for _ in walked(shape)))

    def count_text(self, text: str) -> None:
        """Count steps for the length of a text that has been made.

        Raises:
            SchemaError: they are more than the bound.
        """
        self.count(len(text) // _TEXT_OF_A_STEP)

    def layout(self, cls: type[Any], args: tuple[Any, ...], path: str) -> Layout | None:
        """Return what `layout_of` does, found once for each class.

        Raises:
            SchemaError: as `layout_of`.
        """
        key = cls, args
        if key not in self._layouts:
            self._layouts[key] = layout_of(cls, args, path)
        return self._layouts[key]
