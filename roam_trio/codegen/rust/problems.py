"""Parts of a Rust source without a counterpart in Python, and their places."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ...errors import RoamTrioError

__all__ = ["Problem", "RustError", "Unreadable"]


@frozen(order=True)
class Problem:
    """A part of a source that cannot be converted.

    Attributes:
        line, column: its start, both counted from 1.
        text: the problem and its remedy.
    """

    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.text}"


class RustError(RoamTrioError):
    """A Rust source has no counterpart in Python.

    Attributes:
        name: the name of the source, for the text of the error.
        problems: all problems, in the order of the source.
    """

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{name}:{each}" for each in problems))
        self.name = name
        self.problems = tuple(problems)

    def __str__(self) -> str:
        # Each has a separate line, because no text of a peer is in it.
        return "\n".join(f"{self.name}:{each}" for each in self.problems)


class Unreadable(Exception):
    """Stops reading one definition or method."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem
